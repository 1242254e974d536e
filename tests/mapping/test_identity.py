"""The common set: what stands on every span."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.core.identity import NOBODY, Identity
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.identity import identity_attributes, langfuse_environment
from tests.mapping.drafts import COMMON, DEPLOYMENT, IDENTITY, ROOT_FLAGS


def test_everything_known() -> None:
    assert identity_attributes(IDENTITY, DEPLOYMENT, root=False) == COMMON
    assert identity_attributes(IDENTITY, DEPLOYMENT, root=True) == COMMON | ROOT_FLAGS


def test_nothing_known() -> None:
    assert identity_attributes(NOBODY, Deployment(), root=False) == {}


def test_a_task_is_a_session_but_no_conversation() -> None:
    sent = identity_attributes(Identity(agent_id="a", task_id="task_1"), Deployment(), root=False)
    assert sent == {
        "session.id": "task_1",
        "agent.id": "a",
        "agent.task.id": "task_1",
        "langfuse.trace.name": "a",
    }


@pytest.mark.parametrize(
    ("environment", "stored"),
    [
        ("production", "production"),
        ("Staging EU", "staging-eu"),
        ("langfuse-prod", "prod"),
        ("Langfuse_", None),
        ("dev.büro", "dev-b-ro"),
        ("x" * 50, "x" * 40),
        ("", None),
        (None, None),
    ],
)
def test_environment(environment: str | None, stored: str | None) -> None:
    assert langfuse_environment(environment) == stored


def test_metadata_keeps_scalars_and_writes_structures_as_json() -> None:
    metadata: dict[str, Any] = {
        "s": "x",
        "i": 1,
        "f": 0.5,
        "b": False,
        "d": {"k": [1]},
        "none": None,
        "": 1,
        "scope": "mine",
        "e": [],
    }
    sent = identity_attributes(replace(NOBODY, metadata=metadata), Deployment(), root=False)
    assert sent == {
        "langfuse.trace.metadata.s": "x",
        "langfuse.trace.metadata.i": 1,
        "langfuse.trace.metadata.f": 0.5,
        "langfuse.trace.metadata.b": False,
        "langfuse.trace.metadata.d": '{"k":[1]}',
        "langfuse.trace.metadata.scope_": "mine",
    }


def test_odd_values_stay_fit_for_the_wire() -> None:
    odd = Identity(
        session_id="s\ud83d",
        tags=("a", "a", ""),
        metadata={"big": 2**60, "nan": float("nan"), "\udcff": "x"},
        trace_name="n" * 2000,
    )
    sent = identity_attributes(odd, Deployment(), root=False)
    assert sent == {
        "session.id": "s\ufffd",
        "gen_ai.conversation.id": "s\ufffd",
        "langfuse.trace.name": "n" * 1000,
        "langfuse.trace.tags": ["a"],
        "langfuse.trace.metadata.big": "1152921504606846976",
        "langfuse.trace.metadata.\ufffd": "x",
    }
