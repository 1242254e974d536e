"""What a client of an SDK is about to send, read and rewritten through the SDK's own request options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from looopy_otel.core.semconv import RAW_RESPONSE_HEADER, TRACEPARENT_HEADER
from looopy_otel.core.shapes.shape import WireFormat
from looopy_otel.core.vendors import ModelVendor

SentEvent: TypeAlias = tuple[str | None, Mapping[str, Any]]
"""One event of a stream as a server sends it: its name, if the format has one, and its data."""


@dataclass(frozen=True, slots=True)
class Route:
    """One API of a vendor.

    Attributes:
        path: How the paths of its requests end.
        wire_format: Reads and writes them.
        events: Writes an answer, given as JSON, as the events of a stream; None where there are no streams.
        output: What is recorded of an answer that is no message; None where it is one.
    """

    path: str
    wire_format: WireFormat
    events: Callable[[Mapping[str, Any]], Iterator[SentEvent]] | None = None
    output: Callable[[object], object] | None = None


@dataclass(frozen=True, slots=True)
class Sdk:
    """One SDK out of the generator that OpenAI's and Anthropic's come from (https://www.stainless.com).

    Attributes:
        name: Its package.
        routes: Its APIs that call a model.
        vendor: Who answers a client's call to a model.
    """

    name: str
    routes: tuple[Route, ...]
    vendor: Callable[[Any, str], ModelVendor]

    def route_of(self, method: str, url: str) -> Route | None:
        """The API that a request goes to; None for one that calls no model."""
        if method.lower() != "post":
            return None
        path = url.partition("?")[0].rstrip("/")
        return next((route for route in self.routes if path.endswith(route.path)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkRequest:
    """What a client is about to send.

    Attributes:
        client: The client.
        options: The SDK's ``FinalRequestOptions``; never changed here.
        cast_to: The class of the answer.
        stream: True where the caller gets a stream.
        stream_cls: The class of that stream, or None.
    """

    client: Any
    options: Any
    cast_to: Any
    stream: bool = False
    stream_cls: Any = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The fields of the body."""
        return {**_fields(self.options.json_data), **_fields(self.options.extra_json)}

    @property
    def raw(self) -> str | None:
        """``stream`` for a response that the caller reads, another word for a raw one that is read, else None."""
        headers = _fields(self.options.headers)
        return next((str(value) for name, value in headers.items() if name.lower() == RAW_RESPONSE_HEADER), None)

    def carries_trace(self) -> bool:
        """True where the caller sends a ``traceparent`` of their own."""
        own = (*_fields(self.options.headers), *_fields(getattr(self.client, "_custom_headers", None)))
        return any(name.lower() == TRACEPARENT_HEADER for name in own)

    def options_with(
        self, arguments: Mapping[str, Any], headers: Mapping[str, str], post_parser: Callable[[Any], Any] | None
    ) -> Any:
        """The SDK's options with other fields in the body, further headers, and another parser of what comes back.

        Args:
            arguments: All fields of the body; those that are as they were stay where they are.
            headers: Further headers.
            post_parser: What the SDK calls with the answer before it gives it to the caller; None changes nothing.
        """
        options, before = self.options, self.arguments
        changes: dict[str, Any] = {}
        changed = {name: value for name, value in arguments.items() if name not in before or before[name] is not value}
        gone = before.keys() - arguments.keys()
        if changed or gone:
            kept = {name: value for name, value in _fields(options.json_data).items() if name not in gone}
            extra = {name: value for name, value in _fields(options.extra_json).items() if name not in gone}
            changes["json_data"] = {**kept, **changed}
            changes["extra_json"] = {name: value for name, value in extra.items() if name not in changed} or None
        if headers:
            changes["headers"] = {**_fields(options.headers), **headers}
        if post_parser is not None:
            changes["post_parser"] = post_parser
        return options.model_copy(update=changes) if changes else options


def _fields(value: object) -> Mapping[str, Any]:
    """A mapping; an empty one for None and an SDK's marker of what is not given."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
