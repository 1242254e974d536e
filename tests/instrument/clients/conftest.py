"""The subjects of the suite: every API, sync and async, over one loopback server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from looopy_otel.instrument.patching import uninstrument
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.instrument.clients.apis import CHAT, EMBEDDINGS, MESSAGES_API, RESPONSES, Subject
from tests.support.model_server import ModelServer

TALKING = [CHAT, RESPONSES, MESSAGES_API]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def spans() -> Iterator[CapturedSpans]:
    with capture_spans() as captured:
        yield captured
    uninstrument()


def _ids(subject: object) -> str:
    return getattr(subject, "name", "async" if subject else "sync")


@pytest.fixture(params=[False, True], ids=_ids)
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[*TALKING, EMBEDDINGS], ids=_ids)
async def any_api(request: pytest.FixtureRequest, asynchronous: bool, server: ModelServer) -> AsyncIterator[Subject]:
    subject = Subject(request.param, asynchronous, server)
    yield subject
    await subject.close_clients()


@pytest.fixture(params=TALKING, ids=_ids)
async def talking(request: pytest.FixtureRequest, asynchronous: bool, server: ModelServer) -> AsyncIterator[Subject]:
    subject = Subject(request.param, asynchronous, server)
    yield subject
    await subject.close_clients()


@pytest.fixture
async def chat(asynchronous: bool, server: ModelServer) -> AsyncIterator[Subject]:
    subject = Subject(CHAT, asynchronous, server)
    yield subject
    await subject.close_clients()
