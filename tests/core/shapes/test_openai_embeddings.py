"""OpenAI's embeddings: counts, never vectors."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.core.shapes.openai_embeddings import OPENAI_EMBEDDINGS, embedding_output
from looopy_otel.core.types import Message
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import PLAIN, Form, sdk


def body(*vectors: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}


@pytest.mark.parametrize("form", [*PLAIN.values(), sdk("embeddings")])
def test_an_answer_in_every_form(form: Form) -> None:
    native = form(body([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    response = OPENAI_EMBEDDINGS.response(native)
    assert response is not None
    assert (response.message, response.usage, response.usage_source) == (Message("assistant"), Usage(8, 0), "reported")
    assert (response.model, response.native) == ("text-embedding-3-small", native)
    assert embedding_output(native) == {"embeddings": 2, "dimensions": 3}


@pytest.mark.parametrize("dimensions", [1, 2, 3, 256, 1536])
def test_dimensions_of_encoded_vectors(dimensions: int) -> None:
    encoded = base64.b64encode(struct.pack(f"<{dimensions}f", *([0.5] * dimensions))).decode()
    assert embedding_output(body(encoded)) == {"embeddings": 1, "dimensions": dimensions}


@pytest.mark.parametrize("answer", [None, "x", {}, {"data": "x"}, {"data": [{"x": 1}]}])
def test_what_is_no_embedding(answer: object) -> None:
    assert OPENAI_EMBEDDINGS.response(answer) is None
    assert "dimensions" not in embedding_output(answer)


def test_a_request() -> None:
    arguments: dict[str, Any] = {"model": "m", "input": ["a", "b"], "dimensions": 256, "encoding_format": "float"}
    call = OPENAI_EMBEDDINGS.call(arguments)
    assert (call.operation, call.input, call.messages, call.model) == ("embeddings", ["a", "b"], (), "m")
    assert call.parameters == {"dimensions": 256, "encoding_format": "float"}
    after = replace(call, input=["a"], parameters={"dimensions": 64})
    assert OPENAI_EMBEDDINGS.arguments(arguments, call, after) == {"model": "m", "input": ["a"], "dimensions": 64}
    assert OPENAI_EMBEDDINGS.asking_for_usage(arguments) is None


def test_a_response_that_a_middleware_made_can_be_read_by_the_sdk() -> None:
    response = OPENAI_EMBEDDINGS.response(body([0.1]))
    assert response is not None
    assert sdk("embeddings")(OPENAI_EMBEDDINGS.answer(response)).usage.prompt_tokens == 8
