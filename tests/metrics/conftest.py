"""A sink that takes metrics, and a configuration that pushes to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import looopy_otel as lo
from tests.support.otlp_sink import OTLPSink


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


@pytest.fixture
def pushed(sink: OTLPSink) -> Iterator[lo.Telemetry]:
    """Metrics and spans go to the sink when they are flushed; not by themselves within a test's time."""
    with lo.configure(exporters="otlp", otlp_endpoint=sink.url, environment="test") as telemetry:
        yield telemetry
