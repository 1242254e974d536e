"""From a function's signature and docstring to the JSON Schema of a tool, and from a model's arguments to a call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_json

from looopy_otel.agent.docstring import parse_docstring
from looopy_otel.agent.errors import InvalidArgumentsError, ToolSignatureError
from looopy_otel.agent.signature import resolved_parameters, takes_context
from looopy_otel.agent.tool_arguments import decode_arguments, shortened
from looopy_otel.agent.tool_context import ToolContext
from looopy_otel.core.types import ToolDefinition

E = TypeVar("E")

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI's API takes as a function's name."""


class _Open(BaseModel, Generic[E]):
    """Takes arguments that are not named, all of one type."""

    model_config = ConfigDict(extra="allow")

    # https://docs.pydantic.dev/latest/concepts/models/#extra-data
    __pydantic_extra__: dict[str, E]  # pyright: ignore[reportIncompatibleVariableOverride]


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """How a function is told to a model and called with what the model answers.

    Attributes:
        definition: The tool as the model is told of it.
        model: Validates the arguments; its fields are named ``p0``, ``p1``, … and aliased to the parameters' names,
            so that a parameter may be called ``schema`` or ``_x``.
        parameters: The function's parameters in order, each with its field's name; without one, the parameter takes
            the `ToolContext`.
    """

    definition: ToolDefinition
    model: type[BaseModel]
    parameters: Sequence[tuple[inspect.Parameter, str | None]]

    @property
    def context_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that take the `ToolContext`."""
        return tuple(parameter.name for parameter, field in self.parameters if field is None)

    def bind(self, arguments: str, context: ToolContext) -> tuple[list[Any], dict[str, Any]]:
        """Validates a model's arguments.

        Args:
            arguments: The JSON text as the model wrote it; empty means no arguments.
            context: What goes to the parameters annotated ``ToolContext``.

        Returns:
            Positional and keyword arguments for the function. What the model left out is left to the function, unless
            its default is one of pydantic's fields.

        Raises:
            InvalidArgumentsError: Naming every argument that is wrong, missing or unknown.
        """
        values = self._validated(arguments)
        positional: list[Any] = []
        named: dict[str, Any] = dict(values.model_extra or {})
        for parameter, field in self.parameters:
            given = (
                field is None or field in values.model_fields_set or _has_field_default(self.model, field, parameter)
            )
            value = context if field is None else getattr(values, field)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                # Those that were left out before this one have defaults, which then must be spelled out.
                positional.append(value if given else parameter.default)
            elif given:
                named[parameter.name] = value
        return positional, named

    def _validated(self, arguments: str) -> BaseModel:
        decoded = decode_arguments(arguments)
        hidden = [repr(name) for name in self.context_parameters if name in decoded]
        if hidden:
            raise InvalidArgumentsError(f"unknown argument {', '.join(hidden)}")
        try:
            return self.model.model_validate(decoded)
        except ValidationError as error:
            raise InvalidArgumentsError("; ".join(map(_problem, error.errors(include_url=False)))) from None


def _has_field_default(model: type[BaseModel], field: str, parameter: inspect.Parameter) -> bool:
    """True when the default stands in a ``Field(…)``, of which the function itself knows nothing."""
    own = parameter.default is parameter.empty or isinstance(parameter.default, FieldInfo)
    return own and not model.model_fields[field].is_required()


def function_schema(function: Callable[..., Any]) -> FunctionSchema:
    """Reads a function, method, callable object or `functools.partial`.

    Raises:
        ToolSignatureError: If it cannot be a tool: no usable name, ``*args``, a generator, an annotation that cannot
            be resolved or that JSON cannot say.
    """
    name = _name(function)
    documented = parse_docstring(inspect.getdoc(_documented(function)))
    parameters: list[tuple[inspect.Parameter, str | None]] = []
    fields: dict[str, Any] = {}
    extra: Any = None
    for parameter in _parameters(name, function):
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise ToolSignatureError(f"{name}: a model names its arguments, so *{parameter.name} cannot be filled")
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = _annotation(parameter)
        elif takes_context(parameter.annotation):
            parameters.append((parameter, None))
        else:
            field = f"p{len(fields)}"
            parameters.append((parameter, field))
            fields[field] = _field(parameter, documented.parameters.get(parameter.name))
    model = _model(name, fields, extra)
    definition = ToolDefinition(name, documented.description, _json_schema(name, model))
    return FunctionSchema(definition, model, tuple(parameters))


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


def _parameters(name: str, function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    try:
        return resolved_parameters(function)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise ToolSignatureError(
            f"{name}: an annotation cannot be resolved ({error}); "
            "define or import its type at the top of the module, not in a function or under TYPE_CHECKING"
        ) from error
    except ValueError as error:
        raise ToolSignatureError(f"{name}: it has no signature to read; wrap it in a def") from error


def _annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is parameter.empty else parameter.annotation


def _field(parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    annotation = _annotation(parameter)
    facts: dict[str, Any] = {"alias": parameter.name}
    if isinstance(parameter.default, FieldInfo):
        annotation = Annotated[annotation, parameter.default]
    elif parameter.default is not parameter.empty:
        facts |= _default(parameter.default)
    if description is not None and _own_description(annotation) is None:
        facts["description"] = description
    return annotation, Field(**facts)


def _own_description(annotation: Any) -> str | None:
    return FieldInfo.from_annotation(cast("type[Any]", annotation)).description


def _default(value: Any) -> dict[str, Any]:
    try:
        to_json(value)
    except PydanticSerializationError:
        # It cannot stand in the schema; the function itself supplies it.
        return {"default_factory": lambda: None}
    return {"default": value}


def _model(name: str, fields: dict[str, Any], extra: Any) -> type[BaseModel]:
    """The model of the arguments; `extra` is the type of those that are not named, or None where there are none."""
    try:
        if extra is None:
            return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        return create_model(name, __base__=_Open[extra], **fields)
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
    return f"{place}: {error['msg']} (got {shortened(repr(error['input']))})"
