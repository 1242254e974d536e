r"""Secret patterns: what a credential looks like in text. Matching takes linear time (RE2), whatever the text.

A pattern has three groups: what stays in front, the secret, what stays behind. Its needles, in lower case, decide
cheaply whether it is worth running: one of them must be in the text.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast


class Match(Protocol):
    """What a matcher found."""

    def group(self, index: int, /) -> str | None:
        """The text of a group."""
        ...

    def start(self, index: int, /) -> int:
        """Where a group begins, in characters."""
        ...


class Matcher(Protocol):
    """A compiled expression."""

    def sub(self, replacement: Callable[[Match], str], text: str, /) -> str:
        """Replaces every match."""
        ...

    def search(self, text: str, /) -> object | None:
        """The first match, or None."""
        ...


def _anything(before: str, secret: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class SecretPattern:
    """One kind of secret.

    Attributes:
        name: What the marker says: ``[REDACTED:name]``.
        needles: Lower-case texts, one of which stands in any text that matches.
        expression: RE2 syntax, three groups: before, secret, behind.
        plausible: Told what stands before and the secret itself; False for what only looks like one.
    """

    name: str
    needles: tuple[str, ...]
    expression: str
    plausible: Callable[[str, str], bool] = _anything

    @property
    def matcher(self) -> Matcher:
        """The compiled expression; compiled at first use."""
        return compiled(self.expression)


@cache
def compiled(expression: str) -> Matcher:
    """Compiles an expression, once."""
    import re2  # pyright: ignore[reportMissingTypeStubs]

    module: Any = re2
    options = module.Options()
    options.log_errors = False
    return cast("Matcher", module.compile(expression, options))


def load_matcher() -> None:
    """Imports the matcher, which the first expression does else."""
    compiled("")


CLOSERS = ")]}.,;:!?"
"""What may stand behind a secret and belongs to the sentence around it."""


def _has_digit(text: str) -> bool:
    return any("0" <= character <= "9" for character in text)


def _long_or_digits(before: str, secret: str) -> bool:
    return len(secret) >= 24 or _has_digit(secret)


def _random(before: str, secret: str) -> bool:
    """Random text has digits; a name of several lower-case words has none."""
    return _has_digit(secret) or "-" not in secret.removeprefix("sk-") or secret != secret.lower()


def _key_block(before: str, secret: str) -> bool:
    """Tells a key, which may have been cut off, from talk about its first line."""
    return secret.count("PRIVATE KEY") > 1 or any(len(word) >= 16 for word in secret.split())


def _with_digit(before: str, secret: str) -> bool:
    return _has_digit(secret)


def _basic(before: str, secret: str) -> bool:
    try:
        return b":" in b64decode(secret + "=" * (-len(secret) % 4), validate=True)
    except (Base64Error, ValueError):
        return False


def _header_value(before: str, secret: str) -> bool:
    """After a scheme any value is a credential; without one ("Authorization: required") it must look like one."""
    return not before.rstrip().endswith((":", "=", '"', "'")) or len(secret) >= 16 or _has_digit(secret)


def _quoted_value(before: str, secret: str) -> bool:
    return not _is_bare_token(before) or _unlikely_word(secret)


def _assigned_value(before: str, secret: str) -> bool:
    """Tells ``password=hunter2`` from code (``password=get(…)``, ``api_key=self.api_key``) and placeholders."""
    if len(secret) < 4 or secret[0] in "$%{(/" or secret.lower().rstrip(CLOSERS) in {"none", "null", "true", "false"}:
        return False
    if compiled(_CODE).search(secret) is not None or (_is_bare_token(before) and not _unlikely_word(secret)):
        return False
    return _has_digit(secret) or compiled(_NAMED).search(secret) is None


def _stated_value(before: str, secret: str) -> bool:
    return _unlikely_word(secret) and not secret.startswith("/")


def _unlikely_word(secret: str) -> bool:
    return len(secret) >= 16 or (len(secret) >= 6 and _has_digit(secret))


def _is_bare_token(before: str) -> bool:
    return compiled(_BARE_TOKEN).search(before) is not None


_EDGE = r"(^|[^A-Za-z0-9]|\\[nrtbf])"
_QUOTE = r"\\*[\"']"
_NAMES = (
    r"(?:api[_-]?key|secret[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|client[_-]?secret"
    r"|(?:access|refresh|auth|id|session|bearer|bot|api|security)[_-]?token|passw(?:or)?d|passphrase|pwd|secret)"
)
_KEY = rf"(?:[A-Za-z0-9_.-]*{_NAMES}|\btoken)(?:{_QUOTE})?"
_KEY_NEEDLES = ("key", "secret", "token", "passw", "passphrase", "pwd")
_CODE = r"\A[A-Za-z_][\w.]*[(\[]"
_NAMED = rf"(?i){_NAMES}"
_BARE_TOKEN = r"(?i)(?:^|[^A-Za-z0-9_-])token[^A-Za-z0-9]*$"

PATTERNS: tuple[SecretPattern, ...] = (
    SecretPattern(
        "private-key",
        ("private key",),
        r"()(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[A-Za-z0-9+/=\s\\:,.()]|-[A-Za-z0-9])*(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?)()",
        _key_block,
    ),
    SecretPattern("langfuse-key", ("k-lf-",), _EDGE + r"([sp]k-lf-[A-Za-z0-9-]{6,})()"),
    SecretPattern("anthropic-key", ("sk-ant-",), _EDGE + r"(sk-ant-[A-Za-z0-9_-]{8,})()"),
    SecretPattern("openai-key", ("sk-",), _EDGE + r"(sk-[A-Za-z0-9_-]{20,})()", _random),
    SecretPattern("litellm-key", ("sk-",), _EDGE + r"(sk-[A-Za-z0-9_-]{4,})()", _with_digit),
    SecretPattern("aws-key", ("akia", "asia", "abia", "acca"), _EDGE + r"((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16,})()"),
    SecretPattern(
        "google-key",
        ("aiza", "ya29.", "gocspx-"),
        _EDGE + r"(AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})()",
    ),
    SecretPattern(
        "github-token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        _EDGE + r"(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})()",
    ),
    SecretPattern("gitlab-token", ("glpat-",), _EDGE + r"(glpat-[A-Za-z0-9_-]{16,})()"),
    SecretPattern(
        "slack-token",
        ("xox", "xapp-", "hooks.slack.com"),
        _EDGE + r"((?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}|https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{10,})()",
    ),
    SecretPattern(
        "stripe-key",
        ("_live_", "_test_", "whsec_"),
        _EDGE + r"((?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})()",
    ),
    SecretPattern("huggingface-token", ("hf_",), _EDGE + r"(hf_[A-Za-z0-9]{30,})()"),
    SecretPattern("groq-key", ("gsk_",), _EDGE + r"(gsk_[A-Za-z0-9]{30,})()"),
    SecretPattern("jwt", ("eyj",), _EDGE + r"(eyJ[A-Za-z0-9_=-]{8,}(?:\.[A-Za-z0-9_=-]{2,}){1,4})()"),
    SecretPattern(
        "authorization",
        ("authorization",),
        rf"(?i)(authorization(?:{_QUOTE})?\s*[:=]\s*(?:{_QUOTE})?(?:(?:bearer|basic|token|apikey|digest)\s+)?)"
        r"([^\s\"'\\,;]+)()",
        _header_value,
    ),
    SecretPattern("bearer-token", ("bearer",), r"(?i)(\bbearer\s+)([A-Za-z0-9._~+/=-]{8,})()", _long_or_digits),
    SecretPattern("basic-credentials", ("basic",), r"(?i)(\bbasic\s+)([A-Za-z0-9+/]{6,}={0,2})()", _basic),
    SecretPattern("cookie", ("cookie",), rf"(?i)(cookie(?:{_QUOTE})?\s*:\s*(?:{_QUOTE})?)([^\s\"'\\=]+=[^\n\"\\]+)()"),
    SecretPattern(
        "url-credentials",
        ("://",),
        r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/:@\"'<>\\?#]*:[^\s/\"'<>\\?#]*)(@)",
    ),
    SecretPattern(
        "url-parameter",
        ("sig", "key=", "token=", "code=", "credential="),
        r"(?i)([?&](?:x-amz-|x-goog-)?(?:sig|signature|credential|security-token|key|token|code)=)([^&\s\"'<>#\\]+)()",
        _stated_value,
    ),
    SecretPattern("secret", _KEY_NEEDLES, rf"(?i)({_KEY}\s*(?:[:=]|=>)\s*\")((?:[^\"\\\n]|\\.)+)(\"?)", _quoted_value),
    SecretPattern("secret", _KEY_NEEDLES, rf"(?i)({_KEY}\s*(?:[:=]|=>)\s*')((?:[^'\\\n]|\\.)+)('?)", _quoted_value),
    SecretPattern("secret", _KEY_NEEDLES, rf"(?i)({_KEY}\s*(?:[:=]|=>)\s*\\+\")([^\"]+?)(\\+\"|\z)", _quoted_value),
    SecretPattern("secret", _KEY_NEEDLES, rf"(?i)({_KEY}\s?=\s?)([^\s\"'&,;<>\\=][^\s\"'&,;<>\\]*)()", _assigned_value),
    SecretPattern("secret", _KEY_NEEDLES, rf"(?i)({_KEY}\s*:\s*)([^\s\"'&,;<>\\{{}}\[\]()]+)()", _stated_value),
)
"""In order: what is known by its form first, then what is known by the name in front of it."""
