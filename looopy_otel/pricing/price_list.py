"""The user's own prices, looked up by the names of models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from looopy_otel.core.model_price import ModelPrice

_WILD: Final = frozenset("*?[")


class PriceList:
    """Prices by model. Names are compared without regard to case.

    Args:
        prices: The prices; of two for the same name the later one counts.
    """

    def __init__(self, prices: Iterable[ModelPrice] = ()) -> None:
        self._exact: dict[str, ModelPrice] = {}
        patterns: dict[str, ModelPrice] = {}
        for price in prices:
            name = price.model.lower()
            (patterns if _WILD & set(name) else self._exact)[name] = price
        # The pattern that says more of the name counts.
        self._patterns = sorted(patterns.items(), key=lambda item: -sum(sign not in _WILD for sign in item[0]))

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns)

    def find(self, *models: str | None, system: str | None = None) -> ModelPrice | None:
        """The price of the first model that has one.

        A name stands above a pattern, whichever model it names; a longer pattern above a shorter one.

        Args:
            models: Identifiers, the best one first; None is left out.
            system: Who serves them: ``azure/gpt-4o`` names the ``gpt-4o`` of Azure also where it is called so.
        """
        if not self:
            return None
        names = [name for model in models if model for name in _names(model.lower(), system)]
        exact = next((self._exact[name] for name in names if name in self._exact), None)
        return exact or self._matching(names)

    def _matching(self, names: Sequence[str]) -> ModelPrice | None:
        found = (price for name in names for pattern, price in self._patterns if fnmatchcase(name, pattern))
        return next(found, None)


NO_PRICES: Final = PriceList()


def _names(model: str, system: str | None) -> list[str]:
    """The identifier, and what is left of it without one prefix after the other."""
    names = [f"{system.lower()}/{model}"] if system and not model.startswith(f"{system.lower()}/") else []
    names.append(model)
    while "/" in model:
        model = model.partition("/")[2]
        names.append(model)
    return names
