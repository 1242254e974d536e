"""The user's prices that are in force in this process, for those who price without a configuration: budgets, loops."""

from __future__ import annotations

from looopy_otel.core.config import prices_of_environment
from looopy_otel.core.guard import guard
from looopy_otel.pricing.price_list import NO_PRICES, PriceList


class PricesInForce:
    """One slot: the configured prices, else those of the environment, which are read at the first question."""

    def __init__(self) -> None:
        self._configured: PriceList | None = None
        self._of_environment: PriceList | None = None

    def use(self, prices: PriceList) -> None:
        """Puts prices into force."""
        self._configured = prices

    def drop(self, prices: PriceList) -> None:
        """Takes prices out of force, unless others have taken their place."""
        if self._configured is prices:
            self._configured = None

    def prices(self) -> PriceList:
        """The prices in force; none where the file of the environment is wrong, which is a fault that is counted."""
        if self._configured is not None:
            return self._configured
        if self._of_environment is None:
            found = NO_PRICES
            with guard("pricing.environment"):
                found = PriceList(prices_of_environment())
            self._of_environment = found
        return self._of_environment


_in_force = PricesInForce()


def use_prices(prices: PriceList) -> None:
    """Puts prices into force in this process."""
    _in_force.use(prices)


def drop_prices(prices: PriceList) -> None:
    """Takes prices out of force, unless others have taken their place."""
    _in_force.drop(prices)


def prices_in_force() -> PriceList:
    """The prices in force: those of `configure()`, else those of the file that ``LOOOPY_OTEL_PRICES`` names."""
    return _in_force.prices()
