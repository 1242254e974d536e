"""What a function's call takes from the recorded calls inside it: usage, cost, and how the last one ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from looopy_otel.instrument.decorators import trace_agent, trace_tool
from looopy_otel.instrument.wrapping import wrap
from looopy_otel.testing import CapturedSpans, capture_spans

USAGES = {"gpt-4o": (1000, 500), "gpt-4o-mini": (2000, 100)}
COSTS = {"gpt-4o": 0.0075, "gpt-4o-mini": 0.00036}


@pytest.fixture
def captured() -> Iterator[CapturedSpans]:
    with capture_spans() as spans:
        yield spans


def answered(model: str) -> dict[str, Any]:
    prompt, completion = USAGES[model]
    return {
        "id": f"c-{model}",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi!"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }


def request(*arguments: Any) -> Mapping[str, Any]:
    return {"model": "my-gateway", "messages": [{"role": "user", "content": "Hello!"}]}


def asking(model: str) -> Mapping[str, Any]:
    return {"model": model, "messages": []}


def complete(model: str) -> Any:
    return answered(model)


# Reads its request, so that calls inside it are a part of it.
asked: Callable[[str], Any] = wrap(complete, request=asking)


def text_of(*models: str) -> Callable[[], Any]:
    def gateway() -> str:
        return [asked(model)["choices"][0]["message"]["content"] for model in models][-1]

    return wrap(gateway, request=request, response=lambda text: text)


@pytest.mark.parametrize("models", [("gpt-4o",), ("gpt-4o", "gpt-4o-mini")], ids="+".join)
def test_what_the_calls_inside_used_is_added(models: tuple[str, ...], captured: CapturedSpans) -> None:
    assert text_of(*models)() == "Hi!"
    assert captured.outline() == ["llm.call"]
    told = captured.attributes("llm.call")
    assert told["gen_ai.usage.input_tokens"] == sum(USAGES[model][0] for model in models)
    assert told["gen_ai.usage.output_tokens"] == sum(USAGES[model][1] for model in models)
    assert told["llm.usage.source"] == "reported"
    assert told["gen_ai.usage.cost"] == pytest.approx(sum(COSTS[model] for model in models))
    assert told["gen_ai.response.model"] == models[-1]
    assert told["gen_ai.response.id"] == f"c-{models[-1]}"
    assert told["llm.finish_reason"] == "stop"


def test_a_call_inside_a_call_inside_counts_once(captured: CapturedSpans) -> None:
    inner = text_of("gpt-4o")
    outer: Callable[[], Any] = wrap(lambda: inner(), request=request, response=lambda text: text)
    outer()
    assert captured.outline() == ["llm.call"]
    assert captured.attributes("llm.call")["gen_ai.usage.input_tokens"] == 1000


def test_what_a_tool_asks_a_model_by_itself_is_in_no_total(captured: CapturedSpans) -> None:
    @trace_tool
    def look_up() -> Any:
        return asked("gpt-4o")

    @trace_agent
    def agent() -> Any:
        look_up()
        return asked("gpt-4o-mini")

    agent()
    told = captured.attributes("agent.execute")
    assert (told["agent.llm_calls"], told["agent.tool_calls"]) == (1, 1)
    assert told["agent.usage.prompt_tokens"] == 2000
    assert told["agent.cost.usd"] == pytest.approx(COSTS["gpt-4o-mini"])
