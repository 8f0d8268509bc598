"""The build hook: makes the native library, and a wheel that depends on the platform alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "scripts"))

import declarations
import native
import wheel_tag


class NativeBuildHook(BuildHookInterface):
    """Runs for wheels and editable installs; a source distribution has nothing built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds, and names what was built. `version` is "standard" or "editable"."""
        try:
            native.build()
        except (native.BuildError, declarations.HeaderError) as error:
            # A sentence, where an exception would print the backend's stack.
            self.app.abort(str(error))
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag.wheel_tag(native.LIBRARY, native.LIBMLX)
        build_data["artifacts"] += [f"/{file.relative_to(self.root)}" for file in native.ARTIFACTS]
