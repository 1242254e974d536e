"""What an SDK's client tells on the way of a request: the response, the answers it tries again, how long it waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from looopy_otel.core.guard import guard
from looopy_otel.instrument.stainless.attempts import Attempts, current_attempts


def is_recorded() -> bool:
    """True inside the request of a call that is recorded; an SDK's own span of it would be a second one."""
    attempts = current_attempts()
    return attempts is not None and attempts.recorded


Note: TypeAlias = Callable[[Any, Attempts, Any, tuple[Any, ...], dict[str, Any]], None]
"""Takes what passes through a hook of a client: the client, the call's tries, the result, the arguments."""


def noted(
    client: Any,
    original: Callable[..., Any],
    note: Note,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    skip: bool = False,
) -> Any:
    """Calls the SDK's own method, and tells the call that is under way of it.

    Args:
        client: The client.
        original: The method.
        note: Takes what passes.
        args: Its arguments by position.
        kwargs: Its arguments by name.
        skip: True to tell nobody: the client is wrapped, and what wraps it does so.
    """
    result = original(*args, **kwargs)
    attempts = current_attempts()
    if attempts is not None and not skip:
        with guard("instrument.hook"):
            note(client, attempts, result, args, kwargs)
    return result


def note_response(client: Any, attempts: Attempts, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Keeps the HTTP response that is the answer."""
    attempts.response = kwargs.get("response")


def note_refusal(client: Any, attempts: Attempts, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Keeps what stands for an answer that the SDK is about to try again."""
    if result:
        response = args[0]  # Of a stream the body is not read yet.
        message = f"Error code: {response.status_code}"
        attempts.refused(client._make_status_error(message, body=None, response=response))


def note_delay(client: Any, attempts: Attempts, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Takes the seconds that the SDK is about to wait before it tries again."""
    attempts.again(float(result))
