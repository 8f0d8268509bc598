"""From what a user names to a path: a folder, a .gguf file, or a Hugging Face Hub repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vllm_swift_engine.errors import InvalidArgumentError, ModelNotFoundError, UnsupportedError

#: "owner/name", or "owner/name/file.gguf" for one file of a repository that has several.
_HUB_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[\w./ -]+\.gguf))?"
)
_SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_WHAT_FITS = (
    "Give a folder with config.json and *.safetensors, a .gguf file, or a Hugging Face Hub "
    'repository ("owner/name").'
)


def resolve_model(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """The local folder or .gguf file of a model; downloads what a Hub repository lacks here.

    A path that exists counts before a Hub repository of the same name.

    Raises:
        InvalidArgumentError: ``model`` is neither a string nor a path.
        ModelNotFoundError: nothing by that name; the sentence says where it was looked for.
        UnsupportedError: a model in several GGUF files.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidArgumentError(f"model must be a str or a path, not {model!r}.")
    name = os.fspath(model)
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidArgumentError(f"model must name a folder, file or repository, not {name!r}.")
    path = _expanded(name)
    if os.path.exists(path):
        return pick_local(path)
    hub_name = _HUB_NAME.fullmatch(name) if isinstance(model, str) else None
    if hub_name is None:
        raise ModelNotFoundError(f"There is no file or folder {path.absolute()}. {_WHAT_FITS}")
    from .hub import download

    return pick_local(
        download(
            hub_name["repo"],
            hub_name["file"],
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
    )


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~someone" who has no home
        return Path(name)


def pick_local(path: Path) -> Path:
    """The model in ``path``: the folder itself, or the one .gguf file in it."""
    if path.is_file():
        return _whole(path)
    if (path / "config.json").is_file():
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return _whole(files[0])
    if files:
        raise ModelNotFoundError(
            f"{path} holds several models; name one of {', '.join(str(file) for file in files)}."
        )
    raise ModelNotFoundError(f"{path} has neither config.json nor a .gguf file. {_WHAT_FITS}")


def _whole(path: Path) -> Path:
    if _SPLIT_GGUF.search(path.name):
        raise UnsupportedError(
            f"{path.name} is one part of a model in several GGUF files, which is not supported "
            "yet. Join them with llama.cpp's gguf-split --merge."
        )
    return path
