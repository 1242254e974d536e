"""What is patched globally, at the user's request, and how it is put back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

_MISSING: Final = object()
_lock = threading.RLock()
_undo: dict[str, list[Callable[[], None]]] = {}


def is_instrumented(name: str) -> bool:
    """True when something of that name is patched now."""
    return name in _undo


def lasting(name: str) -> Callable[[], bool]:
    """Begins to instrument something.

    Returns:
        What tells, inside of what is put there from now on, whether that holds: `uninstrument` cannot take away what
        somebody else has wrapped since.
    """
    holds = [True]
    undo_later(name, holds.clear)
    return lambda: bool(holds)


def undo_later(name: str, undo: Callable[[], None]) -> None:
    """Keeps what `uninstrument` has to do for a name."""
    with _lock:
        _undo.setdefault(name, []).append(undo)


def patch(name: str, owner: Any, attribute: str, replacement: object) -> None:
    """Puts another object in the place of an attribute, until `uninstrument`.

    Args:
        name: What is instrumented, such as ``openai``.
        owner: The class or module.
        attribute: Its attribute; one that it inherits is inherited again afterwards.
        replacement: What stands there from now on.
    """
    namespace = cast("Mapping[str, object]", vars(owner))
    before = namespace.get(attribute, _MISSING)

    def restore() -> None:
        if namespace.get(attribute) is not replacement:
            return  # Somebody else has patched it since; what is there calls what they know.
        if before is _MISSING:
            delattr(owner, attribute)
        else:
            setattr(owner, attribute, before)

    with _lock:
        setattr(owner, attribute, replacement)
        undo_later(name, restore)


def uninstrument(*names: str) -> None:
    """Undoes what the ``instrument_…()`` functions have patched.

    Args:
        names: ``openai``, ``anthropic``, ``litellm``, ``langchain``, ``openai_agents``, ``pydantic_ai``, ``threads``,
            ``celery``;
            by default all of them. What is not instrumented is passed over.
    """
    with _lock:
        for name in names or tuple(_undo):
            for undo in reversed(_undo.pop(name, [])):
                undo()
