"""Content: canonical messages (OpenAI's chat completions) into the shapes that dialects want, and into JSON.

Shapes of the GenAI conventions: https://github.com/open-telemetry/semantic-conventions-genai, model/gen-ai/*.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import orjson

from looopy_otel.core.text import valid_text

_Object: TypeAlias = dict[str, Any]
_INT64 = 2**63
_DEPTH = 100
TOO_DEEP = "[nested too deeply]"
"""What stands for content below a depth of 100, which encoders refuse."""

# OpenAI's, Anthropic's and Gemini's words for what the conventions call stop, length, content_filter and tool_call.
_FINISH_REASONS: Mapping[str, str] = {
    "completed": "stop",
    "end_turn": "stop",
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "function_call": "tool_call",
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
}


def encode_json(value: object) -> str:
    """Writes a value as compact JSON text in valid UTF-8. Never fails on canonical content.

    What JSON or its encoders cannot say is made plain first: lone surrogates become U+FFFD, integers beyond 64 bits
    become their digits, NaN and infinities become null, values of other types their `str`, content below a depth
    of 100 `TOO_DEEP`.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(_plain(value, _DEPTH)).decode()


def _plain(value: object, depth: int) -> object:
    match value:
        case None | bool() | float():
            return value
        case str():
            return valid_text(value)
        case int():
            return value if -_INT64 <= value < _INT64 else str(value)
        case Mapping() | list() | tuple() if depth == 0:
            return TOO_DEEP
        case Mapping():
            items = cast("Mapping[object, object]", value).items()
            return {valid_text(str(key)): _plain(item, depth - 1) for key, item in items}
        case list() | tuple():
            return [_plain(item, depth - 1) for item in cast("Sequence[object]", value)]
        case _:
            return valid_text(str(value))


def text_of(value: object) -> str:
    """Gives text as it is and anything else as JSON."""
    return valid_text(value) if isinstance(value, str) else encode_json(value)


def genai_messages(content: object, role: str, finish_reason: str | None = None) -> list[_Object]:
    """Gives content as messages of the GenAI conventions: ``[{"role", "parts", "name"?, "finish_reason"?}]``.

    Args:
        content: Canonical messages, one message, a text, or any other value.
        role: Whose words a text or another value is.
        finish_reason: Put on each message, in the conventions' spelling.
    """
    entries = _entries(content)
    messages = [_message(entry, role) for entry in (entries if all(map(_is_message, entries)) else [content])]
    if finish_reason is not None:
        for message in messages:
            message["finish_reason"] = _finish_reason(finish_reason, message["parts"])
    return messages


def _finish_reason(word: str, parts: Sequence[_Object]) -> str:
    # OpenAI's responses and Gemini use one word for an answer, whether it is a text or asks for tools.
    if word in ("completed", "STOP") and any(part.get("type") == "tool_call" for part in parts):
        return "tool_call"
    return _FINISH_REASONS.get(word.lower(), word)


def is_conversation(content: object) -> bool:
    """True for a list of messages, and for the empty one."""
    return isinstance(content, list) and all(map(_is_message, cast("list[object]", content)))


def only_choice(output: object) -> object:
    """Gives the one message of an answer with one choice, and any other output as it is."""
    choices = _entries(output)
    return choices[0] if len(choices) == 1 and _is_message(choices[0]) else output


def _entries(content: object) -> list[object]:
    return cast("list[object]", content) if isinstance(content, list) else [content]


def _is_message(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(cast("_Object", entry).get("role"), str)


def _message(entry: object, role: str) -> _Object:
    if not _is_message(entry):
        return {"role": role, "parts": [{"type": "text", "content": text_of(entry)}]}
    message = cast("_Object", entry)
    parts = _tool_response(message) if message["role"] == "tool" else _parts(message)
    name = message.get("name")
    return {"role": message["role"], "parts": parts, **({"name": name} if name else {})}


def _tool_response(message: _Object) -> list[_Object]:
    identifier = message.get("tool_call_id")
    response = {"type": "tool_call_response", "response": message.get("content")}
    return [{**response, "id": identifier} if identifier else response]


def _parts(message: _Object) -> list[_Object]:
    parts: list[_Object] = []
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if reasoning:
        parts.append({"type": "reasoning", "content": text_of(reasoning)})
    content = message.get("content")
    if isinstance(content, list):
        parts.extend(_content_part(part) for part in cast("list[object]", content))
    elif content:
        parts.append({"type": "text", "content": text_of(content)})
    if message.get("refusal"):
        parts.append({"type": "refusal", "content": text_of(message["refusal"])})
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts.extend(_tool_call(call) for call in cast("list[object]", calls))
    return parts


def _tool_call(call: object) -> _Object:
    entry = cast("_Object", call) if isinstance(call, dict) else {}
    function = entry.get("function")
    details = cast("_Object", function) if isinstance(function, dict) else entry
    part: _Object = {"type": "tool_call", "name": str(details.get("name", ""))}
    if entry.get("id"):
        part["id"] = entry["id"]
    if "arguments" in details:
        part["arguments"] = _decoded(details["arguments"])
    return part


def _decoded(arguments: object) -> object:
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(valid_text(arguments))
    except orjson.JSONDecodeError:
        return arguments


def _content_part(part: object) -> _Object:
    if not isinstance(part, dict):
        return {"type": "text", "content": text_of(part)}
    entry = cast("_Object", part)
    shape = _PARTS.get(str(entry.get("type")))
    shaped = shape(entry) if shape else None
    return shaped or {**entry, "type": str(entry.get("type", "unknown"))}


def _text_part(part: _Object) -> _Object:
    return {"type": "text", "content": text_of(part.get("text", ""))}


def _thinking_part(part: _Object) -> _Object:
    return {"type": "reasoning", "content": text_of(part.get("thinking", ""))}


def _image_part(part: _Object) -> _Object | None:
    image = part.get("image_url")
    url = cast("_Object", image).get("url") if isinstance(image, dict) else image
    return _located("image", url) if isinstance(url, str) else None


def _audio_part(part: _Object) -> _Object | None:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        return None
    details = cast("_Object", audio)
    blob = {"type": "blob", "modality": "audio", "content": text_of(details.get("data", ""))}
    return {**blob, "mime_type": f"audio/{details['format']}"} if details.get("format") else blob


def _file_part(part: _Object) -> _Object | None:
    file = part.get("file")
    if not isinstance(file, dict):
        return None
    details = cast("_Object", file)
    if details.get("file_id"):
        return {"type": "file", "modality": "document", "file_id": str(details["file_id"])}
    data = details.get("file_data")
    return _located("document", data) if isinstance(data, str) else None


def _source_part(part: _Object) -> _Object | None:
    """Anthropic's pictures and documents."""
    source = part.get("source")
    details = cast("_Object", source) if isinstance(source, dict) else {}
    modality = str(part["type"])
    match details.get("type"):
        case "base64":
            blob = {"type": "blob", "modality": modality, "content": text_of(details.get("data", ""))}
            return {**blob, "mime_type": details["media_type"]} if details.get("media_type") else blob
        case "url":
            return {"type": "uri", "modality": modality, "uri": text_of(details.get("url", ""))}
        case "file":
            return {"type": "file", "modality": modality, "file_id": text_of(details.get("file_id", ""))}
        case _:
            return None


def _input_file_part(part: _Object) -> _Object | None:
    """The files of OpenAI's responses, which stand in the part itself."""
    if isinstance(part.get("file_url"), str):
        return _located("document", part["file_url"])
    return _file_part({"file": part})


def _located(modality: str, url: str) -> _Object:
    """A ``data:`` URL carries the bytes themselves: a blob. Any other stands for them: a uri."""
    head, comma, data = url.partition(",")
    if not url.startswith("data:") or not comma:
        return {"type": "uri", "modality": modality, "uri": url}
    mime_type = head.removeprefix("data:").partition(";")[0]
    blob = {"type": "blob", "modality": modality, "content": data}
    return {**blob, "mime_type": mime_type} if mime_type else blob


_PARTS: Mapping[str, Callable[[_Object], _Object | None]] = {
    "text": _text_part,
    "input_text": _text_part,
    "output_text": _text_part,
    "thinking": _thinking_part,
    "image_url": _image_part,
    "input_image": _image_part,
    "image": _source_part,
    "document": _source_part,
    "input_audio": _audio_part,
    "file": _file_part,
    "input_file": _input_file_part,
}


def genai_tools(tools: object) -> list[_Object]:
    """Gives tool definitions in the conventions' flat shape: ``[{"type", "name", "description"?, "parameters"?}]``.

    Args:
        tools: Definitions in OpenAI's nested shape; entries without a name are left out, as the conventions need one.
    """
    entries = cast("list[object]", tools) if isinstance(tools, list) else []
    flat = [_flat(cast("_Object", entry)) for entry in entries if isinstance(entry, dict)]
    return [tool for tool in flat if tool.get("name")]


def _flat(tool: _Object) -> _Object:
    function = tool.get("function")
    details = cast("_Object", function) if isinstance(function, dict) else tool
    return {**details, "type": str(tool.get("type", "function"))}


def json_object(value: object, key: str) -> _Object:
    """Gives a value as a JSON object, decoding JSON text; what is no object is wrapped as ``{key: value}``."""
    decoded = _decoded(value)
    if isinstance(decoded, dict):
        return cast("_Object", decoded)
    return {key: value}
