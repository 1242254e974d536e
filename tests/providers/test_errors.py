"""What goes wrong with plain calls, and what is said of it."""

from __future__ import annotations

import pickle
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import orjson
import pytest

from looopy_otel.core import semconv
from looopy_otel.core.errors import ConfigurationError, LooopyError
from looopy_otel.providers import (
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMConfigError,
    LiteLLMConnectionError,
    LiteLLMError,
    LiteLLMProvider,
    LiteLLMRateLimitError,
    LiteLLMStreamError,
    LiteLLMTimeoutError,
    ProviderCall,
    Reply,
    ScriptedProvider,
)
from looopy_otel.testing import capture_spans
from tests.providers.conftest import KEY, Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]


def test_the_tree_of_errors() -> None:
    for kind in (LiteLLMTimeoutError, LiteLLMConnectionError, LiteLLMAPIError, LiteLLMConfigError):
        assert issubclass(kind, LiteLLMError)
    for kind in (LiteLLMAuthenticationError, LiteLLMRateLimitError, LiteLLMStreamError):
        assert issubclass(kind, LiteLLMAPIError)
    assert issubclass(LiteLLMError, LooopyError)
    assert issubclass(LiteLLMConfigError, ConfigurationError)
    assert issubclass(LiteLLMConfigError, ValueError)
    assert issubclass(LiteLLMTimeoutError, TimeoutError)
    assert issubclass(LiteLLMConnectionError, ConnectionError)


async def test_unauthorized(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    reply = Reply(status=401, text="Invalid proxy key", headers={semconv.LITELLM_CALL_ID_HEADER: "call-1"})
    with pytest.raises(LiteLLMAuthenticationError) as caught:
        await connect(serve(reply)).call(messages=HELLO)
    error = caught.value
    assert str(error) == "LiteLLM API error: 401 Unauthorized: Invalid proxy key"
    assert (error.status, error.type, error.code, error.request_id) == (401, "authentication_error", "401", "call-1")
    assert "LITELLM_MASTER_KEY" in error.hint
    assert error.__notes__ == [f"Hint: {error.hint}"]
    assert observer.only.error is error
    assert observer.only.result is None


@pytest.mark.parametrize(
    ("status", "kind"), [(403, "permission_error"), (400, "no_db_connection")], ids=["forbidden", "no database"]
)
async def test_what_a_wrong_key_also_looks_like(serve: Serve, connect: Connect, status: int, kind: str) -> None:
    body = orjson.dumps({"error": {"message": "No connected db.", "type": kind, "param": None, "code": str(status)}})
    with pytest.raises(LiteLLMAuthenticationError, match=f"LiteLLM API error: {status} ") as caught:
        await connect(serve(Reply(status=status, body=body))).call(messages=HELLO)
    assert "api_key" in caught.value.hint


async def test_forbidden_is_a_matter_of_the_key_whatever_it_says(serve: Serve, connect: Connect) -> None:
    with pytest.raises(LiteLLMAuthenticationError, match="LiteLLM API error: 403 Forbidden: not yours") as caught:
        await connect(serve(Reply(status=403, body=b"not yours"))).call(messages=HELLO)
    assert "api_key" in caught.value.hint


CALL_HEADERS = {
    semconv.LITELLM_CALL_ID_HEADER: "call-1",
    semconv.LITELLM_MODEL_GROUP_HEADER: "gpt-4",
    semconv.LITELLM_RETRIES_HEADER: "2",
    semconv.LITELLM_FALLBACKS_HEADER: "1",
}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500, headers=CALL_HEADERS),
        Reply(status=429, headers=CALL_HEADERS),
        Reply(body=b"no JSON", headers=CALL_HEADERS),
        Reply(text="half a body", cut_after=0, headers=CALL_HEADERS),
        Reply(text="a body that stalls", drip=60.0, headers=CALL_HEADERS),
    ],
    ids=["500", "429", "no completion", "cut", "stalled"],
)
async def test_a_failed_call_keeps_what_the_proxy_said_of_it(serve: Serve, connect: Connect, reply: Reply) -> None:
    with capture_spans() as captured:
        with pytest.raises(LiteLLMError) as caught:
            await connect(serve(reply), timeout=1.0).call(messages=HELLO)
    assert (caught.value.request_id, caught.value.headers) == ("call-1", CALL_HEADERS)
    seen = captured.attributes("llm.call")
    assert seen[semconv.LLM_REQUEST_ID] == "call-1"
    for name, value in CALL_HEADERS.items():
        assert seen[f"{semconv.LLM_RESPONSE_HEADER}{name}"] == value
    assert semconv.OUTPUT not in seen


async def test_a_scripted_failure_keeps_them_too() -> None:
    with pytest.raises(LiteLLMAPIError) as caught:
        await ScriptedProvider([Reply(status=500, headers=CALL_HEADERS)]).call(messages=HELLO)
    assert (caught.value.request_id, caught.value.headers) == ("call-1", CALL_HEADERS)


async def test_a_call_without_any_response_has_nothing_to_keep(serve: Serve, connect: Connect) -> None:
    with capture_spans() as captured:
        with pytest.raises(LiteLLMConnectionError) as caught:
            await connect(serve(Reply(cut_after=-1))).call(messages=HELLO)
    assert (caught.value.request_id, caught.value.headers) == (None, {})
    assert semconv.LLM_REQUEST_ID not in captured.attributes("llm.call")


async def drained(call: ProviderCall) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("sync", [False, True], ids=["async client", "sync client"])
@pytest.mark.parametrize(
    ("body", "timeout"),
    [
        (Reply(cut_after=0), 60.0),
        (Reply(drip=60.0), 60.0),
        (Reply(drip=60.0), 0.4),
        (Reply(body=b"not gzip", headers={"content-encoding": "gzip"}), 60.0),
    ],
    ids=["cut", "stalled", "stalled beyond the timeout", "garbled"],
)
async def test_the_status_counts_whatever_becomes_of_the_body(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    body: Reply,
    timeout: float,
    sync: bool,
    streamed: bool,
) -> None:
    if timeout > 1:
        monkeypatch.setattr("looopy_otel.providers.sending.ERROR_PAGE_SECONDS", 0.3)
    reply = replace(body, status=429, text="slow down", headers={**body.headers, "retry-after": "7"})
    with httpx.Client() as client:
        provider = connect(serve(reply), timeout=timeout, http_client=client if sync else None)
        call = provider.call(messages=HELLO)
        started = time.monotonic()
        with pytest.raises(LiteLLMRateLimitError, match="LiteLLM API error: 429 Too Many Requests") as caught:
            await (drained(call) if streamed else call)
        assert time.monotonic() - started < 20
    assert (caught.value.status, caught.value.retry_after) == (429, 7.0)


@pytest.mark.parametrize(
    ("status", "said", "hinted"),
    [
        (400, "400 Bad Request", "extra_params"),
        (404, "404 Not Found", "base_url"),
        (301, "301 Moved Permanently", "base_url"),
        (408, "408 Request Timeout", "timeout="),
        (500, "500 Internal Server Error", "log"),
        (502, "502 Bad Gateway", "log"),
        (529, "529 Unknown Status", "log"),
    ],
)
async def test_other_statuses(serve: Serve, connect: Connect, status: int, said: str, hinted: str) -> None:
    with pytest.raises(LiteLLMAPIError, match=f"LiteLLM API error: {said}: it failed") as caught:
        await connect(serve(Reply(status=status, body=b'{"error": {"message": "it failed"}}'))).call(messages=HELLO)
    assert caught.value.status == status
    assert hinted in caught.value.hint


async def test_a_failure_without_a_key_may_be_for_want_of_one(serve: Serve) -> None:
    with pytest.raises(LiteLLMAPIError, match="500 Internal Server Error") as caught:
        await LiteLLMProvider(base_url=serve(Reply(status=500)).url, model="gpt-4").call(messages=HELLO)
    assert "No api_key is set" in caught.value.hint


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("0.5", 0.5, 0.5), ("date", 20, 30), ("past", 0, 0), ("soon", None, None), (None, None, None)],
)
async def test_rate_limit(
    serve: Serve, connect: Connect, header: str | None, least: float | None, most: float | None
) -> None:
    dates = {"date": timedelta(seconds=30), "past": timedelta(seconds=-30)}
    if header in dates:
        header = format_datetime(datetime.now(UTC) + dates[header], usegmt=True)
    reply = Reply(status=429, text="slow down", headers={"retry-after": header} if header else {})
    with pytest.raises(LiteLLMRateLimitError, match="429 Too Many Requests: slow down") as caught:
        await connect(serve(reply)).call(messages=HELLO)
    after = caught.value.retry_after
    if least is None or most is None:
        assert after is None
    else:
        assert after is not None
        assert least <= after <= most


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>\n  <h1>502</h1>\n</html>", "<html> <h1>502</h1> </html>"),
        (b"", "502 Bad Gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"detail": "not here"}', "not here"),
        (b'{"error": "only text"}', "only text"),
        (b"[1]", "[1]"),
    ],
)
async def test_error_pages_of_every_kind(serve: Serve, connect: Connect, body: bytes, said: str) -> None:
    with pytest.raises(LiteLLMAPIError, match="502 Bad Gateway") as caught:
        await connect(serve(Reply(status=502, body=body))).call(messages=HELLO)
    assert said in str(caught.value)


async def test_a_long_error_page_is_cut(serve: Serve, connect: Connect) -> None:
    with pytest.raises(LiteLLMAPIError) as caught:
        await connect(serve(Reply(status=500, body=b"x" * 5_000_000))).call(messages=HELLO)
    assert len(str(caught.value)) < 400


async def test_a_key_that_is_echoed_is_masked(serve: Serve, connect: Connect) -> None:
    echo = f"Invalid key {KEY}; got 'Bearer {KEY}' and sk-another-key-0123456789"
    with pytest.raises(LiteLLMAuthenticationError) as caught:
        await connect(serve(Reply(status=401, text=echo))).call(messages=HELLO)
    with pytest.raises(LiteLLMStreamError) as streamed:
        async for _ in connect(serve(Reply(stream_error=echo))).call(messages=HELLO):
            pass
    for error in (caught.value, streamed.value):
        assert KEY not in f"{error} {error!r} {error.args}"
        assert "sk-another" not in str(error)
        assert "Invalid key ***" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connection_refused(host: str, observer: RememberingObserver) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(LiteLLMConnectionError) as caught:
        await LiteLLMProvider(base_url=f"http://{host}:{port}", model="gpt-4").call(messages=HELLO)
    assert "LiteLLM API error: ECONNREFUSED" in str(caught.value)
    for command in ("pip install 'litellm[proxy]'", "--port 4000", "LITELLM_MASTER_KEY="):
        assert command in caught.value.hint
    assert observer.only.error is caught.value


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(LiteLLMConnectionError, match="LiteLLM API error: ENOTFOUND"):
        await LiteLLMProvider(base_url="http://no-such-host.invalid", model="gpt-4").call(messages=HELLO)


async def test_https_to_a_server_without_it(serve: Serve) -> None:
    server = serve()
    with pytest.raises(LiteLLMConnectionError, match="LiteLLM API error: TLS") as caught:
        await LiteLLMProvider(base_url=server.url.replace("http:", "https:"), model="gpt-4").call(messages=HELLO)
    assert "scheme" in caught.value.hint


@pytest.mark.parametrize("cut_after", [-1, 0], ids=["before the headers", "in the body"])
async def test_a_proxy_that_closes_the_connection(serve: Serve, connect: Connect, cut_after: int) -> None:
    with pytest.raises(LiteLLMConnectionError, match="LiteLLM API error: ECONNRESET"):
        await connect(serve(Reply(text="hi", cut_after=cut_after))).call(messages=HELLO)


@pytest.mark.parametrize(
    "error",
    [
        LiteLLMAPIError("a", status=500, type="t", code="c", request_id="r"),
        LiteLLMRateLimitError("a", status=429, retry_after=2.0),
        LiteLLMTimeoutError("LiteLLM request timeout after 60.0s", request_id="r", headers={"a": "b"}),
        LiteLLMConnectionError("LiteLLM API error: ECONNREFUSED"),
        LiteLLMConfigError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes(error: LiteLLMError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
