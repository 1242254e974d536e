"""The user's own prices, looked up by the names of models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from looopy_otel.core.model_price import ModelPrice
from looopy_otel.pricing.names import other_forms, provider_names

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
        self._patterns = sorted(patterns.items(), key=lambda item: -_said(item[0]))

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns)

    def find(self, *models: str | None, system: str | None = None) -> ModelPrice | None:
        """The price of the first model that has one.

        Names as they stand come first, then what else they are called: without a date, a version, a region. A name
        stands above a pattern, whichever model it names, unless the pattern says more of the name than it does; a
        longer pattern above a shorter one.

        Args:
            models: Identifiers, the best one first; None is left out.
            system: Who serves them: ``azure/gpt-4o`` names the ``gpt-4o`` of Azure also where it is called so.
        """
        if not self:
            return None
        known = [model.strip().lower() for model in models if model]
        providers = _providers(known, system)
        names = [name for model in known for name in _names(model, providers)]
        exact = self._named(names)
        if exact is not None:
            return exact
        others = [name for model in known for name in _other_names(model, providers)]
        named, matching = self._named(others), self._matching([*names, *others])
        return named if matching is None or (named and len(named.model) >= _said(matching.model)) else matching

    def _named(self, names: Sequence[str]) -> ModelPrice | None:
        return next((self._exact[name] for name in names if name in self._exact), None)

    def _matching(self, names: Sequence[str]) -> ModelPrice | None:
        found = (price for name in names for pattern, price in self._patterns if fnmatchcase(name, pattern))
        return next(found, None)


NO_PRICES: Final = PriceList()


def _said(pattern: str) -> int:
    """How much of a name a pattern says."""
    return sum(sign not in _WILD for sign in pattern)


def _providers(models: Sequence[str], system: str | None) -> tuple[str, ...]:
    """Who may serve the models: the one that is named, and those in front of their names."""
    prefixes = [model.partition("/")[0] for model in models if "/" in model]
    named = [system.strip().lower()] if system else []
    return tuple(dict.fromkeys(name for one in (*named, *prefixes) for name in provider_names(one)))


def _names(model: str, providers: Sequence[str]) -> list[str]:
    """The identifier, with its provider, and what is left of it without one prefix after the other."""
    names = [f"{provider}/{model}" for provider in providers if not model.startswith(f"{provider}/")]
    names.append(model)
    while "/" in model:
        model = model.partition("/")[2]
        names.append(model)
    return names


def _other_names(model: str, providers: Sequence[str]) -> list[str]:
    """The same of what else the model is called."""
    before, slash, last = model.rpartition("/")
    openings = [f"{before}/"] * bool(slash) + [f"{provider}/" for provider in providers] + [""]
    return [f"{opening}{form}" for form in (last, *other_forms(last)) for opening in openings]
