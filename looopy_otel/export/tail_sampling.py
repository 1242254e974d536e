"""Keeps or leaves out whole traces, decided when they are over: holds what is not over yet, bounded in bytes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.money import NOTHING, plus
from looopy_otel.core.settings import TailSampling
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.post import suppress_instrumentation

MOST_DECISIONS: Final = 10_000
"""How many decisions are remembered for spans that come late."""

_LONGEST_WAIT: Final = 60.0
_SHORTEST_WAIT: Final = 0.01

T = TypeVar("T")
Key = tuple[int, str | None]
"""A part of a trace that has one local root: the trace, and the root's span id."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision needs of one finished span.

    Attributes:
        trace_id: Of its trace.
        root: The span id of its local root, which is the topmost span of ours in this process above it; None where that
            is not known.
        is_root: True for the local root itself.
        failed: True when its status is an error.
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        cost: USD of the LLM call; None for others, and where it is unknown.
        size: Bytes that it takes while it waits.
    """

    trace_id: int
    root: str | None
    is_root: bool
    failed: bool
    start_time: int
    end_time: int
    cost: Decimal | None
    size: int


@dataclass(slots=True)
class _Held(Generic[T]):
    """The spans under one local root that wait, and what they say together.

    Attributes:
        items: The spans, in the order in which they came.
        size: Bytes.
        last: When the last one came, or the root was seen to be under way, as `time.monotonic` says.
        failed: True when one of them failed.
        cost: USD.
        start_time: The earliest, in nanoseconds.
    """

    items: list[T] = field(default_factory=list[T])
    size: int = 0
    last: float = 0.0
    failed: bool = False
    cost: Decimal = NOTHING
    start_time: int | None = None

    def add(self, facts: Facts, item: T) -> None:
        self.items.append(item)
        self.size += facts.size
        self.last = time.monotonic()
        self.failed = self.failed or facts.failed
        self.cost = self.cost if facts.cost is None else plus(self.cost, facts.cost)
        self.start_time = facts.start_time if self.start_time is None else min(self.start_time, facts.start_time)


class TailSampler(Generic[T]):
    """Holds spans until their local root has ended, and then lets all of them go on, or none.

    What was decided holds for spans that come later. One kept part of a trace has the parts with other local roots kept
    that are decided after it; a part that was left out says nothing of the others.

    A daemon thread, started when something is held and ended when nothing is, decides on those whose root is lost.

    Args:
        rules: Which traces are kept.
        memory: Counts what is held.
        hand_on: Called with what the thread has decided to keep.
        is_under_way: True for a local root, by its span id, that is to come yet. What it is above waits for it however
            long it takes.
    """

    def __init__(
        self,
        rules: TailSampling,
        memory: MemoryBudget,
        hand_on: Callable[[Sequence[T]], None],
        is_under_way: Callable[[str], bool] = lambda root: False,
    ) -> None:
        self._rules = rules
        self._memory = memory
        self._hand_on = hand_on
        self._is_under_way = is_under_way
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._held: OrderedDict[Key, _Held[T]] = OrderedDict()
        self._size = 0
        self._unsettled = 0
        self._kept: OrderedDict[Key, bool] = OrderedDict()
        self._kept_traces: OrderedDict[int, None] = OrderedDict()
        self._sampled_out = 0
        self._undecided = 0
        self._ended = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def unsettled(self) -> int:
        """Spans that wait here, or were let go on and have not arrived yet."""
        with self._lock:
            return self._unsettled

    @property
    def sampled_out(self) -> int:
        """Spans of traces that were not kept."""
        with self._lock:
            return self._sampled_out

    @property
    def undecided(self) -> int:
        """Spans that went on before their trace was over, since too much waited."""
        with self._lock:
            return self._undecided

    def offer(self, facts: Facts, item: T) -> Sequence[T]:
        """Takes a span.

        Returns:
            What goes on now, in the order in which it came; to be told to `settled` when it has arrived.
        """
        key = (facts.trace_id, facts.root)
        with self._lock:
            self._unsettled += 1
            if key not in self._held and (kept := self._decided(key)) is not None:
                return self._let_go([item], kept)
            held = self._add(key, facts, item)
            if facts.is_root:
                duration = (facts.end_time - facts.start_time) / 1e9
                return self._decide(key, held.failed or facts.failed, duration)
            if self._closed:
                return self._decide(key, held.failed, self._elapsed(held))
            gone_on = self._relieve()
            if self._held:
                self._start()
        return gone_on

    def overdue(self) -> Sequence[T]:
        """What goes on of the traces whose last span came longer ago than may be, and whose root will not come."""
        gone_on: list[T] = []
        with self._lock:
            while self._held:
                key, held = next(iter(self._held.items()))
                if time.monotonic() - held.last < self._rules.patience:
                    break
                if key[1] is not None and self._is_under_way(key[1]):
                    held.last = time.monotonic()
                    self._held.move_to_end(key)
                    continue
                gone_on.extend(self._decide(key, held.failed, self._elapsed(held)))
        return gone_on

    def close(self) -> Sequence[T]:
        """Decides on all that waits, and from now on on each span as it comes.

        Returns:
            What goes on.
        """
        gone_on: list[T] = []
        with self._lock:
            self._closed = True
            self._ended.set()
            for key, held in list(self._held.items()):
                gone_on.extend(self._decide(key, held.failed, self._elapsed(held)))
        return gone_on

    def settled(self, spans: int) -> None:
        """Says that so many of those that were let go on have arrived, or are lost."""
        with self._lock:
            self._unsettled -= spans

    def _add(self, key: Key, facts: Facts, item: T) -> _Held[T]:
        held = self._held.setdefault(key, _Held())
        held.add(facts, item)
        self._held.move_to_end(key)
        self._size += facts.size
        self._memory.take(facts.size)
        return held

    def _relieve(self) -> list[T]:
        """Lets the oldest go on undecided while there is too much, here or in the whole process."""
        gone_on: list[T] = []
        while self._held and (self._size > self._rules.memory or self._memory.excess):
            key, held = next(iter(self._held.items()))
            self._undecided += len(held.items)
            gone_on.extend(self._conclude(key, kept=True))
        return gone_on

    def _decide(self, key: Key, failed: bool, duration: float) -> Sequence[T]:
        rules, cost = self._rules, self._held[key].cost
        kept = (
            (rules.errors and failed)
            or (rules.slower_than is not None and duration > rules.slower_than)
            or (rules.costlier_than is not None and cost > Decimal(str(rules.costlier_than)))
            or key[0] in self._kept_traces
            or is_in_share(key[0], rules.ratio)
        )
        return self._conclude(key, kept=kept)

    def _conclude(self, key: Key, *, kept: bool) -> Sequence[T]:
        held = self._held.pop(key)
        self._size -= held.size
        self._memory.give_back(held.size)
        _remember(self._kept, key, kept)
        if kept:
            _remember(self._kept_traces, key[0], None)
        return self._let_go(held.items, kept)

    def _let_go(self, items: list[T], kept: bool) -> Sequence[T]:
        if kept:
            return items
        self._sampled_out += len(items)
        self._unsettled -= len(items)
        return ()

    def _decided(self, key: Key) -> bool | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def _elapsed(self, held: _Held[T]) -> float:
        """Seconds that a trace has taken at the least whose root has not ended."""
        return 0.0 if held.start_time is None else (time.time_ns() - held.start_time) / 1e9

    def _start(self) -> None:
        if self._thread is not None or self._closed:
            return
        thread = threading.Thread(target=self._run, args=(self._ended,), name="looopy-otel-tail-sampling", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down: whoever closes decides.
            return
        self._thread = thread

    def _run(self, ended: threading.Event) -> None:
        suppress_instrumentation()
        while not ended.wait(self._wait()):
            with guard("export.tail_sampling"):
                self._hand_on(self.overdue())
            with self._lock:
                if not self._held:
                    self._thread = None
                    return

    def _wait(self) -> float:
        """Seconds until there may be something overdue."""
        with self._lock:
            last = next((held.last for held in self._held.values()), time.monotonic())
        due = last + self._rules.patience - time.monotonic()
        return min(max(due, _SHORTEST_WAIT), _LONGEST_WAIT)


V = TypeVar("V")
K = TypeVar("K")


def _remember(decisions: OrderedDict[K, V], key: K, value: V) -> None:
    decisions[key] = value
    decisions.move_to_end(key)
    if len(decisions) > MOST_DECISIONS:
        decisions.popitem(last=False)


def is_in_share(trace_id: int, ratio: float) -> bool:
    """True for so many of all traces; the same ones in every process, and others than a sampler at their start takes.

    OpenTelemetry's ratio sampler looks at the last eight bytes of the id. Of traces that it let pass, those bytes are
    all low: asking them again would keep everything.
    """
    digest = blake2b(trace_id.to_bytes(16, "big"), digest_size=7).digest()
    return int.from_bytes(digest, "big") < ratio * (1 << 56)
