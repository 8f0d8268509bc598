"""Chat requests of an engine whose model echoes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.chat.answers import CHATML, TOOLS
from tests.unit.engine.conftest import byte_tokenizer, native  # noqa: F401  (fixtures)
from tests.unit.engine.fake_native import FakeLibrary
from tests.unit.engine.tokenizers_made_here import byte_level
from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError
from vllm_swift_engine.outputs import CompletionOutput

USER = {"role": "user", "content": "Hi."}


def folder(path: Path, template: str | None = CHATML, special: tuple[str, ...] = ()) -> Path:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(list(special))
    tokenizer.save(str(path / "tokenizer.json"))
    config = {
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 4096,
        "eos_token_id": tokenizer.token_to_id("<|end|>"),
    }
    (path / "config.json").write_text(json.dumps(config))
    settings = {"eos_token": "<|end|>"} | ({"chat_template": template} if template else {})
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def engine(path: Path, chat_format: str | None = None, **made: Any) -> Engine:
    return Engine(folder(path, **made), chat_format=chat_format, share=False)


def prompt_of(opened: Engine, request: Any) -> str:
    return opened.detokenize(request.prompt_token_ids)


pytestmark = pytest.mark.usefixtures("native")


def test_a_plain_request_is_the_template_and_asks_for_nothing(tmp_path: Path) -> None:
    with engine(tmp_path) as opened:
        request = opened.chat_request([USER])
        assert request.prompt_token_ids == opened.apply_chat_template([USER])
        assert request.structured_outputs is None
        assert request.skip_special_tokens
        assert request.is_plain
        parser = request.new_parser()
        assert [parser.push(text).text for text in ("a ", "<tool_call>")] == ["a ", "<tool_call>"]
        assert parser.flush().text == ""


def test_unknown_formats_are_refused_before_the_model_loads(
    tmp_path: Path,
    native: FakeLibrary,  # noqa: F811
) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'herms'.*hermes.*json"):
        engine(tmp_path, "herms")
    assert native.loads == 0


def test_a_template_without_tools_gets_the_formats_own_prompt(tmp_path: Path) -> None:
    with engine(tmp_path) as opened:
        assert opened.chat_format == "json"
        prompt = prompt_of(opened, opened.chat_request([USER], tools=TOOLS))
        assert '{"name": "get_weather", "description": "Does get_weather.", "parameters"' in prompt
        assert '{"name": NAME, "arguments": ARGUMENTS}<|im_end|>\n<|im_start|>assistant' in prompt
        assert "<|im_start|>user\nHi.\n\n" in prompt
    (tmp_path / "h").mkdir()
    with engine(tmp_path / "h", "hermes") as opened:
        assert opened.chat_format == "hermes"
        prompt = prompt_of(opened, opened.chat_request([USER], tools=TOOLS))
        assert '<tool_call>\n{"name": "function name"' in prompt


def test_tool_choice_none_shows_no_tools(tmp_path: Path) -> None:
    with engine(tmp_path) as opened:
        request = opened.chat_request([USER], tools=TOOLS, tool_choice="none")
        assert request.prompt_token_ids == opened.apply_chat_template([USER])
        assert request.structured_outputs is None


@pytest.mark.parametrize(
    ("tools", "choice", "culprit"),
    [
        (TOOLS, "any", "'any'"),
        (TOOLS, {"type": "function"}, "function"),
        (TOOLS, {"type": "function", "function": {"name": "ad"}}, "'ad'.*get_weather"),
        (None, "required", "has none"),
        ([TOOLS[0], TOOLS[0]], "auto", "get_weather"),
        ([{"name": "x"}], "auto", r"tools\[0\]"),
        ([{"type": "function", "function": {"name": ""}}], "auto", r"tools\[0\]"),
        ([{"type": "function", "function": {"name": "a b"}}], "auto", "'a b'"),
        ([{"function": {"name": "a", "parameters": "x"}}], "auto", "JSON schema"),
        ([{"function": {"name": "a", "parameters": {"type": "string"}}}], "auto", "'string'"),
        ([{"function": {"name": "a", "parameters": {"type": 3}}}], "auto", "of type 3"),
    ],
    ids=str,
)
def test_wrong_tools_are_refused(tmp_path: Path, tools: Any, choice: Any, culprit: str) -> None:
    with engine(tmp_path) as opened, pytest.raises(InvalidArgumentError, match=culprit):
        opened.chat_request([USER], tools=tools, tool_choice=choice)


def test_calls_of_before_whose_arguments_are_not_json_are_refused(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "a", "arguments": {"b": b"x"}}}
    turns = [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]
    with engine(tmp_path) as opened, pytest.raises(InvalidArgumentError, match=r"messages\[1\]"):
        opened.chat_request(turns)


def test_no_template_says_what_to_do(tmp_path: Path) -> None:
    with engine(tmp_path, template=None) as opened:
        with pytest.raises(UnsupportedError, match="instruction-tuned"):
            opened.chat_request([USER])
        with pytest.raises(UnsupportedError, match="instruction-tuned"):
            opened.chat_format  # noqa: B018


def test_markers_that_are_special_tokens_are_asked_for(tmp_path: Path) -> None:
    markers = ("<tool_call>", "</tool_call>")
    with engine(tmp_path, "hermes", special=markers) as opened:
        assert opened.chat_request([USER]).skip_special_tokens
        request = opened.chat_request([USER], tools=TOOLS)
        assert not request.skip_special_tokens
        answer = 'Yes.\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
        params = SamplingParams(skip_special_tokens=False, max_tokens=200)
        output = opened.generate(opened.tokenize(answer), params).outputs[0]
        message = request.parse(output)
        assert (message.text, message.tool_calls[0].name) == ("Yes.", "now")


@pytest.mark.parametrize("special", [(), ("<think>", "</think>")], ids=["text", "special"])
def test_reasoning_tokens_are_those_between_the_markers(
    tmp_path: Path, special: tuple[str, ...]
) -> None:
    template = CHATML + "{# </think> #}"
    with engine(tmp_path, template=template, special=special) as opened:
        request = opened.chat_request([USER])
        assert request.skip_special_tokens is not bool(special)
        ids = opened.tokenize("<think>hello</think>hello STOP")
        output = CompletionOutput(0, "<think>hello</think>hello ", ids, "stop", "STOP")
        message = request.parse(output)
        assert (message.text, message.reasoning) == ("hello ", "hello")
        # "hello" is one token; where "</think>" is text, its first characters may still be more.
        assert message.reasoning_tokens == 1 + (0 if special else len("</think"))


def test_structured_outputs_are_passed_on(tmp_path: Path) -> None:
    with engine(tmp_path) as opened:
        request = opened.chat_request([USER], structured_outputs={"regex": "[0-9]+"})
        assert request.structured_outputs is not None
        assert request.structured_outputs.regex == "[0-9]+"
