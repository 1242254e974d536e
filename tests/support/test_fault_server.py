from __future__ import annotations

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from tests.export.spans import finished
from tests.support.fault_server import (
    Fault,
    FaultServer,
    answering,
    closing,
    garbage,
    healthy,
    intact_content,
    limited,
    numbered_content,
    resetting,
)


def body(*contents: str) -> bytes:
    return encode_spans([finished("llm.call", {"content": content}) for content in contents]).SerializeToString()


def status(server: FaultServer, sent: bytes) -> int:
    return httpx.post(server.traces_url, content=sent, timeout=5.0, trust_env=False).status_code


def test_content_proves_itself_whole() -> None:
    content = numbered_content(7, 1000)
    assert intact_content(f'[{{"content": "{content}"}}]') == 7
    assert intact_content(content[:-10] + content[-9:]) is None
    assert intact_content(content.replace("a", "b", 1)) is None
    assert intact_content(numbered_content(8, 1000)) == 8
    assert intact_content("") is None


def test_accepted_spans_are_known_once_by_their_ids() -> None:
    with FaultServer() as server:
        sent = body(numbered_content(1, 100), "cut off [[2|")
        assert (status(server, sent), status(server, sent)) == (200, 200)
        assert sorted(server.accepted.values(), key=str) == [1, None]
        assert (server.repeats, server.requests(healthy)) == (2, 2)


def test_what_is_refused_is_not_accepted() -> None:
    with FaultServer(answering(413, {"x-a": "b"})) as server:
        assert status(server, body("x")) == 413
        server.fault = limited(spans=1)
        assert (status(server, body("x", "y")), status(server, body("x"))) == (413, 200)
        assert len(server.accepted) == 1


@pytest.mark.parametrize("fault", [closing, resetting, garbage])
def test_a_connection_that_ends_badly_is_an_error(fault: Fault) -> None:
    with FaultServer(fault) as server:
        with pytest.raises(httpx.TransportError):
            status(server, body("x"))
        assert server.accepted == {}


def test_it_listens_again_where_it_did_before() -> None:
    with FaultServer() as server:
        server.stop_listening()
        with pytest.raises(httpx.ConnectError):
            status(server, body("x"))
        server.listen()
        assert status(server, body("x")) == 200
