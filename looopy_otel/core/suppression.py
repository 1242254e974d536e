"""Whether anything is recorded here."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

suppression: Final[ContextVar[bool]] = ContextVar("looopy_otel_suppressed", default=False)
"""True where nothing is announced."""
