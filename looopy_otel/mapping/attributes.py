"""Attribute values: what may stand on a span, and how what is unknown stays off it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

from looopy_otel.core.text import valid_text

AttributeValue: TypeAlias = str | bool | int | float | list[str]
"""What a span attribute holds here: never None, an empty list, or a dict."""

Fact: TypeAlias = str | bool | int | float | Decimal | Sequence[str] | None
"""What becomes an attribute value; None and empty ones mean unknown."""

_EXACT = 2**53


def known(facts: Mapping[str, Fact]) -> dict[str, AttributeValue]:
    """Turns facts into attributes, in their order.

    Left out is what is unknown (None, empty text, empty lists) and what no number is (NaN, infinities). Text is made
    valid UTF-8; a `Decimal` becomes a double; an integer beyond 2^53, which a receiver in JavaScript would round and
    OTLP may not hold, becomes its digits.
    """
    attributes: dict[str, AttributeValue] = {}
    for key, fact in facts.items():
        value = _value(fact)
        if value is not None:
            attributes[valid_text(key)] = value
    return attributes


def _value(fact: Fact) -> AttributeValue | None:
    match fact:
        case None:
            return None
        case bool():
            return fact
        case str():
            return valid_text(fact) or None
        case int():
            return fact if abs(fact) <= _EXACT else str(fact)
        case float() | Decimal():
            number = float(fact)
            return number if math.isfinite(number) else None
        case _:
            return [valid_text(item) for item in fact if item] or None
