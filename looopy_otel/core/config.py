"""Builds the settings: explicit argument, then environment, then default. The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import cast, get_args

from platformdirs import user_data_path, user_state_path

from looopy_otel.core.endpoint import (
    is_langfuse,
    same_place_key,
    with_traces_path,
)
from looopy_otel.core.environment import Environment, EnvironmentReader
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.export_config import ExportResolution
from looopy_otel.core.langfuse_config import LangfuseResolution
from looopy_otel.core.metrics_config import MetricsResolution
from looopy_otel.core.model_price import ModelPrice
from looopy_otel.core.otlp_config import OTLPVariables
from looopy_otel.core.prices_config import PricesResolution
from looopy_otel.core.semconv import (
    DEPLOYMENT_ENVIRONMENT,
    DEPLOYMENT_ENVIRONMENT_OLD,
    LANGFUSE_INGESTION_HEADER,
    LANGFUSE_INGESTION_VERSION,
    SERVICE_NAME,
    SERVICE_VERSION,
)
from looopy_otel.core.settings import (
    Capture,
    ConsoleDestination,
    CustomDestination,
    Deployment,
    Destination,
    Dialect,
    ExemplarFilter,
    History,
    HTTPDestination,
    LocalDestination,
    Options,
    Settings,
)

DEFAULT_OTLP_ENDPOINT = "http://localhost:4318"
PROVIDER = "tracer_provider"
"""What a provider that was handed in is called among the dialects."""
DEFAULT_LITELLM_URL = "http://localhost:4000"
SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
_TEXT_OPTIONS = (
    "service_name",
    "service_version",
    "environment",
    "release",
    "otlp_endpoint",
    "langfuse_public_key",
    "langfuse_secret_key",
    "langfuse_base_url",
)
_SECRET_OPTIONS = frozenset({"otlp_endpoint", "langfuse_public_key", "langfuse_secret_key", "langfuse_base_url"})
"""Those whose value a problem does not show; a URL may hold a password."""

_MAPPING_EXAMPLES = {
    "dialects": "{'otlp': 'seed'}",
    "otlp_headers": "{'authorization': 'Bearer …'}",
    "langfuse_projects": "{'tenant-a': {'public_key': …, 'secret_key': …}}",
}
_STANDARD_CAPTURE: Mapping[str, Capture] = {
    "no_content": "metadata",
    "event_only": "metadata",
    "false": "metadata",
    "span_only": "redacted",
    "span_and_event": "redacted",
    "true": "redacted",
}


def resolve(options: Options | None = None, environ: Environment | None = None) -> Settings:
    """Builds the settings.

    Args:
        options: What the user said.
        environ: The environment; the process's own by default.

    Returns:
        The frozen settings.

    Raises:
        ConfigurationError: Naming every setting that is wrong, in one message.
    """
    return _Resolution(options or Options(), os.environ if environ is None else environ).settings()


def database_path(explicit: str | os.PathLike[str] | None = None, environ: Environment | None = None) -> Path:
    """Where the local store is: `explicit`, else ``LOOOPY_OTEL_DB``, else the user's data directory."""
    environ = os.environ if environ is None else environ
    chosen = explicit or environ.get("LOOOPY_OTEL_DB")
    return Path(chosen).expanduser() if chosen else user_data_path("looopy-otel") / "traces.db"


def litellm_environment(environ: Environment | None = None) -> tuple[str, str | None]:
    """The proxy's URL (``LITELLM_URL``, default ``http://localhost:4000``) and key (``LITELLM_API_KEY`` or None)."""
    environ = os.environ if environ is None else environ
    return environ.get("LITELLM_URL") or DEFAULT_LITELLM_URL, environ.get("LITELLM_API_KEY") or None


def prices_of_environment(environ: Environment | None = None) -> tuple[ModelPrice, ...]:
    """The prices in the file that ``LOOOPY_OTEL_PRICES`` names; none where it names none.

    Raises:
        ConfigurationError: Naming everything that is wrong in it.
    """
    reader = EnvironmentReader(os.environ if environ is None else environ)
    prices = PricesResolution(None, reader).prices()
    if reader.problems:
        raise configuration_error(reader.problems)
    return prices


def configuration_error(problems: Sequence[str]) -> ConfigurationError:
    """The one error that names every problem."""
    return ConfigurationError("looopy-otel is not configured rightly:\n- " + "\n- ".join(problems))


def process_environment() -> Environment:
    """The process's environment, for who tells where a setting comes from."""
    return os.environ


def library_version() -> str:
    """The installed version of looopy-otel."""
    try:
        return version("looopy-otel")
    except PackageNotFoundError:
        return "0.0.0+source"


class _Resolution:
    """One pass over options and environment that collects every problem before it complains."""

    def __init__(self, options: Options, environ: Environment) -> None:
        self._options = options
        self._environ = environ
        self._reader = EnvironmentReader(environ)
        self._langfuse = LangfuseResolution(self._options, self._reader)

    def settings(self) -> Settings:
        self._check_types()
        resource = self._reader.pairs("OTEL_RESOURCE_ATTRIBUTES")
        options = self._options
        export = ExportResolution(options, self._reader)
        settings = Settings(
            service_name=options.service_name
            or self._reader.text("OTEL_SERVICE_NAME")
            or resource.get(SERVICE_NAME)
            or "looopy-agent",
            deployment=Deployment(
                environment=options.environment
                or self._reader.text("LANGFUSE_TRACING_ENVIRONMENT")
                or resource.get(DEPLOYMENT_ENVIRONMENT)
                or resource.get(DEPLOYMENT_ENVIRONMENT_OLD),
                release=options.release or self._reader.text("LANGFUSE_RELEASE"),
                version=options.service_version or resource.get(SERVICE_VERSION),
            ),
            resource_attributes=resource,
            destinations=self._destinations(),
            capture=self._capture(),
            history=cast("History", self._choice("history", "LOOOPY_OTEL_HISTORY", get_args(History), "full")),
            spool_directory=self._spool_directory(),
            sampler=self._sampler(),
            sampler_argument=1.0
            if self._leaves_sampling
            else self._reader.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0, 1.0),
            disabled=(self._reader.text("OTEL_SDK_DISABLED") or "").lower() == "true",
            limits=export.limits(),
            tail_sampling=export.tail_sampling(),
            instrumentation_scopes=export.instrumentation_scopes(),
            tracer_provider=export.tracer_provider(),
            provider_dialects=self._provider_dialects(),
            handle_sigterm=bool(options.handle_sigterm),
            metrics=MetricsResolution(options, self._reader).destinations(),
            prices=PricesResolution(options.prices, self._reader).prices(),
            metric_label_values=self._reader.whole_number("LOOOPY_OTEL_METRIC_LABEL_VALUES", 100, 1, 10_000),
            exemplar_filter=cast(
                "ExemplarFilter",
                self._reader.choice("OTEL_METRICS_EXEMPLAR_FILTER", get_args(ExemplarFilter), "trace_based"),
            ),
        )
        if self._reader.problems:
            raise self._error()
        return replace(settings, warnings=tuple(self._reader.warnings))

    @property
    def _leaves_sampling(self) -> bool:
        """True where a provider was handed in: the variables are its own, and may name samplers that only it knows."""
        return self._options.tracer_provider is not None

    def _sampler(self) -> str:
        default = "parentbased_always_on"
        return default if self._leaves_sampling else self._choice("", "OTEL_TRACES_SAMPLER", SAMPLERS, default)

    def _check_types(self) -> None:
        for name in _TEXT_OPTIONS:
            value = getattr(self._options, name)
            if value is not None and not isinstance(value, str):
                shown = "" if name in _SECRET_OPTIONS else f"={value!r}"
                self._reader.problems.append(f"{name}{shown}: must be text")
        for name in _MAPPING_EXAMPLES:
            value = getattr(self._options, name)
            if value is not None and not isinstance(value, Mapping):
                shown = f"={value!r}" if name == "dialects" else ""
                self._reader.problems.append(f"{name}{shown}: must be a mapping, such as {_MAPPING_EXAMPLES[name]}")
        if self._reader.problems:
            raise self._error()

    def _error(self) -> ConfigurationError:
        return configuration_error(self._reader.problems)

    def _choice(self, option: str, variable: str, allowed: Sequence[str], default: str) -> str:
        said = getattr(self._options, option) if option else None
        if said is None:
            return self._reader.choice(variable, allowed, default)
        return self._reader.chosen(said, option, allowed, default)

    def _capture(self) -> Capture:
        standard = self._reader.text("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
        default: Capture = "redacted"
        if standard is not None:
            if standard.lower() in _STANDARD_CAPTURE:
                default = _STANDARD_CAPTURE[standard.lower()]
            else:
                self._reader.problems.append(
                    f"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT={standard!r}: must be one of "
                    "NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, true, false"
                )
        return cast("Capture", self._choice("capture", "LOOOPY_OTEL_CAPTURE", get_args(Capture), default))

    def _spool_directory(self) -> Path:
        chosen = self._options.spool_directory or self._reader.text("LOOOPY_OTEL_SPOOL_DIR")
        return Path(chosen).expanduser() if chosen else user_state_path("looopy-otel") / "spool"

    def _destinations(self) -> tuple[Destination, ...]:
        made = list(chain.from_iterable(map(self._made, self._wanted())))
        names = list(dict.fromkeys(destination.name for destination in made))
        unknown = set(self._options.dialects or ()) - set(names) - self._provider_names()
        if unknown and not self._reader.problems:
            self._reader.problems.append(
                f"dialects: {', '.join(sorted(unknown))} is not among the exporters ({', '.join(names) or 'none'})"
            )
        found: dict[object, Destination] = {}
        for destination in made:
            key = _destination_key(destination)
            found[key] = _together(found[key], destination) if key in found else destination
        return tuple(found.values())

    def _provider_names(self) -> set[str]:
        """What a provider that was handed in is called among the dialects."""
        return set() if self._options.tracer_provider is None else {PROVIDER}

    def _provider_dialects(self) -> tuple[Dialect, ...] | None:
        named = self._options.tracer_provider is not None and PROVIDER in (self._options.dialects or {})
        return self._dialects(PROVIDER, ("genai",)) if named else None

    def _default_exporters(self) -> str:
        """What is not said where a provider was handed in is what its own exporters do."""
        options = self._options
        if options.tracer_provider is None:
            return "auto"
        said = (options.otlp_endpoint, options.langfuse_public_key, options.langfuse_secret_key)
        return "auto" if any(said) or options.langfuse_projects else "none"

    def _wanted(self) -> list[object]:
        said = self._options.exporters
        if said is None:
            said = self._reader.text("LOOOPY_OTEL_EXPORTERS") or self._default_exporters()
        if isinstance(said, str):
            said = [name.strip().lower() for name in said.split(",") if name.strip()]
        elif not isinstance(said, Iterable):
            said = [said]
        wanted: list[object] = []
        for one in cast("Iterable[object]", said):
            wanted.extend(self._automatic() if one == "auto" else [] if one == "none" else [one])
        return wanted

    def _automatic(self) -> list[str]:
        names: list[str] = []
        if self._langfuse.is_wanted:
            names.append("langfuse")
        if self._otlp_endpoint() is not None:
            names.append("otlp")
        return names or (["local"] if self._options.tracer_provider is None else [])

    def _made(self, wanted: object) -> Iterable[Destination]:
        match wanted:
            case "langfuse":
                return self._langfuse.destinations(self._dialects("langfuse", ("langfuse",)))
            case "otlp":
                return filter(None, [self._otlp()])
            case "local":
                return [LocalDestination(database_path(self._options.database, self._environ))]
            case "console":
                return [ConsoleDestination(self._dialects("console", ("seed",)))]
            case _ if callable(getattr(wanted, "export", None)) and callable(getattr(wanted, "shutdown", None)):
                name = type(wanted).__name__
                return [CustomDestination(wanted, self._dialects(name, ("genai", "langfuse", "seed")), name)]
            case _:
                self._reader.problems.append(
                    f"exporters: {wanted!r} is unknown; use 'auto', 'langfuse', 'otlp', 'local', 'console', 'none' "
                    "or an OpenTelemetry SpanExporter"
                )
                return []

    def _dialects(self, name: str, default: tuple[Dialect, ...]) -> tuple[Dialect, ...]:
        said = (self._options.dialects or {}).get(name)
        if said is None:
            return default
        chosen = (said,) if isinstance(said, str) else tuple(said)
        wrong = [dialect for dialect in chosen if dialect not in get_args(Dialect)]
        if wrong or not chosen:
            self._reader.problems.append(f"dialects[{name!r}]={said!r}: must be of {', '.join(get_args(Dialect))}")
            return default
        return cast("tuple[Dialect, ...]", chosen)

    def _otlp_endpoint(self) -> str | None:
        if self._options.otlp_endpoint:
            return with_traces_path(self._options.otlp_endpoint)
        if traces := self._reader.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            return with_traces_path(traces) if is_langfuse(traces) else traces
        if base := self._reader.text("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return with_traces_path(base)
        return None

    def _otlp(self) -> HTTPDestination | None:
        endpoint = self._otlp_endpoint() or with_traces_path(DEFAULT_OTLP_ENDPOINT)
        langfuse = is_langfuse(endpoint)
        default: tuple[Dialect, ...] = ("langfuse",) if langfuse else ("genai",)
        destination = OTLPVariables(self._reader, "TRACES", self._options.otlp_headers).destination(
            endpoint,
            "OTLP endpoint",
            self._dialects("otlp", default),
            "for gRPC install looopy-otel[grpc] and hand in exporters=[OTLPSpanExporter(…)] "
            "from opentelemetry's grpc exporter",
            said=bool(self._options.otlp_endpoint),
        )
        if destination is None or not langfuse:
            return destination
        headers = {LANGFUSE_INGESTION_HEADER: LANGFUSE_INGESTION_VERSION, **destination.headers}
        return replace(destination, headers=headers)


def _destination_key(destination: Destination) -> object:
    """Equal for destinations that are the same place: host and project, file, stream, exporter object."""
    match destination:
        case HTTPDestination():
            return same_place_key(destination.endpoint, destination.headers)
        case LocalDestination():
            return ("local", destination.path)
        case ConsoleDestination():
            return "console"
        case CustomDestination():
            return id(destination.exporter)


def _together(first: Destination, second: Destination) -> Destination:
    """One destination for two that are the same place: it takes the projects of both."""
    if not isinstance(first, HTTPDestination) or not isinstance(second, HTTPDestination):
        return first
    added = tuple(name for name in (second.project, *second.further_projects) if name not in first.projects)
    return replace(first, further_projects=(*first.further_projects, *added)) if added else first
