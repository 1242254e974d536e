"""Status and headers of a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from looopy_otel.core.response_head import kept_headers
from looopy_otel.core.semconv import LITELLM_CALL_ID_HEADER
from looopy_otel.providers.errors import Origin


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
        return kept_headers(self.headers)

    @property
    def origin(self) -> Origin:
        """What an error keeps of the response."""
        return {"request_id": self.request_id, "headers": self.kept}

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
