"""The real model as mlx-lm runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlx_lm.utils import load_model

from benchmarks.mlx_folder import convert


@pytest.fixture(scope="session")
def smollm2_mlx(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """mlx-lm's model with the GGUF's weights, activations in float32."""
    folder = convert(smollm2, tmp_path_factory.mktemp("smollm2"), tokenizer=False)
    model, _ = load_model(folder)
    return model
