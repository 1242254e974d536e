"""Tool calls and tools: from what APIs write to `ToolCall` and OpenAI's nested tool definition, whole or in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from looopy_otel.core.messages import tool_call_from_dict
from looopy_otel.core.shapes.fields import as_json, as_list, as_text, get, plain_object
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import ToolCall


def tool_calls_of(entries: object) -> tuple[tuple[ToolCall, ...], int]:
    """Reads ``tool_calls`` of OpenAI's shape; also counts those that were dropped, for want of an id or a name."""
    return kept_calls([_entry(entry) for entry in as_list(entries)])


def kept_calls(entries: Iterable[Mapping[str, Any]]) -> tuple[tuple[ToolCall, ...], int]:
    """The calls among decoded entries that have an id and a name, and how many have not."""
    calls = [tool_call_from_dict(entry) for entry in entries]
    kept = tuple(call for call in calls if call is not None)
    return kept, len(calls) - len(kept)


def call_entry(identifier: object, name: object, arguments: object) -> dict[str, Any]:
    """A call as an entry of ``tool_calls``; arguments that are no text are written as JSON."""
    text = arguments if isinstance(arguments, str) or arguments is None else as_json(arguments)
    return {"id": as_text(identifier), "type": "function", "function": {"name": as_text(name), "arguments": text}}


def tool_entry(tool: object) -> dict[str, Any] | None:
    """A tool definition of any API in OpenAI's nested shape; None where it says nothing.

    OpenAI's own come back as they are. Flat ones (Anthropic's, OpenAI's responses) are nested; tools that a vendor
    runs itself and that have no name are called by their type.
    """
    fields = plain_object(tool)
    if isinstance(fields.get("function"), Mapping):
        return fields
    details = dict(plain_object(fields.get("custom")) or fields)
    kind = as_text(fields.get("type"))
    name = as_text(details.get("name")) or kind
    if name is None:
        return None
    details.pop("type", None)
    if "input_schema" in details:
        details["parameters"] = details.pop("input_schema")
        kind = "function"
    return {"type": kind or "function", "function": {**details, "name": name}}


class ToolCallPieces:
    """The tool calls of one streamed answer, joined piece by piece, also where several arrive side by side."""

    def __init__(self) -> None:
        self._calls: list[_Pieces] = []
        self._at: dict[int, _Pieces] = {}

    def add(self, entry: object) -> None:
        """Takes one entry of a delta's ``tool_calls``."""
        function = get(entry, "function") or get(entry, "custom")
        pieces = self._pieces_at(get(entry, "index"), as_text(get(entry, "id")))
        pieces.add(as_text(get(function, "name")), get(function, "arguments") or get(function, "input"))

    def entries(self) -> list[dict[str, Any]]:
        """The calls so far, as entries of ``tool_calls``."""
        return [call_entry(pieces.id, pieces.name, valid_text("".join(pieces.arguments))) for pieces in self._calls]

    def _pieces_at(self, index: object, identifier: str | None) -> _Pieces:
        """The call that a delta belongs to: by its index, else by its id, else the last one.

        A new one for a new index or id, and for a new id under an index that is taken.
        """
        if isinstance(index, int):
            pieces = self._at.get(index)
        elif identifier:
            pieces = next((pieces for pieces in self._calls if pieces.id == identifier), None)
        else:
            pieces = self._calls[-1] if self._calls else None
        if pieces is None or (identifier and pieces.id and identifier != pieces.id):
            pieces = _Pieces()
            self._calls.append(pieces)
        if isinstance(index, int):
            self._at[index] = pieces
        pieces.id = pieces.id or identifier
        return pieces


class _Pieces:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []

    def add(self, name: str | None, arguments: object) -> None:
        if name and name != self.name:  # some endpoints repeat it in every chunk
            self.name += name
        if isinstance(arguments, str):
            self.arguments.append(arguments)
        elif arguments:
            self.arguments = [as_json(arguments)]


def _entry(entry: object) -> dict[str, Any]:
    function = get(entry, "function") or get(entry, "custom")
    arguments = next((value for name in ("arguments", "input") if (value := get(function, name)) is not None), None)
    return call_entry(get(entry, "id"), get(function, "name"), arguments)
