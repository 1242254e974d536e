"""The request: body and headers as LiteLLM takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import orjson
from pydantic import BaseModel

from looopy_otel.core.config import library_version
from looopy_otel.core.messages import message_to_dict, tool_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.semconv import LITELLM_SESSION_HEADER
from looopy_otel.providers.options import LiteLLMOptions
from looopy_otel.providers.shape import as_object

LONGEST_HEADER = 1000
"""Characters of a session id that may go into a header; a longer one goes into the metadata only."""


def request_body(operation: LLMCall, options: LiteLLMOptions) -> dict[str, Any]:
    """Builds the JSON body of a call.

    Args:
        operation: The call, as the middleware left it.
        options: Those of the time when the call was made; their `extra_params` win.
    """
    body: dict[str, Any] = {
        "model": operation.model,
        "messages": [message_to_dict(message) for message in operation.messages],
        **operation.parameters,
        "tools": [tool_to_dict(tool) for tool in operation.tools] or None,
        "tool_choice": operation.tool_choice,
        "response_format": operation.response_format,
        "metadata": _metadata(operation, as_object(options.extra_params.get("metadata"))) or None,
    }
    if operation.stream:
        body |= {"stream": True, "stream_options": {**_stream_options(options), "include_usage": True}}
    body |= options.body_fields
    return {name: value for name, value in body.items() if value is not None}


def request_headers(operation: LLMCall, options: LiteLLMOptions, traced: Mapping[str, str]) -> dict[str, str]:
    """Builds the headers of a call.

    Args:
        operation: The call.
        options: Its options.
        traced: What the observer wants to send along (``traceparent``).
    """
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if operation.stream else "application/json",
        "user-agent": _user_agent(),
        **traced,
    }
    if options.key:
        headers["authorization"] = f"Bearer {options.key}"
    if operation.session_id and _fits_header(operation.session_id):
        headers[LITELLM_SESSION_HEADER] = operation.session_id
    return headers


def encode(body: Mapping[str, Any]) -> bytes:
    """Encodes a body as JSON. Lone surrogates, which UTF-8 cannot say, become U+FFFD.

    Raises:
        TypeError: If it holds a value that JSON cannot say.
    """
    try:
        return orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        # Lone surrogates and integers beyond 64 bits are not for orjson.
        return json.dumps(_well_formed(body), default=_plain, ensure_ascii=False).encode()


def _metadata(operation: LLMCall, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What LiteLLM keeps with the call, under the names its own callbacks read."""
    identity = operation.identity
    task_tag = (f"task:{identity.task_id}",) if identity.task_id else ()
    facts = {
        "session_id": operation.session_id,
        "task_id": identity.task_id,
        "trace_user_id": identity.user_id,
        "trace_name": identity.trace_name,
        "trace_metadata": dict(identity.metadata),
    }
    ours = {name: value for name, value in facts.items() if value}
    given = {**operation.metadata, **extra}
    tags = [*identity.tags, *task_tag, *_tags(operation.metadata), *_tags(extra)]
    merged = {**ours, **given, "tags": list(dict.fromkeys(tags))}
    return {name: value for name, value in merged.items() if name != "tags" or value}


def _tags(metadata: Mapping[str, Any]) -> list[str]:
    tags = metadata.get("tags")
    if isinstance(tags, str):
        return [tags]
    return [str(tag) for tag in cast("list[object]", tags)] if isinstance(tags, list | tuple) else []


def _stream_options(options: LiteLLMOptions) -> Mapping[str, Any]:
    return as_object(options.extra_params.get("stream_options"))


def _fits_header(value: str) -> bool:
    """True for a text that HTTP takes as a header value unchanged."""
    return (
        len(value) <= LONGEST_HEADER and all(" " <= character <= "~" for character in value) and value == value.strip()
    )


@cache
def _user_agent() -> str:
    return f"looopy-otel/{library_version()}"


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, set | frozenset):
        return list(cast("set[Any]", value))
    raise TypeError(f"the request holds a {type(value).__name__}, which JSON cannot say")


def _well_formed(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_well_formed(key): _well_formed(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_well_formed(item) for item in cast("list[Any]", value)]
    return value
