"""Streams and unread responses of an SDK, recorded as the caller reads them; they stay what they were."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from inspect import ismemberdescriptor
from types import MappingProxyType
from typing import Any, cast

from looopy_otel.core.guard import guard
from looopy_otel.instrument.call import StreamRecord

RECORD = "_looopy_record"
"""The attribute of a response that holds its record."""


class RecordedChunks:
    """The chunks of a sync stream on their way to the caller.

    Args:
        chunks: The SDK's own iterator.
        record: Takes each of them.
        hide_usage: True to keep the chunk that was asked for behind the caller's back from them.
    """

    def __init__(self, chunks: Iterator[Any], record: StreamRecord, hide_usage: bool) -> None:
        self._chunks = chunks
        self._record = record
        self._hide_usage = hide_usage

    def __iter__(self) -> Iterator[Any]:
        return _Loop(self, self._record)

    def __next__(self) -> Any:
        while True:
            self._record.reading = True
            try:
                chunk = next(self._chunks)
            except StopIteration:
                self._record.exhaust()
                self._record.finish()
                raise
            except BaseException as error:
                self._record.fail(error)
                self._record.finish()
                raise
            finally:
                self._record.reading = False
            if not (self._record.take(chunk).only_usage and self._hide_usage):
                return chunk


class RecordedAsyncChunks:
    """The chunks of an async stream on their way to the caller; see `RecordedChunks`."""

    def __init__(self, chunks: AsyncIterator[Any], record: StreamRecord, hide_usage: bool) -> None:
        self._chunks = chunks
        self._record = record
        self._hide_usage = hide_usage

    def __aiter__(self) -> AsyncIterator[Any]:
        return _AsyncLoop(self, self._record)

    async def __anext__(self) -> Any:
        while True:
            self._record.reading = True
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self._record.exhaust()
                await self._record.afinish()
                raise
            except BaseException as error:
                self._record.fail(error)
                await self._record.afinish()
                raise
            finally:
                self._record.reading = False
            if not (self._record.take(chunk).only_usage and self._hide_usage):
                return chunk


class _Loop:
    """One loop over a stream, which holds this alone: leaving the loop is the end of this, and a pause of the stream.

    The class of the stream has to stay the SDK's very own, so that is where nothing can be seen: in older versions a
    subclass does not count as a ``Stream``.
    """

    def __init__(self, chunks: Any, record: StreamRecord) -> None:
        self._chunks = chunks
        self._record = record

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __del__(self) -> None:
        self._record.pause()


class _AsyncLoop(_Loop):
    """As `_Loop`, for async streams."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._chunks)


def recorded_stream(stream: Any, record: StreamRecord, *, hide_usage: bool) -> Any:
    """A stream like the given one, of the same class, that is recorded.

    Args:
        stream: A ``Stream`` or ``AsyncStream`` of the SDK, not begun.
        record: Its record, ended by whatever ends the stream.
        hide_usage: True to keep the usage chunk from the caller.
    """
    chunks: Any = stream._iterator
    recorded = copied_as(stream.__class__, stream)
    kind = RecordedAsyncChunks if hasattr(chunks, "__anext__") else RecordedChunks
    recorded._iterator = kind(chunks, record, hide_usage)
    record.watch(recorded)
    with guard("instrument.closing"):
        _watch_closing(recorded.response, record)
    # The generator refers to the SDK's stream, so that stream must not refer to it: what the caller drops is to be
    # collected at once, not by the next run of the cycle collector.
    stream.__dict__.pop("_iterator", None)
    return recorded


def _watch_closing(response: Any, record: StreamRecord) -> None:
    """Has the HTTP response tell when it is closed: helpers of the SDKs do so behind the stream's back."""
    response.__class__ = _class_of_http_response(response.__class__)
    setattr(response, RECORD, record)


def recorded_response(response: Any, record: StreamRecord, settle: Callable[[Any, bool], None]) -> Any:
    """A response of ``with_streaming_response`` like the given one, of a subclass that tells when it closes.

    Args:
        response: The SDK's ``APIResponse``, unread.
        record: Its record.
        settle: Called at the end with the HTTP response, and whether that was closed, which is to say: read, before.
    """
    asynchronous = any(base.__name__ == "AsyncAPIResponse" for base in response.__class__.__mro__)
    recorded = copied_as(_class_of_response(response.__class__, asynchronous), response)
    setattr(recorded, RECORD, settle)
    record.watch(recorded)
    return recorded


def copied_as(cls: Any, original: Any) -> Any:
    """A shallow copy of an object, of another class."""
    copied: Any = cls.__new__(cls)
    copied.__dict__.update(original.__dict__)
    for slot in _slots(type(cast("object", original))):
        with suppress(AttributeError):  # Nothing is in it.
            slot.__set__(copied, slot.__get__(original))
    return copied


@lru_cache(maxsize=256)
def _slots(cls: type) -> tuple[Any, ...]:
    return tuple(member for base in cls.__mro__ for member in vars(base).values() if ismemberdescriptor(member))


@lru_cache(maxsize=256)
def _class_of_http_response(cls: Any) -> type[Any]:
    class Response(cls):
        """Tells when it is closed by somebody else than the one who reads it."""

        def close(self) -> None:
            parent: Any = super()
            try:
                parent.close()
            finally:
                _closed(getattr(self, RECORD))

        async def aclose(self) -> None:
            parent: Any = super()
            try:
                await parent.aclose()
            finally:
                _closed(getattr(self, RECORD))

    return cls if hasattr(cls, RECORD) else _named_as(cls, Response, {RECORD: None})


def _closed(record: StreamRecord) -> None:
    if not record.reading:
        record.leave()


@lru_cache(maxsize=256)
def _class_of_response(cls: Any, asynchronous: bool) -> type[Any]:
    class SyncResponse(cls):
        """Tells when it is closed."""

        def close(self) -> None:
            parent: Any = super()
            was_closed = self.http_response.is_closed
            try:
                parent.close()
            finally:
                with guard("instrument.response"):
                    getattr(self, RECORD)(self.http_response, was_closed)

    class AsyncResponse(cls):
        """Tells when it is closed."""

        async def close(self) -> None:
            parent: Any = super()
            was_closed = self.http_response.is_closed
            try:
                await parent.close()
            finally:
                with guard("instrument.response"):
                    getattr(self, RECORD)(self.http_response, was_closed)

    return _named_as(cls, AsyncResponse if asynchronous else SyncResponse)


def _named_as(cls: Any, recording: Any, attributes: Mapping[str, Any] = MappingProxyType({})) -> type[Any]:
    """Gives a subclass the names of its base, and attributes."""
    names = {name: getattr(cls, name) for name in ("__name__", "__qualname__", "__module__", "__doc__")}
    for name, value in {**names, **attributes}.items():
        setattr(recording, name, value)
    return recording
