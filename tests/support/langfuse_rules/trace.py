"""Rules of whole traces: roots, and an identity on every span (section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from tests.support.langfuse_rules.observation import APP_ROOT, IDENTITY
from tests.support.spans import Span


def roots(spans: Sequence[Span]) -> Iterator[str]:
    """A span whose parent Langfuse never gets has both flags, any other has none."""
    known = {span.span_id for span in spans}
    for span in spans:
        local_root = span.parent_id is None or span.parent_id not in known
        if local_root and APP_ROOT not in span.attributes:
            yield f"{span.name} has no parent here and no root flags"
        if not local_root and APP_ROOT in span.attributes:
            yield f"{span.name} has a parent here and root flags"


def identity_everywhere(spans: Sequence[Span]) -> Iterator[str]:
    """Nothing is handed down by the server: filters and sums see only what each span carries."""
    metadata_keys = {key for span in spans for key in span.attributes if key.startswith("langfuse.trace.metadata.")}
    for key in (*IDENTITY, *sorted(metadata_keys)):
        if not any(key in span.attributes for span in spans):
            continue
        yield from (f"{span.name} lacks {key}" for span in spans if key not in span.attributes)
        different = {repr(span.attributes[key]) for span in spans if key in span.attributes}
        if len(different) > 1:
            yield f"{key} is {' and '.join(sorted(different))}"


def session_known(spans: Sequence[Span]) -> Iterator[str]:
    """A run has a session: the given one, else its task."""
    for span in spans:
        if "agent.task.id" in span.attributes and "session.id" not in span.attributes:
            yield f"{span.name} belongs to a task but has no session.id"


TRACE_RULES: Final[Mapping[str, Callable[[Sequence[Span]], Iterator[str]]]] = {
    "3.roots": roots,
    "3.identity": identity_everywhere,
    "3.session": session_known,
}
