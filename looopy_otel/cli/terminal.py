"""The two streams of the command line: colour where it is wanted, and nothing that the encoding cannot say."""

from __future__ import annotations

import codecs
import io
import logging
import os
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

LEAST_WIDTH: Final = 40
"""Columns. Below this the terminal itself may wrap: a tree needs room for its guides."""

PLAIN: Final[Mapping[str, str]] = {
    "→": "->",
    "×": "x",  # noqa: RUF001
    "·": "-",
    "…": "...",
    "—": "-",
    "│": "|",
    "✅": "[ok]",
    "❌": "[failed]",
    "🚀": ">>",
    "📡": "*",
    "🔑": "*",
    "💬": ">",
    "🔧": "*",
}
"""What is printed where the encoding of the stream has no such character; for any other it is ``?``."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def prepare() -> None:
    """Makes the standard streams print any text: what their encoding lacks is replaced, never an error."""
    codecs.register_error("looopy_otel.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="looopy_otel.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    foreign = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in foreign), error.end


def output(*, least_width: int = LEAST_WIDTH) -> Console:
    """Standard output, at least `least_width` columns wide; honours ``NO_COLOR``, ``COLUMNS`` and pipes."""
    return _console(least_width=least_width)


def _console(*, stderr: bool = False, least_width: int = LEAST_WIDTH) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    console.width = max(console.width, least_width)
    return console


def say(line: str | Text = "") -> None:
    """Prints one line to standard output as it is; a long one is left for the terminal to wrap."""
    output().print(line, soft_wrap=True)


@contextmanager
def without_log() -> Generator[None]:
    """Keeps the library's own warnings back inside, for a command that says the same in its own words."""
    logger = logging.getLogger("looopy_otel")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def abandon_output() -> None:
    """Gives up standard output, which cannot be written: Python would try again, and complain again, at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def fail(message: str, hint: str | None = None) -> NoReturn:
    """Prints an error, and what to do about it, to standard error.

    Raises:
        SystemExit: Always, with code 1.
    """
    console = _console(stderr=True)
    console.print(Text.assemble(("Error: ", "bold red"), printable(message)), soft_wrap=True)
    if hint:
        console.print(Text(printable(hint), style="yellow"), soft_wrap=True)
    raise SystemExit(1)


def printable(text: str) -> str:
    """Gives a text that cannot steer the terminal: control characters other than tab and newline are dropped."""
    return _CONTROL.sub("", text)
