"""``await provider.call(…)``: what is sent, and what is made of the reply."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from looopy_otel.core import semconv
from looopy_otel.core.types import Message, ToolCall, ToolDefinition
from looopy_otel.providers import (
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMProvider,
    LiteLLMRateLimitError,
    Reply,
)
from tests.providers.conftest import KEY, Connect, Serve

HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {
    "prompt_tokens": 150,
    "completion_tokens": 75,
    "total_tokens": 225,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 25},
}


async def test_the_request_is_a_chat_completion(serve: Serve, connect: Connect) -> None:
    server = serve()
    await connect(server).call(messages=HELLO)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json == {
        "model": "gpt-4",
        "messages": HELLO,
        "temperature": 0.7,
        "max_tokens": 4096,
        "top_p": 1.0,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("looopy-otel/")


async def test_without_a_key_nothing_is_said_of_one(serve: Serve) -> None:
    server = serve()
    await LiteLLMProvider(base_url=server.url, model="gpt-4").call(messages=HELLO)
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
async def test_base_url_with_and_without_v1_and_slash(serve: Serve, suffix: str) -> None:
    server = serve()
    await LiteLLMProvider(base_url=server.url + suffix, model="gpt-4").call(messages=HELLO)
    assert server.requests[0].path == "/v1/chat/completions"


async def test_a_path_prefix_of_the_base_url_is_kept(serve: Serve) -> None:
    server = serve()
    with pytest.raises(LiteLLMAPIError, match="404 Not Found"):
        await LiteLLMProvider(base_url=f"{server.url}/litellm/", model="gpt-4").call(messages=HELLO)
    assert server.requests[0].path == "/litellm/v1/chat/completions"


async def test_none_is_not_sent(serve: Serve, connect: Connect) -> None:
    server = serve()
    await connect(server, temperature=None, max_tokens=None, top_p=None).call(messages=HELLO, tools=[])
    assert server.requests[0].json == {"model": "gpt-4", "messages": HELLO}


async def test_extra_params_win_over_options(serve: Serve, connect: Connect) -> None:
    server = serve()
    provider = connect(server, extra_params={"temperature": 0.1, "presence_penalty": 0.1, "model": "gpt-4o"})
    await provider.call(messages=HELLO)
    body = server.requests[0].json
    assert (body["temperature"], body["presence_penalty"], body["model"]) == (0.1, 0.1, "gpt-4o")
    assert provider.model == "gpt-4o"


async def test_extra_params_can_take_a_field_away(serve: Serve, connect: Connect) -> None:
    server = serve()
    await connect(server, extra_params={"max_tokens": None, "max_completion_tokens": 10}).call(messages=HELLO)
    assert "max_tokens" not in server.requests[0].json
    assert server.requests[0].json["max_completion_tokens"] == 10


NESTED: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.mark.parametrize(
    "tool",
    [
        NESTED,
        {"name": "get_weather", "description": "Weather", "parameters": {"type": "object", "properties": {}}},
        ToolDefinition("get_weather", "Weather"),
    ],
    ids=["nested", "flat", "definition"],
)
async def test_every_form_of_a_tool_is_sent_nested_once(serve: Serve, connect: Connect, tool: Any) -> None:
    server = serve()
    await connect(server).call(messages=HELLO, tools=[tool], tool_choice="auto", response_format={"type": "text"})
    body = server.requests[0].json
    assert body["tools"] == [NESTED]
    assert body["tool_choice"] == "auto"
    assert body["response_format"] == {"type": "text"}


async def test_messages_of_every_kind_are_sent_in_openai_shape(serve: Serve, connect: Connect) -> None:
    server = serve()
    conversation = [
        Message("user", "15 * 23?"),
        Message("assistant", None, (ToolCall("c1", "calculate", '{"expression":"15 * 23"}'),)),
        Message("tool", "345", tool_call_id="c1"),
        {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
    ]
    await connect(server).call(messages=conversation)
    assert server.requests[0].json["messages"] == [
        {"role": "user", "content": "15 * 23?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "calculate", "arguments": '{"expression":"15 * 23"}'},
                }
            ],
        },
        {"role": "tool", "content": "345", "tool_call_id": "c1"},
        {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
    ]


async def test_the_conversation_is_that_of_the_call(serve: Serve, connect: Connect) -> None:
    server = serve()
    messages = list(HELLO)
    call = connect(server).call(messages=messages)
    messages.append({"role": "user", "content": "later"})
    await call
    assert server.requests[0].json["messages"] == HELLO


@pytest.mark.parametrize(("messages", "error"), [("Hello!", TypeError), ([{"content": "no role"}], ValueError)])
def test_wrong_messages_are_refused_where_they_are_given(messages: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        LiteLLMProvider(base_url="http://localhost", model="gpt-4").call(messages=messages)


async def test_a_megabyte_of_unicode_goes_through(serve: Serve, connect: Connect) -> None:
    prompt = "日本語 ünïcode 🚀 \u0000\u2028" * 40_000
    server = serve(script=lambda request: Reply(text=str(request.json["messages"][0]["content"])))
    response = await connect(server).call(messages=[{"role": "user", "content": prompt}])
    assert len(prompt.encode()) > 1_000_000
    assert response.message.content == prompt


async def test_lone_surrogates_are_replaced(serve: Serve, connect: Connect) -> None:
    server = serve()
    await connect(server).call(messages=[{"role": "user", "content": "a\ud83d b\ud83d\ude80"}])
    assert server.requests[0].json["messages"][0]["content"] == "a\ufffd b🚀"


async def test_a_value_that_json_cannot_say_is_named(serve: Serve, connect: Connect) -> None:
    server = serve()
    with pytest.raises(TypeError, match="object, which JSON cannot say"):
        await connect(server).call(messages=HELLO, metadata={"it": object()})
    assert server.requests == []


async def test_the_response_of_a_plain_call(serve: Serve, connect: Connect) -> None:
    server = serve(
        Reply(
            text="392",
            reasoning="I multiply.",
            model="gpt-4-0613",
            usage=USAGE,
            cost=0.0068,
            headers={
                semconv.LITELLM_CALL_ID_HEADER: "call-1",
                semconv.LITELLM_MODEL_GROUP_HEADER: "gpt-4",
                semconv.LITELLM_RETRIES_HEADER: "1",
                semconv.LITELLM_FALLBACKS_HEADER: "0",
                "x-secret": "not kept",
            },
        )
    )
    response = await connect(server).call(messages=HELLO)
    assert response.message == Message("assistant", "392", reasoning="I multiply.")
    assert (response.model, response.finish_reason, response.finished) == ("gpt-4-0613", "stop", True)
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens, response.usage.total_tokens) == (
        150,
        75,
        225,
    )
    assert (response.usage.cache_read_tokens, response.usage.reasoning_tokens) == (100, 25)
    assert (response.cost, response.cost_source, response.usage_source) == (Decimal("0.0068"), "provider", "reported")
    assert (response.id, response.request_id, response.outcome) == ("chatcmpl-1", "call-1", "completed")
    assert response.headers == {
        semconv.LITELLM_CALL_ID_HEADER: "call-1",
        semconv.LITELLM_MODEL_GROUP_HEADER: "gpt-4",
        semconv.LITELLM_RETRIES_HEADER: "1",
        semconv.LITELLM_FALLBACKS_HEADER: "0",
    }


async def test_unknown_is_none(serve: Serve, connect: Connect) -> None:
    response = await connect(serve(Reply(text="hi"))).call(messages=HELLO)
    assert (response.usage, response.cost, response.request_id) == (None, None, None)
    assert (response.usage_source, response.cost_source) == ("missing", "unknown")


async def test_tool_calls_decide_and_not_the_finish_reason(serve: Serve, connect: Connect) -> None:
    reply = Reply(tool_calls=(("calculate", {"expression": "1"}), ("now", "")), finish_reason="stop")
    response = await connect(serve(reply)).call(messages=HELLO)
    assert not response.finished
    assert response.tool_calls == (
        ToolCall("call_1_0", "calculate", '{"expression":"1"}'),
        ToolCall("call_1_1", "now", "{}"),
    )


async def test_tool_calls_without_id_or_name_are_dropped_and_counted(serve: Serve, connect: Connect) -> None:
    calls = (
        {"id": "", "function": {"name": "f", "arguments": "{}"}},
        {"id": "a", "function": {"arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": {"already": "decoded"}}},
        ("h", "not JSON"),
    )
    response = await connect(serve(Reply(tool_calls=calls))).call(messages=HELLO)
    assert response.tool_calls == (
        ToolCall("b", "g", '{"already": "decoded"}'),
        ToolCall("call_1_3", "h", "not JSON"),
    )
    assert response.dropped_tool_calls == 2


@pytest.mark.parametrize(
    ("requested", "named", "served_by", "answering"),
    [
        ("gpt-4", "gpt-4-0613", "openai/gpt-4", "gpt-4-0613"),
        ("fast", "fast", "openai/gpt-4o-mini", "gpt-4o-mini"),
        ("fast", "fast", "gpt-4o-mini", "gpt-4o-mini"),
        ("ollama/llama2", "ollama/llama2", "ollama/llama2", "llama2"),
        ("fast", "fast", None, "fast"),
        ("fast", None, None, "fast"),
    ],
)
async def test_which_model_answered(
    serve: Serve, connect: Connect, requested: str, named: str | None, served_by: str | None, answering: str
) -> None:
    headers = {semconv.LITELLM_MODEL_NAME_HEADER: served_by} if served_by else {}
    body = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    body |= {"model": named} if named else {}
    server = serve(Reply(body=json.dumps(body).encode(), headers=headers))
    response = await connect(server, requested).call(messages=HELLO)
    assert response.model == answering


@pytest.mark.parametrize(
    ("model", "header", "in_usage", "cost"),
    [
        ("gpt-4", "0.0068", None, Decimal("0.0068")),
        ("gpt-4", "6.8e-03", None, Decimal("0.0068")),
        ("gpt-4", None, 0.5, Decimal("0.5")),
        ("gpt-4", "0.25", 0.5, Decimal("0.25")),
        ("gpt-4", "0.0", 0.5, Decimal("0.5")),
        ("gpt-4", "0.0", None, None),
        ("gpt-4", "0", 0, None),
        ("ollama/llama2", "0.0", None, Decimal("0.0")),
        ("gpt-4", "-1", None, None),
        ("gpt-4", "nan", None, None),
        ("gpt-4", "inf", None, None),
        ("gpt-4", "much", True, None),
    ],
)
async def test_cost(
    serve: Serve, connect: Connect, model: str, header: str | None, in_usage: Any, cost: Decimal | None
) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1} | ({} if in_usage is None else {"cost": in_usage})
    server = serve(Reply(text="x", usage=usage, headers={semconv.LITELLM_COST_HEADER: header} if header else {}))
    response = await connect(server, model).call(messages=HELLO)
    assert response.cost == cost
    assert response.cost_source == ("unknown" if cost is None else "provider")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"choices": [{"mess', "not JSON"),
        (b"<html><h1>Proxy</h1></html>", "not JSON: <html>"),
        (b"", "not JSON"),
        (b'{"choices": []}', "no choices"),
        (b"[]", "no choices"),
        (b"{}", "no choices"),
        (b'{"error": {"message": "hidden failure", "code": "bad_thing"}}', "hidden failure"),
        (b'{"error": {"message": "hidden failure", "code": 7}}', "hidden failure"),
        (b'{"error": "plain text"}', "plain text"),
        (b'{"choices": [null]}', "first choice of the reply has no message"),
        (b'{"choices": [{"index": 0}]}', "first choice of the reply has no message"),
        (b'{"choices": [{"message": null}]}', "first choice of the reply has no message"),
        (b'{"choices": [{"message": "text"}]}', "first choice of the reply has no message"),
    ],
)
async def test_a_reply_that_is_no_completion(serve: Serve, connect: Connect, body: bytes, said: str) -> None:
    with pytest.raises(LiteLLMAPIError, match="LiteLLM API error: 200 OK") as caught:
        await connect(serve(Reply(body=body))).call(messages=HELLO)
    assert said in str(caught.value)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("429", 429, LiteLLMRateLimitError),
        (401, 401, LiteLLMAuthenticationError),
        ("500", 500, LiteLLMAPIError),
    ],
)
async def test_an_error_in_a_reply_that_says_200(
    serve: Serve, connect: Connect, code: object, status: int, kind: type[LiteLLMAPIError]
) -> None:
    body = orjson.dumps({"error": {"message": "hidden failure", "code": code}})
    with pytest.raises(kind, match=f"LiteLLM API error: {status} .*: hidden failure") as caught:
        await connect(serve(Reply(body=body))).call(messages=HELLO)
    assert (type(caught.value), caught.value.status, caught.value.retryable) == (kind, status, status != 401)


async def test_an_empty_message_is_one(serve: Serve, connect: Connect) -> None:
    response = await connect(serve(Reply(body=b'{"choices": [{"message": {"content": null}}]}'))).call(messages=HELLO)
    assert response.message == Message("assistant", None)
    assert response.finish_reason is None


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": "", "refusal": "I will not."}, "I will not."),
        ({"refusal": "I will not."}, "I will not."),
        ({"content": "Sure.", "refusal": None}, "Sure."),
        ({"content": "", "refusal": None}, ""),
        ({"content": [{"type": "text", "text": "Sure."}, None]}, [{"type": "text", "text": "Sure."}]),
    ],
)
async def test_the_content_of_a_message(serve: Serve, connect: Connect, message: Any, content: Any) -> None:
    body = orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (await connect(serve(Reply(body=body))).call(messages=HELLO)).message.content == content


async def test_update_config_is_for_later_calls(serve: Serve, connect: Connect) -> None:
    server = serve()
    provider = connect(server, "gpt-3.5-turbo")
    earlier = provider.call(messages=HELLO)
    provider.update_config(model="gpt-4", temperature=0.1)
    assert provider.model == "gpt-4"
    await earlier
    await provider.call(messages=HELLO)
    assert [(request.json["model"], request.json["temperature"]) for request in server.requests] == [
        ("gpt-3.5-turbo", 0.7),
        ("gpt-4", 0.1),
    ]
