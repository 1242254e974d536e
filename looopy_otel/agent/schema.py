"""From a function's signature and docstring to the JSON Schema of a tool, and from a model's arguments to a call."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_json

from looopy_otel.agent.docstring import parse_docstring
from looopy_otel.agent.errors import InvalidArgumentsError, ToolSignatureError
from looopy_otel.agent.tool_context import ToolContext
from looopy_otel.core.types import ToolDefinition

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI's API takes as a function's name."""


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """How a function is told to a model and called with what the model answers.

    Attributes:
        definition: The tool as the model is told of it.
        model: Validates the arguments; its fields are named ``p0``, ``p1``, … and aliased to the parameters' names,
            so that a parameter may be called ``schema`` or ``_x``.
        parameters: Field names to the function's parameters.
        context_parameters: Names of the parameters that take the `ToolContext`.
    """

    definition: ToolDefinition
    model: type[BaseModel]
    parameters: Mapping[str, inspect.Parameter]
    context_parameters: tuple[str, ...] = ()

    def bind(self, arguments: str, context: ToolContext) -> tuple[list[Any], dict[str, Any]]:
        """Validates a model's arguments.

        Args:
            arguments: The JSON text as the model wrote it; empty means no arguments.
            context: What goes to the parameters annotated ``ToolContext``.

        Returns:
            Positional and keyword arguments for the function. What the model left out is left to the function.

        Raises:
            InvalidArgumentsError: Naming every argument that is wrong, missing or unknown.
        """
        values = self._validated(arguments)
        positional: list[Any] = []
        named: dict[str, Any] = dict.fromkeys(self.context_parameters, context) | (values.model_extra or {})
        for field, parameter in self.parameters.items():
            if parameter.kind is parameter.POSITIONAL_ONLY:
                # Those that were left out before this one have defaults, which then must be spelled out.
                positional.append(getattr(values, field) if field in values.model_fields_set else parameter.default)
            elif field in values.model_fields_set:
                named[parameter.name] = getattr(values, field)
        return positional, named

    def _validated(self, arguments: str) -> BaseModel:
        try:
            decoded = json.loads(arguments.strip() or "{}")
        except ValueError as error:
            raise InvalidArgumentsError(f"the arguments are not JSON ({error}): {_shortened(arguments)}") from None
        if not isinstance(decoded, dict):
            raise InvalidArgumentsError(f"the arguments must be a JSON object, not {_shortened(arguments)}")
        try:
            return self.model.model_validate(decoded)
        except ValidationError as error:
            raise InvalidArgumentsError("; ".join(map(_problem, error.errors(include_url=False)))) from None


def function_schema(function: Callable[..., Any]) -> FunctionSchema:
    """Reads a function, method, callable object or `functools.partial`.

    Raises:
        ToolSignatureError: If it cannot be a tool: no usable name, ``*args``, a generator, an annotation that cannot
            be resolved or that JSON cannot say.
    """
    name, signature = _name(function), _signature(function)
    documented = parse_docstring(inspect.getdoc(_documented(function)))
    context_parameters: list[str] = []
    parameters: dict[str, inspect.Parameter] = {}
    fields: dict[str, Any] = {}
    extra = "forbid"
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise ToolSignatureError(f"{name}: a model names its arguments, so *{parameter.name} cannot be filled")
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif _takes_context(parameter):
            context_parameters.append(parameter.name)
        else:
            parameters[f"p{len(parameters)}"] = parameter
            fields[f"p{len(fields)}"] = _field(parameter, documented.parameters.get(parameter.name))
    model = _model(name, fields, extra)
    definition = ToolDefinition(name, documented.description, _json_schema(name, model))
    return FunctionSchema(definition, model, parameters, tuple(context_parameters))


def _name(function: Callable[..., Any]) -> str:
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    name = str(getattr(target, "__name__", type(target).__name__))
    if not NAME.fullmatch(name):
        raise ToolSignatureError(f"{name!r} is no name for a tool: use a def with letters, digits, '_' and '-'")
    body = target if inspect.isroutine(target) else type(target).__call__
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise ToolSignatureError(f"{name}: a generator cannot be a tool; return a list or a text")
    return name


def _documented(function: Callable[..., Any]) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    # A callable object is documented by its class, or else by its __call__.
    if inspect.isroutine(function) or type(function).__doc__:
        return function
    return type(function).__call__


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise ToolSignatureError(
            f"{_name(function)}: an annotation cannot be resolved ({error}); "
            "define or import its type at the top of the module, not in a function or under TYPE_CHECKING"
        ) from error
    except ValueError as error:
        raise ToolSignatureError(f"{_name(function)}: it has no signature to read; wrap it in a def") from error


def _takes_context(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is ToolContext or parameter.annotation == ToolContext | None


def _field(parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    facts: dict[str, Any] = {"alias": parameter.name}
    if description is not None:
        facts["description"] = description
    if parameter.default is not parameter.empty:
        facts |= _default(parameter.default)
    return annotation, Field(**facts)


def _default(value: Any) -> dict[str, Any]:
    try:
        to_json(value)
    except PydanticSerializationError:
        # It cannot stand in the schema; the function itself supplies it.
        return {"default_factory": lambda: None}
    return {"default": value}


def _model(name: str, fields: dict[str, Any], extra: str) -> type[BaseModel]:
    try:
        return create_model(name, __config__=ConfigDict(extra=extra), **fields)  # pyright: ignore[reportArgumentType]
    except PydanticUserError as error:
        raise ToolSignatureError(f"{name}: an annotation cannot be validated: {error.message}") from error


def _json_schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(by_alias=True)
    except PydanticUserError as error:
        raise ToolSignatureError(f"{name}: JSON cannot say a parameter's type: {error.message}") from error
    schema = _without_titles(schema)
    schema.setdefault("properties", {})
    return schema


def _without_titles(schema: Any, *, names: bool = False) -> Any:
    """Drops pydantic's made-up titles, which cost tokens; in a mapping of names, ``title`` is somebody's name."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value, names=not names and key in ("properties", "$defs"))
        for key, value in schema.items()  # pyright: ignore[reportUnknownVariableType]
        if names or key != "title"
    }


def _problem(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "arguments"
    if error["type"] == "extra_forbidden":
        return f"unknown argument {place!r}"
    if error["type"] == "missing":
        return f"missing argument {place!r}"
    return f"{place}: {error['msg']} (got {_shortened(repr(error['input']))})"


def _shortened(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
