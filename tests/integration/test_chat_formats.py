"""Tool calls of the real model, which was never taught any: the grammar holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vllm_swift_engine import Engine, SamplingParams
from vllm_swift_engine.chat.registry import format_names
from vllm_swift_engine.chat.request import ChatRequest, joined

pytestmark = pytest.mark.model

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 30},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather.", "parameters": SCHEMA},
}
QUESTION = [{"role": "user", "content": "What is the weather in Paris for 3 days?"}]


def params(request: ChatRequest, **others: Any) -> SamplingParams:
    return SamplingParams(
        max_tokens=160,
        structured_outputs=request.structured_outputs,
        skip_special_tokens=request.skip_special_tokens,
        **others,
    )


@pytest.mark.parametrize("name", format_names())
def test_a_required_call_is_valid_in_every_format(smollm2: Path, name: str) -> None:
    with Engine(smollm2, chat_format=name) as engine:
        request = engine.chat_request(
            QUESTION, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False
        )
        outputs = engine.generate(
            [request.prompt_token_ids] * 3,
            [params(request, temperature=heat, seed=7) for heat in (0, 1, 3)],
        )
        for output in outputs:
            assert output.outputs[0].finish_reason == "stop"
            message = request.parse(output.outputs[0])
            assert not message.invalid_tool_calls
            (call,) = message.tool_calls
            assert call.name == "get_weather"
            jsonschema.validate(json.loads(call.arguments), SCHEMA)


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_stream_and_a_whole_output_say_the_same(smollm2_engine: Engine, choice: str) -> None:
    request = smollm2_engine.chat_request(QUESTION, tools=[WEATHER], tool_choice=choice)
    sampled = params(request, temperature=0)
    whole = request.parse(smollm2_engine.generate(request.prompt_token_ids, sampled).outputs[0])
    parser = request.new_parser()
    pieces = [
        parser.push(chunk.text, len(chunk.token_ids))
        for chunk in smollm2_engine.stream(request.prompt_token_ids, sampled)
    ]
    streamed = joined([*pieces, parser.flush()])
    assert (streamed.text, streamed.reasoning) == (whole.text, "")
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, call.arguments) for call in whole.tool_calls
    ]
    assert whole.tool_calls or choice == "auto"
