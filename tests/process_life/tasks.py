"""A Celery application on a broker of files: `main` sends its tasks, ``celery worker`` runs them."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import looopy_otel as lo
from tests.process_life.running import SPANS

BROKER = Path(os.environ["BROKER"])

celery: Any = import_module("celery")
app: Any = celery.Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(BROKER),
        "data_folder_out": str(BROKER),
        "control_folder": str(BROKER / "control"),
    },
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
lo.configure(exporters="otlp", metrics="none", shutdown_timeout=20.0)
lo.instrument_celery()


@app.task
@lo.trace_span(name="plain")
def plain(number: int) -> int:
    with lo.span(f"plain-{number}"):
        return number


@app.task(bind=True, max_retries=1)
def again(self: Any) -> None:
    with lo.span(f"again-{self.request.retries}"):
        if self.request.retries == 0:
            raise self.retry(countdown=0)


@app.task
def second(first: int) -> None:
    with lo.span(f"second-{first}"):
        pass


def main() -> None:
    """Sends them."""
    with lo.session(session_id="s-1", user_id="u-1"), lo.span("sender"):
        for number in range(SPANS):
            plain.delay(number)
        again.delay()
        celery.chain(plain.s(100), second.s()).apply_async()
    plain.delay(200)
