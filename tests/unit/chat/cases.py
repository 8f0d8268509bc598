"""Answers in each format, as models write them."""

from __future__ import annotations

from typing import Any

from tests.unit.chat.answers import Case

_PARIS = ("get_weather", {"city": "Paris"})
_SUM = ("add", {"a": 1, "b": 2})
_NOW: tuple[str, dict[str, Any]] = ("now", {})

#: What each format's models write, and what it says.
CASES: dict[str, list[Case]] = {
    "hermes": [
        Case("Hello.", "Hello."),
        Case("  two spaces \n", "  two spaces \n"),
        Case(
            '<think>\nHm.\n\nOK\n</think>\n\nLet me look.\n<tool_call>\n{"name": "get_weather", '
            '"arguments": {"city": "Paris"}}\n</tool_call>',
            "Let me look.",
            (_PARIS,),
            "Hm.\n\nOK",
        ),
        Case(
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n'
            '<tool_call>{"name":"add","arguments":{"a":1,"b":2}}</tool_call>\n',
            calls=(_PARIS, _SUM),
        ),
        Case("why</think>\n\nso <i>it</i>", "so <i>it</i>", reasoning="why", thinking=True),
        Case("<think>\n\n</think>\n\nYes", "Yes"),
        Case("never ends ", reasoning="never ends ", thinking=True),
        # The order of keys, arguments as a string, no end, several in one block, OpenAI's shape.
        Case('<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}', calls=(_PARIS,)),
        Case(
            '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}'
            "</tool_call>",
            calls=(_PARIS,),
        ),
        Case(
            '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}\n'
            '{"name": "add", "parameters": {"a": 1, "b": 2}}</tool_call>',
            calls=(_PARIS, _SUM),
        ),
        Case(
            '<tool_call>{"id": "7", "type": "function", "function": {"name": "now"}}</tool_call>',
            calls=(("now", {}),),
        ),
        Case('<tool_call>{"name": "now", "arguments": null}</tool_call>', calls=(("now", {}),)),
        # A marker inside a string is a string; what follows a whole call is text.
        Case(
            '<tool_call>{"name": "get_weather", "arguments": {"city": "</tool_call>"}}</tool_call>',
            calls=(("get_weather", {"city": "</tool_call>"}),),
        ),
        Case(
            '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}}</tool_call> x',
            "}x",
            calls=(_PARIS,),
        ),
        Case(
            '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}</tool_call>',
            calls=(_PARIS,),
        ),
        # JSON has no line ends in strings; models do.
        Case(
            '<tool_call>{"name": "get_weather", "arguments": {"city": "a\nb\tc"}}</tool_call>',
            calls=(("get_weather", {"city": "a\nb\tc"}),),
        ),
        Case("a </tool_call>b</think> c", "a b c"),
        Case("1 < 2 <tool <think", "1 < 2 <tool <think"),
        Case("<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", names={}),
    ],
    "json": [
        Case("Hello.", "Hello."),
        Case('{"name": "get_weather", "arguments": {"city": "Paris"}}', calls=(_PARIS,)),
        Case(
            '\n {"name":"get_weather", "parameters":{"city": "Paris"}};\n{"name": "add", '
            '"arguments": {"a": 1, "b": 2}}\n',
            calls=(_PARIS, _SUM),
        ),
        Case(
            '<think>so</think>{"type": "function", "name": "now", "arguments": {}}',
            calls=(("now", {}),),
            reasoning="so",
        ),
        Case(
            'why</think>\n\n{"arguments": {"city": "Paris"}, "name": "get_weather"}',
            calls=(_PARIS,),
            reasoning="why",
            thinking=True,
        ),
        # JSON that is no call of a tool that there is.
        Case('{"name": "Anna", "age": 3}', '{"name": "Anna", "age": 3}'),
        Case('{"city": "Paris"} \n', '{"city": "Paris"} \n'),
        Case('{"name": "add"', '{"name": "add"'),
        Case('Call {"name": "now"}', 'Call {"name": "now"}'),
        Case(
            '{"name": "now", "arguments": {}}\nThat is {all}.',
            "That is {all}.",
            calls=(("now", {}),),
        ),
        Case(
            '{"name": "now", "arguments": {}}',
            '{"name": "now", "arguments": {}}',
            names={},
        ),
    ],
    "llama3_json": [
        Case("Hello.", "Hello."),
        Case('{"name": "get_weather", "parameters": {"city": "Paris"}}', calls=(_PARIS,)),
        Case(
            '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": '
            '{"city": "Paris"}}; {"name": "add", "parameters": {"a": 1, "b": 2}}',
            calls=(_PARIS, _SUM),
        ),
        Case('Let me see.<|python_tag|>{"name": "now", "parameters": {}}', "Let me see.", (_NOW,)),
        Case('<|python_tag|>print("x")', 'print("x")'),
        Case('{"name": "Anna"}', '{"name": "Anna"}'),
    ],
    "mistral": [
        Case("Hello [INST].", "Hello [INST]."),
        Case('[TOOL_CALLS] [{"name": "now", "arguments": {}, "id": "a1B2c3D4e"}]', calls=(_NOW,)),
        Case(
            'So:[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}, '
            '{"name": "add", "arguments": "{\\"a\\": 1, \\"b\\": 2}"}]',
            "So:",
            (_PARIS, _SUM),
        ),
        Case(
            '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]add[CALL_ID]a1B2c3D4e'
            '[ARGS]{"a": 1, "b": 2}',
            calls=(_PARIS, _SUM),
        ),
        Case("<think>so</think>Hello.", "Hello.", reasoning="so"),
    ],
    "phi4_mini_json": [
        Case("Hello.", "Hello."),
        Case(
            '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": '
            '"add", "arguments": {"a": 1, "b": 2}}]<|/tool_call|>',
            calls=(_PARIS, _SUM),
        ),
        Case('<|tool_call|>{"name": "now", "arguments": {}}<|/tool_call|>', calls=(_NOW,)),
        Case('functools[{"name": "now", "arguments": {}}]', calls=(_NOW,)),
        Case("functools is a module", "functools is a module"),
    ],
    "granite": [
        Case("Hello.", "Hello."),
        Case(
            '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": '
            '"add", "arguments": {"a": 1, "b": 2}}]',
            calls=(_PARIS, _SUM),
        ),
        Case('<tool_call>[{"name": "now", "arguments": {}}]', calls=(_NOW,)),
        Case("<|tool_call|>[]"),
        Case("<think>so</think>\n\n<response>Hello.</response>", "Hello.", reasoning="so"),
    ],
    "deepseek_v3": [
        Case("Hello.", "Hello."),
        Case(
            "why</think>\n\nSo.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>"
            'get_weather\n```json\n{"city": "Paris"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>'
            'function<｜tool▁sep｜>add\n```json\n{"a": 1, "b": 2}\n```<｜tool▁call▁end｜>'
            "<｜tool▁calls▁end｜>",
            "So.",
            (_PARIS, _SUM),
            "why",
            thinking=True,
        ),
        Case(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
            calls=(_NOW,),
        ),
    ],
    "deepseek_v31": [
        Case("Hello.", "Hello."),
        Case(
            "So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
            '{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>'
            '{"a": 1, "b": 2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
            "So.",
            (_PARIS, _SUM),
        ),
        Case("a<｜tool▁calls▁end｜> b", "a b"),
    ],
    "harmony": [
        Case("<|channel|>final<|message|>Hello.<|return|>", "Hello."),
        Case(
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"
            "Hello.",
            "Hello.",
            reasoning="Hm.",
        ),
        Case(
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary"
            "<|message|>Let me look.<|end|><|start|>assistant<|channel|>commentary "
            'to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
            "Let me look.",
            (_PARIS,),
            "Hm.",
        ),
        Case(
            " to=functions.get_weather<|channel|>commentary json<|message|>"
            '{"city": "Paris"}<|call|>'
            "<|start|>assistant to=functions.add<|channel|>commentary <|constrain|>json<|message|>"
            '{"a": 1, "b": 2}',
            calls=(_PARIS, _SUM),
        ),
        Case("Hello without a header.", "Hello without a header."),
        Case("why<|end|><|start|>assistant<|channel|>final<|message|>so", "so", (), "why", True),
    ],
    "qwen3_coder": [
        Case("Hello.", "Hello."),
        Case(
            "Let me look.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n"
            "</parameter>\n</function>\n</tool_call>\n<tool_call><function=add><parameter=a>1</parameter>"
            "<parameter=b>2</parameter></function></tool_call>",
            "Let me look.",
            (_PARIS, _SUM),
        ),
        Case("<function=now>\n</function>\n</tool_call>", calls=(_NOW,)),
        Case(
            "<tool_call><function=store><parameter=items>\n[{'a': True}]\n</parameter>"
            "<parameter=deep>\nTrue\n</parameter><parameter=note>\nnull\n</parameter></function>"
            "</tool_call>",
            calls=(("store", {"items": [{"a": True}], "deep": True, "note": None}),),
        ),
        Case(
            '<tool_call><function=get_weather><parameter=city>\na "b"\n\n</parameter>'
            "<parameter=days>\nmany\n</parameter></function></tool_call>",
            calls=(("get_weather", {"city": 'a "b"\n', "days": "many"}),),
        ),
        Case(
            "<tool_call><function=unknown><parameter=x>1</parameter><parameter=y>[1]</parameter>"
            "</function></tool_call>",
            calls=(("unknown", {"x": "1", "y": [1]}),),
        ),
    ],
    "functiongemma": [
        Case("Hello.", "Hello."),
        Case(
            "So.<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>"
            "<start_function_call>call:add{a:1,b:2}<end_function_call>",
            "So.",
            (_PARIS, _SUM),
        ),
        Case(
            "<start_function_call>call:store{items:[{a:[1,None],<escape>b c<escape>:{}}],deep:True,"
            "note:plain words}<end_function_call>",
            calls=(
                (
                    "store",
                    {"items": [{"a": [1, None], "b c": {}}], "deep": True, "note": "plain words"},
                ),
            ),
        ),
    ],
    "gemma4": [
        Case("Hello.", "Hello."),
        Case(
            'So.<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>'
            "<|tool_call>call:add{a:1,b:2}<tool_call|>",
            "So.",
            (_PARIS, _SUM),
        ),
    ],
}
