"""Durations, tokens, money and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from looopy_otel.core.usage import Usage


def duration_text(seconds: float) -> str:
    """Says a duration: ``0.4 ms``, ``25 ms``, ``1.24 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 0.00995:
        return f"{max(seconds, 0.0) * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def usage_text(usage: Usage, *, brief: bool = False) -> str:
    """Says token counts: ``150 → 75 (225 total)``, with the parts that are known and not zero.

    Args:
        usage: The counts.
        brief: True for ``150 → 75`` alone.
    """
    if brief:
        return f"{usage.prompt_tokens:,} → {usage.completion_tokens:,}"
    parts = [
        f"{count:,} {name}"
        for count, name in (
            (usage.cache_read_tokens, "cached"),
            (usage.cache_write_tokens, "written to cache"),
            (usage.audio_input_tokens, "audio in"),
            (usage.reasoning_tokens, "reasoning"),
            (usage.audio_output_tokens, "audio out"),
        )
        if count
    ]
    inside = ", ".join([f"{usage.total_tokens:,} total", *parts])
    return f"{usage.prompt_tokens:,} → {usage.completion_tokens:,} ({inside})"


def cost_text(cost: Decimal) -> str:
    """Says an amount of USD: ``$12.35``, ``$0.0068``, ``$0.000012``; ``$0.00`` is a known zero."""
    magnitude = abs(cost)
    if magnitude == 0 or magnitude >= Decimal("0.99995"):
        return f"${cost:,.2f}"
    if magnitude >= Decimal("0.00095"):
        return f"${cost:.4f}"
    return f"${cost:.{1 - magnitude.adjusted()}f}"


def moment_text(nanoseconds: int) -> str:
    """Says a Unix time in nanoseconds as local date and time to the second."""
    return _moment(nanoseconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment_iso(nanoseconds: int) -> str:
    """Says a Unix time in nanoseconds in ISO 8601, UTC, to the microsecond."""
    return _moment(nanoseconds).isoformat(timespec="microseconds")


def _moment(nanoseconds: int) -> datetime:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
