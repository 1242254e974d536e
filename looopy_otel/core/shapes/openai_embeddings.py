"""OpenAI's embeddings.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.cost import cost_fields
from looopy_otel.core.shapes.fields import as_list, as_text, chosen, get, given, is_list
from looopy_otel.core.shapes.request import changed_fields, put, with_parameters
from looopy_otel.core.shapes.shape import Joiner, Progress, WireFormat
from looopy_otel.core.types import CallOutcome, LLMResponse, Message
from looopy_otel.core.usage import Usage, usage_of

_PARAMETERS = ("dimensions", "encoding_format", "input_type", "user")
_BYTES_PER_NUMBER = 4


class _EmbeddingsFormat:
    """``POST /embeddings``."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request; the texts stand in `LLMCall.input`, and there are no messages."""
        fields = given(arguments)
        return LLMCall(
            operation="embeddings",
            messages=(),
            input=fields.get("input"),
            model=as_text(fields.get("model")) or "",
            parameters=chosen(fields, _PARAMETERS),
        )

    def arguments(self, arguments: Mapping[str, Any], before: LLMCall, after: LLMCall) -> dict[str, Any]:
        """The request's fields with what a middleware changed in it."""
        fields = dict(arguments)
        for name, value in changed_fields(before, after, ("input", "model")).items():
            put(fields, name, value)
        with_parameters(fields, before, after)
        return fields

    def asking_for_usage(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: every answer tells its usage."""

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads a list of embeddings; its message is empty, since vectors are never recorded."""
        data = get(answer, "data")
        if not is_list(data) or any(get(entry, "embedding") is None for entry in as_list(data)[:1]):
            return None
        usage = usage_of(get(answer, "usage"))
        return LLMResponse(
            message=Message("assistant"),
            model=as_text(get(answer, "model")),
            usage=usage,
            usage_source="missing" if usage is None else "reported",
            **cost_fields(get(answer, "usage"), as_text(get(answer, "model"))),
            id=as_text(get(answer, "id")),
            native=answer,
        )

    def joiner(self) -> Joiner:
        """Makes the joiner of one stream, which no endpoint sends: the one chunk is the answer."""
        return _OneAnswer()

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a list of embeddings without any: a response has none."""
        usage = response.usage or Usage(0, 0)
        counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
        return {"object": "list", "data": [], "model": response.model or "", "usage": counts}


class _OneAnswer:
    """The answer, in one piece."""

    def __init__(self) -> None:
        self._answer: object = None

    @property
    def begun(self) -> bool:
        """True when the answer is there."""
        return self._answer is not None

    @property
    def finished(self) -> bool:
        """As `begun`."""
        return self.begun

    def add(self, chunk: object) -> Progress:
        """Takes the answer."""
        self._answer = chunk
        return Progress(delta=True, anything=True)

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the answer says; None when none came."""
        return OPENAI_EMBEDDINGS.response(self._answer)


OPENAI_EMBEDDINGS: WireFormat = _EmbeddingsFormat()
"""OpenAI's embeddings."""


def embedding_output(answer: object) -> dict[str, int]:
    """Says what there is to say of embeddings without their vectors.

    Args:
        answer: The API's answer, an SDK's object or decoded JSON.

    Returns:
        ``{"embeddings": how many, "dimensions": numbers in each}``, as far as they can be told.
    """
    entries = as_list(get(answer, "data"))
    dimensions = _dimensions(get(entries[0], "embedding")) if entries else None
    return {"embeddings": len(entries), **({} if dimensions is None else {"dimensions": dimensions})}


def _dimensions(vector: object) -> int | None:
    if isinstance(vector, str):  # base64 of 32-bit floats, as asked for by `encoding_format`
        return (len(vector) * 3 // 4 - vector[-2:].count("=")) // _BYTES_PER_NUMBER
    return len(vector) if isinstance(vector, Sized) else None
