"""What somebody else's provider does with its spans: who exports them, and where to.

OpenTelemetry has no public way to ask a provider for its processors, or these for their exporters. So everything here
looks at attributes that may be missing in another version, and then finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter

from looopy_otel.core.endpoint import LANGFUSE_OTLP_PATH, TRACES_PATH, is_langfuse, langfuse_project, url_problem
from looopy_otel.core.guard import guard
from looopy_otel.core.other_calls import LANGFUSE_SCOPE
from looopy_otel.core.settings import CustomDestination, Destination, HTTPDestination

_MOST: Final = 200
_DEPTH: Final = 3
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_OTLP: Final = "OTLPSpanExporter"
_OTLP_MODULES: Final = "opentelemetry.exporter.otlp.proto."
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
"""The two ports of a collector, after the OTLP specification."""
_STOCK: Final = (BatchSpanProcessor, SimpleSpanProcessor)
_TECHNICAL: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-type", "user-agent"}
)

Place: TypeAlias = tuple[object, ...]
"""Equal for endpoints at which the same spans would be there twice: a Langfuse's host and project, or a host, its path
and what the headers say of a tenant."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The exporters of one provider, at one time.

    Only those count as sending our spans that surely do: an OTLP exporter straight in one of the SDK's own processors,
    and the Langfuse SDK's processor, whose filter is asked. What stands in between may hold spans back.

    Attributes:
        langfuse: The Langfuse SDK's processors, by where they send to.
        places: Where other exporters send everything to.
        perhaps: Where further exporters send something to.
        langfuse_projects: Public keys of the Langfuse projects that surely get something.
        feeds_langfuse: True when any of them sends to a Langfuse.
        exporters: `id` of every exporter that gets everything.
    """

    langfuse: Mapping[Place, Any] = field(default_factory=dict[Place, Any])
    places: frozenset[Place] = frozenset()
    perhaps: frozenset[Place] = frozenset()
    langfuse_projects: frozenset[str] = frozenset()
    feeds_langfuse: bool = False
    exporters: frozenset[int] = frozenset()

    def serves(self, destination: Destination) -> bool:
        """True when one of them sends to the same place as `destination`; the Langfuse SDK sends what it likes."""
        match destination:
            case HTTPDestination():
                place = place_of(destination.endpoint, destination.headers)
                return place in self.places or place in self.langfuse
            case CustomDestination():
                return id(destination.exporter) in self.exporters
            case _:
                return False

    def may_serve(self, destination: Destination) -> bool:
        """True when only an exporter that may not get all our spans sends to the same place as `destination`."""
        if not isinstance(destination, HTTPDestination) or self.serves(destination):
            return False
        return place_of(destination.endpoint, destination.headers) in self.perhaps

    def sends(self, span: ReadableSpan, destination: Destination) -> bool:
        """True when one of them sends this span to the same place, or when the span is not for there.

        Spans of the Langfuse SDK go to the project that it was made for, and to no other.
        """
        if project_of_sdk(span) is not None and project_of(destination) is not None:
            return True
        if isinstance(destination, HTTPDestination) and self.langfuse:
            place = place_of(destination.endpoint, destination.headers)
            if place not in self.places and (processor := self.langfuse.get(place)) is not None:
                return _takes(processor, span)
        return self.serves(destination)


def neighbours_of(processors: Iterable[object]) -> Neighbours:
    """Finds out what a provider's processors send where."""
    langfuse: dict[Place, Any] = {}
    places: set[Place] = set()
    perhaps: set[Place] = set()
    projects: set[str] = set()
    exporters: set[int] = set()
    feeds_langfuse = False
    for processor in processors:
        sure = _sure_exporter(processor)
        if sure is not None:
            exporters.add(id(sure))
        of_sdk = _is_of_sdk(processor)
        feeds_langfuse = feeds_langfuse or of_sdk
        for exporter in _exporters(processor):
            with guard("export.neighbours"):
                if (target := _target(exporter)) is None:
                    continue
                place, project = place_of(*target), langfuse_project(*target)
                feeds_langfuse = feeds_langfuse or is_langfuse(target[0])
                if of_sdk:
                    langfuse[place] = processor
                elif exporter is sure and _is_stock(exporter):
                    places.add(place)
                else:
                    perhaps.add(place)
                    continue
                if project is not None:
                    projects.add(project)
    return Neighbours(
        langfuse, frozenset(places), frozenset(perhaps), frozenset(projects), feeds_langfuse, frozenset(exporters)
    )


def place_of(endpoint: str, headers: Mapping[str, str]) -> Place:
    """What place an OTLP/HTTP endpoint is."""
    parts = urlsplit(endpoint)
    host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    project = langfuse_project(endpoint, headers)
    if project is not None:
        return (host, port, parts.path.partition(LANGFUSE_OTLP_PATH)[0], project)
    telling = {(name.lower(), value.strip()) for name, value in headers.items() if name.lower() not in _TECHNICAL}
    return (parts.scheme, host, port, parts.path, parts.query, frozenset(telling))


def sdk_provider(provider: object) -> TracerProvider | None:
    """The SDK's provider that makes the spans of `provider`, which may wrap it, as Logfire's does; else None."""
    for _ in range(_DEPTH):
        if isinstance(provider, TracerProvider):
            return provider
        provider = getattr(provider, "provider", None)
    return None


def processors_of(provider: TracerProvider) -> tuple[object, ...]:
    """The provider's processors; the very same tuple as long as none is added."""
    found: Any = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    return cast("tuple[object, ...]", found) if isinstance(found, tuple) else ()


def remove_processor(provider: TracerProvider, processor: SpanProcessor) -> None:
    """Takes a processor out of a provider, which has no public method for it; leaves it where that is not possible."""
    around: Any = getattr(provider, "_active_span_processor", None)
    lock: Any = getattr(around, "_lock", None)
    if lock is None or not isinstance(getattr(around, "_span_processors", None), tuple):
        return
    with lock:
        around._span_processors = tuple(one for one in around._span_processors if one is not processor)


def project_of_sdk(span: ReadableSpan) -> str | None:
    """The public key of the project that the Langfuse SDK made a span for; None for a span of somebody else."""
    scope = span.instrumentation_scope
    if scope is None or scope.name != LANGFUSE_SCOPE:
        return None
    return str((scope.attributes or {}).get("public_key", ""))


def project_of(destination: Destination) -> str | None:
    """The public key of the Langfuse project that a destination feeds; None for any other place."""
    if not isinstance(destination, HTTPDestination):
        return None
    return langfuse_project(destination.endpoint, destination.headers)


def _takes(processor: Any, span: ReadableSpan) -> bool:
    """Asks the Langfuse SDK's own filter, which is the user's to change; counts as no where that fails."""
    takes = getattr(processor, "_should_export_span", None)
    if takes is None:
        scope = span.instrumentation_scope
        return scope is None or scope.name not in (getattr(processor, "blocked_instrumentation_scopes", None) or ())
    with guard("export.langfuse_filter"):
        return bool(takes(span))
    return False


def _is_of_sdk(processor: object) -> bool:
    kind = type(processor)
    return kind.__name__ == "LangfuseSpanProcessor" and kind.__module__.partition(".")[0] == "langfuse"


def _sure_exporter(processor: object) -> object:
    """The exporter that gets every sampled span of a processor; None where something may hold spans back."""
    return getattr(processor, "span_exporter", None) if type(processor) in _STOCK else None


def _is_stock(exporter: object) -> bool:
    kind = type(exporter)
    return kind.__name__ == _OTLP and kind.__module__.startswith(_OTLP_MODULES)


def _exporters(processor: object) -> Iterator[SpanExporter]:
    """The exporters behind a processor, however they are wrapped."""
    waiting, seen = [processor], {id(processor)}
    while waiting and len(seen) < _MOST:
        one = waiting.pop()
        if isinstance(one, SpanExporter):
            yield one
        for value in _parts(one):
            if id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _parts(one: object) -> Iterator[object]:
    for value in list(getattr(one, "__dict__", {}).values()):
        items = cast("tuple[object, ...]", value) if isinstance(value, tuple | list) else (value,)
        for item in items[:_MOST]:
            if isinstance(item, SpanProcessor | SpanExporter) or hasattr(item, "_exporter"):
                yield item


def _target(exporter: Any) -> tuple[str, dict[str, str]] | None:
    """The URL and the headers of an OTLP exporter; None for any other.

    One of gRPC at the port of collectors counts as the HTTP exporter that would feed the same collector.
    """
    kinds = [kind for kind in type(exporter).__mro__ if kind.__name__ == _OTLP]
    endpoint: Any = getattr(exporter, "_endpoint", None)
    if not kinds or not isinstance(endpoint, str):
        return None
    headers: dict[str, str] = {}
    for found in (getattr(exporter, "_headers", None), getattr(getattr(exporter, "_client", None), "_headers", None)):
        if isinstance(found, Mapping | Sequence) and not isinstance(found, str):
            pairs = dict(cast("Mapping[Any, Any]", found))
            headers |= {str(name).lower(): str(value) for name, value in pairs.items()}
    if "grpc" in kinds[0].__module__:
        parts = urlsplit(f"//{endpoint}")
        if parts.port != _GRPC_PORT or not parts.hostname:
            return None
        scheme = "http" if getattr(exporter, "_insecure", False) else "https"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{scheme}://{host}:{_HTTP_PORT}{TRACES_PATH}", headers
    return None if url_problem(endpoint) else (endpoint, headers)
