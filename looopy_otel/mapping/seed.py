"""The `seed` dialect: the names that came first, plain enough to read on a console.

``gen_ai.prompt`` is the whole conversation as JSON (a text that is no conversation as it is); ``gen_ai.completion``
the answer: its text where it is only text, else the message as JSON (a list of messages for several choices). Other
spans carry bare ``input`` and ``output``.
"""

from __future__ import annotations

from typing import Any, cast

from looopy_otel.core.draft import Draft, LLMDraft, ToolDraft
from looopy_otel.core.semconv import (
    GEN_AI_COMPLETION,
    GEN_AI_PROMPT,
    GEN_AI_TOOL_NAME,
    INPUT,
    METADATA,
    OUTPUT,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.attributes import AttributeValue, known
from looopy_otel.mapping.content import encode_json, only_choice, text_of
from looopy_otel.mapping.identity import metadata_facts
from looopy_otel.mapping.scalars import scalar_attributes


def attributes(draft: Draft, deployment: Deployment) -> dict[str, AttributeValue]:
    """Renders a draft in the seed's names.

    Args:
        draft: Redacted and priced.
        deployment: Environment, release and version of this process.
    """
    return {
        **scalar_attributes(draft, deployment),
        **_content(draft),
        **known(metadata_facts(METADATA, draft.metadata)),
    }


def _content(draft: Draft) -> dict[str, AttributeValue]:
    if isinstance(draft, LLMDraft):
        return known(
            {
                GEN_AI_PROMPT: None if draft.input is None else text_of(draft.input),
                GEN_AI_COMPLETION: _completion(draft.output),
            }
        )
    return known(
        {
            GEN_AI_TOOL_NAME: draft.tool_name if isinstance(draft, ToolDraft) else None,
            INPUT: None if draft.input is None else text_of(draft.input),
            OUTPUT: None if draft.output is None else text_of(draft.output),
        }
    )


def _completion(output: object) -> str | None:
    if output is None:
        return None
    answer = only_choice(output)
    if isinstance(answer, dict):
        message = cast("dict[str, Any]", answer)
        if isinstance(message.get("content"), str) and not message.keys() - {"role", "content"}:
            return text_of(message["content"])
        return encode_json(message)
    return text_of(answer)
