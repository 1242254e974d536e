"""What is on this machine: the local store, and the port that Prometheus asks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from looopy_otel.cli.checks.check import Check, milliseconds, sooner
from looopy_otel.cli.checks.probe import PROBE_SPANS, send_probe
from looopy_otel.core.errors import LooopyError
from looopy_otel.core.settings import LocalDestination, PrometheusMetrics, Settings
from looopy_otel.export.metrics import opened_endpoint
from looopy_otel.store.sqlite import Store

_CONNECT_SECONDS = 2.0


def check_store(settings: Settings, destination: LocalDestination, deadline: float) -> Iterator[Check]:
    """Writes a probe trace to the local store and reads it back.

    Args:
        settings: The resolved settings.
        destination: The store.
        deadline: A value of `time.monotonic`.
    """
    started = time.monotonic()
    probe = send_probe(settings, destination, deadline)
    if not probe.arrived or probe.trace_id is None:
        error = probe.stats.last_error or "another process keeps it locked"
        yield Check(
            "write", "failed", error, f"the store cannot be written: {error}; LOOOPY_OTEL_DB names another file"
        )
        yield Check("read back", "skipped", "not tried: write failed")
        return
    yield Check("write", "ok", f"{PROBE_SPANS} spans, trace {probe.trace_id} ({milliseconds(started)})")
    try:
        with Store(destination.path, read_only=True) as store:
            found = len(store.spans(probe.trace_id))
    except LooopyError as error:
        yield Check("read back", "failed", str(error), f"the store was written but cannot be read: {error}")
        return
    if found != PROBE_SPANS:
        yield Check("read back", "failed", f"{found} of {PROBE_SPANS} spans", "the store does not keep what it takes")
        return
    yield Check("read back", "ok", f"{found} of {PROBE_SPANS} spans", link=f"looopy-otel show {probe.trace_id[:8]}")


def check_pull_endpoint(destination: PrometheusMetrics, deadline: float) -> Iterator[Check]:
    """Looks whether a process may listen where Prometheus asks, or does so already.

    Args:
        destination: Where.
        deadline: A value of `time.monotonic`.
    """
    where = f"{destination.host}:{destination.port}"
    limit = sooner(deadline, _CONNECT_SECONDS)
    try:
        with socket.create_connection((destination.host, destination.port), timeout=limit - time.monotonic()):
            detail = f"{where} is being listened at already: by a traced program, or by another"
            cause = (
                f"a second traced program on this machine cannot listen at {where} too: give each its own "
                "OTEL_EXPORTER_PROMETHEUS_PORT"
            )
            yield Check("port", "warning", detail, cause)
            return
    except (OSError, ValueError):
        # Nobody listens there, as it should be before the program starts.
        pass
    try:
        endpoint = opened_endpoint((destination,))
    except LooopyError as error:
        yield Check("port", "failed", f"cannot listen at {where}", str(error))
        return
    if endpoint is not None:
        endpoint.close()
    yield Check("port", "ok", f"{where} is free: a traced program can be asked for metrics there")
