"""The options: ranges, what a wrong one is told, secrets, and the ready-made providers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from looopy_otel.providers import (
    LiteLLM,
    LiteLLMAPIError,
    LiteLLMConfigError,
    LiteLLMOptions,
    LiteLLMProvider,
    Reply,
)
from looopy_otel.providers.options import changed, is_secret_name, options_from
from tests.providers.conftest import KEY, Connect, Serve

URL = "http://localhost:4000"
REQUIRED: dict[str, Any] = {"base_url": URL, "model": "gpt-4"}


def test_defaults() -> None:
    options = options_from(REQUIRED)
    assert (options.temperature, options.max_tokens, options.top_p, options.timeout) == (0.7, 4096, 1.0, 60.0)
    assert (options.api_key, options.extra_params, options.max_retries, options.debug_log_path) == (None, {}, 0, None)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("temperature", [0, 2, 0.7, None]),
        ("max_tokens", [1, 100_000, None]),
        ("top_p", [0.001, 1, None]),
        ("timeout", [0.001, 60, 3600.0]),
        ("max_retries", [0, 5]),
        ("extra_params", [None, {}, {"seed": 1}, {"metadata": None, "stream_options": {"x": 1}}]),
        ("api_key", [None, "", KEY, f"{KEY}\n"]),
        ("base_url", [URL, "https://proxy.example/litellm/", "http://[::1]:4000", " http://localhost "]),
    ],
)
def test_what_is_allowed(option: str, values: list[Any]) -> None:
    for value in values:
        assert isinstance(options_from({**REQUIRED, option: value}), LiteLLMOptions)


@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("temperature", [-0.1, 2.1, "0.5", True, float("nan")], "a number from 0 to 2"),
        ("max_tokens", [0, -1, 1.5, "100", True], "an integer of at least 1"),
        ("top_p", [0, 1.1, "1", float("nan")], "a number above 0 and up to 1"),
        ("timeout", [0, -1, None, float("inf"), float("nan"), "60"], "seconds, a finite number above 0"),
        ("max_retries", [-1, 1.5, None], "an integer of at least 0"),
        ("model", ["", "  ", None, 7, "ollama/", "ollama/ "], "a text that is not empty"),
        (
            "extra_params",
            [7, "x", {"stream": True}, {"messages": None}, {"metadata": "text"}, {"stream_options": [1]}],
            "a mapping from parameter names",
        ),
        (
            "base_url",
            [
                "",
                "localhost:4000",
                "ftp://x",
                "http://",
                "http://x:99999",
                "http://a b",
                None,
                f"{URL}?key=1",
                f"{URL}#x",
                "http://xn--a/",
                "http://☃.invalid",
            ],
            "an http:// or https:// URL",
        ),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(option: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(LiteLLMConfigError, match=f"^{option}.*: must be {allowed}"):
            options_from({**REQUIRED, option: value})


def test_every_wrong_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"temperature=3: .*; timeout=0: "):
        LiteLLMProvider(**REQUIRED, temperature=3, timeout=0)
    with pytest.raises(LiteLLMConfigError, match="temprature: there is no such option; did you mean temperature"):
        options_from({**REQUIRED, "temprature": 1})
    with pytest.raises(LiteLLMConfigError, match="model is missing"):
        options_from({"base_url": URL})


@pytest.mark.parametrize(
    ("argument", "values", "allowed"),
    [
        ("http_client", ["x", 5, object(), httpx.Client], "an httpx.AsyncClient or an httpx.Client"),
        ("middleware", [None, 7, "text", [None]], "a sequence of callables"),
    ],
)
def test_arguments_beside_the_options(argument: str, values: list[Any], allowed: str) -> None:
    for value in values:
        with pytest.raises(LiteLLMConfigError, match=f"^{argument}: must be {allowed}"):
            LiteLLMProvider(**REQUIRED, **{argument: value})
        with pytest.raises(LiteLLMConfigError, match=f"temperature=3: .*; {argument}: must be {allowed}"):
            LiteLLMProvider(**REQUIRED, temperature=3, **{argument: value})
    with pytest.raises(LiteLLMConfigError, match=f"{argument}: there is no such option"):
        changed(options_from(REQUIRED), {argument: None})


def test_a_local_model_needs_a_name() -> None:
    with pytest.raises(LiteLLMConfigError, match="model='ollama/': must be a text that is not empty"):
        LiteLLM.ollama(URL, "")


def test_secrets_at_any_depth() -> None:
    hidden = ["plain-secret-1", "plain-secret-2", "plain-secret-3"]
    provider = LiteLLMProvider(
        **REQUIRED,
        extra_params={
            "user_config": {"model_list": [{"litellm_params": {"api_key": hidden[0], "rpm": 5}}]},
            "fallbacks": [{"model": "b", "api_key": hidden[1]}],
            "metadata": {"inner": {"password": hidden[2]}, "tags": ["x"]},
            "tools": [{"function": {"name": "f", "parameters": {"properties": {"password": {"type": "string"}}}}}],
            "logit_bias": {"7": 1},
        },
    )
    options = provider.options
    assert set(options.secrets) == set(hidden)
    assert set(options.parameters) == {"temperature", "max_tokens", "top_p", "logit_bias"}
    assert set(options.body_fields) == {"user_config", "fallbacks", "tools"}
    assert not any(secret in repr(provider.call(messages=[])) for secret in hidden)


async def test_fields_with_secrets_are_sent_and_echoes_of_them_masked(serve: Serve, connect: Connect) -> None:
    fields = {"user_config": {"params": [{"api_key": "plain-secret-1"}]}, "metadata": {"password": "plain-secret-2"}}
    server = serve(Reply(status=400, text="plain-secret-1 and plain-secret-2 are no good"))
    with pytest.raises(LiteLLMAPIError, match=r"Bad Request: \*\*\* and \*\*\* are no good"):
        await connect(server, extra_params=fields).call(messages=[{"role": "user", "content": "Hello!"}])
    body = server.requests[0].json
    assert (body["user_config"], body["metadata"]) == (fields["user_config"], fields["metadata"])


def test_update_config_validates_first() -> None:
    provider = LiteLLMProvider(**REQUIRED, api_key=KEY)
    before = provider.options
    with pytest.raises(LiteLLMConfigError, match="temperature=9"):
        provider.update_config(model="gpt-4o", temperature=9)
    assert provider.options is before
    provider.update_config(model="gpt-4o")
    assert provider.options == before.model_copy(update={"model": "gpt-4o"})
    assert provider.options.key == KEY


@pytest.mark.parametrize("wrong", [f"{KEY} with space", f"{KEY}\r\nx: y", f"{KEY}ü", 7])
def test_a_wrong_key_is_not_repeated(wrong: Any) -> None:
    with pytest.raises(LiteLLMConfigError, match=r"^api_key: must be") as caught:
        options_from({**REQUIRED, "api_key": wrong})
    assert KEY not in repr(caught.value)


def test_secrets_are_in_no_repr() -> None:
    secret = "aws-secret-0123456789"
    extra = {"aws_secret_access_key": secret, "extra_headers": {"authorization": secret}, "seed": 1}
    provider = LiteLLMProvider(**REQUIRED, api_key=KEY, extra_params=extra)
    call = provider.call(messages=[])
    for text in map(repr, (provider, provider.options, call, vars(call)["_operation"])):
        assert KEY not in text
        assert secret not in text
    assert provider.options.parameters["seed"] == 1
    assert set(provider.options.secrets) == {KEY, secret}
    with pytest.raises(LiteLLMConfigError) as caught:
        options_from({**REQUIRED, "base_url": f"http://user:{KEY}@host"})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["api_key", "aws_session_token", "token", "password", "extra_headers", "azure_ad_token"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "logprobs", "seed", "stop", "top_k"])
def test_names_of_other_parameters(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("provider", "model", "max_tokens"),
    [
        (LiteLLM.gpt4(URL, KEY), "gpt-4", 4096),
        (LiteLLM.gpt4_turbo(URL, KEY), "gpt-4-turbo-preview", 4096),
        (LiteLLM.gpt35_turbo(URL, KEY), "gpt-3.5-turbo", 4096),
        (LiteLLM.claude3_opus(URL, KEY), "claude-3-opus-20240229", 4096),
        (LiteLLM.claude3_sonnet(URL, KEY), "claude-3-sonnet-20240229", 4096),
        (LiteLLM.claude3_haiku(URL, KEY), "claude-3-haiku-20240307", 4096),
        (LiteLLM.nova_micro(URL, KEY), "amazon.nova-micro-v1:0", 8192),
        (LiteLLM.nova_lite(URL, KEY), "amazon.nova-lite-v1:0", 8192),
        (LiteLLM.ollama(URL, "llama2", KEY), "ollama/llama2", 2048),
    ],
    ids=lambda value: value.model if isinstance(value, LiteLLMProvider) else "",
)
def test_factories(provider: LiteLLMProvider, model: str, max_tokens: int) -> None:
    assert provider.model == model
    assert (provider.options.base_url, provider.options.key) == (URL, KEY)
    assert (provider.options.max_tokens, provider.options.temperature) == (max_tokens, 0.7)


def test_factories_take_options() -> None:
    assert LiteLLM.gpt4(URL).options.key is None
    assert LiteLLM.ollama(URL, "mistral", max_tokens=10, temperature=None).options.max_tokens == 10


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LiteLLM.from_env("gpt-4").options.base_url == "http://localhost:4000"
    monkeypatch.setenv("LITELLM_URL", "http://proxy:4001/v1/")
    monkeypatch.setenv("LITELLM_API_KEY", KEY)
    options = LiteLLM.from_env("gpt-4", timeout=5.0).options
    assert (options.endpoint.geturl(), options.key) == ("http://proxy:4001/v1/chat/completions", KEY)
