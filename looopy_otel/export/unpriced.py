"""LLM calls without a known cost: counted by model, and told once for each."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.semconv import METRIC_UNPRICED_CALLS

logger = logging.getLogger("looopy_otel")

WARNED_MODELS: Final = 100
"""How many models without a price are warned of, one by one."""


class UnpricedCalls:
    """Counts, for any thread; zero again in a forked child."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._by_model: Counter[str] = Counter()
        self._warned_models: set[str] = set()

    @property
    def by_model(self) -> Mapping[str, int]:
        """How many calls had no known cost though they were answered."""
        with self._lock:
            return dict(self._by_model)

    def look_at(self, draft: Draft) -> None:
        """Counts a draft past the pricing, if it is a call without a cost."""
        if not isinstance(draft, LLMDraft) or draft.cost is not None or not draft.answered:
            return
        model = draft.response_model or draft.request_model
        with self._lock:
            self._by_model[model] += 1
        # Without usage there is nothing to price; that is no fault of the price table.
        if draft.usage is not None and self._is_news(model):
            logger.warning(
                "looopy-otel: no price is known for the model %r: its calls have no cost. "
                "They are counted in stats().unpriced_calls and in the metric %s. "
                "Say what it costs, in USD per million tokens: configure(prices={%r: {'input': …, 'output': …}}), "
                "or in the file of LOOOPY_OTEL_PRICES.",
                model,
                METRIC_UNPRICED_CALLS,
                model,
            )

    def _is_news(self, model: str) -> bool:
        with self._lock:
            if model in self._warned_models or len(self._warned_models) >= WARNED_MODELS:
                return False
            self._warned_models.add(model)
            return True
