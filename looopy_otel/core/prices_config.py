"""Builds the user's prices: from a mapping, or from a JSON or TOML file. Names everything that is wrong in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.model_price import PER_REQUEST, PRICE_NAMES, ModelPrice
from looopy_otel.core.table_file import read_table

VARIABLE: Final = "LOOOPY_OTEL_PRICES"
_EXAMPLE = "{'my-model': {'input': 2.5, 'output': 10}}"
_MOST = Decimal(10) ** 9


class PricesResolution:
    """What the user said of prices, or the environment did.

    Args:
        said: A mapping of models to prices, the path of a file, or None for the file of ``LOOOPY_OTEL_PRICES``.
        reader: Reads the environment, and takes the problems.
    """

    def __init__(self, said: object, reader: EnvironmentReader) -> None:
        self._said = said
        self._reader = reader
        self._source = "prices"

    def prices(self) -> tuple[ModelPrice, ...]:
        """The prices; what is wrong goes to the reader's problems."""
        said = self._said
        if said is None and (variable := self._reader.text(VARIABLE)) is not None:
            said, self._source = variable, VARIABLE
        if isinstance(said, str | os.PathLike):
            path = cast("str | os.PathLike[str]", said)
            self._source = f"{self._source} ({os.fspath(path)})"
            said = read_table(path, lambda text: self._problem("", text))
        if said is None:
            return ()
        if not isinstance(said, Mapping):
            self._problem("", f"must be a mapping, such as {_EXAMPLE}, or the path of a JSON or TOML file")
            return ()
        entries = cast("Mapping[object, object]", said)
        return tuple(price for name, entry in entries.items() if (price := self._price(name, entry)) is not None)

    def _price(self, name: object, entry: object) -> ModelPrice | None:
        if not isinstance(name, str) or not name.strip():
            self._problem("", f"{name!r} is not the name of a model")
            return None
        if not isinstance(entry, Mapping) or not entry:
            self._problem(f"[{name!r}]", "must say at least what 'input' costs, in USD per million tokens")
            return None
        rates = dict(self._rates(name, cast("Mapping[object, object]", entry)))
        return ModelPrice(name.strip(), rates, rates.pop(PER_REQUEST, Decimal(0)))

    def _rates(self, model: str, entry: Mapping[object, object]) -> Iterator[tuple[str, Decimal]]:
        for name, said in entry.items():
            place = f"[{model!r}][{name!r}]"
            if isinstance(said, Mapping):
                self._problem(place, "is a table, not a number; in TOML a model's name with a dot stands in quotes")
            elif name not in PRICE_NAMES:
                self._problem(place, f"is unknown; prices are given for {', '.join(PRICE_NAMES)}")
            elif (rate := _number(said)) is None:
                unit = "call" if name == PER_REQUEST else "million tokens"
                self._problem(place, f"must be a number of USD per {unit}, 0 or more, not {said!r}")
            else:
                yield str(name), rate

    def _problem(self, place: str, text: str) -> None:
        self._reader.problems.append(f"{self._source}{place}: {text}")


def _number(said: Any) -> Decimal | None:
    if isinstance(said, bool) or not isinstance(said, int | float | str | Decimal):
        return None
    try:
        # Through str: Decimal(0.1) is 0.1000000000000000055…
        number = Decimal(str(said).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number <= _MOST else None
