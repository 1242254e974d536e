"""The resolved settings as rows: what each is, and where it comes from. Secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from looopy_otel.core.endpoint import AUTHORIZATION, is_langfuse
from looopy_otel.core.secrets import redact_or_hide
from looopy_otel.core.semconv import LANGFUSE_INGESTION_HEADER
from looopy_otel.core.settings import (
    Destination,
    HTTPDestination,
    LocalDestination,
    OTLPMetrics,
    PrometheusMetrics,
    Settings,
)
from looopy_otel.export.verdict import MASK, public_url

DEFAULT: Final = "default"
_MIB: Final = 1024 * 1024
_PROJECTS: Final = "LOOOPY_OTEL_LANGFUSE_PROJECTS"
_SURROUNDINGS: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Attributes:
        name: As `configure()` calls it, where it has such an argument.
        value: For people, secrets masked.
        source: A variable's or an option's name, or ``default``.
    """

    name: str
    value: str
    source: str


class Sources:
    """Tells where a setting comes from.

    Args:
        environ: The environment.
        options: Settings that were said on the command line: their names and the options.
    """

    def __init__(self, environ: Mapping[str, str], options: Mapping[str, str]) -> None:
        self._environ = environ
        self._options = options

    def has(self, variable: str) -> bool:
        """True for a variable that is set and not blank."""
        return bool(self._environ.get(variable, "").strip())

    def of(self, name: str, *variables: str) -> str:
        """The option that says a setting, else the first of the variables that is set, else ``default``."""
        if name in self._options:
            return self._options[name]
        return next((variable for variable in variables if self.has(variable)), DEFAULT)

    def all_of(self, *variables: str) -> str:
        """Those of the variables that are set, as a text; all of them where none is."""
        present = [variable for variable in variables if self.has(variable)]
        return " and ".join(present or variables)

    def text(self, variable: str) -> str:
        """A variable's value."""
        return self._environ.get(variable, "").strip()


def settings_rows(settings: Settings, sources: Sources) -> Iterator[Row]:
    """Every setting that a user can make, in the order of `configure()`."""
    deployment, limits = settings.deployment, settings.limits
    resource = "OTEL_RESOURCE_ATTRIBUTES"
    yield Row("service_name", settings.service_name, sources.of("service_name", "OTEL_SERVICE_NAME", resource))
    if deployment.version:
        yield Row("service_version", deployment.version, resource)
    environment = sources.of("environment", "LANGFUSE_TRACING_ENVIRONMENT", resource)
    yield Row("environment", deployment.environment or "none", environment if deployment.environment else DEFAULT)
    yield Row("release", deployment.release or "none", sources.of("release", "LANGFUSE_RELEASE"))
    names = ", ".join(destination.name for destination in settings.destinations) or "none"
    exporters = sources.of("exporters", "LOOOPY_OTEL_EXPORTERS")
    yield Row("exporters", names, "default: auto" if exporters == DEFAULT else exporters)
    for destination in settings.destinations:
        yield from _destination_rows(destination, sources)
    yield Row("metrics", _metrics(settings), sources.of("metrics", "LOOOPY_OTEL_METRICS", "OTEL_METRICS_EXPORTER"))
    content = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    yield Row("capture", settings.capture, sources.of("capture", "LOOOPY_OTEL_CAPTURE", content))
    yield Row("history", settings.history, sources.of("history", "LOOOPY_OTEL_HISTORY"))
    prices = f"{len(settings.prices)} of your own" if settings.prices else "the price table's"
    yield Row("prices", prices, sources.of("prices", "LOOOPY_OTEL_PRICES"))
    sampler = settings.sampler + (f" {settings.sampler_argument:g}" if "ratio" in settings.sampler else "")
    yield Row("sampler", sampler, sources.of("sampler", "OTEL_TRACES_SAMPLER"))
    scopes = ", ".join(settings.instrumentation_scopes) or "all"
    yield Row("instrumentation_scopes", scopes, sources.of("scopes", "LOOOPY_OTEL_INSTRUMENTATION_SCOPES"))
    yield Row("spool_directory", str(settings.spool_directory), sources.of("spool", "LOOOPY_OTEL_SPOOL_DIR"))
    yield Row("spool_limit", _mebibytes(limits.spool), sources.of("spool_limit", "LOOOPY_OTEL_SPOOL_LIMIT"))
    yield Row("memory_limit", _mebibytes(limits.memory), sources.of("memory_limit", "LOOOPY_OTEL_MEMORY_LIMIT"))
    timeout = sources.of("shutdown_timeout", "LOOOPY_OTEL_SHUTDOWN_TIMEOUT")
    yield Row("shutdown_timeout", f"{limits.shutdown_timeout:g} s", timeout)
    yield Row("export delay", f"{limits.delay:g} s", sources.of("delay", "LOOOPY_OTEL_EXPORT_DELAY"))
    yield Row("tracing", "off" if settings.disabled else "on", sources.of("disabled", "OTEL_SDK_DISABLED"))
    for variable in _SURROUNDINGS:
        for spelling in (variable, variable.lower()):
            if sources.has(spelling):
                yield Row("surroundings", _without_credentials(sources.text(spelling)), spelling)


def _destination_rows(destination: Destination, sources: Sources) -> Iterator[Row]:
    match destination:
        case HTTPDestination(name="langfuse"):
            url = sources.of("langfuse_base_url", "LANGFUSE_BASE_URL", "LANGFUSE_HOST")
            if destination.project is not None:
                url = _PROJECTS
            yield Row(f"{destination.label} endpoint", public_url(destination.endpoint), url)
            yield Row(
                f"{destination.label} headers",
                shown_headers(destination.headers),
                header_variables(destination, sources),
            )
        case HTTPDestination():
            names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
            yield Row("otlp endpoint", public_url(destination.endpoint), sources.of("otlp_endpoint", *names))
            yield from _otlp_rows(destination, sources)
        case LocalDestination():
            yield Row("database", str(destination.path), sources.of("database", "LOOOPY_OTEL_DB"))
        case _:
            return


def _otlp_rows(destination: HTTPDestination, sources: Sources) -> Iterator[Row]:
    headers = sources.of("otlp_headers", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
    yield Row("otlp headers", shown_headers(destination.headers), headers)
    for name, value in (
        ("timeout", f"{destination.timeout:g} s"),
        ("certificate", destination.certificate or "the system's"),
        ("compression", "gzip" if destination.gzip else "none"),
    ):
        variables = (f"OTEL_EXPORTER_OTLP_{scope}{name.upper()}" for scope in ("TRACES_", ""))
        yield Row(f"otlp {name}", value, sources.of(f"otlp_{name}", *variables))


def header_variables(destination: HTTPDestination, sources: Sources) -> str:
    """The variables that an endpoint's headers come from, or would come from, as a text."""
    if destination.project is not None:
        return _PROJECTS
    if destination.name == "langfuse":
        return sources.all_of("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
    specific = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
    return specific if sources.has(specific) else "OTEL_EXPORTER_OTLP_HEADERS"


def shown_headers(headers: Mapping[str, str]) -> str:
    """The names of headers, with the scheme of an authorization; no value."""
    shown: list[str] = []
    for name, value in sorted(headers.items()):
        scheme, blank, _ = value.partition(" ")
        if name.lower() == LANGFUSE_INGESTION_HEADER:
            shown.append(f"{name}={value}")
            continue
        known = name.lower() == AUTHORIZATION and blank and scheme.lower() in ("basic", "bearer")
        shown.append(f"{name}={scheme + ' ' if known else ''}{MASK}")
    return ", ".join(shown) or "none"


def _metrics(settings: Settings) -> str:
    shown: list[str] = []
    for destination in settings.metrics:
        match destination:
            case OTLPMetrics():
                shown.append(f"otlp to {public_url(destination.endpoint.endpoint)} every {destination.interval:g} s")
            case PrometheusMetrics():
                shown.append(f"prometheus at {destination.host}:{destination.port}")
            case _:
                shown.append("a reader of your own")
    if shown or not any(
        isinstance(one, HTTPDestination) and is_langfuse(one.endpoint) for one in settings.destinations
    ):
        return ", ".join(shown) or "none"
    return "none (Langfuse takes none)"


def _mebibytes(size: int) -> str:
    return f"{size / _MIB:g} MiB"


def _without_credentials(text: str) -> str:
    before, at, host = text.rpartition("@")
    return redact_or_hide(f"{before.partition('://')[0]}://{MASK}@{host}" if at and "://" in before else host, "doctor")
