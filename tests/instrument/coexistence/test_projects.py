"""Which Langfuse project a destination feeds."""

from __future__ import annotations

from base64 import b64encode

import pytest

from looopy_otel.core.endpoint import langfuse_project

LANGFUSE = "https://cloud.langfuse.com/api/public/otel/v1/traces"
KEYS = b64encode(b"pk-1:sk-1").decode()


@pytest.mark.parametrize(
    ("endpoint", "headers", "project"),
    [
        (LANGFUSE, {"authorization": f"Basic {KEYS}"}, "pk-1"),
        (LANGFUSE, {"Authorization": f"basic {KEYS}"}, "pk-1"),
        (LANGFUSE, {"authorization": "Bearer pk-1"}, None),
        (LANGFUSE, {"authorization": "Basic ???"}, None),
        (LANGFUSE, {"authorization": "Basic /w=="}, None),
        (LANGFUSE, {}, None),
        ("http://collector:4318/v1/traces", {"authorization": f"Basic {KEYS}"}, None),
    ],
)
def test_the_project_is_told_by_the_credentials(endpoint: str, headers: dict[str, str], project: str | None) -> None:
    assert langfuse_project(endpoint, headers) == project
