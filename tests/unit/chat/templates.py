"""Small chat templates that write what the published ones of each family write."""

from __future__ import annotations

_CHATML_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}"
    "{{ messages[0].content }}\n\n{% endif %}<tools>{% for t in tools %}\n{{ t | tojson }}"
    "{% endfor %}\n</tools>HOW<|im_end|>\n{% elif messages[0].role == 'system' %}"
    "<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'tool' %}"
    "<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}CALL{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

HERMES = _CHATML_TOOLS.replace(
    "HOW", '\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
).replace(
    "CALL",
    '\n<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>",
)

#: With reasoning that the prompt begins, as Qwen3's thinking models have it.
THINKING = HERMES.replace(
    "<|im_start|>assistant\n{% endif %}",
    "<|im_start|>assistant\n<think>\n{% if enable_thinking is defined and not enable_thinking %}"
    "\n</think>\n\n{% endif %}{% endif %}",
)

QWEN3_CODER = _CHATML_TOOLS.replace(
    "CALL",
    "\n<tool_call>\n<function={{ c.function.name }}>\n"
    "{% for k, v in c.function.arguments.items() %}"
    "<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}"
    "</function>\n</tool_call>",
)

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    "{% set c = m.tool_calls[0].function %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    '{"name": "{{ c.name }}", "parameters": {{ c.arguments | tojson }}}<|eot_id|>'
    "{% elif m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n"
    "{{ m.content | tojson }}<|eot_id|>{% else %}"
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if m.role == 'user' and tools and loop.first %}{% for t in tools %}"
    "{{ t | tojson(indent=4) }}"
    "{% endfor %}{% endif %}{{ m.content }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

#: Roles must alternate, ids have nine characters, a system message goes into the last user turn.
MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}"
    "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}"
    "{% set ns = namespace(index=0) %}{% for m in rest %}{% if (m.role == 'user' or (m.role == "
    "'assistant' and not m.tool_calls)) %}{% if (m.role == 'user') != (ns.index % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% set ns.index = ns.index + 1 %}{% endif %}{% endfor %}{{ bos_token }}{% for m in rest %}"
    "{% if m.role == 'user' %}{% if tools and loop.first %}[AVAILABLE_TOOLS]{{ tools | tojson }}"
    "[/AVAILABLE_TOOLS]{% endif %}[INST]{% if loop.last and s is defined %}{{ s }}\n\n{% endif %}"
    "{{ m.content }}[/INST]{% elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('ids must have 9 characters') }}{% endif %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, '
    '"id": "{{ c.id }}"}{{ ", " if not loop.last }}{% endfor %}]{{ eos_token }}'
    "{% elif m.role == 'tool' %}{% if m.tool_call_id | length != 9 %}"
    "{{ raise_exception('ids must have 9 characters') }}{% endif %}[TOOL_RESULTS]"
    '{"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]'
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)

MISTRAL_NAMED = (
    "{% for m in messages %}{% if m.role == 'user' %}{% if tools %}[AVAILABLE_TOOLS]"
    "{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST]{{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]{% else %}"
    "{% if m.role == 'system' %}[SYSTEM_PROMPT]{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[ARGS]"
    "{{ c.function.arguments | tojson }}{% endfor %}{% endif %}{% endfor %}{# [THINK] [/THINK] #}"
)

#: Shows tools, but no calls.
GRANITE = (
    "{% if tools %}<|start_of_role|>system<|end_of_role|>respond only with <|tool_call|> "
    "followed by a JSON list<|end_of_text|>\n<|start_of_role|>available_tools<|end_of_role|>"
    "{{ tools | tojson(indent=4) }}<|end_of_text|>\n{% endif %}{% for m in messages %}"
    "<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)

#: Takes the tools in the system message.
PHI4 = (
    "{% for m in messages %}{% if m.role == 'system' and 'tools' in m and m.tools is not none %}"
    "<|system|>{{ m.content }}<|tool|>{{ m.tools }}<|/tool|><|end|>{% else %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

#: Arguments are text, and calls are shown only of messages without content.
DEEPSEEK_V3 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% elif m.role == 'system' %}{{ m.content }}{% elif m.role == 'tool' %}<｜tool▁output▁begin｜>"
    "{{ m.content }}<｜tool▁output▁end｜>{% elif m.content is none %}<｜Assistant｜>"
    "<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>"
    "{{ c.type + '<｜tool▁sep｜>' + c.function.name + '\n```json\n' + c.function.arguments }}\n```"
    "<｜tool▁call▁end｜>{% endfor %}<｜tool▁calls▁end｜>{% else %}<｜Assistant｜>{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
    "{# </think> #}"
)

DEEPSEEK_V31 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% elif m.role == 'system' %}{{ m.content }}{% elif m.role == 'tool' %}<｜tool▁output▁begin｜>"
    "{{ m.content }}<｜tool▁output▁end｜>{% else %}<｜Assistant｜></think>{{ m.content }}"
    "{% if m.tool_calls %}<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>"
    "{{ c.function.name }}<｜tool▁sep｜>{{ c.function.arguments | tojson }}<｜tool▁call▁end｜>"
    "{% endfor %}<｜tool▁calls▁end｜>{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜></think>{% endif %}"
)

#: Shows the first call only, and reads earlier reasoning as ``thinking``.
HARMONY = (
    "<|start|>system<|message|>You are ChatGPT.<|end|>{% if tools %}<|start|>developer<|message|>"
    "namespace functions {% for t in tools %}type {{ t.function.name }} = (_: "
    "{{ t.function.parameters | tojson }}) => any;{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}{% if m.tool_calls %}{% if m.thinking %}<|start|>assistant<|channel|>"
    "analysis<|message|>{{ m.thinking }}<|end|>{% endif %}{% set c = m.tool_calls[0].function %}"
    "<|start|>assistant to=functions.{{ c.name }}<|channel|>commentary json<|message|>"
    "{{ c.arguments | tojson }}<|call|>{% elif m.role == 'tool' %}<|start|>functions to=assistant"
    "<|channel|>commentary<|message|>{{ m.content | tojson }}<|end|>"
    "{% elif m.role == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>{% else %}"
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)

_GEMMA_VALUES = (
    "{% macro value(v) %}{% if v is string %}MARK{{ v }}MARK{% elif v is mapping %}"
    "{ {%- for k, one in v.items() %}{{ k }}:{{ value(one) }}{{ ',' if not loop.last }}"
    "{% endfor -%} }"
    "{% elif v is sequence %}[{% for one in v %}{{ value(one) }}{{ ',' if not loop.last }}"
    "{% endfor %}]{% else %}{{ v | tojson }}{% endif %}{% endmacro %}"
)
_GEMMA_TURNS = (
    "{{ bos_token }}{% if tools %}<start_of_turn>developer\n{% for t in tools %}"
    "<start_function_declaration>declaration:{{ t.function.name }}<end_function_declaration>"
    "{% endfor %}<end_of_turn>\n{% endif %}{% for m in messages %}{% if m.role == 'tool' %}"
    "<start_function_response>response:{{ m.name }}{{ '{' }}value:MARK{{ m.content }}MARK{{ '}' }}"
    "<end_function_response>{% else %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}BEGINcall:{{ c.function.name }}"
    "{{ value(c.function.arguments) }}"
    "END{% endfor %}<end_of_turn>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _gemma(begin: str, end: str, mark: str) -> str:
    text = _GEMMA_VALUES + _GEMMA_TURNS
    return text.replace("BEGIN", begin).replace("END", end).replace("MARK", mark)


FUNCTIONGEMMA = _gemma("<start_function_call>", "<end_function_call>", "<escape>")
GEMMA4 = _gemma("<|tool_call>", "<tool_call|>", '<|"|>')

#: No tools, no system role, and roles that must alternate.
GEMMA3 = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

#: Each template with its format.
TEMPLATES: dict[str, tuple[str, str]] = {
    "Qwen": (HERMES, "hermes"),
    "Qwen thinking": (THINKING, "hermes"),
    "Qwen3-Coder": (QWEN3_CODER, "qwen3_coder"),
    "Llama 3": (LLAMA3, "llama3_json"),
    "Mistral": (MISTRAL, "mistral"),
    "Mistral named": (MISTRAL_NAMED, "mistral"),
    "Granite": (GRANITE, "granite"),
    "Phi-4": (PHI4, "phi4_mini_json"),
    "DeepSeek V3": (DEEPSEEK_V3, "deepseek_v3"),
    "DeepSeek V3.1": (DEEPSEEK_V31, "deepseek_v31"),
    "GPT-OSS": (HARMONY, "harmony"),
    "FunctionGemma": (FUNCTIONGEMMA, "functiongemma"),
    "Gemma 4": (GEMMA4, "gemma4"),
    "Gemma 3": (GEMMA3, "json"),
}
