"""What the headers of an LLM endpoint's response say beside its answer; those of a LiteLLM proxy among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from looopy_otel.core.semconv import (
    ANTHROPIC_REQUEST_ID_HEADER,
    LITELLM_CALL_ID_HEADER,
    LITELLM_FALLBACKS_HEADER,
    LITELLM_MODEL_GROUP_HEADER,
    LITELLM_MODEL_NAME_HEADER,
    LITELLM_RETRIES_HEADER,
    REQUEST_ID_HEADER,
)

KEPT: Final = (
    LITELLM_CALL_ID_HEADER,
    LITELLM_MODEL_NAME_HEADER,
    LITELLM_MODEL_GROUP_HEADER,
    LITELLM_RETRIES_HEADER,
    LITELLM_FALLBACKS_HEADER,
)
"""The headers that say something of the call beside its answer."""

_REQUEST_IDS: Final = (LITELLM_CALL_ID_HEADER, REQUEST_ID_HEADER, ANTHROPIC_REQUEST_ID_HEADER)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that stay with the response.

    Args:
        headers: All of them; a mapping that knows lower-case names.
    """
    return {name: headers[name] for name in KEPT if name in headers}


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The proxy's id of the call, else the vendor's; None where neither tells one."""
    return next((headers[name] for name in _REQUEST_IDS if name in headers), None)
