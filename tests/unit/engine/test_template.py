"""Chat templates. The oracle is how transformers renders the same text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vllm_swift_engine.errors import InvalidArgumentError, ModelCorruptError, UnsupportedError
from vllm_swift_engine.models.template import ChatTemplate, load_template

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'Über <b>"x"</b> & 😀\n  indented'},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Why?"},
]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"a": "é<int>"}}}]

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}\n"
        "    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + eos_token }}\n"
        "{% endfor %}\n"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "trimmed blocks": "  {% if true %}\n  a\n  {% endif %}\n{{ bos_token }}\n",
    "loop controls": (
        "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}"
        "{% if loop.index == 4 %}{% break %}{% endif %}{{ m.role }} {% endfor %}"
    ),
    "tojson": (
        "{{ messages[1] | tojson }}{{ tools | tojson(indent=2) }}"
        "{{ tools | tojson(separators=(',', ':'), sort_keys=true) }}"
    ),
    "generation": (
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    ),
    "namespace and macros": (
        "{% macro show(m) %}[{{ m.role|upper }}]{% endmacro %}{% set ns = namespace(n=0) %}"
        "{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ show(m) }}{% endfor %}{{ ns.n }}"
    ),
    "undefined variables": "{% if enable_thinking is defined %}x{% endif %}{{ missing }}.",
    "special tokens": "{{ bos_token }}{{ eos_token }}",
}


def theirs(template: str, **variables: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, _ = render_jinja_template(
        conversations=[CHAT], chat_template=template, bos_token="<s>", eos_token="</s>", **variables
    )
    return str(rendered[0])


def ours(template: str) -> ChatTemplate:
    return ChatTemplate({"default": template}, {"bos_token": "<s>", "eos_token": "</s>"})


@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_renders_as_transformers_does(name: str, add_generation_prompt: bool) -> None:
    arguments: dict[str, Any] = {"tools": TOOLS, "add_generation_prompt": add_generation_prompt}
    rendered = ours(TEMPLATES[name]).render(CHAT, **arguments)
    assert rendered == theirs(TEMPLATES[name], **arguments)


def test_other_variables_reach_the_template() -> None:
    template = ours("{{ enable_thinking }} {{ bos_token }}")
    assert template.render(CHAT, enable_thinking=False) == "False <s>"


def test_the_date_is_there() -> None:
    assert ours("{{ strftime_now('%Y') }}").render(CHAT).isdigit()


def test_what_the_template_says_of_bad_messages_is_passed_on() -> None:
    template = ours("{{ raise_exception('Roles must alternate user/assistant') }}")
    with pytest.raises(InvalidArgumentError, match="Roles must alternate"):
        template.render(CHAT)


@pytest.mark.parametrize(
    "attack",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}{{ ''.__class__.__base__ }}",
        "{{ messages.append({'role': 'user', 'content': 'x'}) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ messages.clear() }}",
        "{{ raise_exception.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{% for i in range(10000000000) %}{% endfor %}",
        "{% include 'passwd' %}",
        "{{ messages|attr('__class__')|attr('__base__') }}{{ none.x }}",
        "{{ 1 + 'a' }}",
        "{{ messages[99].content.x }}",
        "{{ 1 / 0 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_can_change_nothing_and_reach_nothing(attack: str) -> None:
    messages = [dict(message) for message in CHAT]
    try:
        shown = ours(attack).render(messages)
    except InvalidArgumentError:
        shown = ""
    assert shown == ""
    assert messages == CHAT


@pytest.mark.parametrize("messages", ["text", {"role": "user"}, [1], ["a"], None, [], 3])
def test_what_is_no_conversation_is_refused(messages: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="messages"):
        ours("x").render(messages)


def test_no_template_says_what_to_do() -> None:
    with pytest.raises(UnsupportedError, match="instruction-tuned"):
        ChatTemplate({}, {}).render(CHAT)


def test_a_broken_template_is_a_corrupt_model() -> None:
    with pytest.raises(ModelCorruptError, match="jinja2"):
        ours("{% for %}").render(CHAT)


def test_a_template_for_tools_is_used_for_tools() -> None:
    template = ChatTemplate({"default": "plain", "tool_use": "tools"}, {})
    assert (template.render(CHAT), template.render(CHAT, tools=TOOLS)) == ("plain", "tools")


def test_special_tokens_may_be_objects(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>", "lstrip": False}, "chat_template": "{{ bos_token }}"}
    assert load_template(tmp_path, config).render(CHAT) == "<s>"


def test_named_templates_in_the_config(tmp_path: Path) -> None:
    config = {
        "chat_template": [
            {"name": "default", "template": "plain"},
            {"name": "tool_use", "template": "tools"},
        ]
    }
    template = load_template(tmp_path, config)
    assert (template.render(CHAT), template.render(CHAT, tools=TOOLS)) == ("plain", "tools")


def test_files_of_a_folder_come_first(tmp_path: Path) -> None:
    config = {"chat_template": "config"}
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "json"}))
    assert load_template(tmp_path, config).render(CHAT) == "json"
    (tmp_path / "chat_template.jinja").write_text("jinja ü", encoding="utf-8")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates/tool_use.jinja").write_text("tools")
    template = load_template(tmp_path, config)
    assert (template.render(CHAT), template.render(CHAT, tools=TOOLS)) == ("jinja ü", "tools")


def test_a_template_that_is_no_text_is_a_corrupt_model(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelCorruptError, match=r"chat_template\.jinja"):
        load_template(tmp_path, {})
