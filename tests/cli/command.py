"""Runs the command line in this process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from looopy_otel.__main__ import main


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: object
    out: str
    err: str


class Command:
    """``command("show", "last")`` runs ``looopy-otel show last``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._monkeypatch.setattr("sys.argv", ["looopy-otel", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        return Done(ended.value.code, captured.out, captured.err)
