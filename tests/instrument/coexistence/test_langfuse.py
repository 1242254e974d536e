"""What a user sees in Langfuse where its SDK runs in the same process: one generation per call, one root per trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langfuse")
pytest.importorskip("openai")
pytest.importorskip("langchain_openai")

ROOT = Path(__file__).parents[3]
OURS = "llm.call: ours, generation (18 tokens)"
THEIRS = "OpenAI-generation: theirs, generation (18 tokens)"

SAME_PROJECT = {
    "drop_in_alone": [f"{THEIRS} (root)"],
    "drop_in_on_a_wrapped_client": [f"{OURS} (root)"],
    "drop_in_on_a_wrapped_client_with_a_name": [f"{OURS} (root)"],
    "drop_in_on_a_wrapped_client_streamed": [f"{OURS} (root)"],
    "drop_in_on_a_wrapped_async_client": [f"{OURS} (root)", f"{OURS} (root)"],
    "drop_in_on_a_wrapped_client_that_fails": ["llm.call: ours, generation (root)"],
    "drop_in_on_an_instrumented_client": [f"{OURS} (root)"],
    "our_call_around_the_drop_in": [f"{OURS} (root)"],
    "our_decorator_around_the_drop_in": ["question: ours, span (root)", f"  {THEIRS}"],
    "their_langchain_handler_around_an_instrumented_client": ["ChatOpenAI: theirs, span (root)", f"  {OURS}"],
    "their_langchain_handler_before_ours": ["ChatOpenAI: theirs, span (root)", f"  {OURS}"],
    "their_langchain_handler_after_ours": [f"{OURS} (root)", "  ChatOpenAI: theirs, span"],
    "observed_around_ours": ["handle: theirs, span (root)", f"  {OURS}"],
    "observed_as_generation_around_ours": ["handle: theirs, generation (root)", f"  {OURS}"],
    "observed_inside_ours": ["ours: ours, span (root)", "  inside: theirs, span", f"    {OURS}"],
    "suppressed": [f"{THEIRS} (root)"],
}

OTHER_PROJECT = {
    "drop_in_on_a_wrapped_client": [f"{THEIRS} (root)", f"{OURS} (root)"],
    "our_call_around_the_drop_in": [f"{OURS} (root)", f"  {THEIRS} (root)"],
    "observed_inside_ours": [
        "ours: ours, span (root)",
        "  inside: theirs, span (root)",
        f"    {THEIRS}",
        f"    {OURS} (root)",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["own", "global"])
def test_each_call_is_one_generation_in_one_project(provider: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.instrument.coexistence.langfuse_scenarios", provider],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: found[f"pk-1 {name}"] for name in SAME_PROJECT} == SAME_PROJECT
    assert {name: found[f"pk-2 {name}"] for name in OTHER_PROJECT} == OTHER_PROJECT
    assert found["off"] == [f"{THEIRS} (root)"]
