"""Status and headers of a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from looopy_otel.core.semconv import (
    LITELLM_CALL_ID_HEADER,
    LITELLM_FALLBACKS_HEADER,
    LITELLM_MODEL_GROUP_HEADER,
    LITELLM_MODEL_NAME_HEADER,
    LITELLM_RETRIES_HEADER,
)
from looopy_otel.providers.errors import Origin

KEPT = (
    LITELLM_CALL_ID_HEADER,
    LITELLM_MODEL_NAME_HEADER,
    LITELLM_MODEL_GROUP_HEADER,
    LITELLM_RETRIES_HEADER,
    LITELLM_FALLBACKS_HEADER,
)
"""The headers that say something of the call beside its answer."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers of a response.

    Attributes:
        status: HTTP status.
        headers: Lower-case names.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def request_id(self) -> str | None:
        """The proxy's id of the call."""
        return self.headers.get(LITELLM_CALL_ID_HEADER)

    @property
    def kept(self) -> dict[str, str]:
        """The headers that stay with the response, or with the error."""
        return {name: self.headers[name] for name in KEPT if name in self.headers}

    @property
    def origin(self) -> Origin:
        """What an error keeps of the response."""
        return {"request_id": self.request_id, "headers": self.kept}

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
