"""Server-sent events: from bytes as they arrive to the data of each event."""

from __future__ import annotations

from collections.abc import Iterator

DONE = b"[DONE]"


class EventParser:
    """Splits a byte stream into events after https://html.spec.whatwg.org/multipage/server-sent-events.html.

    Comments, event names, ids and retry times are passed over; only data counts here.
    """

    def __init__(self) -> None:
        self._tail = bytearray()
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Takes what arrived and yields the data of each event that is complete now."""
        self._tail += received
        if b"\n" not in received:
            return
        *lines, rest = self._tail.split(b"\n")
        self._tail = rest
        for line in lines:
            line = bytes(line.removesuffix(b"\r"))
            if line:
                self._take(line)
            elif self._data:
                yield self._event()

    def end(self) -> Iterator[bytes]:
        """Yields what remains when the connection has ended without the empty line that closes an event."""
        if self._tail:
            self._take(bytes(self._tail.removesuffix(b"\r")))
            self._tail.clear()
        if self._data:
            yield self._event()

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))

    def _event(self) -> bytes:
        event = b"\n".join(self._data)
        self._data.clear()
        return event
