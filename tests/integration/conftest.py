"""What the integration tests share: one LiteLLM proxy for all of them, and an OTLP sink for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.otlp_sink import OTLPSink
from tests.support.proxy import LiteLLMProxy, Upstream


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of the proxy in one worker, so that it starts once, and gives them the time that it needs."""
    for item in items:
        if item.get_closest_marker("proxy") is None:
            continue
        item.add_marker(pytest.mark.timeout(240))
        if config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group("proxy"))


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    """A real LiteLLM proxy in front of a scripted upstream."""
    with LiteLLMProxy(tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def upstream(proxy: LiteLLMProxy) -> Upstream:
    """The model behind the proxy, with an empty list of requests."""
    proxy.upstream.play_by(lambda request: pytest.fail(f"an unexpected request: {request.path}"))
    return proxy.upstream


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    """A place that takes spans by OTLP/HTTP."""
    with OTLPSink() as running:
        yield running


@pytest.fixture
def collector(tmp_path: Path, sink: OTLPSink) -> Iterator[Collector]:
    """A real collector with the project's own configuration; `sink` stands for Langfuse."""
    with Collector(tmp_path, sink.url) as running:
        yield running
    assert "failed to execute statement" not in running.log_end(10_000)
