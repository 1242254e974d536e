"""Any callable that asks a model: what its arguments say of the request, and its result of the answer."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from functools import partial, update_wrapper
from types import MethodType
from typing import Any, cast

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, installed
from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.cost import is_believable
from looopy_otel.core.shapes.recognise import joiner_for, recognised
from looopy_otel.core.shapes.shape import Joiner, Progress
from looopy_otel.core.types import CallOutcome, ContentDelta, LLMResponse, Message
from looopy_otel.core.usage import usage_of
from looopy_otel.instrument.arguments import Arguments, request_in
from looopy_otel.instrument.begun import begun_async, begun_generator
from looopy_otel.instrument.call import ClientCall, StreamRecord, WrapOptions
from looopy_otel.instrument.chain import Opened, arun_chain, run_chain
from looopy_otel.instrument.function_call import FunctionCall, LLMFunctionCall
from looopy_otel.instrument.operations import llm_call
from looopy_otel.instrument.standing_in import defines, stand_in
from looopy_otel.instrument.stream_proxy import proxied
from looopy_otel.instrument.traced import FunctionStream, changed_names, traced
from looopy_otel.instrument.wrap import is_generator, opened_first, recorded

RequestReader = Callable[..., LLMCall | Mapping[str, Any]]
ResponseReader = Callable[[Any], "LLMResponse | Mapping[str, Any] | str | None"]


def wrap_function(
    function: Callable[..., Any],
    options: WrapOptions,
    request: RequestReader | None = None,
    response: ResponseReader | None = None,
) -> Callable[..., Any]:
    """Wraps a function so that each call of it is recorded as an LLM call.

    Args:
        function: A function, method or callable object of any kind: sync, async, generator or async generator. One that
            returns an iterator or an async iterator is recorded to the end of that.
        options: What the user said.
        request: Reads the request; gets the arguments of the call.
        response: Reads the result; for what comes in chunks, it gets a list of them.

    Returns:
        A function of the same kind, with the same signature; for a callable object, one that stands for it.
    """
    if not inspect.isroutine(function) or function.__class__ is not type(cast("object", function)):
        called = function.__call__
        wrapped: Any = staticmethod(_wrapped(function, called, options, request, response))
        made = partial(wrap_function, options=options, request=request, response=response)
        return (
            stand_in(function, made, __call__=wrapped, __get__=_bound)
            if defines(type(function), "__get__")
            else (stand_in(function, made, __call__=wrapped))
        )
    return _wrapped(function, function, options, request, response)


def _bound(one: Any, instance: Any, owner: type | None = None) -> Any:
    """Binds a callable object that is a descriptor, as a function is bound."""
    return one if instance is None else MethodType(one, instance)


def _wrapped(
    target: Callable[..., Any],
    function: Callable[..., Any],
    options: WrapOptions,
    request: RequestReader | None,
    response: ResponseReader | None,
) -> Callable[..., Any]:
    reading = FunctionReading(target, request, response)
    if not is_generator(function):
        return traced(function, reading, options)
    if not options.middleware:
        return recorded(function, partial(_opening, reading, options))
    through = _async_through if _is_async_generator(function) else _through
    return recorded(through(function, reading, options), partial(_opening, reading, options))


class FunctionReading:
    """What the calls of one function say.

    Args:
        function: The function.
        request: The user's reader of requests.
        response: The user's reader of results.
    """

    def __init__(
        self, function: Callable[..., Any], request: RequestReader | None, response: ResponseReader | None
    ) -> None:
        self._function = function
        self._named = Arguments(function)
        self._request = request
        self._response = response

    def operation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        """The call: as the user's reader says, else by the names of the arguments."""
        name = str(getattr(self._function, "__name__", type(self._function).__name__))
        # Who reads the request or the answer knows all about the call; what is recorded inside it is the same call.
        inner = "replace" if self._request is None and self._response is None else "silent"
        with guard("functions.request"):
            asked = self._request(*args, **kwargs) if self._request else request_in(self._named.by_name(args, kwargs))
            call = asked if isinstance(asked, LLMCall) else llm_call(**_request_fields(asked))
            return replace(call, inner=inner, name=name)
        return replace(llm_call(messages=()), inner=inner, name=name)

    def may_stream(self, operation: LLMCall) -> bool:
        """Nobody knows before."""
        return True

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], before: LLMCall, after: LLMCall
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with what a middleware changed, where the function has arguments of these names."""
        changes = dict(changed_names(before, after))
        if not changes:
            return args, kwargs
        parameters = dict(changes.pop("parameters", {}))
        changes.update({name: value for name, value in parameters.items() if before.parameters.get(name) != value})
        bound = inspect.signature(self._function).bind(*args, **kwargs)
        if "messages" in changes and "messages" not in bound.arguments:
            changes.pop("messages")
            changes.update(self._text_argument(bound.arguments, before, after))
        for name, value in changes.items():
            self._put(bound, name, value)
        return bound.args, bound.kwargs

    def _text_argument(self, given: Mapping[str, Any], before: LLMCall, after: LLMCall) -> Mapping[str, Any]:
        """The argument that the conversation was read from, a text, with the text of the changed one."""
        old, new = _only_text(before.messages), _only_text(after.messages)
        name = next((name for name, value in given.items() if isinstance(value, str) and value == old), None)
        if name is None or new is None:
            raise TypeError(f"a middleware changed the messages of a call, which {self._name}() does not take")
        return {name: new}

    def _put(self, bound: inspect.BoundArguments, name: str, value: Any) -> None:
        parameters = bound.signature.parameters
        rest = next((one for one in parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD), None)
        if name in parameters:
            bound.arguments[name] = value
        elif rest is not None:
            bound.arguments[rest.name] = {**bound.arguments.get(rest.name, {}), name: value}
        else:
            raise TypeError(f"a middleware changed {name} of a call, which {self._name}() does not take")

    @property
    def _name(self) -> str:
        return getattr(self._function, "__qualname__", type(self._function).__qualname__)

    def sent(self, kwargs: dict[str, Any], call: ClientCall) -> tuple[dict[str, Any], bool]:
        """Nothing is added to the arguments of a function."""
        return kwargs, False

    def response(self, answer: Any) -> LLMResponse | None:
        """The answer: as the user's reader says, else by its shape; a text is the assistant's message."""
        if self._response is not None:
            return response_of(self._response(answer))
        return LLMResponse(message=Message("assistant", answer)) if isinstance(answer, str) else recognised(answer)

    def joiner(self, stream: Any = None) -> Joiner:
        """Joins whatever chunks come."""
        return ChunkJoiner(self._response)

    def written(self, response: LLMResponse, operation: LLMCall) -> Any:
        """The text of the response; who wants to give something else says so by `LLMResponse.native`."""
        return response.message.content


class ChunkJoiner:
    """Joins the chunks of any stream: texts, what the known formats stream, or what the user's reader makes of it.

    Args:
        response: The user's reader; it gets all chunks.
    """

    def __init__(self, response: ResponseReader | None = None) -> None:
        self._read = response
        self._chunks: list[Any] = []
        self._joiner: Joiner | None = None
        self._exhausted = False
        self.begun = False

    @property
    def finished(self) -> bool:
        """True when the format says so, or when a stream without any notion of that has ended."""
        return self._exhausted if self._joiner is None else self._joiner.finished

    def exhausted(self) -> None:
        """Says that no more chunks come."""
        self._exhausted = True

    def add(self, chunk: Any) -> Progress:
        """Takes one chunk."""
        if not self.begun:
            self.begun = True
            self._joiner = None if isinstance(chunk, str) else joiner_for(chunk)
        if self._joiner is None or self._read is not None:
            self._chunks.append(chunk)
        if self._joiner is not None:
            return self._joiner.add(chunk)
        if isinstance(chunk, str):
            return Progress((ContentDelta(chunk),), delta=True, anything=True) if chunk else Progress()
        return Progress(delta=True, anything=True)

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the chunks say together."""
        if self._read is not None and self._chunks:
            read = response_of(self._read(self._chunks))
            return None if read is None else replace(read, outcome=outcome)
        if self._joiner is not None:
            return self._joiner.response(outcome)
        texts = [chunk for chunk in self._chunks if isinstance(chunk, str)]
        return (
            LLMResponse(message=Message("assistant", "".join(texts) or None), outcome=outcome) if self.begun else None
        )


def response_of(told: LLMResponse | Mapping[str, Any] | str | None) -> LLMResponse | None:
    """The response that a user's reader tells of.

    Args:
        told: A response; a text; or a mapping with ``output`` (or ``text``), ``model``, ``usage``, ``finish_reason``,
            ``id`` and ``cost`` (USD), each of them optional.

    Raises:
        TypeError: If it is anything else, or the mapping has other keys.
    """
    if told is None or isinstance(told, LLMResponse):
        return told
    if isinstance(told, str):
        return LLMResponse(message=Message("assistant", told))
    if not isinstance(told, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"response= must return an LLMResponse, a mapping or a text, not {type(told).__name__}")
    unknown = told.keys() - {"output", "text", "model", "usage", "finish_reason", "id", "cost"}
    if unknown:
        raise TypeError(f"response= gave {', '.join(sorted(unknown))}, which a response does not have")
    usage, cost = usage_of(told.get("usage")), _amount(told.get("cost"))
    return LLMResponse(
        message=_message_of(told.get("output", told.get("text"))),
        model=told.get("model"),
        usage=usage,
        usage_source="missing" if usage is None else "reported",
        finish_reason=told.get("finish_reason"),
        id=told.get("id"),
        cost=cost,
        cost_source="unknown" if cost is None else "provider",
    )


def _message_of(output: object) -> Message:
    if output is None or isinstance(output, str):
        return Message("assistant", output)
    read = recognised(output)
    return Message("assistant", str(output)) if read is None else read.message


def _amount(cost: object) -> Decimal | None:
    if cost is None:
        return None
    try:
        amount = Decimal(str(cost))
    except InvalidOperation:
        raise TypeError(f"response= gave cost={cost!r}, which is no number of USD") from None
    return amount if is_believable(amount) else None


_FIELDS = frozenset(field.name for field in fields(LLMCall)) - {"emit", "identity", "inner", "name"}


def _request_fields(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `LLMCall`; a prompt that is a text is a message of the user."""
    given = {name: value for name, value in asked.items() if value is not None}
    unknown = given.keys() - _FIELDS
    if unknown:
        raise TypeError(f"request= gave {', '.join(sorted(unknown))}, which an LLMCall does not have")
    messages: Any = given.pop("messages", ())
    text = isinstance(messages, str)
    return {**given, "messages": ({"role": "user", "content": messages},) if text else tuple(messages)}


def _only_text(messages: Sequence[Any]) -> str | None:
    """The text of a conversation of one message."""
    content = message_to_dict(messages[0]).get("content") if len(messages) == 1 else None
    return content if isinstance(content, str) else None


def _is_async_generator(function: Any) -> bool:
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(getattr(function, "__call__", None))  # noqa: B004


class _GeneratorCall(LLMFunctionCall):
    """One call of a generator function; a user's reader gets its items.

    Args:
        recorder: The recorder of the call.
        joiner: Joins the items.
    """

    __slots__ = ("_all",)

    def __init__(self, recorder: Recorder, joiner: Joiner) -> None:
        super().__init__(recorder)
        self._all = joiner

    def item(self, item: Any) -> None:
        """Takes a chunk."""
        with guard("functions.chunk"):
            if self._all.add(item).delta:
                self.recorder.chunk()

    def _chunks(self, outcome: CallOutcome) -> LLMResponse | None:
        with guard("functions.join"):
            return self._all.response(outcome)
        return None


def _opening(
    reading: FunctionReading, options: WrapOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> FunctionCall | None:
    """Opens the recording of one call of a generator function."""
    if installed() is None:
        return None
    operation = options.named(replace(reading.operation(args, kwargs), stream=True))
    recorder = announce(operation)
    return None if recorder is NO_RECORDER else _GeneratorCall(recorder, reading.joiner())


class _Silent(ClientCall):
    """The call of a generator function, which is recorded around the chain."""

    def __init__(self, operation: LLMCall, function: Callable[..., Any], reading: FunctionReading) -> None:
        self.operation = operation
        self.recorder = NO_RECORDER
        self._function = function
        self._reading = reading

    def generator(self, asked: LLMCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the generator function, which does nothing yet."""
        if asked is not self.operation:
            args, kwargs = self._reading.arguments(args, kwargs, self.operation, asked)
        self.operation = asked
        return self._function(*args, **kwargs)

    def opened(self, stream: Any) -> Opened:
        """The stream, begun."""
        record: StreamRecord = FunctionStream(self, self._reading.joiner())
        return Opened(proxied(stream, record), record)


def _through(
    function: Callable[..., Any], reading: FunctionReading, options: WrapOptions
) -> Callable[..., Generator[Any, Any, Any]]:
    """A generator function whose generator is opened through the middleware."""

    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        one = _Silent(reading.operation(args, kwargs), function, reading)

        def perform(asked: LLMCall) -> Opened:
            return one.opened(begun_generator(one.generator(asked, args, kwargs)))

        answer = run_chain(options.middleware, one.operation, perform)
        if isinstance(answer, Opened):
            return cast("Any", (yield from answer.stream))
        yield reading.written(answer, one.operation)
        return None

    return update_wrapper(call, function)


def _async_through(
    function: Callable[..., Any], reading: FunctionReading, options: WrapOptions
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """An async generator function whose generator is opened through the middleware."""

    async def opened(*args: Any, **kwargs: Any) -> Any:
        one = _Silent(reading.operation(args, kwargs), function, reading)

        async def perform(asked: LLMCall) -> Opened:
            return one.opened(await begun_async(aiter(one.generator(asked, args, kwargs))))

        answer = await arun_chain(options.middleware, one.operation, perform, may_stream=True)
        return answer.stream if isinstance(answer, Opened) else _only(reading.written(answer, one.operation))

    return opened_first(function, opened)


async def _only(item: Any) -> AsyncGenerator[Any, Any]:
    yield item
