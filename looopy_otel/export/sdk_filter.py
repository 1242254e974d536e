"""Keeps what names another project out of what the Langfuse SDK exports from the same provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard

_FILTER: Final = "_should_export_span"

MaySend = Callable[[ReadableSpan, str], bool]


class _Changes:
    """Lets one thread at a time change filters; several of `SDKFilters` may share a processor."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = threading.RLock()


_changes: Final = _Changes()


class _Front:
    """The one filter of ours on a processor: what its own lets pass, and each of our rules as well.

    Without a rule it only hands on: where somebody has wrapped it, it cannot be taken away.

    Args:
        before: The processor's own filter.
        key: The public key of the processor's project.
    """

    def __init__(self, before: Callable[[ReadableSpan], bool], key: str) -> None:
        self.before = before
        self.rules: tuple[MaySend, ...] = ()
        self._key = key

    def __call__(self, span: ReadableSpan) -> bool:
        may = True
        with guard("export.sdk_filter"):
            may = all(may_send(span, self._key) for may_send in self.rules)
        return may and self.before(span)


class SDKFilters:
    """The filters of the Langfuse SDK's processors, each asked for what our own rule lets pass only.

    The SDK has no public way to change a filter, or to have one for a single project. Its processors keep theirs in an
    attribute, where one of ours is put in front until the last of those who share it have called `take_off`: where one
    configuration replaces another, the new one comes before the old one goes.

    Args:
        may_send: Tells of a span, and of the public key of the SDK's project, whether it may go there.
    """

    def __init__(self, may_send: MaySend) -> None:
        self._may_send = may_send
        self._changed: list[tuple[Any, _Front]] = []

    @property
    def projects(self) -> frozenset[str]:
        """The public keys of the projects for which ours is in front."""
        return frozenset(processor.public_key for processor, _ in self._changed)

    def put_on(self, processors: Iterable[Any]) -> None:
        """Puts ours in front of the filters of these processors, once."""
        with _changes.lock:
            changed = [processor for processor, _ in self._changed]
            for processor in processors:
                before, key = getattr(processor, _FILTER, None), getattr(processor, "public_key", None)
                if before is not None and isinstance(key, str) and not any(processor is one for one in changed):
                    front = before if isinstance(before, _Front) else _Front(before, key)
                    front.rules += (self._may_send,)
                    setattr(processor, _FILTER, front)
                    self._changed.append((processor, front))

    def take_off(self) -> None:
        """Takes our rule away; puts back what was there after the last, unless somebody else has changed it since."""
        with _changes.lock:
            for processor, front in self._changed:
                front.rules = tuple(rule for rule in front.rules if rule != self._may_send)
                if not front.rules and getattr(processor, _FILTER, None) is front:
                    setattr(processor, _FILTER, front.before)
            self._changed.clear()
