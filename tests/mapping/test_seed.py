"""The seed dialect: whole spans in the names that came first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.mapping import seed
from tests.mapping import drafts
from tests.mapping.drafts import DEPLOYMENT, DRAFTS

EXPECTED: dict[str, dict[str, Any]] = {
    "agent": {
        **drafts.AGENT_SCALARS,
        "input": "1+1?",
        "output": "2",
        "looopy.metadata.plan": "gold",
        "looopy.metadata.steps": "[1,2]",
    },
    "iteration": {**drafts.ITERATION_SCALARS, "input": drafts.MESSAGES_JSON, "output": drafts.ASKING_JSON},
    "llm": {
        **drafts.LLM_SCALARS,
        "gen_ai.prompt": drafts.MESSAGES_JSON,
        "gen_ai.completion": drafts.ASKING_JSON,
        "looopy.metadata.attempt": 1,
    },
    "answer": {
        **drafts.LLM_SCALARS,
        "llm.finish_reason": "stop",
        "gen_ai.prompt": drafts.MESSAGES_JSON,
        "gen_ai.completion": "2",
        "looopy.metadata.attempt": 1,
    },
    "embedding": {
        **drafts.EMBEDDING_SCALARS,
        "gen_ai.prompt": '["a","b"]',
        "gen_ai.completion": '{"embeddings":2,"dimensions":256}',
    },
    "failed call": {**drafts.FAILED_CALL_SCALARS, "gen_ai.prompt": drafts.MESSAGES_JSON},
    "unrecorded call": drafts.UNRECORDED_CALL_SCALARS,
    "tool": {**drafts.TOOL_SCALARS, "gen_ai.tool.name": "calculate", "input": '{"expression":"1+1"}', "output": "2"},
    "failed tool": {
        **drafts.TOOL_SCALARS,
        "error.type": "ValueError",
        "gen_ai.tool.name": "calculate",
        "input": "not json",
        "output": "Error: bad",
    },
    "attempt": drafts.ATTEMPT_ATTRIBUTES,
    "step": {**drafts.STEP_SCALARS, "input": '{"q":1}', "output": "[1]", "looopy.metadata.k": "v"},
}


@pytest.mark.parametrize("kind", DRAFTS)
def test_whole_span(kind: str) -> None:
    assert seed.attributes(DRAFTS[kind], DEPLOYMENT) == EXPECTED[kind]


@pytest.mark.parametrize(
    ("output", "completion"),
    [
        ("plain", "plain"),
        ({"role": "assistant", "content": "text"}, "text"),
        ([{"role": "assistant", "content": "a", "reasoning_content": "r"}],
         '{"role":"assistant","content":"a","reasoning_content":"r"}'),
        ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
         '[{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}]'),
        ([{"role": "assistant", "content": None}], '{"role":"assistant","content":null}'),
        (None, None),
    ],
)  # fmt: skip
def test_completion(output: Any, completion: str | None) -> None:
    sent = seed.attributes(replace(drafts.LLM, output=output), DEPLOYMENT)
    assert sent.get("gen_ai.completion") == completion
