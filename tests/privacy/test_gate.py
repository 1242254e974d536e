"""The gate: what each capture mode lets pass, over every field of a draft, and that it fails closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.draft import (
    AgentDraft,
    AttemptDraft,
    Draft,
    Failure,
    IterationDraft,
    LLMDraft,
    StepDraft,
    ToolDraft,
    draft_from_json,
    draft_to_json,
)
from looopy_otel.core.guard import guard
from looopy_otel.core.identity import Identity
from looopy_otel.core.secrets import FAILED
from looopy_otel.core.snapshot import Shape
from looopy_otel.core.usage import Usage
from looopy_otel.privacy.facts import CONTENT
from looopy_otel.privacy.gate import Gate
from looopy_otel.privacy.keys import is_secret_name
from tests.privacy.secrets import SECRETS

KEY, MARK = SECRETS["openai"][0], "[REDACTED:openai-key]"
IDENTITY = Identity(
    session_id="s", user_id="u", agent_id="a", task_id="t", tags=(f"tag {KEY}",), metadata={"note": KEY, "n": 1}
)
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "login",
            "description": f"as {KEY}",
            "parameters": {"type": "object", "properties": {"password": {"type": "string"}}},
        },
    }
]
CALL = LLMDraft(
    name="llm.call",
    start_time=1,
    end_time=2,
    identity=IDENTITY,
    input=[{"role": "user", "content": f"use {KEY}"}, {"role": "tool", "content": "ok"}],
    output=[{"role": "assistant", "content": f"no {KEY}"}],
    metadata={"deep": {"list": [KEY]}, "api_key": "hunter2", "plan": "gold"},
    error=Failure("LiteLLMAPIError", f"wrong key {KEY}"),
    request_model="gpt-4",
    parameters={"temperature": 0.7, "extra_headers": {"Authorization": f"Bearer {KEY}"}, "user": KEY},
    tools=TOOLS,
    usage=Usage(3, 2),
    response_headers={"x-litellm-call-id": "c", "x-litellm-model-group": KEY},
)
RUN = AgentDraft(
    name="agent.execute",
    start_time=1,
    end_time=2,
    identity=IDENTITY,
    input=f"hello {KEY}",
    output="392",
    outcome="failed",
    reason=f"wrong key {KEY}",
    cost=Decimal("0.1"),
)
TOOL = ToolDraft(
    name="tool.execute", start_time=1, end_time=2, identity=IDENTITY, input={"q": KEY, "password": 123}, output=KEY
)
DRAFTS: list[Draft] = [CALL, RUN, TOOL]


@pytest.mark.parametrize("draft", DRAFTS)
def test_full_lets_everything_pass(draft: Draft) -> None:
    assert Gate("full").draft(draft) is draft


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("capture", ["redacted", "metadata"])
def test_no_secret_is_left_anywhere(draft: Draft, capture: Any) -> None:
    passed = Gate(capture).draft(draft)
    assert KEY not in str(asdict(passed))
    assert "hunter2" not in str(asdict(passed))


def test_redacted_call() -> None:
    assert Gate("redacted").draft(CALL) == replace(
        CALL,
        identity=replace(IDENTITY, tags=(f"tag {MARK}",), metadata={"note": MARK, "n": 1}),
        input=[{"role": "user", "content": f"use {MARK}"}, {"role": "tool", "content": "ok"}],
        output=[{"role": "assistant", "content": f"no {MARK}"}],
        metadata={"deep": {"list": [MARK]}, "api_key": "[REDACTED:secret]", "plan": "gold"},
        error=Failure("LiteLLMAPIError", f"wrong key {MARK}"),
        parameters={"temperature": 0.7, "extra_headers": {"Authorization": "[REDACTED:secret]"}, "user": MARK},
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "login",
                    "description": f"as {MARK}",
                    "parameters": {"type": "object", "properties": {"password": {"type": "string"}}},
                },
            }
        ],
        response_headers={"x-litellm-call-id": "c", "x-litellm-model-group": MARK},
    )


def test_metadata_of_a_call_is_shapes_scalars_and_types() -> None:
    assert Gate("metadata").draft(CALL) == replace(
        CALL,
        identity=replace(IDENTITY, tags=(f"tag {MARK}",), metadata={"note": MARK, "n": 1}),
        input=None,
        output=None,
        input_shape=Shape(len(f'[{{"role":"user","content":"use {KEY}"}},{{"role":"tool","content":"ok"}}]'),
                          ("user", "tool")),
        output_shape=Shape(len(f'[{{"role":"assistant","content":"no {KEY}"}}]'), ("assistant",)),
        metadata={"api_key": "[REDACTED:secret]", "plan": "gold"},
        error=Failure("LiteLLMAPIError", "LiteLLMAPIError"),
        parameters={"temperature": 0.7},
        tools=None,
        response_headers={"x-litellm-call-id": "c", "x-litellm-model-group": MARK},
    )  # fmt: skip


def test_shapes_that_are_known_are_kept() -> None:
    shaped = replace(RUN, input=None, output=None, input_shape=Shape(7, ("user",)))
    passed = Gate("metadata").draft(shaped)
    assert (passed.input_shape, passed.output_shape) == (Shape(7, ("user",)), None)


@pytest.mark.parametrize(("reason", "kept"), [("max_iterations", "max_iterations"), ("it said: no", CONTENT)])
def test_a_reason_in_metadata_is_a_word(reason: str, kept: str) -> None:
    passed = Gate("metadata").draft(replace(RUN, reason=reason))
    assert isinstance(passed, AgentDraft)
    assert passed.reason == kept


def test_two_secret_keys_keep_both_entries() -> None:
    keys = [SECRETS["openai"][0], SECRETS["openai, letters only"][0]]
    passed = Gate("redacted").draft(replace(TOOL, input=dict.fromkeys(keys, "x")))
    assert passed.input == {MARK: "x", f"{MARK} 2": "x"}


FOREIGN: dict[str, Any] = {
    "http.request.header.authorization": ["Bearer x"],
    "url.full": "https://user:hunter2@host/x",
    "gen_ai.prompt.0.content": "hello",
    "gen_ai.input.messages": "[]",
    "exception.message": "it said hello",
    "db.query.text": "select 1",
    "note": "short",
    "essay": "word " * 100,
    "tags": ("a", KEY),
    "count": 3,
    "ok": True,
}


def test_foreign_attributes_redacted() -> None:
    assert Gate("full").attributes(FOREIGN) == FOREIGN
    assert Gate("redacted").attributes(FOREIGN) == {
        **FOREIGN,
        "http.request.header.authorization": "[REDACTED:secret]",
        "url.full": "https://[REDACTED:url-credentials]@host/x",
        "tags": ("a", MARK),
    }


def test_foreign_attributes_without_content() -> None:
    assert Gate("metadata").attributes({**FOREIGN, "kv": {"a": 1}, "raw": b"x"}) == {
        "http.request.header.authorization": "[REDACTED:secret]",
        "url.full": "https://[REDACTED:url-credentials]@host/x",
        "note": "short",
        "essay": CONTENT,
        "tags": ["a", MARK],
        "count": 3,
        "ok": True,
        "kv": CONTENT,
        "raw": CONTENT,
    }


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        ('{"input": 3, "output": 2.5}', '{"input": 3, "output": 2.5}'),
        ('{"who": "Jane"}', CONTENT),
        ('{"Jane Doe": 1}', CONTENT),
        (' ["Jane"]', CONTENT),
        ("[1, 2]", CONTENT),
        ('{"cut off": "Ja', CONTENT),
        ([{"a": 1}, "b"], [CONTENT, "b"]),
        (CONTENT, CONTENT),
        (f"{MARK} and more", f"{MARK} and more"),
    ],
)
def test_text_that_is_a_structure_is_a_structure(value: Any, passed: Any) -> None:
    assert Gate("metadata").attributes({"x": value}) == {"x": passed}


def test_keys_are_redacted_too() -> None:
    attributes = {f"note.{KEY}": 1, f"other.{KEY}": 2}
    for capture in ("redacted", "metadata"):
        assert Gate(capture).attributes(attributes) == {f"note.{MARK}": 1, f"other.{MARK}": 2}
    assert Gate("full").attributes(attributes) == attributes


FREE = {"str", "str | None"}


@pytest.mark.parametrize("capture", ["redacted", "metadata"])
@pytest.mark.parametrize("kind", [AgentDraft, AttemptDraft, IterationDraft, LLMDraft, StepDraft, ToolDraft])
def test_every_field_that_may_hold_any_text_is_redacted(kind: type[Any], capture: Any) -> None:
    names = [field.name for field in fields(kind) if field.type in FREE]
    passed = Gate(capture).draft(kind(start_time=1, end_time=2, identity=IDENTITY, **dict.fromkeys(names, KEY)))
    assert {name: getattr(passed, name) for name in names} == dict.fromkeys(names, MARK)
    mine: dict[str, Any] = dict.fromkeys((field.name for field in fields(Identity) if field.type in FREE), KEY)
    identity = Gate(capture).draft(replace(RUN, identity=Identity(**mine))).identity
    assert {name: getattr(identity, name) for name in mine} == dict.fromkeys(mine, MARK)


@pytest.mark.parametrize(
    "word", ["gpt-4-0613", "get_weather", "openai/gpt-4o:free", "local.<locals>.Error", MARK, "::1"]
)
def test_names_pass_where_content_does_not(word: str) -> None:
    passed = Gate("metadata").draft(replace(TOOL, tool_name=word, error=Failure(word, "it said so")))
    assert isinstance(passed, ToolDraft)
    assert (passed.tool_name, passed.error) == (word, Failure(word, word))


@pytest.mark.parametrize("text", ["the patient is Jane", "患者は花子さんです", "x" * 129, "a\nb"])
def test_what_looks_like_no_name_is_content(text: str) -> None:
    passed = Gate("metadata").draft(replace(CALL, finish_reason=text, response_headers={"x-litellm-call-id": text}))
    assert isinstance(passed, LLMDraft)
    assert (passed.finish_reason, passed.response_headers) == (CONTENT, {"x-litellm-call-id": CONTENT})
    assert Gate("metadata").text(text) == CONTENT


def test_free_text() -> None:
    text = f"wrong key {KEY}"
    assert Gate("full").text(text) == text
    assert Gate("redacted").text(text) == f"wrong key {MARK}"
    assert Gate("metadata").text(text) == CONTENT
    assert Gate("metadata").text("") == ""
    assert Gate("metadata").text("ValueError") == "ValueError"
    assert Gate("metadata").text(CONTENT) == CONTENT
    assert Gate("metadata").text(KEY) == MARK


def test_names_are_no_content() -> None:
    for capture in ("redacted", "metadata"):
        assert Gate(capture).name("look up the weather") == "look up the weather"
        assert Gate(capture).name(f"GET /{KEY}") == f"GET /{MARK}"
    assert Gate("full").name(KEY) == KEY


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Faults are swallowed and counted, as in production."""
    monkeypatch.setattr(guard, "raising", False)
    guard.faults.pop("privacy.gate", None)
    yield
    assert guard.faults.pop("privacy.gate") > 0


def broken(text: str) -> str:
    raise RuntimeError("the redactor is broken")


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("capture", ["redacted", "metadata"])
def test_a_broken_redactor_lets_no_text_pass(draft: Draft, capture: Any) -> None:
    passed = Gate(capture, redact=broken).draft(draft)
    for secret in (KEY, "hunter2", "hello", "392", "gold"):
        assert secret not in str(asdict(passed))
    if capture == "redacted":
        assert passed.input == passed.output == FAILED
    assert passed.identity.session_id == FAILED
    assert draft_from_json(draft_to_json(passed)) == passed


@pytest.mark.usefixtures("counted")
def test_a_broken_redactor_lets_no_attribute_pass() -> None:
    gate = Gate("redacted", redact=broken)
    assert gate.attributes({"note": "x", "count": 3}) == {FAILED: FAILED, f"{FAILED} 2": 3}
    assert gate.text("x") == FAILED


@pytest.mark.usefixtures("counted")
def test_content_too_deep_to_walk_does_not_pass() -> None:
    deep: Any = KEY
    for _ in range(20_000):
        deep = [deep]
    assert Gate("redacted").draft(replace(TOOL, input=deep)).input == FAILED
    while isinstance(deep, list):
        deep = deep.pop()  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize(
    "name",
    ["authorization", "Proxy-Authorization", "api_key", "X-Api-Key", "OPENAI_API_KEY", "apikey", "password",
     "db_password", "client_secret", "clientSecret", "access_token", "token", "cookie", "set-cookie", "private_key",
     "http.request.header.authorization"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "prompt_tokens", "author", "keyboard", "tokenizer", "key", "passage"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize("kept", [None, True, "", {}, [], {"type": "string"}])
def test_what_cannot_be_a_secret_stays_under_its_name(kept: Any) -> None:
    assert Gate("redacted").attributes({"password": kept}) == {"password": kept}


def planted(secret: str) -> st.SearchStrategy[Any]:
    """Any structure with the secret somewhere in it: as a value, inside a text, or as a key."""
    leaf = st.sampled_from([secret, f"see {secret}.", f'{{"a": "{secret}"}}'])
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.text(max_size=4) | st.just(secret), inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    )


@given(
    st.sampled_from(sorted(SECRETS)).flatmap(lambda name: st.tuples(st.just(SECRETS[name]), planted(SECRETS[name][0])))
)
def test_a_planted_secret_is_found_in_any_structure(case: tuple[tuple[str, str], Any]) -> None:
    (secret, marker), content = case
    gate = Gate("redacted")
    once = gate.draft(replace(TOOL, input=content, output=content))
    assert secret not in str(once.input)
    assert marker in str(once.input)
    assert gate.draft(once) == once


scalars = st.none() | st.integers() | st.floats(allow_nan=False) | st.text("abc äß\n", max_size=9)
ordinary = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
)


@given(ordinary)
def test_ordinary_content_is_left_alone(content: Any) -> None:
    assert Gate("redacted").draft(replace(TOOL, input=content)).input == content


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("capture", ["full", "redacted", "metadata"])
def test_passing_twice_is_passing_once(draft: Draft, capture: Any) -> None:
    gate = Gate(capture)
    once = gate.draft(draft)
    assert gate.draft(once) == once
