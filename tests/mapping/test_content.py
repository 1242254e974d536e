"""Content: the conventions' message shapes, and JSON that never fails."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.mapping.content import TOO_DEEP, encode_json, genai_messages, genai_tools, json_object, text_of

PNG = "iVBORw0KGgo="


MESSAGES: list[tuple[dict[str, Any], list[Any]]] = [
    ({"role": "user", "content": "hi"}, [{"type": "text", "content": "hi"}]),
    ({"role": "assistant", "content": None}, []),
    ({"role": "assistant", "content": "a", "reasoning_content": "think"},
     [{"type": "reasoning", "content": "think"}, {"type": "text", "content": "a"}]),
    ({"role": "assistant", "content": None, "refusal": "no"}, [{"type": "refusal", "content": "no"}]),
    ({"role": "tool", "content": "392", "tool_call_id": "c1"},
     [{"type": "tool_call_response", "response": "392", "id": "c1"}]),
    ({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{broken"}}]},
     [{"type": "tool_call", "name": "f", "id": "c", "arguments": "{broken"}]),
    ({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
     [{"type": "tool_call", "name": "f", "id": "c", "arguments": {}}]),
    ({"role": "user", "content": [{"type": "text", "text": "see"}, "bare"]},
     [{"type": "text", "content": "see"}, {"type": "text", "content": "bare"}]),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
     [{"type": "uri", "modality": "image", "uri": "https://x/y.png"}]),
    ({"role": "user", "content": [{"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}]},
     [{"type": "blob", "modality": "image", "content": PNG, "mime_type": "image/png"}]),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAA=", "format": "wav"}}]},
     [{"type": "blob", "modality": "audio", "content": "AAA=", "mime_type": "audio/wav"}]),
    ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f-1"}}]},
     [{"type": "file", "modality": "document", "file_id": "f-1"}]),
    ({"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}}]},
     [{"type": "blob", "modality": "document", "content": "JVBE", "mime_type": "application/pdf"}]),
    ({"role": "user", "content": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://x"}]},
     [{"type": "text", "content": "see"}, {"type": "uri", "modality": "image", "uri": "https://x"}]),
    ({"role": "user", "content": [{"type": "input_file", "file_id": "f-1"}, {"type": "input_file", "file_url": "https://x"}]},
     [{"type": "file", "modality": "document", "file_id": "f-1"},
      {"type": "uri", "modality": "document", "uri": "https://x"}]),
    ({"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "document", "source": {"type": "file", "file_id": "f-1"}},
        {"type": "document", "source": {"type": "text", "data": "plain"}}]},
     [{"type": "blob", "modality": "image", "content": PNG, "mime_type": "image/png"},
      {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
      {"type": "file", "modality": "document", "file_id": "f-1"},
      {"type": "document", "source": {"type": "text", "data": "plain"}}]),
    ({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
     [{"type": "reasoning", "content": "hm"}]),
    ({"role": "user", "content": [{"type": "hologram", "depth": 3}]}, [{"type": "hologram", "depth": 3}]),
    ({"role": "user", "content": [{"type": "image_url", "image_url": None}]},
     [{"type": "image_url", "image_url": None}]),
]  # fmt: skip


@pytest.mark.parametrize(("message", "parts"), MESSAGES)
def test_parts(message: dict[str, Any], parts: list[Any]) -> None:
    assert genai_messages([message], "user") == [{"role": message["role"], "parts": parts}]


def test_names_and_finish_reasons_are_kept() -> None:
    message = {"role": "assistant", "content": "a", "name": "planner"}
    assert genai_messages([message], "user", "function_call") == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "a"}],
            "name": "planner",
            "finish_reason": "tool_call",
        }
    ]


@pytest.mark.parametrize(
    ("word", "calls", "expected"),
    [
        ("end_turn", False, "stop"),
        ("tool_use", True, "tool_call"),
        ("completed", False, "stop"),
        ("completed", True, "tool_call"),
        ("STOP", True, "tool_call"),
        ("MAX_TOKENS", False, "length"),
        ("pause_turn", False, "pause_turn"),
    ],
)
def test_finish_reasons_of_all_vendors(word: str, calls: bool, expected: str) -> None:
    entries = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}] if calls else []
    message = {"role": "assistant", "content": "a", "tool_calls": entries}
    assert genai_messages([message], "user", word)[0]["finish_reason"] == expected


@pytest.mark.parametrize("content", ["text", 5, {"a": 1}, [1, 2], [{"no": "role"}]])
def test_what_is_no_conversation_is_one_text(content: Any) -> None:
    assert genai_messages(content, "user") == [
        {"role": "user", "parts": [{"type": "text", "content": text_of(content)}]}
    ]


def test_tools_are_flat_and_have_names() -> None:
    nested = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    assert genai_tools([nested, {"type": "web_search"}, "odd", {"name": "g"}]) == [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}},
        {"type": "function", "name": "g"},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ("392", {"result": "392"}),
        ("[1]", {"result": "[1]"}),
        ([1], {"result": [1]}),
        ("\ud83d", {"result": "\ud83d"}),
    ],
)
def test_a_tool_result_is_an_object(value: Any, expected: Any) -> None:
    assert json_object(value, "result") == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "\ud83d\ude00"}, '{"a":"😀"}'),
        (["lone \ud83d"], '["lone \ufffd"]'),
        ({"\udcff": 1}, '{"\ufffd":1}'),
        ({"id": 2**70}, '{"id":"1180591620717411303424"}'),
        ([float("nan"), float("inf")], "[null,null]"),
        ({1: (1, 2)}, '{"1":[1,2]}'),
        ([complex(1, 2)], '["(1+2j)"]'),
    ],
)
def test_json_says_what_encoders_refuse(value: Any, text: str) -> None:
    assert encode_json(value) == text


def test_depth_has_an_end() -> None:
    value: Any = "bottom"
    for _ in range(5000):
        value = [value]
    assert TOO_DEEP in encode_json(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_is_valid_and_utf8(value: Any) -> None:
    text = encode_json(value)
    assert orjson.loads(text.encode()) == json.loads(text)


@given(json_values)
def test_any_value_becomes_messages(value: Any) -> None:
    for message in genai_messages(value, "user"):
        assert message["role"]
        assert all(isinstance(part["type"], str) for part in message["parts"])
