"""Request parameters, as sent to the model, in the names and types of the GenAI conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from looopy_otel.core.semconv import (
    GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
    GEN_AI_OUTPUT_TYPE,
    GEN_AI_REQUEST_CHOICE_COUNT,
    GEN_AI_REQUEST_ENCODING_FORMATS,
    GEN_AI_REQUEST_FREQUENCY_PENALTY,
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_PRESENCE_PENALTY,
    GEN_AI_REQUEST_PREVIOUS_RESPONSE,
    GEN_AI_REQUEST_REASONING_LEVEL,
    GEN_AI_REQUEST_SEED,
    GEN_AI_REQUEST_STOP_SEQUENCES,
    GEN_AI_REQUEST_TEMPERATURE,
    GEN_AI_REQUEST_TOP_K,
    GEN_AI_REQUEST_TOP_P,
)
from looopy_otel.mapping.attributes import AttributeValue, Fact, known

_DOUBLES: Mapping[str, str] = {
    "temperature": GEN_AI_REQUEST_TEMPERATURE,
    "top_p": GEN_AI_REQUEST_TOP_P,
    "presence_penalty": GEN_AI_REQUEST_PRESENCE_PENALTY,
    "frequency_penalty": GEN_AI_REQUEST_FREQUENCY_PENALTY,
}
_INTEGERS: Mapping[str, str] = {
    "max_output_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "max_completion_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "max_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "top_k": GEN_AI_REQUEST_TOP_K,
    "seed": GEN_AI_REQUEST_SEED,
}
_HUGE = 1e300
_OUTPUT_TYPES: Mapping[str, str] = {"text": "text", "json_object": "json", "json_schema": "json"}


def request_attributes(parameters: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Maps OpenAI's and Anthropic's parameters to ``gen_ai.request.*``; what the conventions do not know is left out.

    Args:
        parameters: As sent: ``temperature``, ``max_tokens``, ``stop``, ``response_format``, …
    """
    facts: dict[str, Fact] = {
        _DOUBLES[name]: float(value) for name, value in parameters.items() if name in _DOUBLES and _is_number(value)
    }
    for name, attribute in _INTEGERS.items():
        if (count := _whole(parameters.get(name))) is not None:
            facts[attribute] = count
    choices = _whole(parameters.get("n"))
    facts[GEN_AI_REQUEST_CHOICE_COUNT] = None if choices == 1 else choices
    facts[GEN_AI_REQUEST_STOP_SEQUENCES] = _texts(parameters.get("stop") or parameters.get("stop_sequences"))
    facts[GEN_AI_REQUEST_ENCODING_FORMATS] = _texts(parameters.get("encoding_format"))
    facts[GEN_AI_EMBEDDINGS_DIMENSION_COUNT] = _whole(parameters.get("dimensions"))
    facts[GEN_AI_REQUEST_PREVIOUS_RESPONSE] = _text(parameters.get("previous_response_id"))
    facts[GEN_AI_REQUEST_REASONING_LEVEL] = _reasoning_level(parameters)
    facts[GEN_AI_OUTPUT_TYPE] = _output_type(parameters.get("response_format"))
    return known(facts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _whole(value: Any) -> int | None:
    return int(value) if _is_number(value) and value == int(value) else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(text) for text in cast("list[object]", value)] if isinstance(value, list | tuple) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _reasoning_level(parameters: Mapping[str, Any]) -> str | None:
    reasoning = parameters.get("reasoning")
    nested = cast("Mapping[str, Any]", reasoning).get("effort") if isinstance(reasoning, Mapping) else None
    level = parameters.get("reasoning_effort") or nested
    return level if isinstance(level, str) else None


def _output_type(response_format: object) -> str | None:
    if not isinstance(response_format, Mapping):
        return None
    return _OUTPUT_TYPES.get(str(cast("Mapping[str, Any]", response_format).get("type")))
