"""The debug log: raw chunks and events of calls as JSON lines, without secrets, readable by the user alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import orjson

from looopy_otel.core.guard import guard
from looopy_otel.core.types import StreamEvent
from looopy_otel.providers.masking import SecretMask

MOST_HELD = 4 * 1024 * 1024
"""Characters of a request's lines that are held; of a longer one they are written before it ends."""
OVERLAPS = 8
"""Which part of that stays back then, and which part of what is written is looked at again: no secret is longer."""

_Path: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True)
class _Line:
    """One line of the log.

    Attributes:
        kind: ``chunk`` for what the endpoint sent, ``event`` for what the consumer gets.
        time: When it came, in ISO 8601.
        data: What it says, decoded where it is JSON.
        raw: A chunk as it came, or an event as JSON.
        written: True for what is kept only because a secret may begin in it.
    """

    kind: Literal["chunk", "event"]
    time: str
    data: Any
    raw: str
    written: bool = False

    @property
    def place(self) -> _Path:
        """Where its data stand: texts of one place in several lines belong together."""
        return (self.kind,) if self.kind == "chunk" else (self.kind, self.data["kind"])


class DebugLog:
    """Appends the lines of one request to a file; a failure to write is counted and never reaches the call.

    A secret may come split over many chunks. So the lines are held until `write`, the texts of the same place in all
    of them are joined, and what is found in the joined text is masked in its pieces.

    Args:
        path: The file, made with mode 0600; None writes nothing.
        mask: Takes the secrets out.
        model: Stands on every line.
        most_held: Characters that are held before a part is written.
    """

    def __init__(self, path: Path | None, mask: SecretMask, model: str, *, most_held: int = MOST_HELD) -> None:
        self._path = path
        self._mask = mask
        self._model = model
        self._lines: list[_Line] = []
        self._held = 0
        self._overlap = most_held // OVERLAPS
        self._most_held = self._limit = most_held

    def chunk(self, data: bytes) -> None:
        """Logs what the endpoint sent: one event of a stream, or a whole body."""
        if self._path is not None:
            with guard("providers.debug_log"):
                text = data.decode("utf-8", "replace")
                self._hold(_Line("chunk", _now(), _decoded(text), text))

    def event(self, event: StreamEvent) -> None:
        """Logs what the consumer gets."""
        if self._path is not None:
            with guard("providers.debug_log"):
                told = {"kind": event.kind, **{field.name: getattr(event, field.name) for field in fields(event)}}
                raw = orjson.dumps(told, default=str)
                self._hold(_Line("event", _now(), orjson.loads(raw), raw.decode()))

    def write(self) -> None:
        """Masks and writes what is held; called when the request has ended, in whatever way."""
        lines, self._lines, self._held, self._limit = self._lines, [], 0, self._most_held
        self._write(lines, len(lines))

    def _hold(self, line: _Line) -> None:
        self._lines.append(line)
        self._held += len(line.raw)
        if self._held <= self._limit:
            return
        lines, unwritten = self._lines, self._index_before_last(self._overlap)
        self._lines = lines[self._index_before_last(2 * self._overlap) :]
        self._held = sum(len(line.raw) for line in self._lines)
        self._limit = self._held + self._most_held
        self._write(lines, unwritten)

    def _index_before_last(self, amount: int) -> int:
        """Where the last so many characters of what is held begin."""
        index = len(self._lines)
        while index and amount > 0:
            index -= 1
            amount -= len(self._lines[index].raw)
        return index

    def _write(self, lines: list[_Line], end: int) -> None:
        """Masks all `lines` together and writes those before `end` that are not written yet."""
        if self._path is None or not lines:
            return
        with guard("providers.debug_log"):
            masked = _masked(lines, self._mask)
            fresh = [(line, data) for line, data in zip(lines[:end], masked, strict=False) if not line.written]
            for line, _ in fresh:
                line.written = True
            _append(self._path, b"".join(self._encoded(line, data) for line, data in fresh))

    def _encoded(self, line: _Line, data: Any) -> bytes:
        return orjson.dumps(
            {"time": line.time, "kind": line.kind, "model": self._mask(self._model), "data": data},
            option=orjson.OPT_APPEND_NEWLINE,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _append(path: Path, lines: bytes) -> None:
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        if hasattr(os, "fchmod"):  # not on Windows
            os.fchmod(file.fileno(), 0o600)
        file.write(lines)


def _masked(lines: list[_Line], mask: SecretMask) -> list[Any]:
    """The data of the lines, masked: a chunk as text, as it came wherever it holds no secret; an event decoded."""
    channels: dict[_Path, list[str]] = {}
    for line in lines:
        for place, text in _texts(line.data, line.place):
            channels.setdefault(place, []).append(text)
    replaced = {place: iter(mask.pieces(texts)) for place, texts in channels.items()}
    masked: list[Any] = []
    for line in lines:
        data = _replaced(line.data, line.place, lambda place: next(replaced[place]))
        if line.kind == "chunk":
            # Keys of objects, what stands twice, and named secrets show in the raw text alone.
            data = mask(line.raw if data == line.data else _text(data))
        masked.append(data)
    return masked


def _text(data: Any) -> str:
    return data if isinstance(data, str) else orjson.dumps(data).decode()


def _texts(data: Any, place: _Path) -> Iterator[tuple[_Path, str]]:
    """Every text in `data` with its place; texts of the same place in several lines belong together."""
    match data:
        case str():
            yield place, data
        case dict():
            for key, value in cast("dict[str, Any]", data).items():
                yield from _texts(value, (*place, key))
        case list():
            for position, item in enumerate(cast("list[Any]", data)):
                yield from _texts(item, (*place, _index(item, position)))
        case _:
            return


def _replaced(data: Any, place: _Path, text_at: Callable[[_Path], str]) -> Any:
    """`data` with other texts, asked for in the order of `_texts`."""
    match data:
        case str():
            return text_at(place)
        case dict():
            items = cast("dict[str, Any]", data).items()
            return {key: _replaced(value, (*place, key), text_at) for key, value in items}
        case list():
            items = enumerate(cast("list[Any]", data))
            return [_replaced(item, (*place, _index(item, position)), text_at) for position, item in items]
        case _:
            return data


def _index(item: Any, position: int) -> int:
    """Choices and tool calls say which one they go on with."""
    index = cast("dict[str, Any]", item).get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else position
