"""A model and parameters of one call."""

from __future__ import annotations

from typing import Any

from looopy_otel.providers import ScriptedProvider
from looopy_otel.providers.reply import Reply
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


async def test_they_win_over_the_options_for_one_call(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(Reply(text="Hello!"))
    provider = connect(server, model="large", extra_params={"seed": 7, "temperature": 1.5})
    await provider.call(messages=MESSAGES, model="gpt-4", parameters={"temperature": 0, "top_p": None, "seed": 8})
    await provider.call(messages=MESSAGES)
    names = ("model", "temperature", "top_p", "max_tokens", "seed")
    assert [[request.json.get(name) for name in names] for request in server.requests] == [
        ["gpt-4", 0, None, 4096, 8],
        ["large", 1.5, 1.0, 4096, 7],
    ]
    announced = observer.handles[0].call
    assert (announced.model, announced.system, "top_p" in announced.parameters) == ("gpt-4", "openai", False)


def test_the_sync_forms_and_the_scripted_provider_take_them() -> None:
    provider = ScriptedProvider([Reply(text="Hello!")])
    provider.call_sync(messages=MESSAGES, model="other", parameters={"temperature": 0})
    list(provider.stream_sync(messages=MESSAGES))
    assert [(request.json["model"], request.json.get("temperature")) for request in provider.requests] == [
        ("other", 0),
        ("scripted-model", None),
    ]
