"""LiteLLM's SDK: its functions wrapped one by one, or all of them in the module.

LiteLLM is never imported here: who calls one of its functions has done so.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.cost import reported_cost
from looopy_otel.core.shapes.fields import get
from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT, OPENAI_COMPLETIONS
from looopy_otel.core.shapes.openai_embeddings import OPENAI_EMBEDDINGS
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.shapes.shape import Joiner, WireFormat
from looopy_otel.core.types import CallOutcome, LLMResponse
from looopy_otel.core.usage import Usage, usage_of
from looopy_otel.core.vendors import UNKNOWN, ModelVendor, vendor_of
from looopy_otel.instrument.call import ClientCall, MiddlewareLike, WrapOptions, layers_of
from looopy_otel.instrument.patching import lasting, patch, uninstrument
from looopy_otel.instrument.traced import made_of, remember, traced

F = TypeVar("F", bound=Callable[..., Any])
NAME: Final = "litellm"

_FORMATS: Final[Mapping[str, WireFormat]] = {
    "completion": OPENAI_CHAT,
    "acompletion": OPENAI_CHAT,
    "text_completion": OPENAI_COMPLETIONS,
    "atext_completion": OPENAI_COMPLETIONS,
    "responses": OPENAI_RESPONSES,
    "aresponses": OPENAI_RESPONSES,
    "embedding": OPENAI_EMBEDDINGS,
    "aembedding": OPENAI_EMBEDDINGS,
}
_CLASSES: Final[Mapping[WireFormat, str]] = {
    OPENAI_CHAT: "ModelResponse",
    OPENAI_COMPLETIONS: "TextCompletionResponse",
    OPENAI_RESPONSES: "ResponsesAPIResponse",
    OPENAI_EMBEDDINGS: "EmbeddingResponse",
}
_UNNAMED: Final = {"aembedding": ("model", "input")}
"""The positional arguments of functions whose signature does not tell them."""


def is_litellm_function(target: object) -> bool:
    """True for the functions of LiteLLM's SDK that are known here, wrapped or not."""
    name = getattr(target, "__name__", None)
    return name in _FORMATS and str(getattr(target, "__module__", "")).startswith("litellm.")


def wrap_litellm(function: F, options: WrapOptions) -> F:
    """Wraps one function of LiteLLM's SDK.

    Args:
        function: ``litellm.completion``, ``acompletion``, ``text_completion``, ``embedding``, ``responses``, ….
        options: What the user said.

    Returns:
        A function with the same signature. Streams that it returns are of the same type, as far as `isinstance` tells.
    """
    made: Any = made_of(function)
    if made is not None:
        options = made[1].joined(options)
        if options == made[1]:
            return function
        function = made[0]
    return _wrapped(function, function.__name__, options)


def _wrapped(function: Any, name: str, options: WrapOptions, holds: Callable[[], bool] = lambda: True) -> Any:
    wrapped: Any = traced(function, LiteLLMReading(function, name, options), options, holds)
    remember(wrapped, (function, options))
    return wrapped


def instrument_litellm(
    *,
    provider_name: str | None = None,
    middleware: MiddlewareLike = (),
    ask_for_usage: bool = True,
    propagate: bool = True,
) -> None:
    """Traces all calls of ``litellm.completion``, ``acompletion``, ``embedding``, ``responses`` and the like.

    Functions that were imported by name (``from litellm import completion``) before this are not reached.
    ``uninstrument("litellm")`` undoes it. What a second call says holds instead of the first.

    Args:
        provider_name: See `wrap`.
        middleware: See `wrap`.
        ask_for_usage: See `wrap`.
        propagate: See `wrap`.

    Raises:
        ImportError: If LiteLLM is not installed.
    """
    options = WrapOptions(
        provider_name=provider_name,
        middleware=layers_of(middleware),
        ask_for_usage=ask_for_usage,
        propagate=propagate,
    )
    module = import_module(NAME)
    uninstrument(NAME)
    holds = lasting(NAME)
    for name in _FORMATS:
        function = getattr(module, name, None)
        if function is not None and made_of(function) is None:
            patch(NAME, module, name, _wrapped(function, name, options, holds))


class LiteLLMReading:
    """What the calls of one function of LiteLLM's SDK say.

    Args:
        function: The function.
        name: LiteLLM's name for it.
        options: What the user said.
    """

    def __init__(self, function: Callable[..., Any], name: str, options: WrapOptions) -> None:
        self._format = _FORMATS[name]
        self._options = options
        self._names = _UNNAMED.get(name) or tuple(inspect.signature(function).parameters)

    def operation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        """The call that the arguments stand for."""
        fields = self._fields(args, kwargs)
        call = self._format.call(fields)
        vendor = _vendor(call.model, fields.get("custom_llm_provider"))
        host, port = _server(fields.get("api_base") or fields.get("base_url"))
        return replace(
            call,
            model=call.model or "unknown",
            system=vendor.system,
            provider_name=vendor.provider_name,
            server_address=host,
            server_port=port,
        )

    def may_stream(self, operation: LLMCall) -> bool:
        """What the request says."""
        return operation.stream

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], before: LLMCall, after: LLMCall
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, by name, with what a middleware changed in the call."""
        return (), self._format.arguments(self._fields(args, kwargs), before, after)

    def sent(self, kwargs: dict[str, Any], call: ClientCall) -> tuple[dict[str, Any], bool]:
        """The keyword arguments with ``traceparent`` and the wish for usage, where the caller has not decided on it."""
        headers: Mapping[str, str] = call.headers() if self._options.propagate else {}
        if headers:
            own: Mapping[str, Any] = kwargs.get("extra_headers") or {}
            kwargs = {**kwargs, "extra_headers": {**headers, **own}}
        asking = None
        if self._options.ask_for_usage and self._format is not OPENAI_RESPONSES:
            asking = self._format.asking_for_usage(kwargs)
        return (kwargs, False) if asking is None else (asking, True)

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads an answer, with the cost that LiteLLM knows."""
        response = self._format.response(answer)
        hidden: object = getattr(answer, "_hidden_params", None)
        cost = reported_cost(get(hidden, "response_cost"))
        if response is None or cost is None:
            return response
        return replace(response, cost=cost, cost_source="provider")

    def joiner(self, stream: Any = None) -> Joiner:
        """Makes the joiner of one stream."""
        return _StreamJoiner(self._format.joiner(), stream)

    def written(self, response: LLMResponse, operation: LLMCall) -> Any:
        """LiteLLM's own object for a response that a middleware made itself."""
        litellm: Any = sys.modules[NAME]
        made = getattr(litellm, _CLASSES[self._format])(**self._format.answer(response))
        if not operation.stream or self._format is not OPENAI_CHAT:
            return made
        module: Any = import_module("litellm.llms.base_llm.base_model_iterator")
        return _MadeStream([module.convert_model_response_to_streaming(made)])

    def _fields(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**dict(zip(self._names, args, strict=False)), **kwargs}


class _StreamJoiner:
    """Joins one stream; usage that LiteLLM counted itself, since the server told none, is an estimate.

    Args:
        joiner: The joiner of the format.
        stream: LiteLLM's stream, which keeps the chunks that the server sent.
    """

    def __init__(self, joiner: Joiner, stream: Any) -> None:
        self._joiner = joiner
        self._stream = stream
        self.add = joiner.add

    @property
    def begun(self) -> bool:
        """True when at least one chunk arrived."""
        return self._joiner.begun

    @property
    def finished(self) -> bool:
        """True when the answer is complete."""
        return self._joiner.finished

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the chunks say together."""
        response = self._joiner.response(outcome)
        chunks = get(self._stream, "chunks") or get(get(self._stream, "completion_stream"), "chunks")
        if response is None or response.usage is None or not isinstance(chunks, list):
            return response
        told = any(usage_of(get(chunk, "usage")) not in (None, Usage(0, 0)) for chunk in cast("list[object]", chunks))
        return response if told else replace(response, usage_source="estimated")


class _MadeStream:
    """The stream of a response that a middleware made itself; sync and async.

    Args:
        chunks: Its chunks.
    """

    def __init__(self, chunks: Sequence[Any]) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __aiter__(self) -> _MadeStream:
        return self

    async def __anext__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def _vendor(model: str, provider: object) -> ModelVendor:
    """Who serves a model: what LiteLLM is told to use, else what the model's name says."""
    named = vendor_of(f"{provider}/{model}") if isinstance(provider, str) and provider else UNKNOWN
    return vendor_of(model) if named is UNKNOWN else named


def _server(url: object) -> tuple[str | None, int | None]:
    if not isinstance(url, str):
        return None, None
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None, None
