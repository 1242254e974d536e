"""What a model costs, as the user says: USD per million tokens, by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from looopy_otel.core.usage_parts import INPUT_PARTS, OUTPUT_PARTS

PER_REQUEST: Final = "request"
"""The price of a call as such, in USD."""

PRICE_NAMES: Final = (*INPUT_PARTS, *OUTPUT_PARTS, PER_REQUEST)
"""What a price can be given for."""


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """The prices of one model, or of all whose names match a pattern.

    Attributes:
        model: A model's name, with or without the prefix of its provider, or a pattern with ``*``, ``?`` and ``[…]``.
        rates: USD per million tokens, by the names of `looopy_otel.core.usage_parts.Part`. A part without a price of
            its own costs what the wider one costs: ``cache_write_1h`` as ``cache_write``, and that as ``input``.
        per_request: USD per call, beside its tokens.
    """

    model: str
    rates: Mapping[str, Decimal]
    per_request: Decimal = Decimal(0)

    @property
    def is_free(self) -> bool:
        """True where every price is 0."""
        return not self.per_request and not any(self.rates.values())
