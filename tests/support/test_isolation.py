"""Every test starts clean: no settings of the surroundings, a home of its own, faults raised, nothing observing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from looopy_otel.core import hooks
from looopy_otel.core.config import database_path
from looopy_otel.core.guard import guard
from tests.conftest import STRIPPED_PREFIXES
from tests.support import require


def test_no_setting_of_the_surroundings_is_left(isolated_environment: Path) -> None:
    assert not [name for name in os.environ if name.startswith(STRIPPED_PREFIXES)]
    assert Path.home() == isolated_environment
    assert list(isolated_environment.iterdir()) == []


def test_the_default_store_is_in_the_tests_own_home(isolated_environment: Path) -> None:
    assert database_path().is_relative_to(isolated_environment)


def test_a_fault_of_the_library_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), guard("here"):
        _ = 1 / 0


def test_faults_can_be_swallowed_as_in_production(swallowed_faults: Counter[str]) -> None:
    with guard("here"):
        _ = 1 / 0
    assert swallowed_faults == {"here": 1}


def test_nothing_observes() -> None:
    assert hooks.installed() is None


def test_what_is_absent_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(require, "REQUIRED", frozenset[str]())
    with pytest.raises(pytest.skip.Exception, match="no proxy: build it"):
        require.absent("proxy", "build it")


def test_what_is_required_and_absent_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(require, "REQUIRED", frozenset({"proxy"}))
    with pytest.raises(pytest.fail.Exception, match="proxy is required"):
        require.absent("proxy", "build it")
