"""Calls with the Langfuse SDK and our library in one process, to be run as a program.

That is because ``langfuse.openai`` patches OpenAI's SDK for good. Prints, as JSON, what arrived at Langfuse after each
scenario: a line per span.

    python -m tests.instrument.coexistence.langfuse_scenarios global|own
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import openai
from langfuse import Langfuse
from opentelemetry.sdk.trace import TracerProvider

import looopy_otel as lo
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import announce, suppressed
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT
from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.decorators import trace_llm
from looopy_otel.instrument.openai import instrument_openai, wrap_openai
from looopy_otel.instrument.patching import uninstrument
from tests.support.model_server import Answer, ModelServer
from tests.support.otlp_sink import OTLPSink
from tests.support.tree import Node, build

# Their types are unknown to a strict checker.
observe: Any = import_module("langfuse").observe
drop_in: Any = import_module("langfuse.openai").openai

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


def ask(client: Any) -> str:
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    return answer.choices[0].message.content


class Scenarios:
    """One method per scenario, each with the clients that it may use."""

    def __init__(self, url: str) -> None:
        options: Any = {"base_url": f"{url}/v1", "api_key": "k", "max_retries": 0}
        self.plain = drop_in.OpenAI(**options)
        self.wrapped = wrap_openai(drop_in.OpenAI(**options), WrapOptions())
        self._options = options

    def drop_in_alone(self) -> None:
        ask(self.plain)

    def drop_in_on_a_wrapped_client(self) -> None:
        ask(self.wrapped)

    def drop_in_on_a_wrapped_client_with_a_name(self) -> None:
        self.wrapped.chat.completions.create(model="gpt-4o", messages=MESSAGES, name="mine", metadata={"k": "v"})  # type: ignore[call-overload]

    def drop_in_on_a_wrapped_client_streamed(self) -> None:
        stream = self.wrapped.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    def drop_in_on_a_wrapped_async_client(self) -> None:
        async def main() -> None:
            async with wrap_openai(drop_in.AsyncOpenAI(**self._options), WrapOptions()) as client:
                await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
                stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
                async for _ in stream:
                    pass

        asyncio.run(main())

    def drop_in_on_a_wrapped_client_that_fails(self) -> None:
        try:
            self.wrapped.chat.completions.create(model="fails", messages=MESSAGES)
        except openai.APIStatusError:
            return

    def drop_in_on_an_instrumented_client(self) -> None:
        instrument_openai()
        try:
            ask(self.plain)
        finally:
            uninstrument("openai")

    def our_call_around_the_drop_in(self) -> None:
        call = announce(LLMCall(messages=MESSAGES, model="gpt-4o"))
        answer = self.plain.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        call.end(OPENAI_CHAT.response(answer))

    def our_decorator_around_the_drop_in(self) -> None:
        @trace_llm(model="gpt-4o")
        def question(messages: Any) -> str:
            return ask(self.plain)

        question(MESSAGES)

    def their_langchain_handler_around_an_instrumented_client(self) -> None:
        model = self._langchain_model()
        handler = import_module("langfuse.langchain").CallbackHandler()
        instrument_openai()
        try:
            model.invoke("Hello", config={"callbacks": [handler]})
        finally:
            uninstrument("openai")

    def their_langchain_handler_before_ours(self) -> None:
        handler = import_module("langfuse.langchain").CallbackHandler()
        ours = import_module("looopy_otel.instrument.langchain.handler").LangChainHandler()
        self._langchain_model().invoke("Hello", config={"callbacks": [handler, ours]})

    def their_langchain_handler_after_ours(self) -> None:
        handler = import_module("langfuse.langchain").CallbackHandler()
        ours = import_module("looopy_otel.instrument.langchain.handler").LangChainHandler()
        self._langchain_model().invoke("Hello", config={"callbacks": [ours, handler]})

    def _langchain_model(self) -> Any:
        return import_module("langchain_openai").ChatOpenAI(model="gpt-4o", **self._options)

    def observed_around_ours(self) -> None:
        @observe()
        def handle() -> str:
            return ask(self.wrapped)

        handle()

    def observed_as_generation_around_ours(self) -> None:
        @observe(as_type="generation")
        def handle() -> str:
            return ask(self.wrapped)

        handle()

    def observed_inside_ours(self) -> None:
        @observe()
        def inside() -> str:
            return ask(self.wrapped)

        with lo.span("ours"):
            inside()

    def suppressed(self) -> None:
        with suppressed():
            ask(self.wrapped)


def lines(node: Node, depth: int = 0) -> Iterator[str]:
    """What a user of Langfuse sees: type, tokens, and which rows count as roots."""
    span, attributes = node.span, node.span.attributes
    usage = json.loads(attributes.get("langfuse.observation.usage_details") or "{}")
    whose = "theirs" if span.scope == "langfuse-sdk" else "ours"
    total = usage.get("total") or usage.get("total_tokens")
    marks = [f"{total} tokens"] if total else []
    marks += ["root"] if span.parent_id is None or "langfuse.internal.is_app_root" in attributes else []
    kind = attributes.get("langfuse.observation.type")
    yield "  " * depth + " ".join([f"{span.name}: {whose}, {kind}", *(f"({mark})" for mark in marks)])
    for child in node.children:
        yield from lines(child, depth + 1)


def answer(request: Any) -> Answer:
    return Answer(status=500, text="broken") if request.json.get("model") == "fails" else Answer(usage=(11, 7))


def arrived(sink: OTLPSink, scenario: Callable[[], None], telemetry: lo.Telemetry, langfuse: Langfuse) -> list[str]:
    """Runs one scenario; tells what came of it."""
    before = {span.span_id for span in sink.spans}
    scenario()
    telemetry.flush(10)
    langfuse.flush()
    trees = build(span for span in sink.spans if span.span_id not in before)
    return [line for tree in trees for line in lines(tree)]


def main(provider: str) -> None:
    guard.raising = True
    found: dict[str, list[str]] = {}
    with ModelServer(answer) as server, OTLPSink() as sink, tempfile.TemporaryDirectory() as directory:
        langfuse = Langfuse(
            public_key="pk-1",
            secret_key="sk-1",
            base_url=sink.url,
            tracer_provider=TracerProvider() if provider == "own" else None,
        )
        scenarios = Scenarios(server.url)
        names = [name for name in vars(Scenarios) if not name.startswith("_")]
        for project in ("pk-1", "pk-2"):
            with lo.configure(
                exporters="langfuse",
                langfuse_public_key=project,
                langfuse_secret_key="sk",
                langfuse_base_url=sink.url,
                spool_directory=os.path.join(directory, project),
                capture="full",
            ) as telemetry:
                for name in names:
                    found[f"{project} {name}"] = arrived(sink, getattr(scenarios, name), telemetry, langfuse)
        found["off"] = arrived(sink, scenarios.drop_in_on_a_wrapped_client, telemetry, langfuse)
        langfuse.shutdown()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
