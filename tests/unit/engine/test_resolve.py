"""What a name leads to: folders, files, and a Hub that runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.unit.engine.fake_hub import FakeHub, serve
from vllm_swift_engine.errors import (
    InvalidArgumentError,
    ModelNotFoundError,
    UnsupportedError,
)
from vllm_swift_engine.models.resolve import resolve_model

MODEL = {
    name: name.encode()
    for name in (
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    )
}
NOWHERE = "http://127.0.0.1:9"
OTHERS = {
    "pytorch_model.bin": b"x",
    "README.md": b"x",
    "onnx/model.onnx": b"x",
    "original/consolidated.safetensors": b"x",
    "consolidated.safetensors": b"x",
    "tf_model.h5": b"x",
}


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does, which is read when huggingface_hub is imported."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.model_info.__self__, "endpoint", url)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    repositories = {
        "owner/model": {**MODEL, **OTHERS},
        "owner/one-gguf": {"model.Q4_1.gguf": b"GGUF", "README.md": b"x"},
        "owner/two-gguf": {"model.Q4_1.gguf": b"4", "model.Q8_0.gguf": b"8"},
        "owner/nothing": {"README.md": b"x"},
    }
    with serve(FakeHub(repositories)) as hub:
        point_at(hub.url, monkeypatch)
        # Nobody waits between the attempts to reach it.
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield hub


def resolve(name: str, **options: Any) -> Path:
    return resolve_model(name, cache_dir=options.pop("cache_dir", None), **options)


def test_a_repository_downloads_what_a_model_needs_and_no_more(
    hub: FakeHub, tmp_path: Path
) -> None:
    folder = resolve("owner/model", cache_dir=tmp_path / "here")
    assert {path.name for path in folder.iterdir()} == {*MODEL}
    assert sorted(hub.requested) == sorted(MODEL)
    assert folder.is_relative_to(tmp_path / "here")
    hub.requested.clear()
    assert resolve("owner/model", cache_dir=tmp_path / "here") == folder
    assert hub.requested == []


def test_the_only_gguf_file_is_taken(hub: FakeHub, tmp_path: Path) -> None:
    path = resolve("owner/one-gguf", cache_dir=tmp_path)
    assert (path.name, path.read_bytes()) == ("model.Q4_1.gguf", b"GGUF")
    assert hub.requested == ["model.Q4_1.gguf"]
    assert resolve("owner/one-gguf", cache_dir=tmp_path, local_files_only=True) == path


def test_one_of_several_gguf_files_has_to_be_named(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("owner/two-gguf", cache_dir=tmp_path)
    assert '"owner/two-gguf/model.Q8_0.gguf"' in str(caught.value)
    path = resolve("owner/two-gguf/model.Q8_0.gguf", cache_dir=tmp_path)
    assert path.read_bytes() == b"8"
    assert hub.requested == ["model.Q8_0.gguf"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("owner/missing", {}, ["owner/missing", "spelling"]),
        ("owner/nothing", {}, ["safetensors", "gguf"]),
        ("owner/two-gguf/other.gguf", {}, ["other.gguf"]),
        ("owner/model", {"revision": "v9"}, ["v9"]),
        ("owner/model", {"local_files_only": True}, ["cache", "hf download owner/model"]),
    ],
)
def test_what_is_not_on_the_hub_is_said(
    hub: FakeHub, tmp_path: Path, name: str, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(name, cache_dir=tmp_path, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_gated_repository_says_where_to_accept(hub: FakeHub, tmp_path: Path) -> None:
    hub.gated.add("owner/one-gguf")
    with pytest.raises(ModelNotFoundError, match="gated"):
        resolve("owner/one-gguf", cache_dir=tmp_path)


def test_the_token_is_sent(hub: FakeHub, tmp_path: Path) -> None:
    resolve("owner/one-gguf", cache_dir=tmp_path, token="hf_secret")
    assert "Bearer hf_secret" in hub.tokens


def test_offline_mode_asks_nobody(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = resolve("owner/model", cache_dir=tmp_path)
    hub.tokens.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("owner/model", cache_dir=tmp_path) == folder
    with pytest.raises(ModelNotFoundError, match="switched off"):
        resolve("owner/one-gguf", cache_dir=tmp_path)
    assert not hub.tokens


def test_without_a_connection_the_cache_serves(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = resolve("owner/model", cache_dir=tmp_path)
    hub.repositories = {}
    point_at(NOWHERE, monkeypatch)
    assert resolve("owner/model", cache_dir=tmp_path) == folder
    with pytest.raises(ModelNotFoundError, match="cannot be reached"):
        resolve("owner/other", cache_dir=tmp_path)


def test_local_paths_come_before_the_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "owner/model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/model") == Path("owner/model")
    assert not hub.tokens


@pytest.mark.parametrize(
    "name",
    [
        "./missing",
        "/no/such",
        "../x",
        "missing.gguf",
        "gpt2",
        "a/b/c",
        "owner/",
        "a b/c",
        "~/x",
    ],
)
def test_what_can_only_be_a_path_is_not_looked_for_on_the_hub(
    hub: FakeHub, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(name)
    assert str(Path(name).expanduser().absolute()) in str(caught.value)
    assert "owner/name" in str(caught.value)
    assert not hub.tokens


def test_a_path_object_is_never_a_repository(hub: FakeHub) -> None:
    with pytest.raises(ModelNotFoundError):
        resolve_model(Path("owner/model"))
    assert not hub.tokens


@pytest.mark.parametrize("name", ["", "nul\0byte", 7, None, b"bytes", ["a"]])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        resolve_model(name)


def test_a_name_too_long_for_a_path_is_not_found() -> None:
    with pytest.raises(ModelNotFoundError):
        resolve_model("x" * 5000)


def test_the_one_gguf_in_a_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"")
    assert resolve_model(tmp_path) == tmp_path / "a.gguf"
    (tmp_path / "b.gguf").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match=r"a\.gguf.*b\.gguf"):
        resolve_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        resolve_model(tmp_path)


def test_a_part_of_a_split_model_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "model-00001-of-00003.gguf"
    part.write_bytes(b"")
    with pytest.raises(UnsupportedError, match="gguf-split"):
        resolve_model(part)
