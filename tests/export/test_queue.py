"""The queue in front of a thread: bounded in bytes, content before items, oldest first; a short wait at the most."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

import pytest

from looopy_otel.export import queue as queue_module
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.queue import ByteQueue
from tests.export.patience import PATIENCE, soon, until

LIMIT = 1_000_000
LIGHT = 100


@dataclass(frozen=True)
class Item:
    number: int
    size: int = 20_000


class Taker:
    """Takes what comes, as long as it is open."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.got: list[Item] = []

    def take(self, items: Sequence[Item]) -> None:
        self.entered.set()
        self.open.wait(PATIENCE)
        self.got.extend(items)


@pytest.fixture
def taker() -> Iterator[Taker]:
    taker = Taker()
    yield taker
    taker.open.set()


@pytest.fixture
def memory() -> MemoryBudget:
    return MemoryBudget(LIMIT)


@contextmanager
def queue(taker: Taker, memory: MemoryBudget, *, paces: bool = True, delay: float = 0.0) -> Generator[ByteQueue[Item]]:
    queue = ByteQueue[Item](
        "test",
        take=taker.take,
        weigh=lambda item: item.size,
        lighten=lambda item: replace(item, size=LIGHT),
        memory=memory,
        too_much=lambda waiting, taken_next: memory.overflow,
        delay=delay,
        paces=paces,
    )
    try:
        yield queue
    finally:
        taker.open.set()
        queue.close(soon())


def stuck(queue: ByteQueue[Item], taker: Taker) -> None:
    """Has the thread stuck with one item in its hands."""
    taker.open.clear()
    queue.put(Item(-1, 1))
    assert taker.entered.wait(PATIENCE)


def test_items_come_in_order_and_the_bytes_are_given_back(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        for number in range(100):
            assert waiting.put(Item(number))
        assert waiting.drain(soon())
        assert [item.number for item in taker.got] == list(range(100))
        assert (waiting.waiting, memory.used) == (0, 0)


def test_while_the_thread_gets_on_nothing_is_lost(memory: MemoryBudget) -> None:
    class Slow(Taker):
        def take(self, items: Sequence[Item]) -> None:
            time.sleep(0.002 * len(items))
            super().take(items)

    taker = Slow()
    with queue(taker, memory) as waiting:
        for number in range(300):
            waiting.put(Item(number))
            assert memory.used <= LIMIT
        assert waiting.drain(soon())
        assert taker.got == [Item(number) for number in range(300)]
        assert (dict(waiting.dropped), dict(waiting.content_shed)) == ({}, {})


def test_a_thread_that_is_stuck_costs_one_wait_only(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        stuck(waiting, taker)
        begun = time.monotonic()
        for number in range(36):
            waiting.put(Item(number))
        assert time.monotonic() - begun < queue_module.LONGEST_PAUSE
        begun = time.monotonic()
        for number in range(200):
            waiting.put(Item(number))
        assert time.monotonic() - begun < 4 * queue_module.LONGEST_PAUSE
        assert waiting.content_shed["memory-full"] > 100


def test_content_goes_first_then_items_the_oldest_first(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory, paces=False) as waiting:
        stuck(waiting, taker)
        for number in range(100):
            waiting.put(Item(number))
        assert memory.used <= LIMIT
        assert dict(waiting.dropped) == {}
        shed = waiting.content_shed["memory-full"]
        taker.open.set()
        assert waiting.drain(soon())
        assert [item.number for item in taker.got] == list(range(-1, 100))
        assert [item.size for item in taker.got[1:]] == [LIGHT] * shed + [20_000] * (100 - shed)


def test_where_all_content_is_gone_the_oldest_items_go(taker: Taker) -> None:
    memory = MemoryBudget(1000)
    with queue(taker, memory, paces=False) as waiting:
        stuck(waiting, taker)
        for number in range(20):
            waiting.put(Item(number, LIGHT))
        assert memory.used <= 1000
        assert (dict(waiting.dropped), dict(waiting.content_shed)) == ({"memory-full": 11}, {})
        assert waiting.waiting == 10
        taker.open.set()
        assert waiting.drain(soon())
        assert [item.number for item in taker.got] == [-1, *range(11, 20)]


def test_an_item_larger_than_all_memory_loses_its_content_and_no_other_does(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        waiting.put(Item(1))
        waiting.put(Item(2, 2 * LIMIT))
        assert waiting.drain(soon())
        assert taker.got == [Item(1), Item(2, LIGHT)]
        assert dict(waiting.content_shed) == {"memory-full": 1}


def test_much_is_taken_before_the_delay_is_over(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory, delay=3600.0) as waiting:
        waiting.put(Item(1, 10))
        waiting.put(Item(2, 40_000))
        until(lambda: len(taker.got) == 2)


def test_a_close_ends_at_its_deadline_and_counts_what_is_left(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        stuck(waiting, taker)
        for number in range(5):
            waiting.put(Item(number))
        waiting.close(time.monotonic() + 0.05)
        assert dict(waiting.dropped) == {"shutdown": 5}
        assert waiting.waiting == 1
        assert not waiting.put(Item(6))
        taker.open.set()
        until(lambda: waiting.waiting == 0)
        assert memory.used == 0


def test_a_close_does_the_last_thing_on_the_thread(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory, delay=3600.0) as waiting:
        waiting.put(Item(1, 10))
        names: list[tuple[str, int]] = []
        assert waiting.close(soon(), lambda: names.append((threading.current_thread().name, len(taker.got))))
        assert names == [("test", 1)]


def test_a_call_comes_after_what_was_put_before(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory, delay=3600.0) as waiting:
        assert not waiting.call(lambda: None, soon())
        waiting.put(Item(1, 10))
        seen: list[int] = []
        assert waiting.call(lambda: seen.append(len(taker.got)), soon())
        assert seen == [1]


def full(waiting: ByteQueue[Item], memory: MemoryBudget) -> None:
    while memory.used <= LIMIT - 50_000:
        waiting.put(Item(0, 10_000))
    memory.take(LIMIT - memory.used)


def test_a_signals_handler_does_not_wait(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        stuck(waiting, taker)
        full(waiting, memory)
        took: list[float] = []

        def handle(number: int, frame: FrameType | None) -> None:
            begun = time.monotonic()
            waiting.put(Item(1))
            took.append(time.monotonic() - begun)

        before = signal.signal(signal.SIGUSR1, handle)
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert took[0] < queue_module.LONGEST_PAUSE


def test_a_finaliser_does_not_wait(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:
        stuck(waiting, taker)
        full(waiting, memory)
        took: list[float] = []

        class Forgotten:
            def __del__(self) -> None:
                begun = time.monotonic()
                waiting.put(Item(1))
                took.append(time.monotonic() - begun)

        Forgotten()
        gc.collect()
        assert took[0] < queue_module.LONGEST_PAUSE


def test_many_threads_lose_nothing(taker: Taker, memory: MemoryBudget) -> None:
    with queue(taker, memory) as waiting:

        def work() -> None:
            for number in range(200):
                waiting.put(Item(number))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert waiting.drain(soon())
        assert len(taker.got) == 1600
        assert (dict(waiting.dropped), memory.used) == ({}, 0)
