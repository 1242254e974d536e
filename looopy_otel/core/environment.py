"""Reads typed values from environment variables, and collects every problem before anybody complains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import unquote

from looopy_otel.core.endpoint import url_problem

Environment: TypeAlias = Mapping[str, str]


class EnvironmentReader:
    """One pass over an environment.

    Args:
        environ: The variables; blank ones count as absent.

    Attributes:
        problems: What is wrong so far, one line each, without secrets.
        warnings: What is doubtful so far, and holds up nothing, one line each, without secrets.
    """

    def __init__(self, environ: Environment) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def text(self, name: str) -> str | None:
        """The value without blanks around it; None when it is absent or empty."""
        return self._environ.get(name, "").strip() or None

    def number(self, variable: str, default: float, least: float, most: float) -> float:
        """A number from `least` to `most`; anything else is a problem, and counts as `default`."""
        text = self.text(variable)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            self.problems.append(f"{variable}={text!r}: must be a number from {least:g} to {most:g}")
            return default
        return value

    def whole_number(self, variable: str, default: int, least: int, most: int, unit: str = "") -> int:
        """A number without a fraction, from `least` to `most`; anything else is a problem, and counts as `default`.

        Args:
            variable: Its name.
            default: For an absent one, and an example in the problem.
            least: The smallest that is allowed.
            most: The largest that is allowed.
            unit: What is counted, for the problem.
        """
        text = self.text(variable)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most or not value.is_integer():
            what = f"a whole number of {unit}" if unit else "a whole number"
            self.problems.append(f"{variable}={text!r}: must be {what} from {least} to {most}, such as {default}")
            return default
        return int(value)

    def choice(self, variable: str, allowed: Sequence[str], default: str) -> str:
        """One of the allowed words, in lower case; anything else is a problem, and counts as `default`."""
        return self.chosen(self.text(variable), variable, allowed, default)

    def chosen(self, value: object, source: str, allowed: Sequence[str], default: str) -> str:
        """As `choice`, for a value that was said elsewhere; None means not said."""
        if value is None:
            return default
        if not isinstance(value, str) or value.lower() not in allowed:
            self.problems.append(f"{source}={value!r}: must be one of {', '.join(allowed)}")
            return default
        return value.lower()

    def pairs(self, variable: str) -> dict[str, str]:
        """Percent-encoded ``key=value`` pairs with commas between them; values of headers are never shown."""
        pairs: dict[str, str] = {}
        for item in filter(None, (part.strip() for part in (self.text(variable) or "").split(","))):
            key, separator, value = item.partition("=")
            if not separator or not key.strip():
                shown = "…" if "HEADERS" in variable else repr(item)
                self.problems.append(f"{variable}: {shown} is not of the form key=value")
                continue
            pairs[unquote(key.strip())] = unquote(value.strip())
        return pairs

    def is_url(self, what: str, url: str) -> bool:
        """True for a URL that an endpoint can have; anything else is a problem."""
        problem = url_problem(url)
        if problem is not None:
            # What stands before the @ and in a query may be a secret.
            self.problems.append(f"{what} {url.partition('?')[0].rpartition('@')[2]!r}: {problem}")
        return problem is None
