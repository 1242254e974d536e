"""What all wire formats do alike with a request: what is read of it, and what goes back into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.fields import as_list, plain, plain_object
from looopy_otel.core.shapes.rewriting import Reading
from looopy_otel.core.shapes.tool_calls import tool_entry


def as_messages(value: object) -> tuple[dict[str, Any], ...]:
    """The messages of a request of OpenAI's shape, objects of an SDK among them made plain."""
    return canonical(message_readings(value))


def message_readings(messages: object) -> list[Reading]:
    """The messages of a request of OpenAI's shape, one by one."""
    pairs = [(message, plain_object(message)) for message in as_list(messages)]
    return [Reading((message,), (fields,) if fields else ()) for message, fields in pairs]


def tools_of(tools: object) -> tuple[dict[str, Any], ...]:
    """The tools of a request in OpenAI's nested shape."""
    return canonical(tool_readings(tools))


def tool_readings(tools: object) -> list[Reading]:
    """The tools of a request, one by one."""
    pairs = [(tool, tool_entry(tool)) for tool in as_list(tools)]
    return [Reading((tool,), () if entry is None else (entry,)) for tool, entry in pairs]


def canonical(readings: Sequence[Reading]) -> tuple[dict[str, Any], ...]:
    """All that was read, in order."""
    return tuple(entry for reading in readings for entry in reading.canonical)


def metadata_of(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a request carries as metadata."""
    metadata = arguments.get("metadata")
    return cast("Mapping[str, Any]", metadata) if isinstance(metadata, Mapping) else {}


def schema_of(response_format: object) -> Any:
    """A response format as sent; a class that stands for one, as SDKs take it, by its name."""
    if isinstance(response_format, type):
        return {"type": "json_schema", "json_schema": {"name": response_format.__name__}}
    return plain(response_format)


def changed_fields(before: LLMCall, after: LLMCall, names: Sequence[str]) -> dict[str, Any]:
    """Those of the named fields that a middleware changed, with their new values."""
    triples = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return {name: new for name, old, new in triples if new is not old and new != old}


def with_parameters(fields: dict[str, Any], before: LLMCall, after: LLMCall) -> None:
    """Puts changed parameters into the request, and takes away what is no longer among them."""
    for name in before.parameters.keys() - after.parameters.keys():
        fields.pop(name, None)
    old = before.parameters
    fields |= {name: value for name, value in after.parameters.items() if name not in old or old[name] != value}


def put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Sets a field of a request; None and what is empty take it away."""
    if value is None or (isinstance(value, list | tuple | Mapping) and not value):
        fields.pop(name, None)
    else:
        fields[name] = value
