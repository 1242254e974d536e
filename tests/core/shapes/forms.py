"""The forms in which one and the same answer or chunk arrives: decoded JSON, and the objects of the SDKs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

Form = Callable[[dict[str, Any]], Any]

_MODELS: Mapping[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatCompletion),
    "chat chunk": TypeAdapter(ChatCompletionChunk),
    "completion": TypeAdapter(Completion),
    "response": TypeAdapter(Response),
    "response event": TypeAdapter(ResponseStreamEvent),
    "embeddings": TypeAdapter(CreateEmbeddingResponse),
    "message": TypeAdapter(AnthropicMessage),
    "message event": TypeAdapter(RawMessageStreamEvent),
}


def sdk(kind: str) -> Form:
    """Makes the SDK's object."""
    return _MODELS[kind].validate_python


def as_json(value: dict[str, Any]) -> Any:
    """Decoded JSON is what it is."""
    return value


def as_read_only(value: dict[str, Any]) -> Any:
    """A mapping that is no dict."""
    return MappingProxyType(value)


def as_attributes(value: Any) -> Any:
    """Objects of no known class."""
    if isinstance(value, list):
        return [as_attributes(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[Any, Any]", value)
    return SimpleNamespace(**{str(name): as_attributes(item) for name, item in fields.items()})


PLAIN: dict[str, Form] = {"json": as_json, "read-only": as_read_only, "attributes": as_attributes}
