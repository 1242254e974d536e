"""Of the headers of an answer only the listed ones are recorded, and none stands in an error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from looopy_otel.core.response_head import KEPT
from looopy_otel.providers import LiteLLMError, LiteLLMProvider, Reply, ScriptedServer
from looopy_otel.semconv import LITELLM_CALL_ID_HEADER
from looopy_otel.testing import capture_spans

SECRET = "session-token-of-somebody"
HEADERS = {
    "set-cookie": f"sid={SECRET}",
    "x-internal-token": SECRET,
    "www-authenticate": f"Bearer {SECRET}",
    "x-litellm-call-id": "call-1",
}


@pytest.mark.parametrize("reply", [Reply(text="Hello!", headers=HEADERS), Reply(status=500, headers=HEADERS)])
@pytest.mark.parametrize("stream", [True, False])
def test_headers_of_an_llm_endpoint(reply: Reply, stream: bool, tmp_path: Path) -> None:
    async def call(provider: LiteLLMProvider) -> object:
        made = provider.call(messages=[{"role": "user", "content": "Hi"}])
        if not stream:
            return await made
        return [event async for event in made]

    said: list[object] = []
    with ScriptedServer([reply]) as server, capture_spans() as captured:
        provider = LiteLLMProvider(base_url=server.url, model="gpt-4", api_key="sk-key-of-the-proxy")
        try:
            said.append(asyncio.run(call(provider)))
        except LiteLLMError as error:
            said.extend([error, repr(error), vars(error)])
        sent = server.requests[0].headers
    everything = repr(said) + "".join(span.to_json() for span in captured.spans())
    assert "call-1" in everything
    assert SECRET not in everything
    assert "sk-key-of-the-proxy" not in everything
    assert sent["authorization"] == "Bearer sk-key-of-the-proxy"


def test_what_is_kept_is_no_credential() -> None:
    assert not [name for name in KEPT if any(part in name for part in ("auth", "cookie", "key", "token", "secret"))]
    assert LITELLM_CALL_ID_HEADER in KEPT
