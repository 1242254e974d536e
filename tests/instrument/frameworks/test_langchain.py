"""LangChain without a graph: models, chains, retrievers and tools by themselves."""

# ruff: noqa: E402 (what is imported must be there first)

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.require import require_packages

require_packages("langchain_core", "langchain_openai", "langgraph")

from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda

import looopy_otel as lo
from looopy_otel.core.hooks import innermost
from looopy_otel.instrument.langchain.handler import LangChainHandler
from looopy_otel.instrument.langchain.recording import RUNS
from looopy_otel.instrument.openai import instrument_openai
from looopy_otel.testing import CapturedSpans
from tests.instrument.frameworks.langgraph_agent import calculate, model_at
from tests.instrument.frameworks.scenario import decoded, named, told
from tests.support.model_server import Answer, ModelServer

WITH_HANDLER: Any = {"callbacks": [LangChainHandler()], "metadata": {"session_id": "s-1", "user_id": "u-1"}}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(Answer(text="Hello there, dear friend.", usage=(11, 7), cached=3, reasoning_tokens=2)) as running:
        yield running


@pytest.fixture(autouse=True)
def no_run_left() -> Iterator[None]:
    yield
    gc.collect()
    assert len(RUNS) == 0


def invoke(runnable: Any, value: Any) -> None:
    runnable.invoke(value, WITH_HANDLER)
    assert innermost() is None


def stream(runnable: Any, value: Any) -> None:
    for _ in runnable.stream(value, WITH_HANDLER):
        assert innermost() is None


def batch(runnable: Any, value: Any) -> None:
    runnable.batch([value], WITH_HANDLER)


def ainvoke(runnable: Any, value: Any) -> None:
    async def run() -> None:
        await runnable.ainvoke(value, WITH_HANDLER)
        assert innermost() is None

    asyncio.run(run())


def astream(runnable: Any, value: Any) -> None:
    async def run() -> None:
        async for _ in runnable.astream(value, WITH_HANDLER):
            assert innermost() is None
        assert innermost() is None

    asyncio.run(run())


def astream_events(runnable: Any, value: Any) -> None:
    async def run() -> None:
        async for _ in runnable.astream_events(value, WITH_HANDLER, version="v2"):
            assert innermost() is None

    asyncio.run(run())


WAYS = pytest.mark.parametrize("run", [invoke, stream, batch, ainvoke, astream, astream_events])


@WAYS
@pytest.mark.parametrize("instrumented", [False, True])
def test_a_model(
    run: Callable[[Any, Any], None], instrumented: bool, server: ModelServer, captured: CapturedSpans
) -> None:
    if instrumented:
        instrument_openai()

    run(model_at(server.url), "Hello!")

    assert captured.outline() == ["llm.call"]
    call = told(captured.span("llm.call"))
    assert call["session.id"] == "s-1"
    assert call["user.id"] == "u-1"
    assert call["gen_ai.usage.input_tokens"] == 11
    assert call["gen_ai.usage.output_tokens"] == 7
    assert call["gen_ai.usage.cache_read.input_tokens"] == 3
    assert call["llm.usage.source"] == "reported"
    assert call["llm.finish_reason"] == "stop"
    assert call["llm.outcome"] == "completed"
    assert decoded(captured.span("llm.call"), "gen_ai.prompt") == [{"role": "user", "content": "Hello!"}]
    assert call["gen_ai.completion"] == "Hello there, dear friend."


@WAYS
def test_a_chain_is_a_step(run: Callable[[Any, Any], None], server: ModelServer, captured: CapturedSpans) -> None:
    def shout(text: str) -> str:
        with lo.span("shouting"):
            return text.upper()

    prompt = ChatPromptTemplate.from_messages([("system", "Be nice."), ("user", "{question}")])
    chain = prompt | model_at(server.url) | StrOutputParser() | RunnableLambda(shout)

    run(chain.with_config(run_name="greet"), {"question": "Hello!"})

    assert captured.outline() == ["greet", "  llm.call", "  shouting"]
    assert told(captured.span("greet"))["session.id"] == "s-1"
    assert told(captured.span("llm.call"))["session.id"] == "s-1"
    assert told(captured.span("shouting"))["session.id"] == "s-1"
    assert told(captured.span("greet"))["output"] == "HELLO THERE, DEAR FRIEND."


def test_a_stream_that_nobody_reads_to_its_end(server: ModelServer, captured: CapturedSpans) -> None:
    chunks: Any = model_at(server.url).stream("Hello!", WITH_HANDLER)
    next(chunks)
    next(chunks)
    chunks.close()

    assert told(captured.span("llm.call"))["llm.outcome"] == "abandoned"
    assert captured.span("llm.call").status.is_unset
    assert "Hello" in told(captured.span("llm.call"))["gen_ai.completion"]


def test_a_stream_that_is_forgotten(server: ModelServer, captured: CapturedSpans) -> None:
    chunks: Any = model_at(server.url).stream("Hello!", WITH_HANDLER)
    next(chunks)
    del chunks
    gc.collect()

    assert told(captured.span("llm.call"))["llm.outcome"] == "abandoned"


async def test_an_async_stream_that_is_left(server: ModelServer, captured: CapturedSpans) -> None:
    chunks: Any = model_at(server.url).astream("Hello!", WITH_HANDLER)
    await anext(chunks)
    assert innermost() is None
    await asyncio.create_task(chunks.aclose())

    assert told(captured.span("llm.call"))["llm.outcome"] == "abandoned"


def test_a_stream_that_is_cut(server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(text="Hello there, dear friend.", end_after=3)

    for _ in model_at(server.url).stream("Hello!", WITH_HANDLER):
        pass

    assert told(captured.span("llm.call"))["llm.outcome"] == "truncated"
    assert not captured.span("llm.call").status.is_ok


def test_a_model_that_is_called_between_two_chunks(server: ModelServer, captured: CapturedSpans) -> None:
    instrument_openai()
    model = model_at(server.url)

    chunks: Any = model.stream("Hello!", WITH_HANDLER)
    next(chunks)
    model.invoke("And you?")
    for _ in chunks:
        pass

    assert captured.outline() == ["llm.call", "llm.call"]


@pytest.mark.parametrize("form", ["cancel", "timeout"])
async def test_a_call_that_is_cancelled(form: str, server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(stall_before=0)
    model = model_at(server.url)

    async def impatient() -> None:
        if form == "timeout":
            async with asyncio.timeout(0.3):
                await model.ainvoke("Hello!", WITH_HANDLER)
        else:
            await model.ainvoke("Hello!", WITH_HANDLER)

    if form == "timeout":
        with pytest.raises(TimeoutError):
            await impatient()
        server.script = Answer(text="Hi.")
        await model.ainvoke("Again!", WITH_HANDLER)
        assert innermost() is None
    else:
        task = asyncio.create_task(impatient())
        await asyncio.to_thread(server.stalled.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    first = named(captured, "llm.call")[0]
    assert captured.outline() == ["llm.call"] * (2 if form == "timeout" else 1)
    assert told(first)["llm.outcome"] == "cancelled"
    assert first.status.is_unset


@pytest.mark.filterwarnings("ignore:Unexpected type for token usage")
async def test_several_prompts_at_once(server: ModelServer, captured: CapturedSpans) -> None:
    from langchain_core.messages import HumanMessage

    instrument_openai()
    model = model_at(server.url)

    await model.agenerate([[HumanMessage("One")], [HumanMessage("Two")]], callbacks=WITH_HANDLER["callbacks"])
    assert innermost() is None
    await model.abatch(["Three", "Four"], WITH_HANDLER)
    model.batch(["Five", "Six"], WITH_HANDLER)

    assert captured.outline() == ["llm.call"] * 6


def test_a_model_that_completes_texts(captured: CapturedSpans) -> None:
    FakeListLLM(responses=["four"]).invoke("two and two", WITH_HANDLER)

    call = captured.span("llm.call")
    assert decoded(call, "gen_ai.prompt") == [{"role": "user", "content": "two and two"}]
    assert told(call)["gen_ai.completion"] == "four"
    assert told(call)["llm.usage.source"] == "missing"
    assert "gen_ai.usage.input_tokens" not in told(call)


class Shelf(BaseRetriever):
    """Finds the one book it has."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if query == "nothing":
            raise LookupError("empty")
        return [Document(page_content="A book")]


def test_a_retriever_is_a_step(captured: CapturedSpans) -> None:
    Shelf().invoke("books", WITH_HANDLER)
    with pytest.raises(LookupError):
        Shelf().invoke("nothing", WITH_HANDLER)

    found, failed = named(captured, "Shelf")
    assert told(found)["input"] == "books"
    assert "A book" in told(found)["output"]
    assert told(failed)["error.type"] == "LookupError"


async def test_a_tool_by_itself(captured: CapturedSpans) -> None:
    calculate.invoke({"expression": "6*7"}, WITH_HANDLER)
    await calculate.ainvoke({"expression": "6*7"}, WITH_HANDLER)
    assert innermost() is None

    assert captured.outline() == ["tool.execute", "  reckon", "tool.execute", "  reckon"]
    for tool in named(captured, "tool.execute"):
        assert told(tool)["agent.tool.name"] == "calculate"
        assert decoded(tool, "input") == {"expression": "6*7"}
        assert told(tool)["output"] == "42"


def test_with_metadata_capture_no_content_is_told(server: ModelServer) -> None:
    from looopy_otel.testing import capture_spans

    with capture_spans(capture="metadata") as captured:
        model_at(server.url).invoke("a secret", WITH_HANDLER)

    assert "a secret" not in str([told(span) for span in captured.spans()])


def test_a_batch_of_several_chains_is_as_many_trees(server: ModelServer, captured: CapturedSpans) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | model_at(server.url)
    chain.batch([{"q": "Hello!"}, {"q": "Good day!"}, {"q": "Hi!"}], WITH_HANDLER)
    assert innermost() is None
    assert captured.outline() == ["RunnableSequence", "  llm.call"] * 3
