from __future__ import annotations

from collections.abc import Iterator

import pytest

from looopy_otel.core import hooks
from tests.agent.recording import RecordingObserver


@pytest.fixture
def observer() -> Iterator[RecordingObserver]:
    """Records every operation, and checks at the end that each ended once and hangs where it should."""
    recording = RecordingObserver()
    hooks.install(recording)
    yield recording
    hooks.remove(recording)
    recording.assert_sound()
