"""Keeps what names another project out of what the Langfuse SDK exports from the same provider."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from looopy_otel.core.guard import guard

_FILTER: Final = "_should_export_span"


class SDKFilters:
    """The filters of the Langfuse SDK's processors, each asked for what our own rule lets pass only.

    The SDK has no public way to change a filter, or to have one for a single project. Its processors keep theirs in an
    attribute, where this one is put in front until `take_off`.

    Args:
        may_send: Tells of a span, and of the public key of the SDK's project, whether it may go there.
    """

    def __init__(self, may_send: Callable[[ReadableSpan, str], bool]) -> None:
        self._may_send = may_send
        self._changed: list[tuple[Any, Callable[[ReadableSpan], bool], Callable[[ReadableSpan], bool]]] = []

    @property
    def projects(self) -> frozenset[str]:
        """The public keys of the projects for which ours is in front."""
        return frozenset(processor.public_key for processor, _, _ in self._changed)

    def put_on(self, processors: Iterable[Any]) -> None:
        """Puts ours in front of the filters of these processors, once."""
        changed = [processor for processor, _, _ in self._changed]
        for processor in processors:
            before, key = getattr(processor, _FILTER, None), getattr(processor, "public_key", None)
            if before is not None and isinstance(key, str) and not any(processor is one for one in changed):
                ours = self._in_front(before, key)
                setattr(processor, _FILTER, ours)
                self._changed.append((processor, before, ours))

    def take_off(self) -> None:
        """Puts back what was there, unless somebody else has changed it since."""
        for processor, before, ours in self._changed:
            if getattr(processor, _FILTER, None) is ours:
                setattr(processor, _FILTER, before)
        self._changed.clear()

    def _in_front(self, before: Callable[[ReadableSpan], bool], key: str) -> Callable[[ReadableSpan], bool]:
        def should_export_span(span: ReadableSpan) -> bool:
            may = True
            with guard("export.sdk_filter"):
                may = self._may_send(span, key)
            return may and before(span)

        return should_export_span
