from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tokenizers

from tests.unit.engine.fake_native import FakeLibrary, ffi
from tests.unit.engine.tokenizers_made_here import byte_level
from vllm_swift_engine import Engine
from vllm_swift_engine._ffi import runtime
from vllm_swift_engine._ffi.library import Library


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLibrary]:
    """The engine runs on this instead of the native library."""
    fake = FakeLibrary()
    library = Library(ffi, fake)
    monkeypatch.setattr(runtime, "_runtime", None)
    monkeypatch.setattr("vllm_swift_engine._ffi.runtime.load", lambda: library)
    monkeypatch.setattr("vllm_swift_engine._ffi.handles.load", lambda: library)
    yield fake
    if runtime._runtime is not None:
        runtime._runtime.destroy()


@pytest.fixture(scope="session")
def byte_tokenizer() -> tokenizers.Tokenizer:
    return byte_level()


@pytest.fixture
def model_folder(tmp_path: Path, byte_tokenizer: tokenizers.Tokenizer) -> Path:
    """A model whose tokens are bytes and a few words; its end token is <|end|>."""
    folder = tmp_path / "model"
    folder.mkdir()
    byte_tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "llama",
        "vocab_size": byte_tokenizer.get_vocab_size(),
        "max_position_embeddings": 64,
        "eos_token_id": byte_tokenizer.token_to_id("<|end|>"),
    }
    (folder / "config.json").write_text(json.dumps(config))
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|end|>", "chat_template": template})
    )
    return folder


@pytest.fixture
def engine(native: FakeLibrary, model_folder: Path) -> Iterator[Engine]:
    with Engine(model_folder) as engine:
        yield engine
