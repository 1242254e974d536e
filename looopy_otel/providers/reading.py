"""From what an endpoint sends to an `LLMResponse`, or to the error that it means."""

from __future__ import annotations

from dataclasses import replace

from looopy_otel.core.semconv import (
    LITELLM_COST_HEADER,
    LITELLM_MODEL_NAME_HEADER,
)
from looopy_otel.core.shapes.cost import cost_in, reported_cost
from looopy_otel.core.shapes.fields import as_list, as_text
from looopy_otel.core.shapes.openai_chat_reading import Answer, answer_of
from looopy_otel.core.types import CallOutcome, LLMResponse
from looopy_otel.core.vendors import is_free, vendor_behind, without_prefix
from looopy_otel.providers.failures import error_of, excerpt, unusable
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.shape import as_object, decoded_json


def response_of(
    answer: Answer, head: ResponseHead, requested: str, outcome: CallOutcome = "completed", stream: bool = False
) -> LLMResponse:
    """Builds the response.

    Args:
        answer: What the body said.
        head: Status and headers.
        requested: The model that was asked for.
        outcome: How the call ended.
        stream: True for a streamed reply, whose headers were sent before the cost was known.
    """
    served_by = as_text(head.headers.get(LITELLM_MODEL_NAME_HEADER))
    vendor = vendor_behind(requested, served_by)
    reported = [None if stream else head.headers.get(LITELLM_COST_HEADER), cost_in(answer.usage)]
    free = is_free(requested) or is_free(served_by)
    cost = next((cost for value in reported if (cost := reported_cost(value, free=free)) is not None), None)
    return replace(
        answer.response(outcome),
        model=_answering_model(answer.model, requested, served_by),
        cost=cost,
        cost_source="unknown" if cost is None else "provider",
        request_id=head.request_id,
        headers=head.kept,
        system=vendor.system,
        provider_name=vendor.provider_name,
    )


def completion_of(body: bytes, head: ResponseHead) -> Answer:
    """Reads a plain completion.

    Raises:
        LiteLLMAPIError: If it is not one: no JSON, an error object, no choice, or a choice without a message.
    """
    try:
        completion = as_object(decoded_json(body))
    except ValueError:
        raise unusable(f"the reply is not JSON: {excerpt(body)}", head) from None
    if completion.get("error"):
        raise error_of(body, head)
    if not as_list(completion.get("choices")):
        raise unusable(f"the reply has no choices: {excerpt(body)}", head)
    answer = answer_of(completion)
    if answer is None:
        raise unusable(f"the first choice of the reply has no message: {excerpt(body)}", head)
    return answer


def _answering_model(named: str | None, requested: str, served_by: str | None) -> str:
    if named and named != requested:
        return named
    return without_prefix(served_by) if served_by else requested
