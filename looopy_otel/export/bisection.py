"""Whether a refused batch is divided to find the span at fault."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from looopy_otel.export.batch import Batch

REFUSED_IN_A_ROW: Final = 5
"""Single spans, refused one after the other and nothing accepted, after which the fault is the endpoint's."""

MOST_DIVISIONS: Final = 128
"""How often one batch, its parts included, is divided at most."""


class Bisection:
    """Bounds what the search for bad spans costs.

    A bad span among 512 good ones costs some 18 requests. An endpoint that refuses everything is known for it after
    `REFUSED_IN_A_ROW` single spans: from then on, until it accepts something, what it refuses is not divided.
    """

    def __init__(self) -> None:
        self._refused = 0
        self._whole: tuple[Path | None, int] = (None, 0)
        self._divisions = 0

    def accepted(self) -> None:
        """Takes note of anything that was accepted."""
        self._refused = 0

    def refused(self, batch: Batch) -> None:
        """Takes note of a batch that was refused for good."""
        if batch.spans == 1:
            self._refused += 1

    def allows(self, batch: Batch) -> bool:
        """True, and counted, when a refused batch shall be divided."""
        if batch.whole != self._whole:
            self._whole, self._divisions = batch.whole, 0
        if batch.spans < 2 or self._refused >= REFUSED_IN_A_ROW or self._divisions >= MOST_DIVISIONS:
            return False
        self._divisions += 1
        return True
