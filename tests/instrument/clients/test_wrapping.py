"""Wrapping a client, and patching an SDK: what is covered, and that nothing else is touched."""

from __future__ import annotations

import copy
from functools import partialmethod
from typing import Any

import openai
import pytest

from looopy_otel.core import hooks
from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.openai import wrap_openai
from looopy_otel.instrument.patching import is_instrumented, uninstrument
from looopy_otel.testing import CapturedSpans
from tests.instrument.clients.apis import CHAT, MESSAGES_API, Subject, settled, take
from tests.support.model_server import ModelServer


async def test_a_wrapped_client_is_of_the_same_kind(any_api: Subject, spans: CapturedSpans) -> None:
    plain = any_api.plain_client()
    any_api.resource(plain)
    before = dict(plain.__dict__)
    wrapped = any_api.client(plain)
    assert isinstance(wrapped, plain.__class__)
    for name in ("__name__", "__qualname__", "__module__"):
        assert getattr(wrapped.__class__, name) == getattr(plain.__class__, name)
    assert wrapped is not plain
    assert wrapped._client is plain._client
    assert (wrapped.base_url, wrapped.api_key, wrapped.max_retries) == (plain.base_url, plain.api_key, 0)
    assert plain.__dict__ == before
    await any_api.create(plain)
    assert spans.spans() == []
    await any_api.create(wrapped)
    assert len(spans.spans()) == 1


async def test_one_class_is_made_for_all_clients_of_a_class(any_api: Subject) -> None:
    assert type(any_api.client()) is type(any_api.client())


async def test_wrapping_twice_changes_nothing(any_api: Subject, spans: CapturedSpans) -> None:
    wrapped = any_api.client()
    assert any_api.client(wrapped) is wrapped
    await any_api.create(any_api.client(wrapped))
    assert len(spans.spans()) == 1


async def test_with_options_keeps_the_tracing(any_api: Subject, spans: CapturedSpans) -> None:
    client = any_api.client(provider_name="my-gateway")
    for changed in (client.with_options(max_retries=1), client.copy(timeout=9)):
        assert type(changed) is type(client)
        await any_api.create(changed)
    assert [(span.attributes or {})["gen_ai.provider.name"] for span in spans.spans()] == ["my-gateway"] * 2


async def test_a_copy_of_a_wrapped_client_is_wrapped(any_api: Subject, spans: CapturedSpans) -> None:
    await any_api.create(copy.copy(any_api.client()))
    assert len(spans.spans()) == 1


async def test_resources_that_were_used_before_are_those_of_the_copy(any_api: Subject, spans: CapturedSpans) -> None:
    plain = any_api.plain_client()
    await any_api.create(plain)
    await any_api.raw(plain)
    wrapped = any_api.client(plain)
    await any_api.create(wrapped)
    raw: Any = wrapped.with_raw_response
    for name in any_api.api.resource:
        raw = getattr(raw, name)
    await settled(raw.create(model=any_api.api.model, **any_api.api.arguments))
    assert len(spans.spans()) == 2
    await any_api.create(plain)
    assert len(spans.spans()) == 2


async def test_a_subclass_of_a_users_own(any_api: Subject, spans: CapturedSpans) -> None:
    plain = any_api.plain_client()

    base: Any = plain.__class__

    class Mine(base):
        greeting = "hello"

        def greet(self) -> str:
            return f"{self.greeting} from here"

    mine: Any = Mine(base_url=str(plain.base_url), api_key="k", max_retries=0)
    mine.greeting = "hi"
    wrapped = any_api.client(mine)
    assert isinstance(wrapped, Mine)
    assert wrapped.greet() == mine.greet()
    await any_api.create(wrapped)
    assert len(spans.spans()) == 1
    await settled(mine.close())


async def test_a_context_manager_gives_the_wrapped_client(chat: Subject, spans: CapturedSpans) -> None:
    from tests.instrument.clients.apis import Entered

    async with Entered(chat.client()) as client:
        await chat.create(client)
    assert client.is_closed()
    assert len(spans.spans()) == 1


async def test_azure(asynchronous: bool, server: ModelServer, spans: CapturedSpans) -> None:
    cls: Any = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
    plain = cls(azure_endpoint=server.url, api_key="k", api_version="2024-10-21", max_retries=0)
    subject = Subject(CHAT, asynchronous, server)
    client = subject.client(plain)
    assert isinstance(client, cls)
    await subject.create(client)
    await take(await subject.stream(client.with_options(timeout=9)))
    assert "/deployments/gpt-4o/chat/completions" in server.last.path
    for span in spans.spans():
        assert (span.attributes or {})["gen_ai.provider.name"] == "azure.ai.openai"
        assert (span.attributes or {})["gen_ai.system"] == "azure"
        assert (span.attributes or {})["gen_ai.usage.output_tokens"] == 7
    await settled(plain.close())


async def test_all_clients_are_covered(any_api: Subject, spans: CapturedSpans) -> None:
    before = any_api.plain_client()
    any_api.instrument()
    any_api.instrument(provider_name="my-gateway")
    assert is_instrumented(any_api.api.sdk.__name__)
    await any_api.create(before)
    await any_api.create(any_api.plain_client())
    assert len(spans.spans()) == 2
    assert (spans.spans()[0].attributes or {})["gen_ai.provider.name"] == "my-gateway"
    uninstrument(any_api.api.sdk.__name__)
    assert not is_instrumented(any_api.api.sdk.__name__)
    await any_api.create(before)
    assert len(spans.spans()) == 2


async def test_uninstrumenting_ends_the_recording_also_under_the_patch_of_another(
    any_api: Subject, spans: CapturedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_api.instrument()
    base = any_api.api.sdk._base_client
    for owner in (base.SyncAPIClient, base.AsyncAPIClient):
        monkeypatch.setattr(owner, "request", partialmethod(owner.request))
    uninstrument()
    await any_api.create(any_api.plain_client())
    assert spans.spans() == []
    any_api.instrument()
    await any_api.create(any_api.plain_client())
    assert spans.outline() == ["llm.call"]
    uninstrument()


async def test_uninstrumenting_puts_everything_back(any_api: Subject) -> None:
    base = any_api.api.sdk._base_client
    classes: tuple[Any, ...] = (base.BaseClient, base.SyncAPIClient, base.AsyncAPIClient)
    before = [dict(cls.__dict__) for cls in classes]
    any_api.instrument()
    assert [dict(cls.__dict__) for cls in classes] != before
    uninstrument()
    assert [dict(cls.__dict__) for cls in classes] == before


async def test_a_wrapped_client_is_recorded_once_also_when_all_are(any_api: Subject, spans: CapturedSpans) -> None:
    early = any_api.client(provider_name="mine")
    any_api.instrument(provider_name="all")
    late = any_api.client(any_api.plain_client(), provider_name="mine")
    await any_api.create(early)
    await any_api.create(late)
    assert [(span.attributes or {})["gen_ai.provider.name"] for span in spans.spans()] == ["mine", "mine"]


async def test_retries_are_seen_once_when_a_wrapped_client_is_patched_too(
    any_api: Subject, spans: CapturedSpans
) -> None:
    from tests.support.model_server import Answer

    any_api.instrument()
    any_api.server.script = [Answer(status=500, headers={"retry-after-ms": "5"}), Answer()]
    await any_api.create(any_api.client(any_api.plain_client(max_retries=2)))
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]


async def test_streams_and_retries_of_clients_that_are_not_wrapped(talking: Subject, spans: CapturedSpans) -> None:
    from tests.support.model_server import Answer

    talking.instrument()
    talking.server.script = [Answer(status=500, headers={"retry-after-ms": "5"}), Answer()]
    await take(await talking.stream(talking.plain_client(max_retries=2)))
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert spans.attributes("llm.call")["gen_ai.usage.output_tokens"] == 7
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_a_call_inside_a_recorded_call_is_not_a_second_one(any_api: Subject, spans: CapturedSpans) -> None:
    from looopy_otel.core.operation import LLMCall

    any_api.instrument()
    outer = hooks.announce(LLMCall(messages=(), model="framework"))
    await any_api.create(any_api.plain_client())
    await any_api.create(any_api.client())
    outer.end()
    assert spans.outline() == ["llm.call"]


async def test_provider_and_system_of_a_model_behind_a_proxy(chat: Subject, spans: CapturedSpans) -> None:
    await chat.create(chat.client(), model="gemini/gemini-2.0-flash")
    seen = spans.attributes("llm.call")
    assert (seen["gen_ai.system"], seen["gen_ai.provider.name"]) == ("google", "gcp.gemini")


async def test_the_users_name_of_the_provider_names_the_system(chat: Subject, spans: CapturedSpans) -> None:
    for name in ("aws.bedrock", "ollama", "my-gateway"):
        await chat.create(chat.client(provider_name=name))
    seen = [dict(span.attributes or {}) for span in spans.spans()]
    assert [one["gen_ai.provider.name"] for one in seen] == ["aws.bedrock", "ollama", "my-gateway"]
    assert [one["gen_ai.system"] for one in seen] == ["bedrock", "ollama", "my-gateway"]


async def test_structured_answers(talking: Subject, spans: CapturedSpans) -> None:
    from pydantic import BaseModel

    from tests.support.model_server import Answer

    class City(BaseModel):
        name: str

    if talking.api is MESSAGES_API:
        pytest.skip("Anthropic's parse is of newer versions only")
    talking.server.script = Answer(text='{"name": "Ulm"}')
    client = talking.client()
    if talking.api is CHAT:
        answer = await settled(client.beta.chat.completions.parse(model="gpt-4o", messages=[], response_format=City))
        parsed = answer.choices[0].message.parsed
    else:
        answer = await settled(client.responses.parse(model="gpt-4o", input="x", text_format=City))
        parsed = answer.output_parsed
    assert parsed == City(name="Ulm")
    assert "Ulm" in spans.attributes("llm.call")["gen_ai.completion"]


async def test_an_answer_that_the_sdk_refuses_is_none_the_less_paid_for(chat: Subject, spans: CapturedSpans) -> None:
    from pydantic import BaseModel

    from tests.support.model_server import Answer

    class City(BaseModel):
        name: str

    chat.server.script = Answer(text='{"name": "U', finish="length")
    with pytest.raises(openai.LengthFinishReasonError):
        await settled(chat.client().beta.chat.completions.parse(model="gpt-4o", messages=[], response_format=City))
    seen = spans.attributes("llm.call")
    assert seen["gen_ai.usage.output_tokens"] == 7
    assert seen["error.type"] == "LengthFinishReasonError"


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="object is no client of the openai SDK"):
        wrap_openai(object(), WrapOptions())
