"""Tools, tool choices and response formats in what LangChain and OpenAI call them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from langchain_core.tools import BaseTool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

ToolLike = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
SchemaLike = Mapping[str, Any] | type[Any]
ToolChoice = Mapping[str, Any] | str | bool

_MODES = {"auto": "auto", "none": "none", "any": "required", "required": "required"}


def tool_dicts(tools: Sequence[ToolLike], strict: bool | None = None) -> list[dict[str, Any]]:
    """Tools as OpenAI's dictionaries, `{"type": "function", "function": {"name", ...}}`.

    Args:
        tools: Functions, pydantic classes, TypedDicts, LangChain tools, or dictionaries in one of
            the forms that `convert_to_openai_tool` knows.
        strict: Whether arguments must follow the schemas exactly; None leaves it to each tool.

    Raises:
        ValueError: Something that is no list, no tool, or has no name.
        UnsupportedError: A tool that a service runs, such as web search, by name.
    """
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable):
        raise ValueError(f"tools must be a list of tools, not {tools!r:.80}.")
    return [_tool_dict(tool, strict) for tool in tools]


def _tool_dict(given: ToolLike, strict: bool | None) -> dict[str, Any]:
    tool = _converted(convert_to_openai_tool, given, strict=strict)
    if tool.get("type") != "function" or "function" not in tool:
        raise _unsupported(
            f"The tool {tool.get('name') or tool.get('type')!r} is run by a service and not "
            "supported here: give a function, a class or a schema."
        )
    if "name" not in tool["function"]:
        raise ValueError(f"The tool {tool!r:.80} has no name.")
    if (parameters := _recursive_parameters(given)) is not None:
        tool["function"]["parameters"] = parameters
    return tool


def _converted(
    convert: Callable[..., dict[str, Any]], given: Any, **options: Any
) -> dict[str, Any]:
    """LangChain's schema of something; what it says of a type that has none names no culprit."""
    try:
        return convert(given, **options)
    except TypeError as error:
        name = getattr(given, "__name__", repr(given))
        raise ValueError(
            f"{name} has no schema: {error} A field of a TypedDict that may be missing is written "
            "Annotated[int, None, 'its description']; a pydantic class gives it a default."
        ) from error


def _recursive_parameters(tool: ToolLike) -> dict[str, Any] | None:
    """The parameters of a tool that refer to themselves, which LangChain leaves out; else None."""
    model = tool.tool_call_schema if isinstance(tool, BaseTool) else tool
    if isinstance(model, FunctionType):
        model = create_schema_from_function(
            model.__name__, model, parse_docstring=True, include_injected=False
        )
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    uses = {
        name: set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(definition)))
        for name, definition in definitions.items()
    }
    while ends := [name for name in uses if not uses[name] & uses.keys()]:
        for name in ends:
            del uses[name]
    if not uses:
        return None
    if reference := schema.get("$ref"):
        schema = definitions[reference.rpartition("/")[2]] | {"$defs": definitions}
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def openai_choice(choice: ToolChoice | None, tools: Sequence[Mapping[str, Any]]) -> Any:
    """A tool choice as OpenAI writes it: "auto", "none", "required" or a named function.

    Args:
        choice: One of these, "any" or True (required), None or False (auto), the name of a tool,
            or a dictionary in OpenAI's or Anthropic's form.
        tools: OpenAI's dictionaries, of which a choice by name must name one.

    Raises:
        InvalidArgumentError: No such choice, or a tool that is not there; names those that are.
    """
    names = [tool["function"]["name"] for tool in tools]
    if choice is None or isinstance(choice, bool):
        mode = "required" if choice else "auto"
    elif isinstance(choice, str):
        mode = "tool" if choice in names else _MODES.get(choice, "tool")
    elif isinstance(choice, Mapping):
        mode = _MODES.get(str(choice.get("type")), "tool")
        choice = choice.get("function", choice).get("name") if mode == "tool" else None
    else:
        raise _invalid(f"tool_choice must be a str, a dict or a bool, not {choice!r:.80}.")
    if mode == "required" and not names:
        raise _invalid(f"tool_choice {choice!r} needs a tool, and there is none.")
    if mode != "tool":
        return mode
    if choice not in names:
        there = ", ".join(map(repr, names)) or "none"
        raise _invalid(
            f"tool_choice names {choice!r}, which is no tool. The tools: {there}; other choices: "
            "'auto', 'none', 'any'."
        )
    return {"type": "function", "function": {"name": choice}}


def format_outputs(response_format: SchemaLike | None) -> dict[str, Any] | None:
    """OpenAI's `response_format` as vLLM's `structured_outputs`; None for plain text.

    Args:
        response_format: `{"type": "json_schema", "json_schema": {"schema": ..., "strict": ...}}`,
            `{"type": "json_object"}`, `{"type": "text"}`, a class or a JSON schema.

    Raises:
        InvalidArgumentError: A string.
        UnsupportedError: A type of format that is not supported, by name.
        ValueError: Something that has no schema.
    """
    match response_format:
        case None | {"type": "text"}:
            return None
        case str():
            raise _invalid(
                'response_format must be {"type": "json_object"}, {"type": "json_schema", ...}, a '
                f"class or a JSON schema, not {response_format!r:.80}."
            )
        case {"type": "json_object"}:
            return {"json_object": True}
        case {"type": "json_schema", "json_schema": {"schema": schema, "strict": strict}}:
            return schema_outputs(schema, strict)
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return schema_outputs(schema)
        case {"type": "grammar" | "structural_tag" | "json_schema" as kind}:
            raise _unsupported(
                f"response_format {kind!r} is not supported in this form: give a schema under "
                "json_schema.schema, or structured_outputs."
            )
        case _:
            return schema_outputs(response_format)


def schema_outputs(schema: SchemaLike, strict: bool | None = None) -> dict[str, Any]:
    """VLLM's `structured_outputs` for the instances of a schema.

    Properties that the schema does not list are none unless it says something of them, or `strict`
    is False: what a class describes are all its fields.

    Args:
        schema: A pydantic class, a TypedDict, a JSON schema, or a function in OpenAI's form.
        strict: False where the schema may ask for what no grammar holds, with a warning.

    Raises:
        ValueError: Something that has no schema.
    """
    if strict is False:
        return {"json": json_schema(schema), "strict": False}
    return {"json": json_schema(schema), "disable_additional_properties": True}


def any_object(schema: SchemaLike | None) -> dict[str, Any]:
    """VLLM's `structured_outputs` for any JSON object, held to a schema as far as that goes.

    Raises:
        ValueError: Something that has no schema.
    """
    return {"json_object": True} if schema is None else schema_outputs(schema) | {"strict": False}


def json_schema(schema: SchemaLike) -> dict[str, Any]:
    """The JSON schema of a class or a dictionary; references stay references.

    Raises:
        ValueError: Something that has no schema.
    """
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        model: Any = schema
        v2 = issubclass(schema, BaseModel)
        return dict(model.model_json_schema() if v2 else model.schema())
    if isinstance(schema, Mapping):
        if isinstance(schema.get("schema"), Mapping):  # OpenAI's {"name", "schema", "strict"}
            return dict(schema["schema"])
        if not {"name", "function", "toolSpec"} & schema.keys():
            return dict(schema)
        return convert_to_json_schema(dict(schema))
    return _converted(convert_to_json_schema, schema)


def _invalid(sentence: str) -> Exception:
    from vllm_swift_engine.errors import InvalidArgumentError

    return InvalidArgumentError(sentence)


def _unsupported(sentence: str) -> Exception:
    from vllm_swift_engine.errors import UnsupportedError

    return UnsupportedError(sentence)
