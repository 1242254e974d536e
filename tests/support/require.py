"""Says what the machine under test must have: absent things skip a test, or fail it where they are required."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NoReturn

import pytest

ENVIRONMENT: Mapping[str, str] = dict(os.environ)
"""The environment that the tests were started with; each test sees a cleaned one."""

REQUIRED = frozenset(filter(None, (name.strip() for name in ENVIRONMENT.get("LOOOPY_OTEL_REQUIRE", "").split(","))))
"""What must not be absent: names such as ``proxy``, from the comma-separated ``LOOOPY_OTEL_REQUIRE``."""

SDK_SET = ENVIRONMENT.get("LOOOPY_OTEL_SDKS", "newest")
"""Which file of tests/sdks is installed."""


def absent(what: str, reason: str) -> NoReturn:
    """Skips the test because `what` is not here; fails it where ``LOOOPY_OTEL_REQUIRE`` names `what`.

    Args:
        what: A name as in ``LOOOPY_OTEL_REQUIRE``.
        reason: What is missing and how to get it.
    """
    if what in REQUIRED:
        pytest.fail(f"{what} is required (LOOOPY_OTEL_REQUIRE) but absent: {reason}", pytrace=False)
    pytest.skip(f"no {what}: {reason}")


def require_packages(*names: str) -> None:
    """Skips the module that calls it where a package is not installed; for tests of what wraps other libraries.

    Args:
        names: Import names.
    """
    missing = [name for name in names if find_spec(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} is not installed: make test installs tests/sdks/newest.txt"
    if "sdks" in REQUIRED and SDK_SET == "newest":
        pytest.fail(f"sdks are required (LOOOPY_OTEL_REQUIRE) but absent: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
