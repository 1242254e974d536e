"""A model that calculates, spans in memory, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from looopy_otel.core.hooks import innermost
from looopy_otel.core.identity import NOBODY, current_identity
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.instrument.frameworks.scenario import calculating
from tests.support.model_server import ModelServer


@pytest.fixture(autouse=True)
def no_telemetry_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No framework is to call its maker."""
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "false")
    monkeypatch.setenv("PYDANTIC_AI_NO_BANNER", "1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model that asks for two calculations at once, and then knows the answer."""
    with ModelServer(calculating) as running:
        yield running


@pytest.fixture
def captured() -> Iterator[CapturedSpans]:
    """The spans of the test; afterwards nothing is patched and nothing is current any more."""
    with capture_spans() as spans:
        yield spans
        uninstrument()
        assert innermost() is None
        assert current_identity() is NOBODY
