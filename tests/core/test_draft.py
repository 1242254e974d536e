"""Drafts in their stored form: what is written is read back equal, whatever users put in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from looopy_otel.core.draft import (
    AgentDraft,
    AttemptDraft,
    Cost,
    Draft,
    Failure,
    IterationDraft,
    LLMDraft,
    Shape,
    StepDraft,
    ToolDraft,
    draft_from_json,
    draft_to_json,
)
from looopy_otel.core.identity import Identity
from looopy_otel.core.usage import Usage

BASE: dict[str, Any] = {
    "start_time": 1_700_000_000_000_000_000,
    "end_time": 1_700_000_001_000_000_000,
    "identity": Identity(session_id="s", tags=("a", "b"), metadata={"tier": "pro"}, task_id="t"),
}


@pytest.mark.parametrize(
    "draft",
    [
        AgentDraft(name="agent.execute", **BASE, usage=Usage(1, 2), cost=Decimal("0.0145"), outcome="failed"),
        IterationDraft(name="agent.iteration", **BASE, number=3, error=Failure("E", "m")),
        LLMDraft(
            name="llm.call",
            **BASE,
            input=[{"role": "user", "content": "héllo"}],
            cost=Cost(Decimal("0.1"), source="price-table", table="1"),
            parameters={"temperature": 0.7},
            input_shape=Shape(5, ("user",)),
        ),
        ToolDraft(name="tool.execute", **BASE, input={"a": [1, None]}, tool_name="f", call_id="c"),
        AttemptDraft(name="llm.attempt", **BASE, number=2, delay=0.5),
        StepDraft(name="mine", **BASE, output="x"),
    ],
)
def test_there_and_back(draft: Draft) -> None:
    assert draft_from_json(draft_to_json(draft)) == draft


def test_what_json_cannot_say_becomes_text() -> None:
    draft = StepDraft(name="mine", **BASE, input={"cut\ud83d": "lone \ud83d end", "pair": "\ud83d\ude00"}, output=2**80)
    stored = draft_from_json(draft_to_json(draft))
    assert stored.input == {"cut\ufffd": "lone \ufffd end", "pair": "😀"}
    assert stored.output == str(2**80)


def test_what_is_no_draft_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        draft_from_json("{}")
