"""Every test starts from the same place: a clean environment, an empty home, nothing observing, faults raised."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from looopy_otel.core import hooks
from looopy_otel.core.guard import guard

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A runner in the background of a shell ignores Ctrl-C, and so would what it starts; some tests are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of the code under test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

STRIPPED_PREFIXES = ("LANGFUSE_", "OTEL_", "LITELLM_", "LOOOPY_OTEL_")
STRIPPED_NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"})
HOME_DIRECTORIES = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": ".run",
}


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Removes every setting of the surroundings and gives the test a home of its own; returns that home."""
    for name in list(os.environ):
        if name.startswith(STRIPPED_PREFIXES) or name.upper() in STRIPPED_NAMES:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, directory in HOME_DIRECTORIES.items():
        monkeypatch.setenv(name, str(home / directory))
    return home


@pytest.fixture(autouse=True)
def raised_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets faults of the library fail the test instead of being swallowed; none are counted yet."""
    monkeypatch.setattr(guard, "raising", True)
    monkeypatch.setattr(guard, "faults", Counter[str]())


@pytest.fixture
def swallowed_faults(raised_faults: None, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Swallows faults as in production, for a test of just that; returns their count by place, from zero."""
    faults: Counter[str] = Counter()
    monkeypatch.setattr(guard, "raising", False)
    monkeypatch.setattr(guard, "faults", faults)
    return faults


@pytest.fixture(autouse=True)
def no_observer_left() -> Iterator[None]:
    """Fails a test that leaves an observer installed: shut down what `configure()` returned."""
    yield
    left = hooks.installed()
    if left is not None:
        hooks.remove(left)
        pytest.fail(f"the test left an observer installed: {left!r}")


@pytest.fixture(autouse=True)
def nothing_left_current() -> Iterator[None]:
    """Fails a test after which an operation is still the current one, and makes none current."""
    yield
    left = hooks.innermost()
    if left is not None:
        hooks.set_innermost(None)
        pytest.fail(f"the test left an operation current: {left!r}")
