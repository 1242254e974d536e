"""The debug log: raw chunks and events of calls as JSON lines, without secrets, readable by the user alone."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from looopy_otel.core.guard import guard
from looopy_otel.core.types import StreamEvent
from looopy_otel.providers.masking import SecretMask


class DebugLog:
    """Appends to one file; a failure to write is counted and never reaches the call.

    Args:
        path: The file, made with mode 0600; None writes nothing.
        mask: Takes the secrets out.
        model: Stands on every line.
    """

    def __init__(self, path: Path | None, mask: SecretMask, model: str) -> None:
        self._path = path
        self._mask = mask
        self._model = model

    def chunk(self, data: bytes) -> None:
        """Logs what the endpoint sent: one event of a stream, or a whole body."""
        if self._path is not None:
            self._write("chunk", data.decode("utf-8", "replace"))

    def event(self, event: StreamEvent) -> None:
        """Logs what the consumer gets."""
        if self._path is not None:
            self._write(
                "event", {"kind": event.kind, **{field.name: getattr(event, field.name) for field in fields(event)}}
            )

    def _write(self, kind: str, data: Any) -> None:
        with guard("providers.debug_log"):
            assert self._path is not None
            line = {"time": datetime.now(UTC).isoformat(), "kind": kind, "model": self._model, "data": data}
            text = self._mask(orjson.dumps(line, default=str).decode()) + "\n"
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "fchmod"):  # not on Windows
                    os.fchmod(descriptor, 0o600)
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
