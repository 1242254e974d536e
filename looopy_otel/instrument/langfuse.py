"""``langfuse.openai``, Langfuse's LangChain handler, and our own recording of the same call: one generation.

What a user sees in Langfuse, by what stands around what. *Same project* means that the Langfuse SDK and one of our
destinations use the same public key; where they differ, each project has its own, single generation, and nothing here
applies.

==========================================  ==============================================================
``langfuse.openai`` on a client of ours     our generation; Langfuse's own is withdrawn, since ours carries the cost
                                            and is what metrics, budgets and the local store count
a call of ours around ``langfuse.openai``   the same (the LiteLLM SDK, which calls the OpenAI SDK, is one)
``trace_llm`` around ``langfuse.openai``    Langfuse's generation, which knows the tokens, under a step of ours
``@observe`` around a call of ours          the user's observation with our generation under it; the trace has one root,
                                            theirs
``@observe`` inside an agent or span        one tree, one root: ours
``@observe(as_type="generation")``          stays the generation that the user made it, with ours under it; only ours
around a call of ours                       has tokens, unless the user gives it some: then plain ``@observe`` is right
Langfuse's LangChain handler around a call  a plain span of the model's name, with our generation under it, or around
of ours, or beside our LangChain handler    it; ``langfuse_prompt`` stays on theirs. Not where LangChain runs their
                                            handler in a thread of its own, outside of our call: in ``ainvoke`` and
                                            ``astream`` over an instrumented client. Use ours there
==========================================  ==============================================================

The ``langfuse_prompt`` that a call of the drop-in names is withdrawn with its generation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import innermost
from looopy_otel.instrument.patching import is_instrumented, patch
from looopy_otel.record.context import Ownership
from looopy_otel.record.langfuse_sdk import Generation, demote, is_generation_of_langchain, withdraw
from looopy_otel.record.nesting import enclosing_call
from looopy_otel.record.recorder import SpanRecorder

_NAME: Final = "langfuse"
_DROP_IN: Final = f"{_NAME}.openai"
_LANGCHAIN: Final = f"{_NAME}.langchain.CallbackHandler"
_WRAPPERS: Final = frozenset({"_wrap", "_wrap_async"})
_DEPTH: Final = 60
"""Frames between the start of a call and the method of the OpenAI SDK that the drop-in has patched; about twelve."""


def one_generation(ownership: Ownership, around: Generation | None) -> None:
    """Called at the start of an LLM call of ours: what Langfuse's integrations record of it is no generation.

    Args:
        ownership: Tells which projects are ours.
        around: What stood around the call.
    """
    if not ownership.feeds_langfuse:
        return
    _without_langchains(ownership, around)
    _without_the_drop_ins(ownership)


def _without_langchains(ownership: Ownership, around: Generation | None) -> None:
    """Demotes what their LangChain handler has made current around the call, or will inside it."""
    module = sys.modules.get(_LANGCHAIN)
    if module is None:
        return
    handler = module.LangchainCallbackHandler
    if not is_instrumented(_LANGCHAIN) and hasattr(handler, "_attach_observation"):
        patch(_LANGCHAIN, handler, "_attach_observation", _asking_handler(handler._attach_observation))
    if around is not None and ownership.shares_langfuse(around):
        demote(around)


def _asking_handler(attach: Callable[..., Any]) -> Callable[..., Any]:
    """``_attach_observation`` of their handler, for one that asks whether its generation is one already."""

    def attach_observation(self: Any, run_id: Any, observation: Any) -> Any:
        with guard("observer.langchain"):
            call, span = enclosing_call(innermost()), observation._otel_span
            if call is not None and is_generation_of_langchain(span):
                if call.ownership.shares_langfuse(span):
                    demote(span)
                # Not made current: theirs ends after ours, and would put back a context of ours that is over.
                self._runs[run_id] = observation
                return None
        return attach(self, run_id, observation)

    return attach_observation


def _without_the_drop_ins(ownership: Ownership) -> None:
    """Withdraws what ``langfuse.openai`` records; not made current, so it is looked for where it is: up the stack."""
    drop_in = sys.modules.get(_DROP_IN)
    if drop_in is None:
        return
    if not is_instrumented(_NAME):
        patch(_NAME, drop_in, "get_client", _asking(vars(drop_in)["get_client"]))
    generation = _generation_around(sys._getframe(2))  # pyright: ignore[reportPrivateUsage]
    span: Any = getattr(generation, "_otel_span", None)
    if span is not None and ownership.shares_langfuse(span):
        withdraw(span)


def _generation_around(frame: FrameType | None) -> object:
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_code.co_name in _WRAPPERS and frame.f_globals.get("__name__") == _DROP_IN:
            return frame.f_locals.get("generation")
        frame = frame.f_back
    return None


def _asking(get_client: Callable[..., Any]) -> Callable[..., Any]:
    """``get_client`` as the drop-in calls it, for a client that asks whether its generation is one already."""

    def get_asking_client(*args: Any, **options: Any) -> Any:
        client = get_client(*args, **options)
        call = enclosing_call(innermost())
        return client if call is None else _AskingClient(client, call)

    return get_asking_client


class _AskingClient:
    """The one method of a Langfuse client that the drop-in uses."""

    def __init__(self, client: Any, call: SpanRecorder) -> None:
        self._client = client
        self._call = call

    def start_observation(self, **options: Any) -> Any:
        generation = self._client.start_observation(**options)
        span: Any = getattr(generation, "_otel_span", None)
        if span is not None and self._call.ownership.shares_langfuse(span) and self._call.keeps():
            withdraw(span)
        return generation
