"""How long to wait between tries."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries: doubled after each failure, spread by up to half so that processes do not march in step.

    Attributes:
        first: After the first failure.
        most: The longest.
    """

    first: float = 1.0
    most: float = 60.0

    def seconds(self, failures: int) -> float:
        """How long to wait after that many failures in a row (1, 2, …)."""
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 32))
        return whole * random.uniform(0.5, 1.0)
