"""When to try an endpoint again that failed, and how badly off it is."""

from __future__ import annotations

import time
from typing import Final

from looopy_otel.core.types import DestinationState
from looopy_otel.export.backoff import Backoff

OPENS_AFTER: Final = 5
"""Failures in a row after which an endpoint counts as down."""


class Circuit:
    """Closed while an endpoint answers; open after `OPENS_AFTER` failures in a row, until one try succeeds.

    Open, nothing is done but one try per pause. Used by one thread at a time; read by any.

    Args:
        backoff: Seconds between tries.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.reset()

    def reset(self) -> None:
        """Closed, as at the start."""
        self._failures = 0
        self._now: tuple[DestinationState, float | None] = ("ok", None)

    @property
    def state(self) -> DestinationState:
        """``ok``; ``retrying`` after a failure; ``open`` after several."""
        return self._now[0]

    @property
    def since(self) -> float | None:
        """Unix time in seconds at which the state began; None when there was no other."""
        return self._now[1]

    @property
    def is_open(self) -> bool:
        """True when the endpoint counts as down."""
        return self._now[0] == "open"

    def failed(self, wait: float | None = None) -> float:
        """Takes note of a failure.

        Args:
            wait: Seconds that the endpoint asked to wait.

        Returns:
            Seconds until the next try: as long as was asked for, and never less than the backoff, since an endpoint may
            ask for none, or name a time that is past by this clock.
        """
        self._failures += 1
        self._turn("open" if self._failures >= OPENS_AFTER else "retrying")
        return max(self._backoff.seconds(self._failures), wait or 0.0)

    def answered(self) -> None:
        """Takes note of an answer that settles something, be it a refusal."""
        self._failures = 0
        self._turn("ok")

    def _turn(self, state: DestinationState) -> None:
        if state != self._now[0]:
            self._now = (state, time.time())
