"""A running configuration that keeps its spans in memory, and a watch over what is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace

import looopy_otel as lo
from looopy_otel.core.hooks import NO_RECORDER
from looopy_otel.core.identity import NOBODY, current_identity
from looopy_otel.testing import CapturedSpans, capture_spans


@pytest.fixture
def captured(caplog: pytest.LogCaptureFixture) -> Iterator[CapturedSpans]:
    """Captures spans; afterwards nothing is current any more, and nothing was logged."""
    with capture_spans() as captured:
        yield captured
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert lo.current() is NO_RECORDER
        assert current_identity() == NOBODY
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
