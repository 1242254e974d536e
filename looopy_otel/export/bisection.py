"""Whether a refused batch is divided to find the span at fault."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from looopy_otel.export.batch import Batch

REFUSED_IN_A_ROW: Final = 16
"""Single spans, refused one after the other and nothing accepted, after which the fault is the endpoint's."""


class Bisection:
    """Bounds what the search for bad spans costs.

    A bad span among 512 good ones costs some 18 requests. A batch of which anything was accepted is searched to its
    end, in fewer requests than twice its spans. An endpoint that refuses everything is known for it after
    `REFUSED_IN_A_ROW` single spans: from then on, until it accepts something, what it refuses is not divided.
    """

    def __init__(self) -> None:
        self._refused = 0
        self._accepted_of: tuple[Path | None, int] | None = None

    def accepted(self, batch: Batch) -> None:
        """Takes note of a batch that was accepted."""
        self._refused = 0
        self._accepted_of = batch.whole

    def refused(self, batch: Batch) -> None:
        """Takes note of a batch that was refused for good."""
        if batch.spans == 1:
            self._refused += 1

    def allows(self, batch: Batch) -> bool:
        """True when a refused batch shall be divided."""
        return batch.spans > 1 and (self._refused < REFUSED_IN_A_ROW or batch.whole == self._accepted_of)
