"""Reads a docstring: what the function does, and what its parameters mean, in Google, NumPy or reST style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_SECTIONS = (
    "args|arguments|parameters|params|other parameters|keyword args|keyword arguments|returns?|yields?|raises|"
    "examples?|notes?|warnings?|warns|see also|references|attributes|todo"
)
_GOOGLE = re.compile(rf"^({_SECTIONS}):\s*$", re.IGNORECASE)
_GOOGLE_ONE_LINE = re.compile(r"^(returns?|yields?|raises):\s+\S.*$", re.IGNORECASE)
_NUMPY = re.compile(rf"^({_SECTIONS})\s*$", re.IGNORECASE)
_UNDERLINE = re.compile(r"^-{3,}\s*$")
_REST = re.compile(r"^:(\w+)((?:\s+[^:]+)?):\s*(.*)$")
_GOOGLE_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*(?:\([^)]*\)[^)]*)*\))?\s*:\s*(.*)$")
_NUMPY_PARAMETER = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_PARAMETER_SECTIONS = re.compile(r"^(other parameters|args|arguments|parameters|params|keyword arg(ument)?s)$")
_REST_PARAMETERS = ("param", "parameter", "arg", "argument", "key", "keyword")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says.

    Attributes:
        description: The text before the first section.
        parameters: What each parameter means; line breaks inside are one space.
    """

    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Section:
    title: str = ""
    numpy: bool = False
    lines: list[str] = field(default_factory=list[str])


def parse_docstring(text: str | None) -> Docstring:
    """Reads a docstring of any of the three styles; one in none of them is all description."""
    description: list[str] = []
    parameters: dict[str, str] = {}
    for section in _sections(inspect.cleandoc(text or "").splitlines()):
        if section.title == "":
            description.extend(section.lines)
        elif section.title.startswith(":"):
            _add_rest(section, parameters)
        elif _PARAMETER_SECTIONS.match(section.title):
            _add_indented(section, parameters)
    return Docstring("\n".join(description).strip(), parameters)


def _sections(lines: list[str]) -> Iterator[_Section]:
    """Cuts the lines at section titles; a reST field is a section of its own, titled by its first line."""
    current = _Section()
    for index, line in enumerate(lines):
        started = _start(line, lines[index + 1] if index + 1 < len(lines) else "")
        if started is None and current.title and not current.numpy and line.strip() and not _indent(line):
            # A Google section or a reST field ends where the indentation does.
            started = _Section(lines=[line])
        if started is not None:
            yield current
            current = started
        else:
            current.lines.append(line)
    yield current


def _start(line: str, following: str) -> _Section | None:
    if _REST.match(line):
        return _Section(line)
    if _UNDERLINE.match(following):
        match = _NUMPY.match(line)
        return _Section(match.group(1).lower(), numpy=True) if match else None
    match = _GOOGLE.match(line) or _GOOGLE_ONE_LINE.match(line)
    return _Section(match.group(1).lower()) if match else None


def _add_rest(section: _Section, parameters: dict[str, str]) -> None:
    match = _REST.match(section.title)
    if match and match.group(1) in _REST_PARAMETERS and match.group(2).split():
        # ":param int count: …" names the type before the parameter.
        name = match.group(2).split()[-1].lstrip("*")
        parameters[name] = _joined([match.group(3), *section.lines])


def _add_indented(section: _Section, parameters: dict[str, str]) -> None:
    """Reads ``name (type): text`` with deeper lines that go on, and NumPy's ``name : type`` with the text below it."""
    lines = [line for line in section.lines if line.strip() and not _UNDERLINE.match(line)]
    least = min(map(_indent, lines), default=0)
    names: list[str] = []
    texts: list[str] = []
    for line in lines:
        if _indent(line) == least:
            _store(names, texts, parameters)
            names, texts = _parameter(line.strip(), numpy=section.numpy)
        else:
            texts.append(line)
    _store(names, texts, parameters)


def _parameter(line: str, *, numpy: bool) -> tuple[list[str], list[str]]:
    if numpy:
        match = _NUMPY_PARAMETER.match(line)
        return ([name.strip() for name in match.group(1).split(",")] if match else []), []
    match = _GOOGLE_PARAMETER.match(line)
    return ([match.group(1)], [match.group(2)]) if match else ([], [])


def _store(names: list[str], texts: list[str], parameters: dict[str, str]) -> None:
    text = _joined(texts)
    if text:
        parameters.update(dict.fromkeys(names, text))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(filter(None, (line.strip() for line in lines)))
