"""Builds the settings: explicit argument, then environment, then default. The only reader of the environment."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias, cast, get_args
from urllib.parse import unquote

from platformdirs import user_data_path, user_state_path

from looopy_otel.core.endpoint import (
    AUTHORIZATION,
    LANGFUSE_OTLP_PATH,
    TRACES_PATH,
    credentials_moved,
    header_problem,
    is_langfuse,
    same_place_key,
    url_problem,
    with_traces_path,
)
from looopy_otel.core.errors import ConfigurationError
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
    History,
    HTTPDestination,
    LocalDestination,
    Options,
    Settings,
)

Environment: TypeAlias = Mapping[str, str]

DEFAULT_LANGFUSE_URL = "https://cloud.langfuse.com"
DEFAULT_OTLP_ENDPOINT = "http://localhost:4318"
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
_MAPPING_EXAMPLES = {"dialects": "{'otlp': 'seed'}", "otlp_headers": "{'authorization': 'Bearer …'}"}
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
        self._problems: list[str] = []

    def settings(self) -> Settings:
        self._check_types()
        resource = self._pairs("OTEL_RESOURCE_ATTRIBUTES")
        options = self._options
        settings = Settings(
            service_name=options.service_name
            or self._text("OTEL_SERVICE_NAME")
            or resource.get(SERVICE_NAME)
            or "looopy-agent",
            deployment=Deployment(
                environment=options.environment
                or self._text("LANGFUSE_TRACING_ENVIRONMENT")
                or resource.get(DEPLOYMENT_ENVIRONMENT)
                or resource.get(DEPLOYMENT_ENVIRONMENT_OLD),
                release=options.release or self._text("LANGFUSE_RELEASE"),
                version=options.service_version or resource.get(SERVICE_VERSION),
            ),
            resource_attributes=resource,
            destinations=self._destinations(),
            capture=self._capture(),
            history=cast("History", self._choice("history", "LOOOPY_OTEL_HISTORY", get_args(History), "full")),
            spool_directory=self._spool_directory(),
            sampler=self._choice("", "OTEL_TRACES_SAMPLER", SAMPLERS, "parentbased_always_on"),
            sampler_argument=self._number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0, 1.0),
            disabled=(self._text("OTEL_SDK_DISABLED") or "").lower() == "true",
            export_delay=self._number("LOOOPY_OTEL_EXPORT_DELAY", 1.0, 0.01, 3600.0),
        )
        if self._problems:
            raise self._error()
        return settings

    def _check_types(self) -> None:
        for name in _TEXT_OPTIONS:
            value = getattr(self._options, name)
            if value is not None and not isinstance(value, str):
                self._problems.append(f"{name}={value!r}: must be text")
        for name in ("dialects", "otlp_headers"):
            value = getattr(self._options, name)
            if value is not None and not isinstance(value, Mapping):
                shown = "" if name == "otlp_headers" else f"={value!r}"
                self._problems.append(f"{name}{shown}: must be a mapping, such as {_MAPPING_EXAMPLES[name]}")
        if self._problems:
            raise self._error()

    def _error(self) -> ConfigurationError:
        return ConfigurationError("looopy-otel is not configured rightly:\n- " + "\n- ".join(self._problems))

    def _text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def _choice(self, option: str, variable: str, allowed: Sequence[str], default: str) -> str:
        said = getattr(self._options, option) if option else None
        value, source = (said, option) if said is not None else (self._text(variable), variable)
        if value is None:
            return default
        if not isinstance(value, str) or value.lower() not in allowed:
            self._problems.append(f"{source}={value!r}: must be one of {', '.join(allowed)}")
            return default
        return value.lower()

    def _number(self, variable: str, default: float, least: float, most: float) -> float:
        text = self._text(variable)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            self._problems.append(f"{variable}={text!r}: must be a number from {least:g} to {most:g}")
            return default
        return value

    def _pairs(self, variable: str) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for item in filter(None, (part.strip() for part in (self._text(variable) or "").split(","))):
            key, separator, value = item.partition("=")
            if not separator or not key.strip():
                shown = "…" if "HEADERS" in variable else repr(item)
                self._problems.append(f"{variable}: {shown} is not of the form key=value")
                continue
            pairs[unquote(key.strip())] = unquote(value.strip())
        return pairs

    def _capture(self) -> Capture:
        standard = self._text("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
        default: Capture = "redacted"
        if standard is not None:
            if standard.lower() in _STANDARD_CAPTURE:
                default = _STANDARD_CAPTURE[standard.lower()]
            else:
                self._problems.append(
                    f"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT={standard!r}: must be one of "
                    "NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, true, false"
                )
        return cast("Capture", self._choice("capture", "LOOOPY_OTEL_CAPTURE", get_args(Capture), default))

    def _spool_directory(self) -> Path:
        chosen = self._options.spool_directory or self._text("LOOOPY_OTEL_SPOOL_DIR")
        return Path(chosen).expanduser() if chosen else user_state_path("looopy-otel") / "spool"

    def _destinations(self) -> tuple[Destination, ...]:
        made = [destination for destination in map(self._destination, self._wanted()) if destination is not None]
        names = [destination.name for destination in made]
        unknown = set(self._options.dialects or ()) - set(names)
        if unknown and not self._problems:
            self._problems.append(
                f"dialects: {', '.join(sorted(unknown))} is not among the exporters ({', '.join(names) or 'none'})"
            )
        found: dict[object, Destination] = {}
        for destination in made:
            found.setdefault(_destination_key(destination), destination)
        return tuple(found.values())

    def _wanted(self) -> list[object]:
        said = self._options.exporters
        if said is None:
            said = self._text("LOOOPY_OTEL_EXPORTERS") or "auto"
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
        if self._langfuse_keys() != (None, None):
            names.append("langfuse")
        if self._otlp_endpoint() is not None:
            names.append("otlp")
        return names or ["local"]

    def _destination(self, wanted: object) -> Destination | None:
        match wanted:
            case "langfuse":
                return self._langfuse()
            case "otlp":
                return self._otlp()
            case "local":
                return LocalDestination(database_path(self._options.database, self._environ))
            case "console":
                return ConsoleDestination(self._dialects("console", ("seed",)))
            case _ if callable(getattr(wanted, "export", None)) and callable(getattr(wanted, "shutdown", None)):
                name = type(wanted).__name__
                return CustomDestination(wanted, self._dialects(name, ("genai", "langfuse", "seed")), name)
            case _:
                self._problems.append(
                    f"exporters: {wanted!r} is unknown; use 'auto', 'langfuse', 'otlp', 'local', 'console', 'none' "
                    "or an OpenTelemetry SpanExporter"
                )
                return None

    def _dialects(self, name: str, default: tuple[Dialect, ...]) -> tuple[Dialect, ...]:
        said = (self._options.dialects or {}).get(name)
        if said is None:
            return default
        chosen = (said,) if isinstance(said, str) else tuple(said)
        wrong = [dialect for dialect in chosen if dialect not in get_args(Dialect)]
        if wrong or not chosen:
            self._problems.append(f"dialects[{name!r}]={said!r}: must be of {', '.join(get_args(Dialect))}")
            return default
        return cast("tuple[Dialect, ...]", chosen)

    def _langfuse_keys(self) -> tuple[str | None, str | None]:
        return (
            self._options.langfuse_public_key or self._text("LANGFUSE_PUBLIC_KEY"),
            self._options.langfuse_secret_key or self._text("LANGFUSE_SECRET_KEY"),
        )

    def _langfuse(self) -> HTTPDestination | None:
        public, secret = self._langfuse_keys()
        if not public or not secret:
            missing = " and ".join(
                name for name, key in (("LANGFUSE_PUBLIC_KEY", public), ("LANGFUSE_SECRET_KEY", secret)) if not key
            )
            self._problems.append(f"langfuse: set {missing} (project settings → API keys)")
            return None
        base = (
            self._options.langfuse_base_url
            or self._text("LANGFUSE_BASE_URL")
            or self._text("LANGFUSE_HOST")
            or DEFAULT_LANGFUSE_URL
        )
        base = base.rstrip("/").removesuffix(TRACES_PATH).removesuffix(LANGFUSE_OTLP_PATH)
        if not self._is_url("langfuse base URL", base):
            return None
        credentials = b64encode(f"{public}:{secret}".encode()).decode()
        headers = {AUTHORIZATION: f"Basic {credentials}", LANGFUSE_INGESTION_HEADER: LANGFUSE_INGESTION_VERSION}
        endpoint, headers = credentials_moved(base + LANGFUSE_OTLP_PATH + TRACES_PATH, headers)
        return HTTPDestination(
            name="langfuse",
            endpoint=endpoint,
            headers=headers,
            dialects=self._dialects("langfuse", ("langfuse",)),
        )

    def _otlp_endpoint(self) -> str | None:
        if self._options.otlp_endpoint:
            return with_traces_path(self._options.otlp_endpoint)
        if traces := self._text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            return with_traces_path(traces) if is_langfuse(traces) else traces
        if base := self._text("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return with_traces_path(base)
        return None

    def _otlp(self) -> HTTPDestination | None:
        endpoint = self._otlp_endpoint() or with_traces_path(DEFAULT_OTLP_ENDPOINT)
        usable = self._is_url("OTLP endpoint", endpoint)
        protocol = self._otlp_text("PROTOCOL")
        if protocol not in (None, "http/protobuf"):
            self._problems.append(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: 'otlp' speaks http/protobuf; for gRPC install "
                "looopy-otel[grpc] and hand in exporters=[OTLPSpanExporter(…)] from opentelemetry's grpc exporter"
            )
        langfuse = is_langfuse(endpoint)
        default: tuple[Dialect, ...] = ("langfuse",) if langfuse else ("genai",)
        dialects, timeout, certificate = self._dialects("otlp", default), self._otlp_timeout(), self._certificate()
        gzip, headers = self._compressed(), self._otlp_headers()
        if not usable:
            return None
        endpoint, headers = credentials_moved(endpoint, headers)
        if langfuse:
            headers.setdefault(LANGFUSE_INGESTION_HEADER, LANGFUSE_INGESTION_VERSION)
        return HTTPDestination(
            name="otlp",
            endpoint=endpoint,
            headers=headers,
            dialects=dialects,
            timeout=timeout,
            certificate=certificate,
            gzip=gzip,
        )

    def _certificate(self) -> str | None:
        path = self._otlp_text("CERTIFICATE")
        if path is not None and not Path(path).is_file():
            self._problems.append(f"OTEL_EXPORTER_OTLP_CERTIFICATE={path!r}: there is no such file")
        return path

    def _compressed(self) -> bool:
        compression = (self._otlp_text("COMPRESSION") or "gzip").lower()
        if compression not in ("gzip", "none"):
            self._problems.append(f"OTEL_EXPORTER_OTLP_COMPRESSION={compression!r}: must be gzip or none")
        return compression == "gzip"

    def _otlp_text(self, name: str) -> str | None:
        return self._text(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or self._text(f"OTEL_EXPORTER_OTLP_{name}")

    def _otlp_timeout(self) -> float:
        traces = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
        # Seconds, as OpenTelemetry's own Python exporters read it; the specification says milliseconds.
        return self._number(traces if self._text(traces) else "OTEL_EXPORTER_OTLP_TIMEOUT", 10.0, 0.001, 1e7)

    def _otlp_headers(self) -> dict[str, str]:
        said: Mapping[str, str] | None = self._options.otlp_headers
        if said is None:
            said = {**self._pairs("OTEL_EXPORTER_OTLP_HEADERS"), **self._pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS")}
        for name, value in said.items():
            if problem := header_problem(str(name), value):
                self._problems.append(f"OTLP headers: {problem}")
        return {str(name).lower(): value for name, value in said.items()}

    def _is_url(self, what: str, url: str) -> bool:
        problem = url_problem(url)
        if problem is not None:
            self._problems.append(f"{what} {url.rpartition('@')[2]!r}: {problem}")
        return problem is None


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
