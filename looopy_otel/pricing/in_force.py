"""The user's prices that are in force in this process, for those who price without a configuration: budgets, loops."""

from __future__ import annotations

from collections.abc import Callable

from looopy_otel.core.config import prices_of_environment
from looopy_otel.core.guard import guard
from looopy_otel.pricing.price_list import NO_PRICES, PriceList


class _InForce:
    """One slot: the configured prices, or those of the environment, which are read at the first question."""

    def __init__(self, read: Callable[[], PriceList]) -> None:
        self._read = read
        self._configured: PriceList | None = None
        self._read_once: PriceList | None = None

    def use(self, prices: PriceList) -> None:
        self._configured = prices

    def drop(self, prices: PriceList) -> None:
        if self._configured is prices:
            self._configured = None

    def prices(self) -> PriceList:
        if self._configured is not None:
            return self._configured
        if self._read_once is None:
            found = NO_PRICES
            with guard("pricing.environment"):
                found = self._read()
            self._read_once = found
        return self._read_once


_in_force = _InForce(lambda: PriceList(prices_of_environment()))


def use_prices(prices: PriceList) -> None:
    """Puts prices into force."""
    _in_force.use(prices)


def drop_prices(prices: PriceList) -> None:
    """Takes prices out of force, unless others have taken their place."""
    _in_force.drop(prices)


def prices_in_force() -> PriceList:
    """The prices in force: those of `configure()`, else those of the file that ``LOOOPY_OTEL_PRICES`` names."""
    return _in_force.prices()
