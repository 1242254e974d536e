"""Reading an answer of OpenAI's chat completions, or of the older text completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from looopy_otel.core.shapes.content import content_of, text_part
from looopy_otel.core.shapes.cost import cost_fields
from looopy_otel.core.shapes.counted import counted
from looopy_otel.core.shapes.fields import as_list, as_text, get, plain_object
from looopy_otel.core.shapes.tool_calls import call_entry, kept_calls, tool_calls_of
from looopy_otel.core.types import CallOutcome, LLMResponse, Message, UsageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a completion said, plain or joined from a stream.

    Attributes:
        message: The assistant's message: the first choice.
        others: The messages of further choices.
        model: The answer's ``model``.
        usage: The answer's ``usage`` object.
        usage_source: Whether `usage` is all that the call used.
        finish_reason: The first choice's finish reason.
        id: The answer's id.
        dropped_tool_calls: Tool calls without an id or a name.
        service_tier: The tier that served the call.
    """

    message: Message
    others: tuple[Message, ...] = ()
    model: str | None = None
    usage: object = None
    usage_source: UsageSource = "reported"
    finish_reason: str | None = None
    id: str | None = None
    dropped_tool_calls: int = 0
    service_tier: str | None = None

    def response(self, outcome: CallOutcome = "completed", native: Any = None) -> LLMResponse:
        """The response, as far as the answer alone tells it."""
        usage = counted(self.usage, self.message)
        return LLMResponse(
            message=self.message,
            others=self.others,
            model=self.model,
            usage=usage,
            usage_source="missing" if usage is None else self.usage_source,
            **cost_fields(self.usage, self.model),
            finish_reason=self.finish_reason,
            id=self.id,
            outcome=outcome,
            dropped_tool_calls=self.dropped_tool_calls,
            service_tier=self.service_tier,
            native=native,
        )


def answer_of(completion: object) -> Answer | None:
    """Reads a whole completion; None where its first choice has no message and no text."""
    choices = as_list(get(completion, "choices"))
    if not choices or not _says_something(choices[0]):
        return None
    messages = [_message_of(choice) for choice in choices if _says_something(choice)]
    return Answer(
        message=messages[0][0],
        others=tuple(message for message, _ in messages[1:]),
        model=as_text(get(completion, "model")),
        usage=get(completion, "usage"),
        finish_reason=as_text(get(choices[0], "finish_reason")),
        id=as_text(get(completion, "id")),
        dropped_tool_calls=sum(dropped for _, dropped in messages),
        service_tier=as_text(get(completion, "service_tier")),
    )


def reasoning_of(message: object) -> str | None:
    """The reasoning of a message or a delta.

    LiteLLM calls it reasoning_content, OpenRouter and vLLM reasoning; some gateways send both.
    """
    return as_text(get(message, "reasoning_content")) or as_text(get(message, "reasoning"))


def images_of(message: object) -> list[dict[str, Any]]:
    """The pictures that a message or a delta carries beside its content, as OpenRouter and LiteLLM give them."""
    return [part for part in map(plain_object, as_list(get(message, "images"))) if part]


def _says_something(choice: object) -> bool:
    message = get(choice, "message")
    if message is None:
        return isinstance(get(choice, "text"), str)
    return not isinstance(message, str | int | float | list)


def _message_of(choice: object) -> tuple[Message, int]:
    message = get(choice, "message")
    if message is None:
        return Message("assistant", get(choice, "text")), 0
    calls, dropped = tool_calls_of(get(message, "tool_calls"))
    older = get(message, "function_call")
    if older is not None and not calls:
        calls, dropped = kept_calls([function_call_entry(older)])
    audio = plain_object(get(message, "audio"))
    spoken = [{"type": "audio", "audio": audio}] if audio else []
    return (
        Message(
            role=as_text(get(message, "role")) or "assistant",
            content=with_parts(content_of(message), [*images_of(message), *spoken]),
            tool_calls=calls,
            reasoning=reasoning_of(message),
        ),
        dropped,
    )


def function_call_entry(call: object) -> dict[str, Any]:
    """A ``function_call``, which older models give in place of ``tool_calls``.

    It has no id: its result refers to it by its name.
    """
    name = get(call, "name")
    return call_entry(name, name, get(call, "arguments"))


def with_parts(
    content: str | list[dict[str, Any]] | None, parts: Sequence[dict[str, Any]]
) -> str | list[dict[str, Any]] | None:
    """Content with further parts behind it."""
    if not parts:
        return content
    before = content if isinstance(content, list) else [text_part(content)] if content else []
    return [*before, *parts]
