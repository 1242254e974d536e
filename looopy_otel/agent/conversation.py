"""What a run starts from, and what a message says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.types import Message, MessageLike


def opening_messages(prompt: Any, system_prompt: str | None) -> tuple[MessageLike, ...]:
    """What the user gave, with the system prompt in front; messages that bring a system prompt keep theirs.

    Raises:
        ValueError: If `prompt` is empty, or a message has no role.
        TypeError: If it is neither text nor messages.
    """
    messages = _messages(prompt)
    if system_prompt and _role(messages[0]) not in ("system", "developer"):
        return (Message("system", system_prompt), *messages)
    return messages


def _messages(prompt: Any) -> tuple[MessageLike, ...]:
    if prompt is None or prompt == "" or (isinstance(prompt, str) and not prompt.strip()):
        raise ValueError("the prompt is empty; give a text or messages")
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if not isinstance(prompt, Sequence):
        raise TypeError(f"the prompt must be a text or a list of messages, not {type(prompt).__name__}")
    if not prompt:
        raise ValueError("the list of messages is empty; give at least one")
    # Copied, so that what the caller does to a mapping later does not change the run.
    return tuple(one if isinstance(one, Message) else message_to_dict(one) for one in prompt)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _role(message: MessageLike) -> str:
    return message.role if isinstance(message, Message) else str(message["role"])


def text_of(content: Any) -> str:
    """The text of a message's content, whether it is text, parts or None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]
