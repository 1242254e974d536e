"""Spans in memory, and a context that has to be the same after each test as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.context import get_current
from opentelemetry.trace import get_current_span

from looopy_otel.core.hooks import innermost
from looopy_otel.core.identity import current_identity
from looopy_otel.testing import CapturedSpans, capture_spans


def place() -> tuple[object, ...]:
    """What is current here."""
    return get_current_span(), innermost(), current_identity()


@pytest.fixture
def captured(caplog: pytest.LogCaptureFixture) -> Iterator[CapturedSpans]:
    """What is traced; nothing may be logged meanwhile, and nothing may stay current."""
    before, context = place(), dict(get_current())
    with caplog.at_level(logging.DEBUG, logger="opentelemetry"), capture_spans() as spans:
        yield spans
    assert place() == before
    assert {key for key, value in get_current().items() if value is not None} == set(context)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
