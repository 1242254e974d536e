"""Rendering: the union of dialects, values fit for the wire, and whose keys they are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.draft import Cost, Draft, Failure, LLMDraft, Shape
from looopy_otel.core.identity import Identity
from looopy_otel.core.settings import Deployment, Dialect
from looopy_otel.core.usage import Usage
from looopy_otel.mapping import genai, langfuse, seed
from looopy_otel.mapping.render import is_own, render
from tests.mapping import drafts
from tests.mapping.drafts import DEPLOYMENT, DRAFTS
from tests.mapping.test_content import json_values

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


@pytest.mark.parametrize("kind", DRAFTS)
def test_several_dialects_are_their_union_and_agree_on_shared_names(kind: str) -> None:
    draft = DRAFTS[kind]
    alone = [module.attributes(draft, DEPLOYMENT) for module in (genai, langfuse, seed)]
    together = render(draft, DEPLOYMENT, ("genai", "langfuse", "seed"))
    assert all(together[key] == value for one in alone for key, value in one.items())
    assert together.keys() == set().union(*alone)
    assert render(draft, DEPLOYMENT, ()) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", DRAFTS)
def test_identity_comes_first(kind: str, dialect: Dialect) -> None:
    assert next(iter(render(DRAFTS[kind], DEPLOYMENT, [dialect]))) == "session.id"


@pytest.mark.parametrize("outcome", ["cancelled", "abandoned"])
def test_who_was_cancelled_did_not_fail(outcome: Any) -> None:
    draft = replace(DRAFTS["failed call"], outcome=outcome)
    for dialect in DIALECTS:
        assert "error.type" not in render(draft, DEPLOYMENT, [dialect])


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("session.id", True),
        ("gen_ai.tool.name", True),
        ("langfuse.trace.metadata.x", True),
        ("llm.response.header.y", True),
        ("langfuse.observation.metadata.mine", False),
        ("http.route", False),
        ("gen_ai.prompt.name", False),
    ],
)
def test_whose_key_it_is(key: str, own: bool) -> None:
    assert is_own(key) is own


texts = st.text(max_size=8) | st.sampled_from(["\ud83d", "a/b", "\udcff"])
maybe_texts = st.none() | texts
mappings = st.dictionaries(texts, json_values, max_size=3)
counts = st.integers(0, 10**6)
identities = st.builds(
    Identity,
    session_id=maybe_texts,
    user_id=maybe_texts,
    tags=st.lists(texts, max_size=2).map(tuple),
    metadata=mappings,
    trace_name=maybe_texts,
    agent_id=maybe_texts,
    task_id=maybe_texts,
)
usages = st.builds(Usage, counts, counts, st.none() | counts, st.none() | counts)
shapes = st.none() | st.builds(Shape, counts, st.lists(texts, max_size=2).map(tuple))
common: Any = {
    "identity": identities,
    "root": st.booleans(),
    "input": json_values,
    "output": json_values,
    "input_shape": shapes,
    "output_shape": shapes,
    "metadata": mappings,
    "error": st.none() | st.builds(Failure, texts, texts),
}
calls = st.builds(
    LLMDraft,
    name=texts,
    start_time=st.integers(0, 2 * 10**18),
    end_time=st.integers(0, 2 * 10**18),
    system=maybe_texts,
    provider_name=maybe_texts,
    request_model=texts,
    response_model=maybe_texts,
    parameters=mappings,
    tools=st.none() | json_values,
    stream=st.booleans(),
    usage=st.none() | usages,
    cost=st.none() | st.builds(Cost, st.decimals(0, 10)),
    finish_reason=maybe_texts,
    response_headers=st.dictionaries(texts, texts, max_size=2),
    time_to_first_chunk=st.none() | st.floats(0, 100),
    server_port=st.none() | counts,
    outcome=st.sampled_from(["completed", "abandoned", "cancelled", "truncated", "error"]),
    answered=st.booleans(),
    **common,
)
deployments = st.builds(Deployment, maybe_texts, maybe_texts, maybe_texts)


@given(calls, deployments)
def test_every_value_of_a_call_is_fit_for_the_wire(draft: LLMDraft, deployment: Deployment) -> None:
    check(draft, deployment)


@given(st.sampled_from(sorted(DRAFTS)), st.fixed_dictionaries(common), deployments)
def test_every_value_of_other_kinds_is_fit_for_the_wire(kind: str, changes: Any, deployment: Deployment) -> None:
    check(replace(DRAFTS[kind], **changes), deployment)


def check(draft: Draft, deployment: Deployment) -> None:
    for dialect in DIALECTS:
        for key, value in render(draft, deployment, [dialect]).items():
            assert key
            assert key.encode()
            assert is_own(key) or key.startswith("langfuse.observation.metadata.")
            assert fit(value), (key, value)
            assert value != "" or key in ("langfuse.observation.input", "langfuse.observation.output")


def fit(value: object) -> bool:
    match value:
        case str():
            return bool(value.encode()) or not value
        case bool():
            return True
        case int():
            return abs(value) <= 2**53
        case float():
            return value == value and abs(value) != float("inf")
        case list():
            items = cast("list[object]", value)
            return bool(items) and all(isinstance(item, str) and item.encode() for item in items)
        case _:
            return False


def test_a_decimal_cost_is_a_double() -> None:
    cost = Cost(Decimal("0.0068"), source="provider")
    sent = render(replace(DRAFTS["llm"], cost=cost), DEPLOYMENT, ["seed"])
    assert type(sent["gen_ai.usage.cost"]) is float


PLAIN_VALUES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "arguments and a value": (
        {"question": "1+1?", "style": "short"},
        {"answer": 2},
        {
            "langfuse.observation.input": '{"question":"1+1?","style":"short"}',
            "langfuse.observation.output": '{"answer":2}',
            "gen_ai.prompt": '{"question":"1+1?","style":"short"}',
            "gen_ai.completion": '{"answer":2}',
            "gen_ai.input.messages": (
                '[{"role":"user","parts":[{"type":"text","content":"{\\"question\\":\\"1+1?\\",\\"style\\":\\"short\\"}"}]}]'
            ),
            "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"{\\"answer\\":2}"}]}]',
        },
    ),
    "texts": (
        "1+1?",
        "2",
        {
            "langfuse.observation.input": "1+1?",
            "langfuse.observation.output": "2",
            "gen_ai.prompt": "1+1?",
            "gen_ai.completion": "2",
            "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"1+1?"}]}]',
            "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"2"}]}]',
        },
    ),
    "a list of one value stays a list": (
        [1],
        [2],
        {
            "langfuse.observation.input": "[1]",
            "langfuse.observation.output": "[2]",
            "gen_ai.prompt": "[1]",
            "gen_ai.completion": "[2]",
            "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"[1]"}]}]',
            "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"[2]"}]}]',
        },
    ),
}


@pytest.mark.parametrize("case", PLAIN_VALUES)
def test_a_call_whose_content_is_no_conversation(case: str) -> None:
    given_input, output, content = PLAIN_VALUES[case]
    draft = replace(drafts.LLM, input=given_input, output=output, tools=None, finish_reason=None)
    sent = render(draft, DEPLOYMENT, ["langfuse", "genai", "seed"])
    assert {name: sent.get(name) for name in content} == content
    tools = render(replace(draft, tools=[drafts.TOOL]), DEPLOYMENT, ["langfuse"])
    assert str(tools["langfuse.observation.input"]).startswith('{"input":')
