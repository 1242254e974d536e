"""Observability-first tracing for LLM agents: import it as ``import looopy_otel as lo``.

Importing does nothing: no thread, no network, no OpenTelemetry. `configure()` starts everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from looopy_otel.core.config import library_version
    from looopy_otel.core.errors import ConfigurationError as ConfigurationError
    from looopy_otel.core.errors import LooopyError as LooopyError
    from looopy_otel.core.identity import session as session
    from looopy_otel.core.types import FlushResult as FlushResult
    from looopy_otel.core.types import Stats as Stats
    from looopy_otel.instrument.decorators import trace_span as trace_span
    from looopy_otel.instrument.spans import current as current
    from looopy_otel.instrument.spans import span as span
    from looopy_otel.telemetry import Telemetry as Telemetry
    from looopy_otel.telemetry import configure as configure

    __version__ = library_version()

_HOMES = {
    "ConfigurationError": "looopy_otel.core.errors",
    "FlushResult": "looopy_otel.core.types",
    "LooopyError": "looopy_otel.core.errors",
    "Stats": "looopy_otel.core.types",
    "Telemetry": "looopy_otel.telemetry",
    "configure": "looopy_otel.telemetry",
    "current": "looopy_otel.instrument.spans",
    "session": "looopy_otel.core.identity",
    "span": "looopy_otel.instrument.spans",
    "trace_span": "looopy_otel.instrument.decorators",
}

__all__ = (
    "ConfigurationError",
    "FlushResult",
    "LooopyError",
    "Stats",
    "Telemetry",
    "configure",
    "current",
    "session",
    "span",
    "trace_span",
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("looopy_otel.core.config").library_version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
