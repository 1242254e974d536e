"""Streams that have made their first chunk.

Many send their request with the first step only. Until then a middleware may try again, so it waits for that step.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any


def begun_generator(generator: Generator[Any, Any, Any]) -> BegunGenerator:
    """Takes the first step of a generator, and gives one that has not taken it.

    Raises:
        BaseException: What the first step raises.
    """
    try:
        return BegunGenerator([next(generator)], generator)
    except StopIteration as stop:
        return BegunGenerator([], generator, stop.value)


class BegunGenerator:
    """A generator whose first item was read.

    Args:
        read: That item, if there was one.
        rest: The generator.
        value: What it returned, where there was none.
    """

    def __init__(self, read: list[Any], rest: Generator[Any, Any, Any], value: Any = None) -> None:
        self._read = read
        self._rest = rest
        self._value = value
        self._empty = not read

    def __iter__(self) -> BegunGenerator:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Gives the next item; `value` is what the generator gets for the one before."""
        if self._read:
            return self._read.pop()
        if self._empty:
            raise StopIteration(self._value)
        return self._rest.send(value)

    def throw(self, *error: Any) -> Any:
        """Raises in the generator."""
        self._read.clear()
        return self._rest.throw(*error)

    def close(self) -> None:
        """Ends the generator."""
        self._rest.close()


async def begun_async(stream: Any) -> BegunStream:
    """Takes the first step of an async iterator, and gives one that has not taken it.

    Raises:
        BaseException: What the first step raises.
    """
    async for first in stream:
        return BegunStream([first], stream)
    return BegunStream([], stream)


class BegunStream:
    """A stream whose first chunk was read.

    Args:
        read: That chunk, if there was one.
        rest: The stream.
    """

    def __init__(self, read: list[Any], rest: Any) -> None:
        self._read = read
        self._rest = rest

    def __aiter__(self) -> BegunStream:
        return self

    async def __anext__(self) -> Any:
        return self._read.pop() if self._read else await anext(self._rest)

    async def asend(self, value: Any) -> Any:
        """Gives the next item; `value` is what the generator gets for the one before."""
        return self._read.pop() if self._read else await self._rest.asend(value)

    async def athrow(self, *error: Any) -> Any:
        """Raises in the generator."""
        self._read.clear()
        return await self._rest.athrow(*error)

    async def aclose(self) -> None:
        """Ends the stream."""
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()
