"""No misuse of the C interface ends the process, and each is answered as the header promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.contract.header import ROOT, Header, header_files

VOID_FUNCTIONS = Header(header_files()).void_functions

FALLIBLE = [
    "bad_file_handles",
    "bad_runtime_handles",
    "bad_model_handles",
    "bad_prefix_handles",
    "null_pointers",
    "parameter_sizes",
    "result_sizes",
    "request_sizes",
    "reserved_fields",
]


def probe(name: str, module: str = "probes") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.contract.{module}", name]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


@pytest.mark.model
@pytest.mark.parametrize("name", VOID_FUNCTIONS + FALLIBLE)
def test_misuse_is_harmless(name: str) -> None:
    result = probe(name)
    assert result.returncode == 0, result.stderr


@pytest.mark.model
@pytest.mark.parametrize(
    "name",
    [
        "bad_grammar_handles",
        "bad_vocabularies",
        "bad_grammars",
        "long_chains_of_names",
        "a_dead_end_fails_its_request_alone",
    ],
)
def test_misuse_of_grammars_is_harmless(name: str) -> None:
    result = probe(name, "grammar_probes")
    assert result.returncode == 0, result.stderr


@pytest.mark.model
@pytest.mark.parametrize("name", ["sampling_out_of_range", "logprobs_without_room"])
def test_misuse_of_sampling_is_harmless(name: str) -> None:
    result = probe(name, "sampling_probes")
    assert result.returncode == 0, result.stderr


def test_a_crash_is_seen() -> None:
    assert probe("crash").returncode < 0


def test_a_wrong_answer_is_seen() -> None:
    result = probe("wrong_code")
    assert result.returncode == 1
    assert "AssertionError" in result.stderr
