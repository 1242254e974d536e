"""Keeping keys out of texts that leave the provider: error messages and the debug log."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
SHORTEST = 4
"""Characters; to replace a shorter one would garble the text and hide nothing."""
_KEY_SHAPES = re.compile(r"\b(sk|pk|rk)-[A-Za-z0-9_\-]{8,}|(?<=Bearer )[^\s\"'\\,;]{8,}")


class SecretMask:
    """Replaces secrets in texts.

    Args:
        secrets: The values that are known to be secret.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = sorted((secret for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Gives `text` with every known secret, and whatever has the shape of a key, replaced by `MASK`."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _KEY_SHAPES.sub(MASK, text)
