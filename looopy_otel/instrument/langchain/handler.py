"""LangChain and LangGraph: their runs as agents, turns, model calls and tools.

::

    graph.invoke(state, config={"callbacks": [lo.LangChainHandler()]})     # this run
    lo.instrument_langchain()                                              # all, until lo.uninstrument("langchain")

What becomes what:

- the run of a graph (LangGraph, ``create_agent``, ``create_react_agent``), also of one inside a node: an agent's run;
- a node that calls a model, LangChain's or a wrapped client, with the tools that it asks for: a turn; any other node: a
  step of its own name;
- a chat model or LLM: a model's call; a tool: a tool's run; a retriever: a step;
- a chain that is part of no graph: a step; chains inside others: nothing.

``thread_id`` (or ``session_id``) in the configuration is the session, and ``user_id`` the user, where none is given by
`lo.session`. A graph that waits for somebody (an interrupt) has not failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from looopy_otel.core.errors import MissingExtraError
from looopy_otel.core.guard import guard
from looopy_otel.core.types import MessageLike
from looopy_otel.instrument.langchain.reading import messages_of
from looopy_otel.instrument.langchain.recording import (
    RUNS,
    end_call,
    end_chain,
    end_tool,
    fail_chain,
    fail_tool,
    is_new,
    says_something,
    start_call,
    start_chain,
    start_retriever,
    start_tool,
    take_piece,
)
from looopy_otel.instrument.patching import is_instrumented, undo_later

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.tracers.context import register_configure_hook
except ImportError as error:
    raise MissingExtraError("LangChain is not installed; pip install langchain-core") from error


class LangChainHandler(BaseCallbackHandler):
    """Records what runs with it: ``config={"callbacks": [LangChainHandler()]}``.

    One handler serves any number of runs, sync and async, streamed or not, in any thread. A run that has several of
    them is recorded once. It does nothing before `configure()`.
    """

    run_inline = True
    """Called in the task that runs the model or the tool, so that what happens there belongs to it."""

    @property
    def raise_error(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """False: no fault of this library reaches the run, except under test."""
        return guard.raising

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A graph, a node or a chain starts."""
        with guard("langchain.on_chain_start"):
            if is_new(run_id):
                name = str(kwargs.get("name") or (serialized or {}).get("name") or "chain")
                start_chain(run_id, RUNS.get(parent_run_id), name, inputs, tags or (), metadata or {})

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph, a node or a chain has ended."""
        with guard("langchain.on_chain_end"):
            if (run := RUNS.get(run_id)) is not None:
                end_chain(run, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph, a node or a chain has failed, was cancelled, or waits for somebody."""
        with guard("langchain.on_chain_error"):
            if (run := RUNS.get(run_id)) is not None:
                fail_chain(run, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is called."""
        with guard("langchain.on_chat_model_start"):
            if is_new(run_id):
                asked = messages_of(messages[0] if messages else [])
                start_call(run_id, RUNS.get(parent_run_id), asked, serialized, metadata, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """An LLM is called that completes a text."""
        with guard("langchain.on_llm_start"):
            if is_new(run_id):
                asked: list[MessageLike] = [{"role": "user", "content": prompt} for prompt in prompts]
                start_call(run_id, RUNS.get(parent_run_id), asked, serialized, metadata, kwargs)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A piece of the answer arrived."""
        with guard("langchain.on_llm_new_token"):
            if (run := RUNS.get(run_id)) is not None:
                take_piece(run, delta=says_something(token, getattr(kwargs.get("chunk"), "message", None)))

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A part of the answer arrived, as an event."""
        with guard("langchain.on_stream_event"):
            if (run := RUNS.get(run_id)) is not None:
                take_piece(run, delta=cast("Mapping[str, Any]", event).get("event") == "content-block-delta")

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has answered."""
        with guard("langchain.on_llm_end"):
            if (run := RUNS.get(run_id)) is not None:
                end_call(run, response, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has failed, or nobody wants its answer any more."""
        with guard("langchain.on_llm_error"):
            if (run := RUNS.get(run_id)) is not None:
                end_call(run, kwargs.get("response"), error)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is called."""
        with guard("langchain.on_tool_start"):
            if is_new(run_id):
                name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
                arguments = inputs if inputs is not None else input_str
                start_tool(run_id, RUNS.get(parent_run_id), name, arguments, kwargs.get("tool_call_id"), metadata)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool has ended."""
        with guard("langchain.on_tool_end"):
            if (run := RUNS.get(run_id)) is not None:
                end_tool(run, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool has failed, or waits for somebody."""
        with guard("langchain.on_tool_error"):
            if (run := RUNS.get(run_id)) is not None:
                fail_tool(run, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A retriever is asked."""
        with guard("langchain.on_retriever_start"):
            if is_new(run_id):
                name = str(kwargs.get("name") or (serialized or {}).get("name") or "retriever")
                start_retriever(run_id, RUNS.get(parent_run_id), name, query, metadata)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A retriever has answered."""
        with guard("langchain.on_retriever_end"):
            run = RUNS.get(run_id)
            if run is not None and run.recorder is not None:
                run.recorder.record(output=documents)
                RUNS.finish(run)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A retriever has failed."""
        with guard("langchain.on_retriever_error"):
            if (run := RUNS.get(run_id)) is not None:
                RUNS.finish(run, error=error)


def instrument_langchain() -> None:
    """Records all runs of LangChain and LangGraph, without a handler of their own, until ``uninstrument("langchain")``.

    Raises:
        MissingExtraError: If LangChain is not installed.
    """
    if is_instrumented("langchain"):
        return
    if not _slot.registered:
        register_configure_hook(cast("Any", _slot), inheritable=True, handle_class=LangChainHandler)
        _slot.registered = True
    _slot.handler = LangChainHandler()
    undo_later("langchain", _slot.empty)


class _Slot:
    """The handler that every run gets, if any. LangChain asks it as a context variable, and never forgets it."""

    def __init__(self) -> None:
        self.handler: LangChainHandler | None = None
        self.registered = False

    def get(self) -> LangChainHandler | None:
        return self.handler

    def empty(self) -> None:
        self.handler = None


_slot = _Slot()
