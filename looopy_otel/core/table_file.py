"""Reads a table, by name, from a JSON or TOML file that a setting or an environment variable points to."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any


class _TwiceError(ValueError):
    """A JSON object says one name twice."""


def read_table(path: str | os.PathLike[str], problem: Callable[[str], None]) -> Any:
    """What the file says, numbers with a fraction as `Decimal`; None where it cannot be read.

    Args:
        path: A file; TOML where it ends so, else JSON. ``~`` is the user's home.
        problem: Told why the file cannot be read. Nothing that stands in the file is shown but a name.
    """
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".toml":
            return tomllib.loads(text, parse_float=Decimal)
        return json.loads(text, parse_float=Decimal, object_pairs_hook=_without_doubles)
    except OSError as error:
        problem(f"cannot be read: {error.strerror or error}")
    except _TwiceError as error:
        problem(str(error))
    except ValueError as error:
        problem(f"is neither TOML (*.toml) nor JSON: {error}")
    return None


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise _TwiceError(f"says {name!r} twice")
        made[name] = value
    return made
