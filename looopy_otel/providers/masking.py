"""Keeping keys out of texts that leave the provider: error messages and the debug log."""

from __future__ import annotations

import re
from collections.abc import Sequence

from looopy_otel.core.secrets import Finding, find_secrets, merged, redact_or_hide, replace_in_pieces
from looopy_otel.core.text import valid_text

MASK = "***"
"""What stands in the place of a secret that is known."""
SHORTEST = 4
"""Characters; to replace a shorter one would garble the text and hide nothing."""


class SecretMask:
    """Replaces secrets in texts: those that are known, and whatever `core.secrets` takes for one.

    Args:
        secrets: The values that are known to be secret.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        known = sorted((secret for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Gives `text` without secrets; a text that cannot be searched for them is not given at all."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return redact_or_hide(text, "providers.masking")

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """Masks a text that came in pieces: secrets within a piece, and those that are split over several.

        Args:
            pieces: The text, cut anywhere.

        Returns:
            As many pieces; what stands in the place of a split secret is where it begins.
        """
        valid = [valid_text(piece) for piece in pieces]
        findings = self._findings("".join(valid))
        start = 0
        # What a piece begins with may hide from the joined text that a secret begins there.
        for piece in valid:
            findings += (Finding(start + one.start, start + one.end, one.shown) for one in self._findings(piece))
            start += len(piece)
        return replace_in_pieces(valid, merged(findings))

    def _findings(self, text: str) -> list[Finding]:
        known = () if self._known is None else self._known.finditer(text)
        return [Finding(match.start(), match.end(), MASK) for match in known] + find_secrets(text)
