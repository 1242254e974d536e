"""Who and what: the session, user, agent and task that a call belongs to, carried by one context variable."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, cast

from looopy_otel.core.snapshot import facts_of, snapshot


@dataclass(frozen=True, slots=True)
class Identity:
    """What stands on every span. None and empty mean unknown.

    Attributes:
        session_id: The session that was given by the user; a task id never stands here.
        user_id: The end user.
        tags: Labels of the trace.
        metadata: Further facts of the trace; values that JSON can say.
        trace_name: The name that Langfuse shows for the trace.
        project: The Langfuse project that the spans belong to, by its configured name.
        agent_id: The agent that is running.
        task_id: The run of that agent.
        root_task_id: For a sub-agent's run, the outermost run that it is a part of: one trace has one session.
    """

    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trace_name: str | None = None
    project: str | None = None
    agent_id: str | None = None
    task_id: str | None = None
    root_task_id: str | None = None

    @property
    def effective_session_id(self) -> str | None:
        """The session where one is open, else the (outermost) task id: the value of ``session.id``."""
        return self.session_id or self.root_task_id or self.task_id

    def within(self, outer: Identity) -> Identity:
        """This identity as a part of another: what it does not say itself is that of the other one."""
        if self == outer:
            return self
        run = self if self.task_id else outer
        return Identity(
            session_id=self.session_id or outer.session_id,
            user_id=self.user_id or outer.user_id,
            tags=self.tags or outer.tags,
            metadata=self.metadata or outer.metadata,
            trace_name=self.trace_name or outer.trace_name,
            project=outer.project if self.project is None else self.project,
            agent_id=self.agent_id or run.agent_id,
            task_id=run.task_id,
            root_task_id=run.root_task_id or (outer.root_task_id or outer.task_id if run is self else None),
        )


_ALPHABET = string.ascii_lowercase + string.digits
NOBODY = Identity()
_current: ContextVar[Identity] = ContextVar("looopy_otel_identity", default=NOBODY)


def current_identity() -> Identity:
    """Returns the identity of this place in the program."""
    return _current.get()


def set_identity(identity: Identity) -> None:
    """Makes an identity the current one from here on; for who also puts the one before back."""
    _current.set(identity)


def new_task_id() -> str:
    """A task id such as ``task_1730000000000_k3x9ab2c``: milliseconds since 1970 and eight random characters."""
    return f"task_{time.time_ns() // 1_000_000}_{_random_text()}"


def new_call_id() -> str:
    """An id for a tool call to which no model has given one, such as ``call_k3x9ab2c``."""
    return f"call_{_random_text()}"


def _random_text() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


class identity_scope:
    """Makes an identity the current one inside a ``with`` or ``async with`` block."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._tokens: list[Token[Identity]] = []

    def __enter__(self) -> Identity:
        self._tokens.append(_current.set(self._identity))
        return self._identity

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        token = self._tokens.pop()
        try:
            _current.reset(token)
        except ValueError:
            # Left in another context than entered: a generator that is continued or closed elsewhere. Where it has
            # taken this identity along, that ends here as well; else that context keeps its own.
            if _current.get() is self._identity:
                _current.set(NOBODY if token.old_value is Token.MISSING else token.old_value)

    async def __aenter__(self) -> Identity:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def session(
    session_id: str | int | None = None,
    *,
    user_id: str | int | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    trace_name: str | None = None,
    project: str | None = None,
) -> identity_scope:
    """Says who and what the calls inside belong to, in this task and those started from it.

    Nested sessions add to the outer one: what is given replaces, tags are joined, metadata is merged.

    Args:
        session_id: The conversation or thread; ``session.id`` and ``gen_ai.conversation.id`` on every span. A number
            is written as text.
        user_id: The end user; ``user.id``. A number is written as text.
        tags: Labels of the trace in Langfuse.
        metadata: Trace metadata; values that JSON can say.
        trace_name: The trace's name in Langfuse; the agent id where none is given.
        project: The Langfuse project, by its configured name: one of `configure(langfuse_projects=)`. Spans whose
            project is unknown, an empty text included, go to no Langfuse.

    Returns:
        A context manager for ``with`` and ``async with``.

    Raises:
        TypeError: If `tags` is one string, an id or a name is neither text nor a number, or `metadata` is no mapping.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list of strings, not the string {tags!r}; write tags=[{tags!r}]")
    if metadata is not None and not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"metadata must be a mapping such as {{'tier': 'pro'}}, not {type(metadata).__name__}")
    outer = current_identity()
    inner = replace(
        outer,
        session_id=_identifier("session_id", session_id) or outer.session_id,
        user_id=_identifier("user_id", user_id) or outer.user_id,
        tags=tuple(dict.fromkeys((*outer.tags, *(str(snapshot(tag)) for tag in tags)))),
        metadata={**outer.metadata, **_facts(metadata)},
        trace_name=_identifier("trace_name", trace_name) or outer.trace_name,
        project=outer.project if project is None else _identifier("project", project),
    )
    return identity_scope(inner)


def _identifier(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{name} must be a string, not {type(value).__name__}; write {name}=str(…)")


def _facts(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata as it is now: later changes of the mapping do not reach spans, and any value can be written."""
    return cast("dict[str, Any]", facts_of(metadata)) if metadata else {}
