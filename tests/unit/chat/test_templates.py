"""The format that a template speaks, and conversations as the template takes them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.unit.chat.answers import CHATML, TOOLS, Case, read
from tests.unit.chat.templates import GEMMA3, HERMES, MISTRAL, TEMPLATES, THINKING
from vllm_swift_engine.chat.conversation import checked
from vllm_swift_engine.chat.formats.base import ChatFormat
from vllm_swift_engine.chat.probe import TemplateProbe
from vllm_swift_engine.chat.registry import chat_format, format_names
from vllm_swift_engine.errors import InvalidArgumentError
from vllm_swift_engine.models.template import ChatTemplate

every_template = pytest.mark.parametrize("name", TEMPLATES)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def opened(template: str) -> ChatFormat:
    return chat_format(TemplateProbe(ChatTemplate({"default": template}, SPECIAL)), ())


def shown(template: str, messages: list[dict[str, Any]], tools: Any = (), **variables: Any) -> str:
    own = opened(template)
    prepared, given = own.prepare(checked(messages), tools)
    return own.probe.template.render(prepared, tools=given or None, **variables)


def calls(*named: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in named
        ],
    }


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def result(id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text}


def test_every_format_has_a_template() -> None:
    assert {name for _, name in TEMPLATES.values()} == set(format_names())


@every_template
def test_the_format_is_found_by_rendering(name: str) -> None:
    template, expected = TEMPLATES[name]
    assert opened(template).name == expected


@every_template
@pytest.mark.parametrize("arguments", [{"city": "Zürich"}, '{"city": "Zürich"}'], ids=type)
def test_a_conversation_with_calls_is_shown_whole(name: str, arguments: Any) -> None:
    conversation = [
        system("The system."),
        system("More of it."),
        user("The question."),
        user("And more."),
        calls(("call_0123456789", "get_weather", arguments), ("call_9876543210", "now", None)),
        result("call_0123456789", "sunny"),
        result("call_9876543210", "noon"),
        {"role": "assistant", "content": "The answer."},
        user("The next."),
    ]
    prompt = shown(TEMPLATES[name][0], conversation, TOOLS)
    words = ["The system.", "More of it.", "The question.", "And more.", "sunny", "noon"]
    for word in [*words, "The answer.", "The next.", "get_weather", "Zürich"]:
        assert word in prompt
    asked = prompt.index("And more.")
    called, answered = prompt.index("Zürich", asked), prompt.index("sunny", asked)
    assert asked < called < answered < prompt.index("The answer.")
    for one in ("'city'", '\\"city\\"', "None"):
        assert one not in prompt.replace("None.", "")


@every_template
def test_the_calls_in_a_prompt_are_those_that_are_read(name: str) -> None:
    template, _ = TEMPLATES[name]
    own = opened(template)
    arguments = {"city": 'a "b" é', "days": 2}
    call = calls(("abcdefghi", "get_weather", arguments))
    # What the template writes of the assistant's turn, after the prompt for it.
    prompt = shown(template, [user("Q")], TOOLS).removesuffix("<think>\n").rstrip()
    whole = shown(template, [user("Q"), call], TOOLS, add_generation_prompt=False)
    assert whole.startswith(prompt)
    written = whole[len(prompt) :]
    message = read(own, [written], Case(written))
    if own.name in ("json", "llama3_json"):
        # Their calls are whole answers: without the header of the turn.
        written = written[written.index("{") :]
        message = read(own, [written], Case(written))
    (found,) = message.tool_calls
    assert (found.name, json.loads(found.arguments)) == ("get_weather", arguments)


def test_roles_that_must_alternate_are_merged() -> None:
    for template in (GEMMA3, MISTRAL):
        prompt = shown(template, [user("One."), user("Two.")])
        assert "One.\n\nTwo." in prompt
    assert "One.<|im_end|>\n<|im_start|>user\nTwo." in shown(CHATML, [user("One."), user("Two.")])


def test_a_system_message_without_its_role_goes_into_the_first_users_turn() -> None:
    prompt = shown(GEMMA3, [system("Be brief."), user("Hi.")])
    assert "<start_of_turn>user\nBe brief.\n\nHi.<end_of_turn>" in prompt
    assert "Be brief." in shown(GEMMA3, [system("Be brief.")])


def test_content_blocks_are_merged_as_blocks() -> None:
    blocks = [{"type": "text", "text": "One."}]
    own = opened(GEMMA3)
    prepared, _ = own.prepare(checked([system("S"), {"role": "user", "content": blocks}]), ())
    assert prepared == [{"role": "user", "content": [{"type": "text", "text": "S"}, *blocks]}]


def test_parallel_calls_become_single_ones_where_a_template_takes_no_others() -> None:
    template = TEMPLATES["Llama 3"][0]
    conversation = [
        user("Q"),
        calls(("a", "now", {}), ("b", "add", {"a": 1, "b": 2})),
        result("a", "noon"),
        result("b", "three"),
    ]
    prompt = shown(template, conversation, TOOLS)
    words = ['{"name": "now"', "noon", '{"name": "add"', "three"]
    places = [prompt.rindex(word) for word in words]
    assert places == sorted(places)


def test_mistrals_ids_stay_or_become_what_its_templates_take() -> None:
    conversation = [
        user("Q"),
        calls(("abcdefghi", "now", {}), ("call_17", "now", {})),
        result("abcdefghi", "noon"),
        result("call_17", "one"),
    ]
    prompt = shown(MISTRAL, conversation, TOOLS)
    assert prompt.count("abcdefghi") == 2
    assert "call_17" not in prompt
    (new,) = {part[:9] for part in prompt.split('"id": "')[2:]}
    assert f'{{"content": one, "call_id": "{new}"}}' in prompt


def test_a_prompt_may_begin_the_reasoning_or_end_it() -> None:
    own = opened(THINKING)
    assert own.reasoning is not None
    assert own.reasoning.opened_by(shown(THINKING, [user("Q")]))
    ended = shown(THINKING, [user("Q")], enable_thinking=False)
    assert not own.reasoning.opened_by(ended)
    assert own.is_bare(ended)


def test_a_template_that_knows_tools_in_an_unknown_way_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unknown = HERMES.replace("<tool_call>\n{", "<other>{")
    with caplog.at_level(logging.WARNING):
        assert opened(unknown).name == "json"
    assert "chat_format" in caplog.text
    # Its tools are then told by us alone.
    assert "<tools>" not in shown(unknown, [user("Q")], TOOLS)


@pytest.mark.parametrize(
    ("message", "culprit"),
    [
        ("Hi", r"messages\[1\]"),
        ({"content": "Hi"}, r"messages\[1\]"),
        ({"role": "assistant", "tool_calls": [{"name": "add"}]}, r"messages\[1\].*OpenAI"),
        (calls(("a", "add", "{")), r"messages\[1\].*not JSON"),
        (calls(("a", "add", "[1]")), r"messages\[1\].*JSON object"),
    ],
)
def test_messages_that_are_in_no_known_form_are_named(message: Any, culprit: str) -> None:
    with pytest.raises(InvalidArgumentError, match=culprit):
        checked([user("Q"), message])


def test_calls_are_shown_where_there_are_no_tools_any_more() -> None:
    conversation = [user("Q"), calls(("call_1", "now", "{}")), result("call_1", "noon")]
    template = ChatTemplate({"default": CHATML, "tool_use": HERMES}, SPECIAL)
    own = chat_format(TemplateProbe(template), ())
    assert own.name == "hermes"
    for tools in (TOOLS, ()):
        prepared, given = own.prepare(checked(conversation), tools)
        prompt = own.probe.template.render(prepared, tools=given or None)
        assert '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>' in prompt
        assert "noon" in prompt


def test_messages_are_not_changed() -> None:
    conversation = [user("Q"), calls(("call_1", "now", "{}")), result("call_1", "noon")]
    before = json.dumps(conversation)
    for template, _ in TEMPLATES.values():
        shown(template, conversation, TOOLS)
    assert json.dumps(conversation) == before
