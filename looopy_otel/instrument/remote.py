"""Traces that come in and go out with requests: W3C Trace Context, and who it is about where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, TypeAlias, cast

from looopy_otel.core.guard import guard
from looopy_otel.core.identity import Identity, current_identity
from looopy_otel.core.semconv import SESSION_ID, USER_ID
from looopy_otel.record.surroundings import Surroundings, baggage_of, continued, outgoing, surrounded, with_baggage

Headers: TypeAlias = Mapping[str, Any] | Mapping[bytes, Any] | Iterable[tuple[Any, Any]] | None
"""Headers of a request: a mapping of text or bytes, a list of pairs, or a WSGI environment."""

_READ: Final = ("traceparent", "tracestate", "baggage")
_LONGEST: Final = 8192
"""Characters of a header that is read; the recommendations ask for less."""
_LONGEST_IDENTIFIER: Final = 200
"""Characters of a session or user that another service may name; Langfuse takes as many."""


class continue_trace:
    """Has the spans inside go on from the trace that a request belongs to, for ``with`` and ``async with``.

    ::

        with lo.continue_trace(request.headers):
            agent.run(request.json["question"])

    The caller's span becomes the parent of what starts inside. For Langfuse such a span is still a root, since it may
    never see the caller's. Headers that are missing or wrong change nothing; nothing is ever raised. The caller's word
    on sampling is not taken over: a caller that does not sample would make every generation here vanish.

    Args:
        headers: The request's headers: a mapping of text or bytes, in any case, a list of pairs, or a WSGI
            environment.
        identity: True to take over the session and the user that a caller of yours sent with
            ``trace_headers(identity=True)``. Only for callers that you trust to say who it is about.
    """

    def __init__(self, headers: Headers, *, identity: bool = False) -> None:
        self._headers = headers
        self._identity = identity
        self._blocks: list[surrounded] = []

    def __enter__(self) -> None:
        with guard("instrument.continue"):
            block = surrounded(asked_for(self._headers, identity=self._identity))
            block.__enter__()
            self._blocks.append(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._blocks:
            self._blocks.pop().__exit__()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def trace_headers(*, identity: bool = False) -> dict[str, str]:
    """The headers with which another service continues the current trace: ``traceparent``, ``tracestate``.

    ::

        httpx.post(url, headers=lo.trace_headers())

    Args:
        identity: True to tell the session and the user as well, as W3C Baggage. They go to whoever gets the request.

    Returns:
        A dict of its own; empty where no span is current.
    """
    headers: dict[str, str] = {}
    with guard("instrument.headers"):
        headers = outgoing()
        if identity:
            who = current_identity()
            facts = {SESSION_ID: who.effective_session_id, USER_ID: who.user_id}
            return with_baggage(headers, {name: value for name, value in facts.items() if value})
    return headers


def asked_for(headers: Headers, *, identity: bool, own: bool = False) -> Surroundings:
    """The surroundings of the work that a request or a message asks for.

    Args:
        headers: As those of `continue_trace`.
        identity: True to take over the session and the user.
        own: True where the span that they name is ours, and goes where ours go.
    """
    read = _joined(headers)
    return continued(read, _identity_of(read) if identity else current_identity(), own=own)


def _identity_of(headers: Mapping[str, str]) -> Identity:
    entries, here = baggage_of(headers), current_identity()
    session, user = _identifier(entries.get(SESSION_ID)), _identifier(entries.get(USER_ID))
    return replace(here, session_id=session or here.session_id, user_id=user or here.user_id)


def _identifier(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_IDENTIFIER else None


def _joined(headers: Headers) -> dict[str, str]:
    """The headers that are read, by lower-case name; those that came more than once as one."""
    found: dict[str, list[str]] = {}
    for name, value in _pairs(headers):
        key = _text(name).lower()
        key = key.removeprefix("http_")
        if key in _READ and len(text := _text(value)) <= _LONGEST:
            found.setdefault(key, []).append(text)
    if len(found.get("traceparent", ())) > 1:
        return {}  # W3C Trace Context, 3.2: more than one is as none.
    return {name: ",".join(values) for name, values in found.items()}


def _pairs(headers: object) -> Iterator[tuple[object, object]]:
    if isinstance(headers, Mapping):
        yield from cast("Mapping[object, object]", headers).items()
    elif isinstance(headers, Iterable) and not isinstance(headers, str | bytes):
        for pair in cast("Iterable[object]", headers):
            if isinstance(pair, tuple | list) and len(items := cast("list[object]", pair)) == 2:
                yield items[0], items[1]


def _text(value: object) -> str:
    if isinstance(value, list) and len(items := cast("list[object]", value)) == 1:
        value = items[0]
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""
