"""The public test kit, used as a user would."""

from __future__ import annotations

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.core.guard import guard
from looopy_otel.providers import Reply, ScriptedProvider
from looopy_otel.testing import capture_spans


def double(x: int) -> int:
    """Double a number."""
    return 2 * x


def test_an_agent_run_in_outline() -> None:
    provider = ScriptedProvider([Reply(tool_calls=(("double", {"x": 21}),)), Reply(text="42")])
    agent = AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[FunctionTools([double])])
    with capture_spans() as captured:
        assert agent.run("Double 21").trace_id is not None
    assert captured.outline() == [
        "agent.execute",
        "  agent.iteration",
        "    llm.call",
        "    tool.execute",
        "  agent.iteration",
        "    llm.call",
    ]
    assert captured.attributes("tool.execute")["agent.tool.name"] == "double"
    with pytest.raises(LookupError, match="2 spans are called"):
        captured.span("llm.call")


def test_one_dialect_and_no_content() -> None:
    with capture_spans(capture="metadata", dialects=["seed"]) as captured, lo.span("step", input="hello"):
        pass
    assert captured.attributes("step")["looopy.input.bytes"] == 5
    assert not [key for key in captured.attributes("step") if key.startswith("langfuse.observation.input")]


@pytest.mark.parametrize("before", [False, True])
def test_faults_are_raised_inside_and_as_before_outside(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "raising", before)
    with capture_spans():
        assert guard.raising
    assert guard.raising is before
