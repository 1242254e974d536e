"""What a span took in and gave out, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from rich.text import Text

from looopy_otel.cli.terminal import printable
from looopy_otel.core.draft import Draft, LLMDraft, Shape

LONGEST: Final = 2000
"""Characters shown of one message or value; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A text below the title of a span, wrapped at `indent` columns."""

    text: Text
    indent: int = 0


def content_lines(draft: Draft) -> Iterator[Detail]:
    """Gives the input and the output of a span, or what is known of them where they were not recorded."""
    conversation = isinstance(draft, LLMDraft)
    for name, value, shape in (
        ("Input", draft.input, draft.input_shape),
        ("Output", draft.output, draft.output_shape),
    ):
        if shape is not None:
            yield Detail(Text(f"{name}: not recorded ({_shape_text(shape)})", style="dim"))
        elif value is not None:
            yield Detail(Text(f"{name}:", style="dim"))
            yield from (Detail(Text(line), indent=2) for line in _lines(value, conversation))


def _shape_text(shape: Shape) -> str:
    roles = f", {' '.join(shape.roles)}" if shape.roles else ""
    return f"{shape.bytes:,} bytes{roles}"


def _lines(value: Any, conversation: bool) -> Iterator[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        entries = cast("Sequence[Any]", value)
        if conversation or all(isinstance(entry, Mapping) and "role" in entry for entry in entries):
            for entry in entries:
                yield from _shortened(_message(entry))
            return
    if isinstance(value, Mapping) and "role" in value:
        yield from _shortened(_message(value))
        return
    yield from _shortened(_text(value))


def _message(message: Any) -> str:
    if not isinstance(message, Mapping):
        return _text(message)
    fields = cast("Mapping[str, Any]", message)
    said = [_text(fields["content"])] if fields.get("content") else []
    for call in cast("Sequence[Mapping[str, Any]]", fields.get("tool_calls") or ()):
        function = cast("Mapping[str, Any]", call.get("function") or {})
        said.append(f"→ {function.get('name')} {_text(function.get('arguments'))}")
    return f"{fields.get('role', '?')}: " + "\n".join(said)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _shortened(text: str) -> Iterator[str]:
    shown = printable(text[:LONGEST])
    yield from shown.splitlines() or [""]
    if len(text) > LONGEST:
        yield f"… {len(text) - LONGEST:,} more characters; --json shows them"
