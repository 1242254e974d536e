"""The OpenAI Agents SDK: its traces as agents, turns, model calls and tools.

::

    lo.instrument_openai_agents()                                   # all runs, until lo.uninstrument("openai_agents")
    agents.add_trace_processor(lo.OpenAIAgentsProcessor())          # the same by hand, beside the SDK's own exporter

What becomes what: a trace is a step of its workflow's name; an agent's span an agent's run (after a handoff the next
agent's run stands beside it); each call of the model begins a turn, which holds the tools that it asked for; generation
and response spans are model calls; function spans tools' runs; handoffs, guardrails, MCP listings and custom spans
steps. The trace's ``group_id`` is the session where none is given by `lo.session` (without one each trace is a session
of its own), and the workflow's name that of the trace.

Nothing is recorded where the SDK's own tracing is switched off (``OPENAI_AGENTS_DISABLE_TRACING``,
``RunConfig(tracing_disabled=True)``), and no content where it leaves that out (``trace_include_sensitive_data=False``).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from looopy_otel.core.errors import MissingExtraError
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import installed
from looopy_otel.core.identity import current_identity, new_task_id
from looopy_otel.core.operation import Step
from looopy_otel.instrument.openai_agents.recording import (
    OPEN,
    Opened,
    close_all,
    end,
    finish_span,
    forget,
    opened_span,
    raised,
)
from looopy_otel.instrument.patching import is_instrumented, undo_later
from looopy_otel.instrument.under import announce_under

try:
    from agents import TracingProcessor, set_trace_processors
    from agents.tracing import Span, Trace, get_trace_provider
    from agents.tracing.processors import default_processor
except ImportError as error:
    raise MissingExtraError("The OpenAI Agents SDK is not installed; pip install openai-agents") from error


class OpenAIAgentsProcessor(TracingProcessor):
    """Records the traces of the OpenAI Agents SDK: ``agents.add_trace_processor(OpenAIAgentsProcessor())``.

    It sends nothing anywhere by itself, and does nothing before `configure()`.
    """

    def on_trace_start(self, trace: Trace) -> None:
        """A workflow starts."""
        with guard("openai_agents.on_trace_start"):
            if installed() is None or trace.trace_id in OPEN:
                return
            here = current_identity()
            group = getattr(trace, "group_id", None)
            name = str(trace.name or "workflow")
            identity = replace(here, session_id=here.session_id or (str(group) if group else None))
            if here.task_id is None:
                # No agent's run is around the workflow: its spans share what a run's task would give them.
                root = here.root_task_id or (None if identity.session_id else new_task_id())
                identity = replace(identity, root_task_id=root, trace_name=here.trace_name or name)
            step = Step(name=name, identity=identity)
            recorder = announce_under(None, step)
            metadata = getattr(trace, "metadata", None)
            if metadata:
                recorder.record(metadata=metadata)
            OPEN[trace.trace_id] = Opened(recorder, step, identity, trace.trace_id)
            weakref.finalize(trace, forget, trace.trace_id).atexit = False

    def on_trace_end(self, trace: Trace) -> None:
        """A workflow has ended."""
        with guard("openai_agents.on_trace_end"):
            opened = OPEN.get(trace.trace_id)
            if opened is not None:
                error = raised(opened)
                close_all(trace.trace_id, error)
                end(opened, None, error)

    def on_span_start(self, span: Span[Any]) -> None:
        """A part of a workflow starts."""
        with guard("openai_agents.on_span_start"):
            if installed() is not None and span.span_id not in OPEN:
                outer = OPEN.get(span.parent_id or "") or OPEN.get(span.trace_id)
                OPEN[span.span_id] = opened_span(span, outer)

    def on_span_end(self, span: Span[Any]) -> None:
        """A part of a workflow has ended."""
        with guard("openai_agents.on_span_end"):
            opened = OPEN.pop(span.span_id, None)
            if opened is not None:
                finish_span(opened, span)

    def shutdown(self) -> None:
        """Nothing is held back here."""

    def force_flush(self) -> None:
        """Nothing is held back here; `Telemetry.flush` sends what is recorded."""


def instrument_openai_agents(*, export_to_openai: bool = False) -> None:
    """Records all runs of the OpenAI Agents SDK, until ``uninstrument("openai_agents")``.

    By itself the SDK sends every trace to OpenAI as soon as there is an API key. That ends with this call, since what
    is recorded goes where `configure()` says; `uninstrument` brings it back. Other processors stay.

    Args:
        export_to_openai: True leaves the SDK's exporter as it is.

    Raises:
        MissingExtraError: If the SDK is not installed.
    """
    if is_instrumented("openai_agents"):
        return
    ours, sender = OpenAIAgentsProcessor(), default_processor()
    before = _processors()
    kept = [processor for processor in before if export_to_openai or processor is not sender]
    set_trace_processors([*kept, ours])

    def restore() -> None:
        others = [processor for processor in _processors() if processor is not ours]
        set_trace_processors([sender, *others] if sender in before and sender not in others else others)

    undo_later("openai_agents", restore)


def _processors() -> Sequence[TracingProcessor]:
    """The processors at work now, which the SDK only lets be replaced."""
    several = getattr(get_trace_provider(), "_multi_processor", None)
    return tuple(getattr(several, "_processors", ()))
