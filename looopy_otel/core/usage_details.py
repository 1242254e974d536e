"""Reading the details of reported token counts: which field, which kind of content, how long a cache keeps them."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from numbers import Integral
from typing import Any, cast

from looopy_otel.core.shapes.fields import as_list, get

_MOST = 2**53
"""Beyond this no count is exact in JSON, and none is believed."""


def count_of(value: object) -> int | None:
    """The value as a count; None for what cannot be one (a text, a negative number, an absurdly large one)."""
    if isinstance(value, bool) or not isinstance(value, Integral | float | Decimal):
        return None
    number = int(value) if isinstance(value, Integral) else value
    return int(number) if _is_finite(number) and 0 <= number <= _MOST else None


def is_no_count(value: object) -> bool:
    """True for what is said where a count belongs, and cannot be one."""
    return value is not None and count_of(value) is None


def totals(prompt: object, completion: object, total: object = None) -> tuple[int, int] | None:
    """The input and output tokens of one call, as they are told.

    One that is not told is what the total leaves of the other. So is one that cannot be a count, if the total leaves
    anything: else what was used is unknown, not small.

    Args:
        prompt: As reported.
        completion: As reported.
        total: As reported.

    Returns:
        Both, or None where neither is a count, or one of them is unknown.
    """
    inputs, outputs, whole = count_of(prompt), count_of(completion), count_of(total) or 0
    if inputs is None and outputs is None:
        return None
    if inputs is not None and outputs is not None:
        return inputs, outputs
    rest = whole - (inputs or 0) - (outputs or 0)
    if rest <= 0 and (is_no_count(prompt) or is_no_count(completion)):
        return None
    rest = max(rest, 0)
    return (rest if inputs is None else inputs), (rest if outputs is None else outputs)


def _is_finite(number: float | Decimal) -> bool:
    # An integer may be too large for a float.
    return isinstance(number, int) or (number.is_finite() if isinstance(number, Decimal) else isfinite(number))


def first(source: object, *names: str) -> Any:
    """The first of the named fields that is there."""
    return next((value for name in names if (value := get(source, name)) is not None), None)


def either(value: object, otherwise: object) -> object:
    """The value, or the other one where there is none."""
    return otherwise if value is None else value


def modality(details: object, kind: str) -> int | None:
    """Gemini's count of one kind of content.

    Args:
        details: A list of ``{"modality": …, "tokenCount": …}``.
        kind: ``TEXT``, ``IMAGE``, ``AUDIO``.

    Returns:
        Tokens, or None where the list does not tell.
    """
    found = [
        count
        for one in as_list(details)
        if str(getattr(get(one, "modality"), "value", get(one, "modality"))).upper() == kind
        if (count := count_of(first(one, "tokenCount", "token_count"))) is not None
    ]
    return sum(found) if found else None


def cache_writes(written: object, kept: object) -> dict[str, object]:
    """What was written to a cache, by how long it is kept there.

    Args:
        written: All of it, as reported; LangChain says 0 of it where it says how long it is kept.
        kept: Anthropic's ``cache_creation``, Bedrock's ``cacheDetails``, or what else says how long.

    Returns:
        The cache write counts of `looopy_otel.core.usage.Usage` by their names; none where nothing is told.
    """
    if written is None and kept is None:
        return {}
    five_minutes, hour = _kept(kept, "ephemeral_5m_input_tokens", "5m"), _kept(kept, "ephemeral_1h_input_tokens", "1h")
    parts = None if five_minutes is None and hour is None else (five_minutes or 0) + (hour or 0)
    whole = count_of(written)
    return {
        "cache_write_tokens": max(whole, parts) if whole is not None and parts is not None else either(whole, parts),
        "cache_write_5m_tokens": five_minutes,
        "cache_write_1h_tokens": hour,
    }


def _kept(details: object, name: str, ttl: str) -> int | None:
    if isinstance(details, list):
        entries = cast("list[object]", details)
        found = [count_of(get(one, "inputTokens")) for one in entries if get(one, "ttl") == ttl]
        return sum(count or 0 for count in found) if found else None
    return count_of(get(details, name))
