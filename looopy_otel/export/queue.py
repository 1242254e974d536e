"""What waits for a thread that takes it in order: bounded in bytes, lighter before shorter, oldest first."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Final, Generic, TypeVar, cast

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard, is_handling_signal
from looopy_otel.export.deadline import remaining
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.post import suppress_instrumentation

BATCH_ITEMS: Final = 512
BATCH_BYTES: Final = 1024 * 1024
"""What is handed on at once, at most: small enough for those who wait for room to see progress."""

LONGEST_PAUSE: Final = 0.25
"""Seconds that one caller waits for room, at most."""

IN_WORK: Final = 4
"""Into how many shares the memory goes, of which one is left for the copies that the thread makes of what it has."""

LEAST_WAITING: Final = 8 * BATCH_BYTES
"""Bytes that may wait however slow the thread is."""

LIGHT_BYTES: Final = 8192
"""What an item may weigh that has no content to speak of."""

_NEVER = -1

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    size: int
    since: float
    number: int


@dataclass(frozen=True, slots=True)
class Job:
    """Something that the queue's thread does once all is through that was put before.

    Attributes:
        after: The number of the last item that has to be through.
        work: What it does.
        done: Set when it is done.
    """

    after: int
    work: Callable[[], object]
    done: threading.Event


class ByteQueue(Generic[T]):
    """A queue and its thread, which starts at the first item.

    When there is more than may be, who puts something in waits a moment for room, if the queue paces; then the content
    of the oldest items is shed, and at last the oldest items. While the thread gets on, nothing has to be.

    Args:
        name: Of the thread.
        take: Called on the thread with items in order; must not raise.
        weigh: Gives the bytes of an item.
        lighten: Gives the item without its content.
        memory: Told of what waits here, and of what is in the thread's hands.
        too_much: Gives the bytes that are to be shed, of so many that are waiting here; told also how many of these
            the thread is about to take, 0 while it is busy.
        delay: Seconds that an item waits for others, at most.
        paces: True where those who put something in may be made to wait.
        drained_in: Seconds in which the thread has to be able to take all that waits, going by how fast it has been.
        lost: Called by who put something in, after anything was shed for it; must not wait.
        begin: Called on the thread before anything else.
    """

    def __init__(
        self,
        name: str,
        *,
        take: Callable[[Sequence[T]], object],
        weigh: Callable[[T], int],
        lighten: Callable[[T], T],
        memory: MemoryBudget,
        too_much: Callable[[int, int], int],
        delay: float = 0.0,
        paces: bool = False,
        drained_in: float = math.inf,
        lost: Callable[[], object] | None = None,
        begin: Callable[[], object] | None = None,
    ) -> None:
        self._name = name
        self._take = take
        self._weigh = weigh
        self._lighten = lighten
        self._memory = memory
        self._too_much = too_much
        self._delay = delay
        self._paces = paces
        self._drained_in = drained_in
        self._lost = lost
        self._begin = begin
        self._hurry_bytes = min(BATCH_BYTES, memory.limit // 32)
        self._pace_limit = memory.limit - memory.limit // IN_WORK
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # Signal handlers and finalisers may come while this very thread is inside.
        lock = threading.RLock()
        self._lock = lock
        self._work, self._progress = threading.Condition(lock), threading.Condition(lock)
        self._light: deque[_Waiting[T]] = deque()
        self._heavy: deque[_Waiting[T]] = deque()
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._bytes = self._in_hand = self._items_in_hand = 0
        # Told by the items themselves and not by counters, which an interrupt between two lines leaves apart for ever.
        self._number = self._wanted = 0
        self._first_in_hand = math.inf
        self._is_idle = False
        self._batches, self._stuck_at = 0, _NEVER
        self._bytes_per_second = math.inf
        self._pausing = self._paces
        self._closing = False
        self._dropped: Counter[str] = Counter()
        self._shed: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Items that are not through, those in the thread's hands included."""
        with self._lock:
            return len(self._light) + len(self._heavy) + self._items_in_hand

    @property
    def dropped(self) -> Mapping[str, int]:
        """Items lost here, by reason: ``memory-full``, or ``shutdown`` where it came before they were taken."""
        with self._lock:
            return dict(self._dropped)

    @property
    def content_shed(self) -> Mapping[str, int]:
        """Items whose content was lost here, by reason: ``memory-full``."""
        with self._lock:
            return dict(self._shed)

    @property
    def is_running(self) -> bool:
        """True when the thread was started, and the queue is not closed."""
        return self._thread is not None and not self._closing

    def start(self) -> bool:
        """Starts the thread if there is none.

        Returns:
            False where none can: the queue is closed, or the interpreter is shutting down.
        """
        with self._lock:
            if self._closing:
                return False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
            return True

    def put(self, item: T) -> bool:
        """Takes an item in.

        Returns:
            False when it was not, because nobody is there to take it on.
        """
        size = self._weigh(item)
        if size > self._memory.limit:
            # Nothing that others wait with would make room for it.
            item, size = self._lightened(item)
        if self._pausing and not self._has_room(size):
            self._pause(size)
        with self._lock:
            if not self.start():
                return False
            self._number += 1
            self._heavy.append(_Waiting(item, size, time.monotonic(), self._number))
            self._bytes += size
            self._memory.take(size)
            if self._is_idle or len(self._heavy) >= BATCH_ITEMS or self._is_pressing():
                self._work.notify()
            shed = self._shed_excess()
        if shed and self._lost is not None:
            self._lost()
        return True

    def hasten(self) -> None:
        """Lets nobody wait for room any more."""
        with self._lock:
            self._pausing = False
            self._progress.notify_all()

    def drain(self, deadline: float) -> bool:
        """Has all taken that is in, and waits for it until `deadline`.

        Returns:
            True when all of it is through.
        """
        with self._lock:
            self._wanted = ticket = self._number
            self._work.notify()
            return self._progress.wait_for(lambda: self._is_through(ticket), remaining(deadline))

    def call(self, work: Callable[[], object], deadline: float) -> bool:
        """Has the thread do something once all is through that is in, and waits for it until `deadline`.

        Returns:
            True when it was done in time.
        """
        with self._lock:
            if self._thread is None or self._closing:
                return False
            self._wanted = self._number
            job = Job(self._number, work, threading.Event())
            self._jobs.append(job)
            self._work.notify()
        return job.done.wait(remaining(deadline))

    def close(self, deadline: float, last: Callable[[], object] | None = None) -> bool:
        """Has all taken that is in until `deadline`, and ends the thread; what is left then is lost.

        Args:
            deadline: A value of `time.monotonic`.
            last: What the thread does at its end, when all is through.

        Returns:
            False where there is no thread that could do it.
        """
        with self._lock:
            self._closing, self._pausing = True, False
            if last is not None and self._thread is not None:
                self._jobs.append(Job(self._number, last, threading.Event()))
            self._work.notify_all()
            self._progress.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(remaining(deadline))
        with self._lock:
            left = [*self._light, *self._heavy]
            self._light.clear()
            self._heavy.clear()
            self._lose("shutdown", left)
        return thread is not None

    def _is_pressing(self) -> bool:
        return self._bytes >= self._hurry_bytes or self._memory.used > self._pace_limit

    def _pause(self, size: int) -> None:
        """Waits for room; not twice without any progress in between, and never on top of other code of the thread."""
        if self._stuck_at == self._batches or self._thread is None or is_intruding(_code_of_put()):
            return
        with self._lock:
            seen = self._batches
            self._work.notify()
            self._progress.wait_for(lambda: not self._pausing or self._has_room(size), LONGEST_PAUSE)
            if self._batches == seen and not self._has_room(size):
                self._stuck_at = seen

    def _has_room(self, size: int) -> bool:
        if self._memory.used + size > self._pace_limit:
            return False
        waiting = self._bytes + size
        return waiting <= LEAST_WAITING or waiting <= self._bytes_per_second * self._drained_in

    def _shed_excess(self) -> bool:
        """Called with the lock held; tells whether anything had to be shed."""
        shed = False
        while self._too_much(self._bytes, self._next_size()) and (self._heavy or self._light):
            shed = True
            if self._heavy:
                self._lighten_oldest()
            else:
                self._lose("memory-full", [self._light.popleft()])
        return shed

    def _next_size(self) -> int:
        """Called with the lock held."""
        oldest = self._light or self._heavy
        return oldest[0].size if oldest and not self._items_in_hand else 0

    def shed_content(self, size: int) -> bool:
        """Sheds the content of the oldest items, so many bytes of it; false where there is none left."""
        freed = 0
        with self._lock:
            while self._heavy and freed < size:
                freed += self._lighten_oldest()
        return freed > 0

    def _lighten_oldest(self) -> int:
        """Called with the lock held; gives the bytes that were freed."""
        oldest = self._heavy.popleft()
        item, size = oldest.item, oldest.size
        if size > LIGHT_BYTES:
            item, size = self._lightened(item)
        self._memory.give_back(oldest.size - size)
        self._bytes -= oldest.size - size
        self._light.append(_Waiting(item, size, oldest.since, oldest.number))
        return oldest.size - size

    def _lightened(self, item: T) -> tuple[T, int]:
        light = self._lighten(item)
        with self._lock:
            self._shed["memory-full"] += 1
        return light, self._weigh(light)

    def _lose(self, reason: str, lost: Sequence[_Waiting[T]]) -> None:
        if not lost:
            return
        size = sum(one.size for one in lost)
        self._bytes -= size
        self._memory.give_back(size)
        self._dropped[reason] += len(lost)
        self._progress.notify_all()

    def _run(self) -> None:
        suppress_instrumentation()
        if self._begin is not None:
            self._begin()
        while self._wait_for_work():
            self._do_jobs()
            batch = self._next_batch()
            if batch:
                begun = time.monotonic()
                try:
                    with guard("export.queue"):
                        self._take(batch)
                finally:
                    # What was handed on is not kept alive until the next batch.
                    batch.clear()
                    self._settle(time.monotonic() - begun)
            self._do_jobs()

    def _wait_for_work(self) -> bool:
        """Waits until there is something to do now; false when that will not be any more."""
        with self._work:
            while True:
                while oldest := self._light or self._heavy:
                    left = remaining(oldest[0].since + self._delay)
                    if left <= 0 or self._closing or self._is_urgent():
                        return True
                    self._work.wait(left)
                if self._closing or self._jobs:
                    return bool(self._jobs)
                self._is_idle = True
                self._work.wait()
                self._is_idle = False

    def _is_urgent(self) -> bool:
        waiting = len(self._heavy) + len(self._light)
        return not self._is_through(self._wanted) or waiting >= BATCH_ITEMS or self._is_pressing()

    def _next_batch(self) -> list[T]:
        batch: list[T] = []
        with self._lock:
            while (self._light or self._heavy) and len(batch) < BATCH_ITEMS and self._in_hand < BATCH_BYTES:
                oldest = (self._light or self._heavy).popleft()
                self._first_in_hand = min(self._first_in_hand, oldest.number)
                batch.append(oldest.item)
                self._in_hand += oldest.size
            self._items_in_hand = len(batch)
            self._bytes -= self._in_hand
        return batch

    def _settle(self, seconds: float) -> None:
        with self._lock:
            # Small batches say little, and the first one pays for what is loaded late.
            if self._batches and self._in_hand >= BATCH_BYTES // 2:
                speed = self._in_hand / max(seconds, 1e-6)
                self._bytes_per_second = (
                    speed if math.isinf(self._bytes_per_second) else _mean(self._bytes_per_second, speed)
                )
            self._memory.give_back(self._in_hand)
            self._in_hand = self._items_in_hand = 0
            self._first_in_hand = math.inf
            self._batches += 1
            self._progress.notify_all()

    def _is_through(self, number: int) -> bool:
        """True when nothing is left of what was put in up to an item's number."""
        with self._lock:
            waiting = [queue[0].number for queue in (self._light, self._heavy) if queue]
            return number < min(waiting, default=math.inf) and number < self._first_in_hand

    def _do_jobs(self) -> None:
        while self._jobs and self._is_through(self._jobs[0].after):
            job = self._jobs.popleft()
            try:
                with guard("export.queue"):
                    job.work()
            finally:
                job.done.set()


def _mean(before: float, now: float) -> float:
    return 0.7 * before + 0.3 * now


def _code_of_put() -> object:
    return cast("FunctionType", ByteQueue.put).__code__  # pyright: ignore[reportUnknownMemberType]


def is_intruding(entry: object) -> bool:
    """True where code runs on top of other code of its thread that did not call it, and so must not wait.

    That is a signal's handler, a finaliser (``__del__``), or what such a one has called in the middle of `entry`.

    Args:
        entry: The code object of a function that is running now.
    """
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    entered = 0
    below = frame.f_back
    while below is not None:
        code = below.f_code
        entered += code is entry
        if entered > 1 or code.co_name == "__del__":
            return True
        below = below.f_back
    return is_handling_signal(frame)
