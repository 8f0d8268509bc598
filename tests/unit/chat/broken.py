"""Calls that are none, and pieces of markup for answers at random."""

from __future__ import annotations

#: What begins like a call and is none.
INVALID: dict[str, list[str]] = {
    "hermes": [
        "<tool_call>get the weather</tool_call>",
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b" 2}}\n</tool_call>',
        '<tool_call>{"name": "add", "arguments": {"a": [1}}</tool_call>',
        '<tool_call>{"name": "add", "arguments": [1, 2]}</tool_call>',
        '<tool_call>{"name": "add", "arguments": "a=1"}</tool_call>',
        '<tool_call>{"arguments": {"a": 1}}</tool_call>',
        '<tool_call>{"name": "add", "arguments": {"a": 1, "b": "never',
        '<tool_call>{"name": 7, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>',
        "<tool_call>",
        "<tool_call>" + '{"function":' * 30,
    ],
    "json": [
        '{"name": "add", "arguments": {"a": 1, "b" 2}}',
        '{"name": "add", "arguments": {"a": 1, "b": "never',
    ],
    "llama3_json": ['<|python_tag|>{"name": "add", "parameters": {"a": 1, "b" 2}}'],
    "mistral": [
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b" 2}}]',
        '[TOOL_CALLS]add[ARGS]{"a": 1',
        "[TOOL_CALLS]add{}",
        "[TOOL_CALLS]",
    ],
    "phi4_mini_json": [
        '<|tool_call|>[{"name": "add", "arguments": {"a": 1, "b" 2}}]<|/tool_call|>',
        'functools[{"name": "add", "arguments": [1]}]',
    ],
    "granite": [
        '<|tool_call|>[{"name": "add", "arguments": {"a": 1, "b" 2}}]',
        "<|tool_call|>add",
    ],
    "deepseek_v3": [
        "<｜tool▁calls▁begin｜>add<｜tool▁calls▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{1}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ],
    "deepseek_v31": [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{",
    ],
    "harmony": [
        "<|channel|>commentary to=functions.add <|constrain|>json<|message|>add!<|call|>",
        '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1',
        "<|channel|>commentary to=python code<|message|>print(1)<|call|>",
    ],
    "qwen3_coder": [
        "<tool_call>add</tool_call>",
        "<tool_call><function=add><parameter=a>1</tool_call>",
        "<tool_call><function=add>1</function></tool_call>",
        "<tool_call><function=></function></tool_call>",
    ],
    "functiongemma": [
        "<start_function_call>add<end_function_call>",
        "<start_function_call>call:add{a:1 b<end_function_call>",
        "<start_function_call>call:add{a:<escape>1}<end_function_call>",
        "<start_function_call>call:add{a:" + "[" * 200 + "<end_function_call>",
    ],
    "gemma4": ["<|tool_call>add<tool_call|>", '<|tool_call>call:add{a:<|"|>1}<tool_call|>'],
}

_DEEPSEEK = [
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "add",
    '{"a": 1}',
]

#: Pieces of each format's markup, for answers at random.
MARKUP: dict[str, list[str]] = {
    "hermes": [
        "<tool_call>",
        "</tool_call>",
        '{"name": "add", "arguments": {"a": 1}}',
        '{"name": "add", "arguments": ',
        '{"a": "b',
        "}}",
    ],
    "json": [
        '{"name": "add", "arguments": {"a": 1}}',
        '{"name": "add", ',
        '"arguments": {',
        "}}",
        ";",
    ],
    "llama3_json": ["<|python_tag|>", '{"name": "add", "parameters": {"a": 1}}', ";", "}}"],
    "mistral": [
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "add",
        '{"a": 1}',
        '[{"name": "add", "arguments": {"a": 1}}',
        "]",
    ],
    "phi4_mini_json": [
        "<|tool_call|>",
        "<|/tool_call|>",
        "functools[",
        '[{"name": "add", "arguments": {"a": 1}}',
        "]",
    ],
    "granite": [
        "<|tool_call|>",
        "<tool_call>",
        "<response>",
        '[{"name": "add", "arguments": {"a": 1}}',
        ",",
        "]",
    ],
    "deepseek_v3": [*_DEEPSEEK, "function", "\n```json\n", "```"],
    "deepseek_v31": _DEEPSEEK,
    "harmony": [
        "<|start|>",
        "assistant",
        "<|channel|>",
        "analysis",
        "final",
        "commentary",
        " to=functions.add ",
        "<|constrain|>json",
        "<|message|>",
        '{"a": 1}',
        "<|end|>",
        "<|call|>",
        "<|return|>",
    ],
    "qwen3_coder": [
        "<tool_call>",
        "</tool_call>",
        "<function=add>",
        "</function>",
        "<parameter=a>",
        "</parameter>",
    ],
    "functiongemma": [
        "<start_function_call>",
        "<end_function_call>",
        "call:add{",
        "a:",
        "<escape>",
        "}",
        ",",
        "[",
    ],
    "gemma4": ["<|tool_call>", "<tool_call|>", "call:add{", "a:", '<|"|>', "}", ",", "["],
}
