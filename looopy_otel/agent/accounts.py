"""The accounts of one budget: one ledger for each session, agent or run that it counts by itself."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from looopy_otel.agent.ledger import Ledger

logger = logging.getLogger("looopy_otel.agent.budget")


class Accounts:
    """Ledgers by key, in bounded memory; for any thread.

    Args:
        make: Makes a ledger.
        most: How many are kept; beyond it, the one that was not asked for longest is forgotten.
        warn: True logs once that one was forgotten; runs are over some time.
    """

    def __init__(self, make: Callable[[], Ledger], most: int, *, warn: bool) -> None:
        self._make = make
        self._most = most
        # A finaliser may run in the middle of any of these, and count a call.
        self._lock = threading.RLock()
        self._by_key: OrderedDict[str | None, Ledger] = OrderedDict()
        self._warns = warn

    def of(self, key: str | None) -> Ledger:
        """The account of a key; None is a key too: that of all calls that belong to nobody."""
        with self._lock:
            account = self._by_key.get(key)
            if account is None:
                account = self._by_key[key] = self._make()
            self._by_key.move_to_end(key)
            while len(self._by_key) > self._most:
                self._by_key.popitem(last=False)
                self._warn()
            return account

    def forget(self, key: str | None) -> None:
        """Forgets the account of a key, or all of them where there is none."""
        with self._lock:
            if key is None:
                self._by_key.clear()
            else:
                self._by_key.pop(key, None)

    def _warn(self) -> None:
        if self._warns:
            self._warns = False
            logger.warning(
                "a Budget counts more than %d sessions or agents: those that were quiet longest begin anew", self._most
            )
