from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field

from looopy_otel.agent import FunctionTools, InvalidArgumentsError, ToolContext, ToolSignatureError
from looopy_otel.agent.schema import function_schema


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


@dataclass
class Place:
    city: str
    country: str = "de"


class Options(BaseModel):
    title: str
    days: int = 1


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    return dict(function_schema(function).definition.parameters)


def bind(function: Callable[..., Any], arguments: str) -> tuple[list[Any], dict[str, Any]]:
    context: Any = None
    return function_schema(function).bind(arguments, context)


def test_annotations_defaults_and_docstring_become_the_schema() -> None:
    def weather(place: str, unit: Literal["c", "f"] = "c", days: int | None = None) -> str:
        """Tells the weather.

        Args:
            place: Where.
            days: How many days ahead.
        """
        return place + unit + str(days)

    definition = function_schema(weather).definition
    assert (definition.name, definition.description) == ("weather", "Tells the weather.")
    assert definition.parameters == {
        "type": "object",
        "properties": {
            "place": {"type": "string", "description": "Where."},
            "unit": {"enum": ["c", "f"], "type": "string", "default": "c"},
            "days": {
                "anyOf": [{"type": "integer"}, {"type": "null"}],
                "default": None,
                "description": "How many days ahead.",
            },
        },
        "required": ["place"],
        "additionalProperties": False,
    }


def test_a_function_without_parameters() -> None:
    def now() -> str:
        return "now"

    assert schema_of(now) == {"type": "object", "properties": {}, "additionalProperties": False}
    assert bind(now, "") == bind(now, "{}") == ([], {})


def structured(
    place: Place,
    options: Options,
    unit: Unit = Unit.CELSIUS,
    on: Optional[date] = None,  # noqa: UP045
    tags: list[str] = [],  # noqa: B006
) -> None:
    del place, options, unit, on, tags


def test_dataclasses_models_enums_and_dates_are_built() -> None:
    _, named = bind(
        structured,
        '{"place": {"city": "Bonn"}, "options": {"title": "x", "days": "2"}, "unit": "f", "on": "2026-01-31"}',
    )
    assert named == {
        "place": Place("Bonn"),
        "options": Options(title="x", days=2),
        "unit": Unit.FAHRENHEIT,
        "on": date(2026, 1, 31),
    }


def test_made_up_titles_are_dropped_but_a_parameter_named_title_stays() -> None:
    schema = schema_of(structured)
    assert set(schema["$defs"]["Options"]["properties"]) == {"title", "days"}
    assert "title" not in schema["$defs"]["Options"]
    assert "title" not in schema["properties"]["on"]
    assert schema["properties"]["unit"]["default"] == "c"


def test_annotated_fields_keep_their_constraints() -> None:
    def roll(sides: Annotated[int, Field(ge=2, le=100, description="Sides of the die.")]) -> int:
        return sides

    assert schema_of(roll)["properties"]["sides"] == {
        "type": "integer",
        "minimum": 2,
        "maximum": 100,
        "description": "Sides of the die.",
    }
    with pytest.raises(InvalidArgumentsError, match="sides: Input should be greater than or equal to 2"):
        bind(roll, '{"sides": 1}')


def test_names_that_pydantic_uses_itself_are_allowed() -> None:
    def odd(schema: str, model_config: int, copy: bool = False, _hidden: int = 0) -> None:
        del schema, model_config, copy, _hidden

    assert bind(odd, '{"schema": "s", "model_config": 1, "_hidden": 2}')[1] == {
        "schema": "s",
        "model_config": 1,
        "_hidden": 2,
    }


def test_what_the_model_leaves_out_is_left_to_the_function() -> None:
    marker = object()

    def search(query: str, client: Any = marker) -> Any:
        return query, client

    assert "default" not in schema_of(search)["properties"]["client"]
    assert schema_of(search)["required"] == ["query"]
    assert bind(search, '{"query": "x"}') == ([], {"query": "x"})


def test_positional_only_and_keyword_arguments() -> None:
    def call(a: int, b: int = 5, /, *, c: int = 6, **others: int) -> None:
        del a, b, c, others

    assert bind(call, '{"a": 1, "c": 2, "d": 3}') == ([1, 5], {"c": 2, "d": 3})
    assert schema_of(call)["additionalProperties"] == {"type": "integer"}
    with pytest.raises(InvalidArgumentsError, match="d: Input should be a valid integer"):
        bind(call, '{"a": 1, "d": "three"}')


def test_the_context_is_not_told_to_the_model() -> None:
    def one(context: ToolContext, text: str) -> None:
        del context, text

    def two(text: str, context: ToolContext | None = None) -> None:
        del context, text

    def three(text: str, context: Annotated[ToolContext, "given by the loop"]) -> None:
        del context, text

    def four(text: str, context: Annotated[Optional[ToolContext], "x"] = None) -> None:  # noqa: UP045
        del context, text

    for function in (one, two, three, four):
        schema = function_schema(function)
        assert list(schema.definition.parameters["properties"]) == ["text"]
        assert schema.context_parameters == ("context",)


def test_a_context_that_is_positional_only() -> None:
    def call(a: int, context: ToolContext, /, b: int = 2) -> None:
        del a, context, b

    context: Any = object()
    assert function_schema(call).bind('{"a": 1}', context) == ([1, context], {})


def test_a_model_cannot_put_anything_in_the_place_of_the_context() -> None:
    def call(context: ToolContext, **others: Any) -> None:
        del context, others

    with pytest.raises(InvalidArgumentsError, match="unknown argument 'context'"):
        bind(call, '{"context": "mine", "x": 1}')
    assert bind(call, '{"x": 1}') == ([], {"context": None, "x": 1})


def test_a_field_as_default_keeps_its_constraint_description_and_default() -> None:
    def roll(
        times: int = Field(5, gt=0, description="How often."), sides: Annotated[int, Field(default=6)] = 8
    ) -> None:
        """Rolls.

        Args:
            times: Not this text.
            sides: Sides of the die.
        """
        del times, sides

    assert schema_of(roll) == {
        "type": "object",
        "properties": {
            "times": {"type": "integer", "exclusiveMinimum": 0, "description": "How often.", "default": 5},
            "sides": {"type": "integer", "description": "Sides of the die.", "default": 8},
        },
        "additionalProperties": False,
    }
    assert bind(roll, "{}")[1] == {"times": 5}
    with pytest.raises(InvalidArgumentsError, match="times: Input should be greater than 0"):
        bind(roll, '{"times": 0}')


def test_the_default_of_an_annotated_field_reaches_the_function() -> None:
    def roll(
        sides: Annotated[int, Field(default=6)],
        /,
        seen: Annotated[list[int], Field(default_factory=lambda: [1])],
        name: Annotated[str, Field(min_length=1)],
    ) -> None:
        del sides, seen, name

    assert schema_of(roll)["required"] == ["name"]
    assert bind(roll, '{"name": "x"}') == ([6], {"seen": [1], "name": "x"})


def test_the_annotation_of_the_result_does_not_matter() -> None:
    def function(a: int, b: list[int]) -> Any:
        del a, b

    function.__annotations__ |= {"a": "int", "return": "Missing"}
    properties = schema_of(function)["properties"]
    assert properties == {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "integer"}}}


class Counter:
    """Counts."""

    def add(self, by: int) -> int:
        """Adds to the count."""
        return by

    def __call__(self, to: int) -> int:
        return to


def test_methods_callable_objects_and_partials() -> None:
    def power(base: int, exponent: int) -> int:
        """Raises to a power."""
        return base**exponent

    method = function_schema(Counter().add).definition
    assert (method.name, method.description, list(method.parameters["properties"])) == (
        "add",
        "Adds to the count.",
        ["by"],
    )
    instance = function_schema(Counter()).definition
    assert (instance.name, instance.description, list(instance.parameters["properties"])) == (
        "Counter",
        "Counts.",
        ["to"],
    )
    square = function_schema(functools.partial(power, exponent=2)).definition
    assert (square.name, square.description, square.parameters["required"]) == ("power", "Raises to a power.", ["base"])


def test_a_decorated_function_shows_the_signature_that_it_wraps() -> None:
    def inner(a: int) -> int:
        """Inner."""
        return a

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    assert list(schema_of(outer)["properties"]) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{not json", "the arguments are not JSON"),
        ("[1]", "must be a JSON object, not"),
        ("[" * 200_000, "the arguments are nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "the arguments are nested too deeply"),
        ("{}", "missing argument 'a'"),
        ('{"a": 1, "x": 2}', "unknown argument 'x'"),
        ('{"a": "one"}', "a: Input should be a valid integer"),
        ('{"b": {"city": 1}}', "missing argument 'a'; b.city: Input should be a valid string"),
        ('{"a": "' + "9" * 5000 + 'x"}', "… "),
    ],
)
def test_wrong_arguments_are_named(arguments: str, message: str) -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        bind(takes, arguments)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


def takes(a: int, b: Place | None = None) -> None:
    del a, b


def variadic(*values: int) -> None:
    del values


def generator(a: int) -> Iterator[int]:
    yield a


def callback(then: Callable[[], int]) -> None:
    del then


def foreign(counter: Counter) -> None:
    del counter


def unresolved(annotation: str) -> Any:
    def function(a: Any) -> None:
        del a

    function.__annotations__["a"] = annotation
    return function


def test_annotations_as_text_are_read_behind_methods_partials_and_decorators() -> None:
    class Holder:
        def method(self, on: date) -> date:
            return on

        def __call__(self, on: date) -> date:
            return on

    @functools.wraps(Holder().method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return Holder().method(*args, **kwargs)

    for function in (Holder().method, Holder(), functools.partial(Holder().method), wrapped):
        assert schema_of(function)["properties"] == {"on": {"type": "string", "format": "date"}}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (variadic, r"variadic: a model names its arguments, so \*values"),
        (generator, "generator: a generator cannot be a tool"),
        (callback, "callback: JSON cannot say"),
        (foreign, "foreign: an annotation cannot be validated"),
        (unresolved("Missing"), "function: an annotation cannot be resolved .*at the top of the module"),
        (unresolved("date.Nope"), "function: an annotation cannot be resolved .*Nope"),
        (unresolved("int |"), "function: an annotation cannot be resolved"),
        (lambda: None, "is no name for a tool"),
        ("text", "must be callable, not str"),
    ],
)
def test_functions_that_cannot_be_tools_are_refused_at_once(function: Any, message: str) -> None:
    with pytest.raises(ToolSignatureError, match=message):
        FunctionTools([function])


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(ToolSignatureError, match="two functions are named 'takes'"):
        FunctionTools([takes, takes])
