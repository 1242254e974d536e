"""Programs that end in all the usual ways: ``python -m tests.process_life.lives MODE URL``."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Process, get_context
from typing import NoReturn

import looopy_otel as lo
from tests.process_life.running import SPANS


def configured(url: str, **options: float) -> lo.Telemetry:
    options.setdefault("shutdown_timeout", 20.0)
    return lo.configure(exporters="otlp", metrics="none", otlp_endpoint=url, **options)  # type: ignore[arg-type]


def spans(prefix: str) -> None:
    for number in range(SPANS):
        span(f"{prefix}-{number}")


def span(name: str) -> str:
    with lo.span(name):
        return name


def ending(url: str) -> None:
    configured(url)
    spans("last")


def sys_exit(url: str) -> NoReturn:
    ending(url)
    sys.exit(3)


def unhandled(url: str) -> None:
    configured(url)
    spans("last")
    with lo.span("failing"):
        raise ValueError("unhandled")


def under_asyncio(url: str) -> None:
    async def main() -> None:
        configured(url)
        spans("last")

    asyncio.run(main())


def os_exit(url: str) -> NoReturn:
    """Ends at once, after the batch delay."""
    configured(url)
    spans("last")
    time.sleep(3 * float(os.environ["LOOOPY_OTEL_EXPORT_DELAY"]) + 0.5)
    os._exit(0)


def in_exit_handlers(url: str) -> None:
    """Registered before and after ours."""
    atexit.register(spans, "early")
    configured(url)
    atexit.register(spans, "late")


def first_in_exit_handler(url: str) -> None:
    configured(url)
    atexit.register(spans, "late")


def in_daemon_threads(url: str) -> None:
    """Threads that make spans until the very end."""
    configured(url)

    def work(number: int) -> None:
        spans(f"before-{number}")
        started.wait()
        while True:
            span("meanwhile")

    started = threading.Barrier(5)
    for number in range(4):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    started.wait()


def thread_counts(url: str) -> None:
    """Says how many threads there are besides those that were there before the import."""
    before = threading.active_count()
    telemetry = configured(url)
    print(threading.active_count() - before)
    telemetry.tracer("mine")
    telemetry.stats()
    print(threading.active_count() - before)
    spans("first")
    print(threading.active_count() - before > 0)
    telemetry.shutdown()
    print(threading.active_count() - before)


def untraced(url: str) -> None:
    """What a process costs that does all but trace."""
    import looopy_otel.telemetry

    assert looopy_otel.telemetry.configure is not None


def two_dead(url: str) -> None:
    """Two destinations and the metrics go to the same dead place."""
    lo.configure(
        exporters=["otlp", "langfuse"],
        otlp_endpoint=url,
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_base_url=url,
        metrics="otlp",
        shutdown_timeout=2.0,
    )
    for number in range(50):
        with lo.llm_span(model=f"model-{number}", input="question " * 200) as call:
            call.record(output="answer " * 200)


def forked_first(url: str) -> None:
    """Forks once, before the first span."""
    configured(url)
    child = os.fork()
    if child == 0:
        spans("child")
        return
    os.waitpid(child, 0)
    spans("parent")


def forked_bare(url: str) -> None:
    """Forks before the first span."""
    configured(url)
    forked(url)


def forked_after(url: str) -> None:
    """Forks with spans in the queue."""
    configured(url)
    spans("before")
    forked(url)


def forked(url: str) -> None:
    children = [os.fork()]
    if children[0] == 0:
        spans("child-a")
        sys.exit(0)
    children.append(os.fork())
    if children[1] == 0:
        spans("child-b")
        grandchild = os.fork()
        if grandchild == 0:
            spans("grandchild")
        else:
            os.waitpid(grandchild, 0)
        sys.exit(0)
    spans("parent")
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0


def initialise(url: str) -> None:
    configured(url)


def work(number: int) -> str:
    return span(f"work-{number}")


def child_main(url: str, prefix: str, configure: bool) -> None:
    if configure:
        configured(url)
    spans(prefix)


def processes(url: str, method: str) -> None:
    configured(url)
    spans("parent")
    context = get_context(method)
    children: list[Process] = [
        context.Process(target=child_main, args=(url, f"child-{number}", method != "fork"))  # type: ignore[attr-defined]
        for number in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def pools(url: str, method: str) -> None:
    configured(url)
    spans("parent")
    context = get_context(method)
    initializer = {} if method == "fork" else {"initializer": initialise, "initargs": (url,)}
    with ProcessPoolExecutor(2, mp_context=context, **initializer) as executor:  # type: ignore[arg-type]
        list(executor.map(work, range(SPANS)))
    pool = context.Pool(2, **initializer)  # type: ignore[arg-type]
    pool.map(work, range(SPANS, 2 * SPANS))
    pool.close()
    pool.join()


def processes_fork(url: str) -> None:
    processes(url, "fork")


def processes_spawn(url: str) -> None:
    processes(url, "spawn")


def processes_forkserver(url: str) -> None:
    processes(url, "forkserver")


def pools_fork(url: str) -> None:
    pools(url, "fork")


def pools_spawn(url: str) -> None:
    pools(url, "spawn")


def pools_forkserver(url: str) -> None:
    pools(url, "forkserver")


def thread_pool(url: str) -> None:
    configured(url)
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, range(SPANS)))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
