"""What mlx-lm and transformers read in the same answers."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from tests.unit.chat.answers import CALLS, NAMES, TOOLS, Case, read, said, template_format
from vllm_swift_engine.chat.formats.base import Reasoning

#: mlx-lm's parsers get what is between the markers.
PARSERS = {
    "hermes": "json_tools",
    "mistral": "mistral",
    "mistral named": "mistral",
    "qwen3_coder": "qwen3_coder",
    "functiongemma": "function_gemma",
    "gemma4": "gemma4",
}
#: Which of ``CALLS`` mlx-lm's parser of a format does not read.
BEYOND = {"functiongemma": {1, 2, 5}, "gemma4": {2}}


def theirs(name: str, answer: str) -> list[tuple[str, dict[str, Any]]]:
    parser = importlib.import_module(f"mlx_lm.tool_parsers.{PARSERS[name]}")
    body = answer.partition(parser.tool_call_start)[2]
    if parser.tool_call_end:
        body = body.rpartition(parser.tool_call_end)[0]
    found = parser.parse_tool_call(body, TOOLS)
    found = found if isinstance(found, list) else [found]
    return [(call["name"], call["arguments"]) for call in found]


@pytest.mark.parametrize("name", PARSERS)
def test_mlx_lm_reads_the_same_calls(name: str) -> None:
    chat_format = template_format(name)
    for index, (function, arguments) in enumerate(CALLS):
        if index in BEYOND.get(name, ()):
            continue
        answer = chat_format.write_call({"name": function, "arguments": arguments})
        ours = said(read(chat_format, [answer], Case(answer)))[1]
        assert list(ours) == theirs(name, answer) == [(function, arguments)]


#: A response template for Qwen3's answers, in transformers' terms.
QWEN3 = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>"},
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
        },
        "content": {"close": "<|im_end|>", "repeats": True, "join": ""},
    },
}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


@pytest.mark.parametrize("begun", ["", "<think>\n"])
@pytest.mark.parametrize("answer", ["so\n</think>\n\nHello.", f"so</think>Look:\n{CALL}\n{CALL}"])
def test_transformers_reads_the_same_answer(begun: str, answer: str) -> None:
    from transformers.utils.chat_parsing import parse_response

    answer = answer if begun else f"<think>{answer}"
    message = parse_response(answer, QWEN3, prefix=f"<|im_start|>assistant\n{begun}", tools=TOOLS)
    chat_format = template_format("hermes", Reasoning("<think>", "</think>"))
    text, calls, reasoning = said(
        read(chat_format, [answer], Case(answer, thinking=bool(begun), names=NAMES))
    )
    assert text == message.get("content", "").strip()
    assert reasoning == message["reasoning_content"].strip()
    expected = [(call["name"], call["arguments"]) for call in message.get("tool_calls", [])]
    assert json.dumps(list(calls)) == json.dumps(expected)
