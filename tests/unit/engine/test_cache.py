from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import pytest

from vllm_swift_engine.models.cache import cache_folder, read_entry, write_entry

FILES = {"tokenizer.json": b'{"a": 1}', "tokenizer_config.json": b"{}"}
NAMES = tuple(FILES)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    entry = tmp_path / "deep/er/key"
    assert read_entry(entry, NAMES) is None
    write_entry(entry, FILES)
    assert read_entry(entry, NAMES) == FILES
    assert [path.name for path in entry.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("name", [*NAMES, "checksum"])
@pytest.mark.parametrize("damage", ["missing", "empty", "flipped", "longer"])
def test_a_damaged_entry_is_none_and_can_be_written_again(
    tmp_path: Path, name: str, damage: str
) -> None:
    entry = tmp_path / "key"
    write_entry(entry, FILES)
    path = entry / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"empty": b"", "flipped": flipped, "longer": content + b" "}[damage])
    assert read_entry(entry, NAMES) is None
    write_entry(entry, FILES)
    assert read_entry(entry, NAMES) == FILES


def test_many_writers_leave_a_whole_entry(tmp_path: Path) -> None:
    entry = tmp_path / "key"
    threads = [threading.Thread(target=write_entry, args=(entry, FILES)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_entry(entry, NAMES) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_cache_that_cannot_be_written_is_said_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        write_entry(tmp_path / "file/key", FILES)
    assert "cannot be kept" in caplog.text


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLLM_SWIFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("VLLM_SWIFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library/Caches/vllm-swift"
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache/vllm-swift"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/vllm-swift"


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("VLLM_SWIFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
