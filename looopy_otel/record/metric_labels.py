"""The labels of metrics: few values each, whatever the application does."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from looopy_otel.core.text import valid_text

OTHER: Final = "other"
"""The value that stands for all that are not counted by their own name."""

UNKNOWN: Final = "unknown"
"""The value that stands for all tools that a model asked for and that do not exist."""

LONGEST_VALUE: Final = 200
"""Characters; what is longer is no name. An address of a model in a cloud has a hundred."""

LONGEST_PHRASE: Final = 64
"""Characters of a value with spaces; what is longer is a text."""

MOST_WORDS: Final = 4
"""Words of a name."""


class LabelCap:
    """Keeps the distinct values of each label few: the first ones keep their names, all later ones are `OTHER`.

    What reads like a text and not like a name is `OTHER` from the start.

    Args:
        values: How many values one label takes, over all metrics together.
    """

    def __init__(self, values: int) -> None:
        self._values = values
        self._seen: dict[str, set[str]] = {}
        self._lock = threading.RLock()

    def labels(self, facts: Mapping[str, str | None]) -> dict[str, str]:
        """The labels as they may be recorded; what is unknown is left out."""
        return {label: self.value(label, value) for label, value in facts.items() if value}

    def value(self, label: str, value: str) -> str:
        """The value, or `OTHER`; half an emoji, which no encoder takes, is replaced."""
        value = valid_text(value)
        seen = self._seen.get(label)
        if seen is not None and value in seen:
            return value
        if not _may_be_a_name(value):
            return OTHER
        with self._lock:
            seen = self._seen.setdefault(label, set())
            if len(seen) >= self._values and value not in seen:
                return OTHER
            seen.add(value)
            return value


def _may_be_a_name(value: str) -> bool:
    words = len(value[: LONGEST_VALUE + 1].split())
    return len(value) <= (LONGEST_VALUE if words == 1 else LONGEST_PHRASE) and words <= MOST_WORDS
