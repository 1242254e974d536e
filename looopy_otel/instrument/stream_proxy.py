"""A stream that a function returned, in the hands of the caller, and recorded to its end."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from looopy_otel.instrument.call import StreamRecord
from looopy_otel.instrument.standing_in import defines, operators

_OWN: Final = frozenset({"looopy_stream", "looopy_record", "looopy_hidden", "looopy_iterator"})
_FILE: Final = cast("type", io.IOBase.__base__)


def is_stream(result: object) -> bool:
    """True for iterators and async iterators, which can be read once; never for files, lists, pages and the like.

    No code of the result runs.
    """
    kind = type(result)
    return not issubclass(kind, _FILE) and any(defines(kind, name) for name in ("__next__", "__anext__"))


def proxied(stream: Any, record: StreamRecord, *, hide_usage: bool = False) -> Any:
    """The stream for the caller: it behaves like the one that it stands for, and `isinstance` holds.

    While the stream makes a chunk, the call is current, so that what happens in it is a part of the call. It ends with
    the iteration, with `close` or `aclose`, or when nobody refers to it any more.

    Args:
        stream: What the function returned.
        record: Its record.
        hide_usage: True to keep the chunk that carries nothing but usage from the caller.
    """
    proxy = _class_of(type(cast("object", stream)))(stream, record, hide_usage)
    record.watch(proxy)
    return proxy


class _Proxy:
    """What every proxy does: it has the class and the attributes of the stream.

    Args:
        stream: The stream.
        record: Its record.
        hidden: Whether a chunk of nothing but usage is kept from the caller.
    """

    def __init__(self, stream: Any, record: StreamRecord, hidden: bool) -> None:
        self.looopy_stream = stream
        self.looopy_record = record
        self.looopy_hidden = hidden
        self.looopy_iterator: Any = None

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(cast("object", self.looopy_stream))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.looopy_stream, name)
        ending = _ENDINGS.get(name)
        return value if ending is None else ending(self, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.looopy_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.looopy_stream, name)

    def __repr__(self) -> str:
        return repr(self.looopy_stream)

    def __dir__(self) -> list[str]:
        return dir(self.looopy_stream)

    def looopy_taken(self, chunk: Any) -> bool:
        """Records a chunk; False for one that the caller does not get."""
        return not (self.looopy_record.take(chunk).only_usage and self.looopy_hidden)

    def looopy_step(self, advance: Callable[..., Any], *arguments: Any) -> Any:
        record = self.looopy_record
        record.resume()
        try:
            while True:
                chunk = advance(*arguments)
                if self.looopy_taken(chunk):
                    return chunk
        except StopIteration:
            record.exhaust()
            record.finish()
            raise
        except BaseException as error:
            record.fail(error)
            record.finish()
            raise
        finally:
            record.suspend()

    async def looopy_astep(self, advance: Callable[..., Any], *arguments: Any) -> Any:
        record = self.looopy_record
        record.resume()
        try:
            while True:
                chunk = await advance(*arguments)
                if self.looopy_taken(chunk):
                    return chunk
        except StopAsyncIteration:
            record.exhaust()
            await record.afinish()
            raise
        except BaseException as error:
            record.fail(error)
            await record.afinish()
            raise
        finally:
            record.suspend()


class _Iterates(_Proxy):
    """For iterators."""

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self.looopy_iterator is None:
            self.looopy_iterator = iter(self.looopy_stream)
        return self.looopy_step(self.looopy_iterator.__next__)


class _AsyncIterates(_Proxy):
    """For async iterators."""

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        if self.looopy_iterator is None:
            self.looopy_iterator = aiter(self.looopy_stream)
        return await self.looopy_astep(self.looopy_iterator.__anext__)


class _Awaits(_Proxy):
    """For streams that can be awaited, too."""

    def __await__(self) -> Any:
        return self.looopy_stream.__await__()


class _Enters(_Proxy):
    """For streams that are context managers."""

    def __enter__(self) -> Any:
        entered = self.looopy_stream.__enter__()
        return self if entered is self.looopy_stream else entered

    def __exit__(self, *raised: Any) -> Any:
        try:
            return self.looopy_stream.__exit__(*raised)
        finally:
            self.looopy_record.leave()


class _AsyncEnters(_Proxy):
    """For streams that are async context managers."""

    async def __aenter__(self) -> Any:
        entered = await self.looopy_stream.__aenter__()
        return self if entered is self.looopy_stream else entered

    async def __aexit__(self, *raised: Any) -> Any:
        try:
            return await self.looopy_stream.__aexit__(*raised)
        finally:
            self.looopy_record.leave()


_CAPABILITIES: Final[tuple[tuple[tuple[str, ...], type[_Proxy]], ...]] = (
    (("__next__",), _Iterates),
    (("__anext__",), _AsyncIterates),
    (("__await__",), _Awaits),
    (("__enter__",), _Enters),
    (("__aenter__",), _AsyncEnters),
)
_classes: WeakKeyDictionary[type, type[_Proxy]] = WeakKeyDictionary()


def _class_of(kind: type) -> type[_Proxy]:
    """The class of proxies that can do what streams of that class can."""
    known = _classes.get(kind)
    if known is None:
        bases = tuple(base for names, base in _CAPABILITIES if any(defines(kind, name) for name in names))
        own = {name for base in bases for name in vars(base)}
        others = {name: method for name, method in operators(kind, "looopy_stream").items() if name not in own}
        known = _classes[kind] = cast("type[_Proxy]", type("StreamProxy", bases, others))
    return known


def _closing(proxy: _Proxy, close: Callable[..., Any]) -> Callable[..., Any]:
    record = proxy.looopy_record

    def closed(*args: Any, **kwargs: Any) -> Any:
        try:
            return close(*args, **kwargs)
        finally:
            record.leave()

    return closed


def _aclosing(proxy: _Proxy, close: Callable[..., Any]) -> Callable[..., Any]:
    record = proxy.looopy_record

    async def closed(*args: Any, **kwargs: Any) -> Any:
        try:
            return await close(*args, **kwargs)
        finally:
            record.leave()

    return closed


_ENDINGS: Final[dict[str, Callable[[_Proxy, Callable[..., Any]], Callable[..., Any]]]] = {
    "close": _closing,
    "aclose": _aclosing,
    "send": lambda proxy, step: partial(proxy.looopy_step, step),
    "throw": lambda proxy, step: partial(proxy.looopy_step, step),
    "asend": lambda proxy, step: partial(proxy.looopy_astep, step),
    "athrow": lambda proxy, step: partial(proxy.looopy_astep, step),
}
"""Methods of streams and generators that bring a chunk, or the end."""
