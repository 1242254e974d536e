"""Names under which a structure keeps a secret, whatever the secret looks like."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

_EXACT = frozenset(
    {
        "authorization",
        "proxyauthorization",
        "cookie",
        "setcookie",
        "pwd",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "token",
        "idtoken",
        "bottoken",
        "bearer",
        "connectionstring",
        "sessiontoken",
        "securitytoken",
    }
)
_ENDINGS = (
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "secretkey",
    "accesskey",
    "privatekey",
    "accountkey",
    "clientsecret",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "bearertoken",
    "apitoken",
)
_SEPARATORS = str.maketrans("", "", "_- ")
_SCHEMA_KEYS = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "description", "title"})


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for ``authorization``, ``api_key``, ``X-Api-Key``, ``db.password``, …; separators and case do not matter."""
    plain = name.rpartition(".")[2].lower().translate(_SEPARATORS)
    return plain in _EXACT or plain.endswith(_ENDINGS)


def holds_secret(value: object) -> bool:
    """True for what can be a secret under such a name: not None, a truth value, emptiness or a JSON Schema.

    The last is how tool definitions describe a parameter that is called ``password``.
    """
    if value is None or isinstance(value, bool) or value in ("", b"", [], (), {}):
        return False
    if not isinstance(value, dict):
        return True
    return not _SCHEMA_KEYS & cast("dict[str, Any]", value).keys()
