"""Rules of input and output: both, once, in the shape that is understood (section 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tests.support.langfuse_rules.reading import INPUT, OUTPUT, decoded
from tests.support.spans import Span

OTHER_CONTENT: Final = re.compile(
    r"gen_ai\.(prompt|completion).*|input|output|prompt|events|all_messages_events|(input|output)\.value"
    r"|gen_ai\.(input|output)\.messages|gen_ai\.tool\.call\.(arguments|result)|mlflow\.span(Inputs|Outputs)"
    r"|traceloop\.entity\.(input|output)|gcp\.vertex\.agent\..*|lk\..*|llm\.(input|output)_messages.*"
)
CONTENT_EVENTS: Final = re.compile(r"gen_ai\.(\w+\.message|choice|content\.\w+|client\.inference\.operation\.details)")


def both_contents(span: Span) -> Iterator[str]:
    """Setting only one blanks the other."""
    if (INPUT in span.attributes) != (OUTPUT in span.attributes):
        yield f"only {INPUT if INPUT in span.attributes else OUTPUT}"
    for key in (INPUT, OUTPUT):
        if not isinstance(span.attributes.get(key, ""), str):
            yield f"{key} is not a text"


def content_once(span: Span) -> Iterator[str]:
    """The first source that has anything supplies both; other sources are lost, or cost a second crossing."""
    yield from (f"{key} next to {INPUT}" for key in span.attributes if OTHER_CONTENT.fullmatch(key))
    yield from (f"event {event.name} is content" for event in span.events if CONTENT_EVENTS.fullmatch(event.name))


def tool_calls(span: Span) -> Iterator[str]:
    """Only OpenAI's `tool_calls` are counted, the conventions' `parts` are not."""
    output = decoded(span.attributes.get(OUTPUT))
    for message in output if isinstance(output, list) else [output]:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(message, dict) and "parts" in message and "tool_calls" not in message:
            yield "output in the form of parts, without tool_calls"


def tool_definitions(span: Span) -> Iterator[str]:
    """A JSON list, every item with a name."""
    text = span.attributes.get("gen_ai.tool.definitions")
    if text is None:
        return
    tools = decoded(text)
    names = [_tool_name(tool) for tool in tools] if isinstance(tools, list) else []  # pyright: ignore[reportUnknownVariableType]
    if not names or not all(names):
        yield f"gen_ai.tool.definitions={text!r}"


def _tool_name(tool: Any) -> Any:
    return (tool.get("function") or tool).get("name") if isinstance(tool, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


CONTENT_RULES: Final[Mapping[str, Callable[[Span], Iterator[str]]]] = {
    "5.both": both_contents,
    "5.once": content_once,
    "5.tool-calls": tool_calls,
    "5.tools": tool_definitions,
}
