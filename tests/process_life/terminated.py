"""Programs that are ended by SIGTERM: ``python -m tests.process_life.terminated MODE URL``.

Each says on standard output when the signal may come, or sends it to itself.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from multiprocessing import get_context
from typing import NoReturn

import looopy_otel as lo
from looopy_otel import telemetry as composition
from tests.process_life.running import SPANS


def configured(url: str, *, handle_sigterm: bool = True, shutdown_timeout: float = 20.0) -> lo.Telemetry:
    return lo.configure(
        exporters="otlp",
        metrics="none",
        otlp_endpoint=url,
        handle_sigterm=handle_sigterm,
        shutdown_timeout=shutdown_timeout,
    )


def spans(prefix: str) -> None:
    for number in range(SPANS):
        with lo.span(f"{prefix}-{number}"):
            pass


def wait_for_the_end() -> NoReturn:
    print("ready", flush=True)
    while True:
        time.sleep(60)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def sleeping(url: str) -> None:
    """With a span that is still open."""
    configured(url)
    spans("done")
    with lo.span("open"):
        wait_for_the_end()


def generating(url: str) -> None:
    """In the consumer of a traced generator."""

    @lo.trace_span(name="generator")
    def items() -> object:
        yield 1
        yield 2

    configured(url)
    for _ in items():  # type: ignore[attr-defined]
        wait_for_the_end()


def unasked(url: str) -> None:
    """Without handle_sigterm."""
    configured(url, handle_sigterm=False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    wait_for_the_end()


def after_shutdown(url: str) -> None:
    configured(url).shutdown()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    wait_for_the_end()


def reconfigured(url: str) -> None:
    """Replaced by a second configuration that handles the signal as well; the first handle is shut down late."""
    first = configured(url)
    configured(url)
    first.shutdown()
    spans("done")
    wait_for_the_end()


def short(url: str) -> None:
    """With little time."""
    configured(url, shutdown_timeout=1.0)
    spans("done")
    wait_for_the_end()


def holding_our_lock(url: str) -> None:
    """While the main thread holds the lock under which configurations change."""
    configured(url)
    spans("done")
    with composition._current.lock:  # pyright: ignore[reportPrivateUsage]
        kill_me()
    wait_for_the_end()


def holding_the_logging_lock(url: str) -> None:
    """While the main thread is in a handler of `logging`, and the work has something to log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "now":
                kill_me()

    handler = Handler()
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    configured(url)
    spans("done")
    logging.getLogger().warning("now")
    wait_for_the_end()


def under_load(url: str) -> None:
    """While the main thread does nothing but make spans."""
    configured(url)
    print("ready", flush=True)
    while True:
        spans("load")


def shutting_down(url: str) -> None:
    """While the main thread shuts down, which takes its time."""
    telemetry = configured(url, shutdown_timeout=3.0)
    spans("done")
    threading.Timer(0.3, kill_me).start()
    print("ready", flush=True)
    telemetry.shutdown()
    wait_for_the_end()


def in_exit_handler(url: str) -> None:
    """In a handler of atexit that runs before ours; no thread may start any more."""
    configured(url)
    spans("done")
    atexit.register(lambda: (kill_me(), time.sleep(60)))


def in_our_exit_handler(url: str) -> None:
    """While our own exit handler delivers to a backend that does not answer."""
    configured(url, shutdown_timeout=2.0)
    spans("done")
    threading.Timer(0.5, kill_me).start()


def awaiting_threads(url: str) -> None:
    """After the main thread's end, while another is awaited."""
    configured(url)
    spans("done")
    threading.Thread(target=time.sleep, args=(60.0,)).start()
    threading.Timer(0.5, kill_me).start()


def in_forked_child(url: str) -> None:
    """The child ends by the signal, then the parent."""
    configured(url)
    spans("parent")
    child = os.fork()
    if child == 0:
        spans("child")
        kill_me()
        time.sleep(60)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    wait_for_the_end()


def pool_work(number: int) -> int:
    with lo.span(f"pool-{number}"):
        return number


def terminated_pool(url: str) -> None:
    """A pool whose ``with`` block kills its workers by SIGTERM."""
    configured(url)
    with get_context("fork").Pool(2) as pool:
        assert sorted(pool.map(pool_work, range(SPANS))) == list(range(SPANS))


def in_another_thread(url: str) -> None:
    """Configured where no handler can be set."""
    thread = threading.Thread(target=configured, args=(url,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def with_a_handler(url: str) -> None:
    """The program has a handler of its own."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    configured(url)
    spans("done")
    kill_me()
    time.sleep(60)


def blocked_signal(url: str) -> None:
    """A main thread to which the signal cannot be sent, as the first process of a container does not end by it."""
    configured(url)
    spans("done")
    threading.Thread(target=time.sleep, args=(60.0,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("ready", flush=True)
    while True:
        time.sleep(0.01)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
