"""Builds the settings of the export path: its bounds, its deadline, and what of the spans goes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.settings import DEFAULT_MEMORY_LIMIT, DEFAULT_SPOOL_LIMIT, ExportLimits, Options, TailSampling

_LEAST_LIMIT = 1024 * 1024
_MOST_LIMIT = 1024**4
_MOST_PATIENCE = 86_400.0
_UNITS = {"slower_than": "seconds", "costlier_than": "USD"}


class ExportResolution:
    """Options and environment on the export path.

    Args:
        options: What the user said.
        reader: Reads the environment, and takes the problems.
    """

    def __init__(self, options: Options, reader: EnvironmentReader) -> None:
        self._options = options
        self._reader = reader

    def limits(self) -> ExportLimits:
        """How much memory and disk may be taken, and how long the end may take."""
        return ExportLimits(
            memory=self._bytes("memory_limit", "LOOOPY_OTEL_MEMORY_LIMIT", DEFAULT_MEMORY_LIMIT),
            spool=self._bytes("spool_limit", "LOOOPY_OTEL_SPOOL_LIMIT", DEFAULT_SPOOL_LIMIT),
            shutdown_timeout=self._seconds("shutdown_timeout", "LOOOPY_OTEL_SHUTDOWN_TIMEOUT", 5.0),
            delay=self._reader.number("LOOOPY_OTEL_EXPORT_DELAY", 1.0, 0.01, 3600.0),
        )

    def tail_sampling(self) -> TailSampling | None:
        """Which whole traces are kept; None for all."""
        said = self._options.tail_sampling
        if said is not None and not isinstance(said, TailSampling):
            self._reader.problems.append(f"tail_sampling={said!r}: must be a looopy_otel.TailSampling, or None")
            return None
        problems = list(_tail_problems(said)) if said is not None else []
        self._reader.problems.extend(f"tail_sampling: {problem}" for problem in problems)
        return None if problems else said

    def instrumentation_scopes(self) -> tuple[str, ...]:
        """Patterns of instrumentation scopes, as said; none where nothing was said."""
        said = self._options.instrumentation_scopes
        if said is None:
            text = self._reader.text("LOOOPY_OTEL_INSTRUMENTATION_SCOPES") or ""
            return tuple(filter(None, (part.strip() for part in text.split(","))))
        patterns = (said,) if isinstance(said, str) else tuple(said)
        if not all(isinstance(pattern, str) and pattern.strip("!") for pattern in patterns):
            self._reader.problems.append(
                f"instrumentation_scopes={said!r}: must be names of instrumentation scopes, "
                "such as ['my-tool', '!noisy.*']"
            )
            return ()
        return patterns

    def tracer_provider(self) -> Any:
        """The provider, ``"global"``, or None; the stand-in that OpenTelemetry gives before one is set means global."""
        said = self._options.tracer_provider
        if said is None or said == "global":
            return said
        kind = cast("type[Any]", type(said))
        if (kind.__module__, kind.__name__) == ("opentelemetry.trace", "ProxyTracerProvider"):
            return "global"
        if not all(callable(getattr(said, method, None)) for method in ("get_tracer", "add_span_processor")):
            self._reader.problems.append(
                f"tracer_provider: a {kind.__module__}.{kind.__qualname__} takes no processors of OpenTelemetry's SDK; "
                "hand in an opentelemetry.sdk.trace.TracerProvider or 'global', or leave it out for a private one"
            )
        return said

    def _bytes(self, option: str, variable: str, default: int) -> int:
        said = getattr(self._options, option)
        if said is None:
            return self._reader.whole_number(variable, default, _LEAST_LIMIT, _MOST_LIMIT, "bytes")
        if isinstance(said, bool) or not isinstance(said, int) or not _LEAST_LIMIT <= said <= _MOST_LIMIT:
            self._reader.problems.append(f"{option}={said!r}: must be a whole number of bytes, 1 MiB to 1 TiB")
            return default
        return said

    def _seconds(self, option: str, variable: str, default: float) -> float:
        said = getattr(self._options, option)
        if said is None:
            return self._reader.number(variable, default, 0.0, 3600.0)
        if isinstance(said, bool) or not isinstance(said, int | float) or not 0.0 <= said <= 3600.0:
            self._reader.problems.append(f"{option}={said!r}: must be a number of seconds from 0 to 3600")
            return default
        return float(said)


def _tail_problems(said: TailSampling) -> Iterator[str]:
    """What is wrong in it, one line each."""
    errors: Any = said.errors
    memory: Any = said.memory
    if not isinstance(errors, bool):
        yield f"errors={errors!r}: must be True or False"
    for name in ("slower_than", "costlier_than"):
        value = getattr(said, name)
        if value is not None and not _is_number(value, 0.0, float("inf")):
            yield f"{name}={value!r}: must be a number of {_UNITS[name]}, 0 or more, or None"
    if not _is_number(said.ratio, 0.0, 1.0):
        yield f"ratio={said.ratio!r}: must be a number from 0 to 1"
    if isinstance(memory, bool) or not isinstance(memory, int) or not _LEAST_LIMIT <= memory <= _MOST_LIMIT:
        yield f"memory={memory!r}: must be a whole number of bytes, 1 MiB to 1 TiB"
    if not _is_number(said.patience, 0.01, _MOST_PATIENCE):
        yield f"patience={said.patience!r}: must be a number of seconds from 0.01 to {_MOST_PATIENCE:g}"


def _is_number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
