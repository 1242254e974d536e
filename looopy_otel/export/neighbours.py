"""What somebody else's provider does with its spans: who exports them, and where to.

OpenTelemetry has no public way to ask a provider for its processors, or these for their exporters. So everything here
looks at attributes that may be missing in another version, and then finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from looopy_otel.core.endpoint import is_langfuse, langfuse_project, same_place_key, url_problem
from looopy_otel.core.guard import guard
from looopy_otel.core.settings import CustomDestination, Destination, HTTPDestination

LANGFUSE_SCOPE: Final = "langfuse-sdk"
_MOST: Final = 200
_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The exporters of one provider, at one time.

    Attributes:
        langfuse: The Langfuse SDK's processors, by the public key of their project.
        projects: Langfuse projects that other exporters on the provider send everything to.
        places: What `same_place_key` says of every OTLP/HTTP endpoint that they send everything to.
        feeds_langfuse: True when one of them sends to a Langfuse.
        exporters: `id` of every exporter.
    """

    langfuse: Mapping[str, Any] = field(default_factory=dict[str, Any])
    projects: frozenset[str] = frozenset()
    places: frozenset[tuple[object, ...]] = frozenset()
    feeds_langfuse: bool = False
    exporters: frozenset[int] = frozenset()

    @property
    def langfuse_projects(self) -> frozenset[str]:
        """The public keys of all Langfuse projects that they send to."""
        return self.projects | frozenset(self.langfuse)

    def serves(self, destination: Destination) -> bool:
        """True when one of them sends to the same place as `destination`; the Langfuse SDK sends what it likes."""
        match destination:
            case HTTPDestination():
                project = langfuse_project(destination.endpoint, destination.headers)
                return (
                    project in self.langfuse_projects
                    or same_place_key(destination.endpoint, destination.headers) in self.places
                )
            case CustomDestination():
                return id(destination.exporter) in self.exporters
            case _:
                return False

    def sends(self, span: ReadableSpan, destination: Destination) -> bool:
        """True when one of them sends this span to the same place, or when the span is not for there.

        Spans of the Langfuse SDK go to the project that it was made for, and to no other.
        """
        project = project_of(destination)
        if project is not None and project_of_sdk(span) is not None:
            return True
        processor = self.langfuse.get(project) if project is not None and project not in self.projects else None
        return self.serves(destination) if processor is None else _takes(processor, span)


def neighbours_of(processors: Iterable[object]) -> Neighbours:
    """Finds out what a provider's processors send where."""
    langfuse: dict[str, Any] = {}
    projects: set[str] = set()
    places: set[tuple[object, ...]] = set()
    exporters: set[int] = set()
    feeds_langfuse = False
    for processor in processors:
        public_key = getattr(processor, "public_key", None)
        if _class_names(processor) & {"LangfuseSpanProcessor"} and isinstance(public_key, str):
            langfuse[public_key] = processor
            feeds_langfuse = True
            continue
        for exporter in _exporters(processor):
            exporters.add(id(exporter))
            with guard("export.neighbours"):
                if (place := _place(exporter)) is not None:
                    endpoint, headers = place
                    places.add(same_place_key(endpoint, headers))
                    feeds_langfuse = feeds_langfuse or is_langfuse(endpoint)
                    if project := langfuse_project(endpoint, headers):
                        projects.add(project)
    return Neighbours(langfuse, frozenset(projects), frozenset(places), feeds_langfuse, frozenset(exporters))


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
    """Asks the Langfuse SDK's own filter, which is the user's to change; counts as yes where that fails."""
    takes = getattr(processor, "_should_export_span", None)
    if takes is None:
        return True
    with guard("export.langfuse_filter"):
        return bool(takes(span))
    return True


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


def _place(exporter: Any) -> tuple[str, dict[str, str]] | None:
    """The URL and the headers of an OTLP/HTTP exporter; None for any other."""
    if "OTLPSpanExporter" not in _class_names(exporter) or "grpc" in type(exporter).__module__:
        return None
    endpoint: Any = getattr(exporter, "_endpoint", None)
    if not isinstance(endpoint, str) or url_problem(endpoint):
        return None
    headers: dict[str, str] = {}
    for found in (getattr(exporter, "_headers", None), getattr(getattr(exporter, "_client", None), "_headers", None)):
        if isinstance(found, Mapping):
            headers |= {str(name).lower(): str(value) for name, value in cast("Mapping[Any, Any]", found).items()}
    return endpoint, headers


def _class_names(one: object) -> set[str]:
    return {kind.__name__ for kind in type(one).__mro__}
