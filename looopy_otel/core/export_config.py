"""Builds the settings of the export path: its bounds, its deadline, and what of the spans goes out."""

from __future__ import annotations

from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.settings import DEFAULT_MEMORY_LIMIT, DEFAULT_SPOOL_LIMIT, ExportLimits, Options, TailSampling

_LEAST_LIMIT = 1024 * 1024
_MOST_LIMIT = 1024**4


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
        return said

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

    def _bytes(self, option: str, variable: str, default: int) -> int:
        said = getattr(self._options, option)
        if said is None:
            return self._reader.whole_number(variable, default, _LEAST_LIMIT, _MOST_LIMIT)
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
