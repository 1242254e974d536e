"""Whole trees of spans in a form that can be compared by equality: nested, readable, without what changes per run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.spans import Span, SpanEvent


@dataclass(frozen=True, slots=True)
class Node:
    """A span with the spans under it, in order of start."""

    span: Span
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Gives this node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def named(self, name: str) -> list[Span]:
        """Gives the spans of that name in this tree, parents first."""
        return [node.span for node in self.walk() if node.span.name == name]

    def outline(self) -> str:
        """Gives the names alone, one a line, indented by two spaces a level."""
        lines = [self.span.name]
        lines.extend("  " + line for child in self.children for line in child.outline().splitlines())
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class JsonText:
    """Stands for an attribute that is the JSON text of `value`."""

    value: Any


def build(spans: Iterable[Span]) -> list[Node]:
    """Builds trees: one per span whose parent is not among the spans, in order of start.

    Raises:
        AssertionError: If one span came twice.
    """
    spans = sorted(spans, key=lambda span: (span.start, span.end, span.name))
    keys = [(span.trace_id, span.span_id) for span in spans]
    known = set(keys)
    assert len(keys) == len(known), "a span came twice"
    under: dict[tuple[str, str | None], list[Span]] = {}
    roots: list[Span] = []
    for span in spans:
        if span.parent_id is not None and (span.trace_id, span.parent_id) in known:
            under.setdefault((span.trace_id, span.parent_id), []).append(span)
        else:
            roots.append(span)
    return [_node(root, under) for root in roots]


def _node(span: Span, under: Mapping[tuple[str, str | None], Sequence[Span]]) -> Node:
    return Node(span, tuple(_node(child, under) for child in under.get((span.trace_id, span.span_id), ())))


VOLATILE_KEYS: Final[Mapping[str, str]] = {
    "gen_ai.response.time_to_first_chunk": "<seconds>",
    "langfuse.observation.completion_start_time": "<time>",
    "server.port": "<port>",
    "telemetry.sdk.version": "<version>",
    "service.instance.id": "<instance>",
    "exception.stacktrace": "<stack>",
}
"""Attributes that differ from run to run, with what stands for them."""

VOLATILE_TEXT: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("task", re.compile(r"task_\d{6,}_[0-9A-Za-z]+")),
    ("response", re.compile(r"chatcmpl-[0-9A-Za-z-]+")),
    ("call", re.compile(r"call_[0-9A-Za-z-]{16,}")),
    ("uuid", re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")),
    ("address", re.compile(r"127\.0\.0\.1:\d+")),
)
"""Texts that differ from run to run; each distinct one becomes ``<name>``, the second ``<name 2>`` and so on."""


def picture(node: Node) -> dict[str, Any]:
    """Gives a tree as nested dicts without ids and times, to be compared with a literal.

    Each span has ``name`` and, where they say something, ``kind`` (other than INTERNAL), ``status`` (``ERROR: text``),
    ``events``, ``attributes`` and ``children``. JSON texts are `JsonText`, so that key order does not matter.
    """
    return _Painter().paint(node)


def resources(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """Gives the distinct resources of the spans, without what changes per run."""
    painter = _Painter()
    distinct: list[dict[str, Any]] = []
    for span in spans:
        painted = painter.attributes(span.resource)
        if painted not in distinct:
            distinct.append(painted)
    return distinct


class _Painter:
    """One pass over a tree that gives equal placeholders to equal texts."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, str]] = {}

    def paint(self, node: Node) -> dict[str, Any]:
        span = node.span
        painted: dict[str, Any] = {"name": span.name}
        if span.kind != "INTERNAL":
            painted["kind"] = span.kind
        if span.status != "UNSET":
            painted["status"] = f"{span.status}: {self.value(span.status_message)}".removesuffix(": ")
        painted["attributes"] = self.attributes(span.attributes)
        if span.events:
            painted["events"] = [self._event(event) for event in span.events]
        if span.links:
            painted["links"] = len(span.links)
        if node.children:
            painted["children"] = [self.paint(child) for child in node.children]
        return painted

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {key: VOLATILE_KEYS.get(key) or self.value(value) for key, value in sorted(attributes.items())}

    def _event(self, event: SpanEvent) -> dict[str, Any]:
        return {"name": event.name, "attributes": self.attributes(event.attributes)}

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            structure = _structure(value)
            return JsonText(_mapped(structure, self._text)) if structure is not None else self._text(value)
        return _mapped(value, self._text)

    def _text(self, text: str) -> str:
        for name, pattern in VOLATILE_TEXT:
            text = pattern.sub(lambda match, name=name: self._placeholder(name, match.group()), text)
        return text

    def _placeholder(self, name: str, text: str) -> str:
        known = self._seen.setdefault(name, {})
        if text not in known:
            known[text] = f"<{name}>" if not known else f"<{name} {len(known) + 1}>"
        return known[text]


def _structure(text: str) -> Any:
    """The decoded JSON object or list, or None for any other text."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same structure with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value
