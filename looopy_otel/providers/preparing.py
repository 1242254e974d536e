"""From what a user passes to ``call()`` to the operation that stands for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from looopy_otel.core.identity import Identity, current_identity
from looopy_otel.core.messages import message_to_dict, tool_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import MessageLike, ToolLike
from looopy_otel.core.vendors import vendor_of


class CallArguments(TypedDict, total=False):
    """The optional arguments of a call; see `LiteLLMProvider.call`."""

    tools: Sequence[ToolLike] | None
    session_id: str | None
    metadata: Mapping[str, Any] | None
    tool_choice: Any
    response_format: Any
    model: str | None
    parameters: Mapping[str, Any] | None


def prepare(
    *,
    model: str,
    messages: Sequence[MessageLike],
    tools: Sequence[ToolLike] | None,
    session_id: str | None,
    metadata: Mapping[str, Any] | None,
    tool_choice: Any,
    response_format: Any,
) -> LLMCall:
    """Builds the operation; the identity is that of this place.

    Raises:
        TypeError: If a message, a tool or the session id is of a wrong type.
        ValueError: If a message has no role, or a tool has no name.
    """
    if session_id is not None and not isinstance(session_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"session_id must be a string, not {type(session_id).__name__}; write session_id=str(…)")
    identity = _identity(session_id)
    vendor = vendor_of(model)
    return LLMCall(
        identity=identity,
        messages=tuple(message_to_dict(message) for message in messages),
        model=model,
        system=vendor.system,
        provider_name=vendor.provider_name,
        tools=tuple(tool_to_dict(tool) for tool in tools or ()),
        tool_choice=tool_choice,
        response_format=response_format,
        session_id=session_id or identity.effective_session_id,
        metadata=dict(metadata or {}),
    )


def changed_parameters(parameters: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The parameters of one call: `changes` win, and what is None there is not sent."""
    return {name: value for name, value in {**parameters, **(changes or {})}.items() if value is not None}


def _identity(session_id: str | None) -> Identity:
    """The identity of this place; a session of the call's own stands in for the one that is open."""
    identity = current_identity()
    if not session_id or session_id in (identity.effective_session_id, identity.task_id):
        return identity
    return replace(identity, session_id=session_id)
