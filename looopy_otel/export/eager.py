"""Writes on a span what became of its operation, before it ends: for processors of others, which read it then.

On our own provider the worker does this, off the caller's path, and on a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Span, Status, StatusCode

from looopy_otel.core.draft import Draft
from looopy_otel.core.guard import guard
from looopy_otel.core.semconv import EXCEPTION_EVENT, EXCEPTION_MESSAGE, EXCEPTION_TYPE, GEN_AI_PREFIX, GEN_AI_SPAN_KIND
from looopy_otel.core.settings import Dialect
from looopy_otel.core.text import valid_text
from looopy_otel.export.attached import Attachment, Written
from looopy_otel.export.carried import INSIDE
from looopy_otel.export.foreign import foreign_attributes
from looopy_otel.export.run_costs import RunCosts
from looopy_otel.export.worker import Render

_DEPTH: Final = 3
_NOTHING: Final[Mapping[str, Any]] = {}


class EagerRendering:
    """Renders drafts on the spans of somebody else's provider.

    Args:
        attachment: Tells whose spans are on it, and remembers what was written.
        redact: Gives the draft past the gate.
        redact_text: Gives a text past the gate.
        price: Gives the draft with its cost.
        render: Gives a draft's attributes in some dialects.
        identity: Gives the keys of a draft's identity, which are written last: where a span may hold so many only,
            OpenTelemetry drops what was set first.
        is_own: True for the keys that rendering decides on.
        kind: What a draft is called where it has no name of the GenAI conventions.
        dialects: What to speak; None to speak what the provider's exporters understand.
    """

    def __init__(
        self,
        attachment: Attachment,
        *,
        redact: Callable[[Draft], Draft],
        redact_text: Callable[[str], str],
        price: Callable[[Draft], Draft],
        render: Render,
        identity: Callable[[Draft], Mapping[str, Any]],
        is_own: Callable[[str], bool],
        kind: Callable[[Draft], str],
        dialects: Sequence[Dialect] | None,
    ) -> None:
        self._attachment = attachment
        self._redact = redact
        self._redact_text = redact_text
        self._price = price
        self._render = render
        self._identity = identity
        self._is_own = is_own
        self._kind = kind
        self._dialects = dialects
        self._run_costs = RunCosts()

    def __call__(self, span: Span, draft: Draft) -> None:
        """Writes a draft on its span, which is about to end; nothing on a span of our own provider."""
        if not isinstance(span, ReadableSpan) or not self._attachment.made(span):
            return
        context = span.get_span_context()
        # What is not past the gate has not been written, so that a fault leaves a span without content.
        draft = self._price(self._redact(draft))
        draft = self._run_costs.settled(draft, context.span_id)
        with guard("export.eager_events"):
            self._redact_events(span)
            self._redact_links(span)
        span.update_name(valid_text(self._attachment.redact_name(span.name)))
        taken, keys = self._write_attributes(span, draft)
        events = self._write_status(span, draft)
        self._attachment.note(context.span_id, Written(keys, events, taken))

    def _write_attributes(self, span: Any, draft: Draft) -> tuple[dict[str, Any], frozenset[str]]:
        before: dict[str, Any] = dict(span.attributes or {})
        inner = {key: value for key, value in before.items() if key in INSIDE}
        others = {key: value for key, value in before.items() if not self._is_own(key)}
        passed = foreign_attributes(others, self._attachment.redact_attributes)
        dialects = self._dialects or (("langfuse",) if self._attachment.neighbours.feeds_langfuse else ("genai",))
        rendered = dict(self._render(draft, dialects))
        if not any(key.startswith(GEN_AI_PREFIX) for key in rendered):
            rendered[GEN_AI_SPAN_KIND] = self._kind(draft)
        identity = {key: rendered.pop(key) for key in self._identity(draft) if key in rendered}
        _delete(span, before.keys() - passed.keys())
        span.set_attributes(
            {**{key: value for key, value in passed.items() if value != others.get(key)}, **rendered, **identity}
        )
        return inner, frozenset(rendered) | frozenset(identity)

    def _write_status(self, span: Any, draft: Draft) -> int:
        """Tells how many events it has added."""
        if draft.error is None:
            description = span.status.description
            if description and (text := valid_text(self._redact_text(description))) != description:
                span.set_status(Status(span.status.status_code, text))
            return 0
        message = valid_text(draft.error.message)
        span.set_status(Status(StatusCode.ERROR, message or None))
        facts = {EXCEPTION_TYPE: draft.error.type, EXCEPTION_MESSAGE: message}
        span.add_event(EXCEPTION_EVENT, {key: value for key, value in facts.items() if value}, draft.end_time)
        return 1

    def _redact_events(self, span: Any) -> None:
        """Gives others' events past the gate; OpenTelemetry has no public way to change an event."""
        events: Sequence[Event] = span.events
        if not events:
            return
        redacted = [
            Event(
                valid_text(self._attachment.redact_name(event.name)),
                foreign_attributes(event.attributes, self._attachment.redact_attributes),
                event.timestamp,
            )
            for event in events
        ]
        inside = _inside(span)
        with inside._lock:
            inside._events = inside._new_events()
            inside._events.extend(redacted)

    def _redact_links(self, span: Any) -> None:
        """As `_redact_events`, for links that were added since the start."""
        links: Sequence[Link] = span.links
        if not any(link.attributes for link in links):
            return
        redacted = [
            Link(link.context, foreign_attributes(link.attributes, self._attachment.redact_attributes))
            for link in links
        ]
        inside = _inside(span)
        with inside._lock:
            inside._links = inside._new_links(redacted)


def _delete(span: Any, keys: set[str]) -> None:
    """Takes attributes off a span, for which OpenTelemetry has no public way."""
    attributes = _inside(span)._attributes
    for key in keys:
        del attributes[key]


def _inside(span: Any) -> Any:
    """The SDK's span in one that wraps it, as Logfire's do."""
    for _ in range(_DEPTH):
        inner: Any = getattr(span, "__dict__", _NOTHING).get("span")
        if inner is None:
            break
        span = inner
    return span
