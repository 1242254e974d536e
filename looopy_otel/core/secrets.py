"""Finding secrets in text and replacing them by typed markers: for all that is recorded, logged or reported."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from looopy_otel.core.guard import guard
from looopy_otel.core.secret_patterns import CLOSERS, PATTERNS, Match, SecretPattern, compiled
from looopy_otel.core.text import valid_text


def marker(name: str) -> str:
    """What stands in the place of a secret."""
    return f"[REDACTED:{name}]"


FAILED = marker("redaction-failed")
"""What stands in the place of text that could not be redacted."""

_SHORTEST = 6
_PASSES = 4  # A secret that was glued to another one is found when the first has become a marker.
_ANY_NEEDLE = "(?i)" + "|".join({re.escape(needle): None for pattern in PATTERNS for needle in pattern.needles})
_MARKED = rf"(?:\[REDACTED:[a-z0-9-]+\])+[{''.join(chr(92) + c for c in CLOSERS)}]*"


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of a text that is not to be shown.

    Attributes:
        start: Index of its first character.
        end: Index behind its last character.
        shown: What stands in its place.
    """

    start: int
    end: int
    shown: str


def redact_text(text: str) -> str:
    """Replaces every secret in `text` by its marker. Applied twice it gives the same as once.

    Text with lone surrogates is made valid first, since the matcher takes UTF-8.
    """
    return _redact(valid_text(text), None)


def redact_or_hide(text: str, place: str) -> str:
    """`redact_text` that fails closed: `FAILED` instead of an exception, which is counted under `place`."""
    with guard(place):
        return redact_text(text)
    return FAILED


def find_secrets(text: str) -> list[Finding]:
    """Says where the secrets of `text` stand, in order and without overlaps.

    Args:
        text: Valid Unicode, see `valid_text`.
    """
    findings = _Findings()
    _redact(text, findings)
    return findings.found


def replace_in_pieces(pieces: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    """Replaces findings of a text that came in pieces; what stands in a finding's place goes where it begins.

    Args:
        pieces: The text, cut anywhere.
        findings: Those of the joined text, in order and without overlaps.
    """
    replaced: list[str] = []
    start = index = 0
    for piece in pieces:
        end = start + len(piece)
        position, kept = start, list[str]()
        while index < len(findings) and findings[index].start < end:
            finding = findings[index]
            if finding.start >= start:
                kept += (piece[position - start : finding.start - start], finding.shown)
            position = min(finding.end, end)
            if finding.end > end:
                break
            index += 1
        kept.append(piece[position - start :])
        replaced.append("".join(kept))
        start = end
    return replaced


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """Joins findings that overlap; the first one, or the longest of the first ones, says what is shown."""
    joined: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: (finding.start, -finding.end)):
        last = joined[-1] if joined else None
        if last is not None and finding.start < last.end:
            joined[-1] = Finding(last.start, max(last.end, finding.end), last.shown)
        else:
            joined.append(finding)
    return joined


def _redact(text: str, findings: _Findings | None) -> str:
    # One look for all needles costs a twentieth of one for each.
    if len(text) < _SHORTEST or compiled(_ANY_NEEDLE).search(text) is None:
        return text
    for _ in range(_PASSES):
        before, text = text, _pass(text, findings)
        if text == before:
            break
    return text


def _pass(text: str, findings: _Findings | None) -> str:
    lowered = text.lower()
    for pattern in PATTERNS:
        if any(needle in lowered for needle in pattern.needles):
            replacement = _Replacement(pattern)
            text = pattern.matcher.sub(replacement, text)
            if findings is not None and replacement.findings:
                findings.add(replacement.findings)
    return text


class _Replacement:
    __slots__ = ("_pattern", "findings")

    def __init__(self, pattern: SecretPattern) -> None:
        self._pattern = pattern
        self.findings: list[Finding] = []

    def __call__(self, match: Match) -> str:
        before, secret, behind = match.group(1) or "", match.group(2) or "", match.group(3) or ""
        if _is_marked(secret) or not self._pattern.plausible(before, secret):
            return before + secret + behind
        bare = _without_closers(secret)
        shown = marker(self._pattern.name)
        start = match.start(2)
        self.findings.append(Finding(start, start + len(bare), shown))
        return before + shown + secret[len(bare) :] + behind


def _without_closers(secret: str) -> str:
    """The secret without the brackets and quotes behind it; the bracket of a marker in it is none of these."""
    bare = secret.rstrip(CLOSERS) or secret
    cut_marker = len(bare) < len(secret) and compiled(r"\[REDACTED:[a-z0-9-]+\z").search(bare) is not None
    return secret[: len(bare) + 1] if cut_marker else bare


def _is_marked(secret: str) -> bool:
    return secret.startswith("[REDACTED:") and compiled(rf"\A{_MARKED}\z").search(secret) is not None


class _Findings:
    """Findings of one text, told of it as it changes under the hands of one pattern after the other.

    Attributes:
        found: Those so far, in the text as it was at first.
    """

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def add(self, changes: Sequence[Finding]) -> None:
        """Takes findings in the text as it is now, where the earlier ones are replaced already."""
        starts: list[int] = []
        ends: list[int] = []
        shift = 0
        for finding in self.found:
            starts.append(finding.start + shift)
            ends.append(starts[-1] + len(finding.shown))
            shift = ends[-1] - finding.end
        at_first = [self._at_first(change, starts, ends) for change in changes]
        self.found = merged([*at_first, *self.found])

    def _at_first(self, change: Finding, starts: Sequence[int], ends: Sequence[int]) -> Finding:
        """The change in the text as it was at first; markers that it touches are in it as a whole."""
        before = bisect_right(ends, change.start)
        behind = bisect_left(starts, change.end)
        start = change.start - (ends[before - 1] - self.found[before - 1].end if before else 0)
        end = change.end - (ends[behind - 1] - self.found[behind - 1].end if behind else 0)
        if before < len(starts) and starts[before] < change.start:
            start = self.found[before].start
        if behind and ends[behind - 1] > change.end:
            end = self.found[behind - 1].end
        return Finding(start, end, change.shown)
