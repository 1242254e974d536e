"""One event loop on a daemon thread, started at first use, on which the sync forms of calls run."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

STOP_SECONDS = 2.0
"""How long the exit of the process waits for calls under way to close their connections."""


class BackgroundLoop:
    """Starts the loop when it is first asked for; a forked child gets one of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """True when it was started in this process."""
        return self._loop is not None and self._process == os.getpid()

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop.

        Raises:
            RuntimeError: If called on the loop's own thread, which would wait for itself for ever.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a sync call was made on the thread that runs sync calls; use 'await provider.call(…)' in async code"
            )
        with self._lock:
            if not self.running:
                self._start()
            assert self._loop is not None
            return self._loop

    def _start(self) -> None:
        started = threading.Event()
        loop = asyncio.new_event_loop()
        self._loop, self._process = loop, os.getpid()
        self._thread = threading.Thread(target=_run, args=(loop, started), name="looopy-otel-calls", daemon=True)
        self._thread.start()
        started.wait()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the calls under way, closes their connections, and stops the thread; at most `STOP_SECONDS`."""
        with self._lock:
            loop, thread, process = self._loop, self._thread, self._process
            self._loop = self._thread = None
        if loop is None or thread is None or process != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)


def _run(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(started.set)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=STOP_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


background = BackgroundLoop()
