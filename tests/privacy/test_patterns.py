"""Secret patterns: what is found, what is left alone, and that a second pass changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from looopy_otel.core.secrets import Finding, find_secrets, merged, redact_text, replace_in_pieces
from looopy_otel.core.text import valid_text
from tests.privacy.secrets import SECRETS

PLACES = [
    "{}",
    "my key is {} .",
    '{{"x": "{}"}}',
    "a\n{}\nb",
    "line\\n{}\\n",
    "'{}'",
    "({})",
    "https://x/y?v={}",
    "é{}é",
]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_found_wherever_it_stands(name: str, place: str) -> None:
    secret, marker = SECRETS[name]
    assert redact_text(place.format(secret)) == place.format(f"[REDACTED:{marker}]")


NAMED: list[tuple[str, str]] = [
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer [REDACTED:authorization]"),
    ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [REDACTED:authorization]"),
    ('{"Authorization": "token abc"}', '{"Authorization": "token [REDACTED:authorization]"}'),
    ("Proxy-Authorization: 0123456789", "Proxy-Authorization: [REDACTED:authorization]"),
    ("curl -H 'X-Api-Key: abc123def456'", "curl -H 'X-Api-Key: [REDACTED:secret]'"),
    ("got Bearer 0123456789abcdef", "got Bearer [REDACTED:bearer-token]"),
    ("got Basic dXNlcjpwYXNz", "got Basic [REDACTED:basic-credentials]"),
    ("Cookie: session=abc; other=2", "Cookie: [REDACTED:cookie]"),
    ("postgres://user:p@ssw0rd@db:5432/x", "postgres://[REDACTED:url-credentials]@db:5432/x"),
    ("redis://:hunter2@cache", "redis://[REDACTED:url-credentials]@cache"),
    ("https://x/y?sig=abc12345678&q=hello", "https://x/y?sig=[REDACTED:url-parameter]&q=hello"),
    ("https://x/y?q=1&X-Amz-Signature=abc12345678", "https://x/y?q=1&X-Amz-Signature=[REDACTED:url-parameter]"),
    ("api_key=hunter2", "api_key=[REDACTED:secret]"),
    ("OPENAI_API_KEY = abcdef", "OPENAI_API_KEY = [REDACTED:secret]"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=[REDACTED:secret]"),
    ("login(password=hunter2)", "login(password=[REDACTED:secret])"),
    ("password: Hunter2!x", "password: [REDACTED:secret]"),
    ('{"password": "two words", "x": 1}', '{"password": "[REDACTED:secret]", "x": 1}'),
    ('{"password": "a\\"b\\\\c"}', '{"password": "[REDACTED:secret]"}'),
    ("{'client_secret': 'abc'}", "{'client_secret': '[REDACTED:secret]'}"),
    ('"{\\"db_password\\": \\"hunter 2\\"}"', '"{\\"db_password\\": \\"[REDACTED:secret]\\"}"'),
    ('{"token": "abc123def"}', '{"token": "[REDACTED:secret]"}'),
    ('{"password": "cut off he', '{"password": "[REDACTED:secret]'),
    ("-----BEGIN " + "PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0B", "[REDACTED:private-key]"),
]


@pytest.mark.parametrize(("text", "redacted"), NAMED)
def test_a_secret_is_known_by_what_stands_before_it(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


ORDINARY = [
    "What is 15 * 23 + 47?",
    "The basic understanding of bearer instruments; Basic JavaScript is enough.",
    "Password: please choose one that you can remember. The secret: practice.",
    "max_tokens=4096, prompt_tokens: 12, next_page_token=abc, eos_token: </s>",
    "task-1234567890 risk-assessment sk-learn sk-SK sk-learn-something-very-long-name",
    'password=get_password() api_key=os.environ["KEY"] api_key=api_key self.api_key=self._api_key password=${PW}',
    "http://localhost:4000/v1 see http://host:80/a@b and mailto:a@b.c, ?code=200&key=name",
    '{"token": "hello", "properties": {"password": {"type": "string"}}}',
    "Authorization: required. PWD=/root pwd: /home/someone",
    "-----BEGIN " + "PRIVATE KEY----- is how such a file begins.",
    "eyJust look; AKIA is a prefix; ghp_ too",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    "日本語のテキスト 🚀 é",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_lone_surrogates_do_not_hide_a_secret() -> None:
    assert redact_text("\ud83d api_key=hunter2") == "\ufffd api_key=[REDACTED:secret]"


PIECES = ["[REDACTED:secret]", "password", "=", ":", '"', "'", "\\", "@", "://", " ", "\n", "Bearer ", "token", "]"]
fragments = st.sampled_from(
    [secret for secret, _ in SECRETS.values()] + [text for text, _ in NAMED] + ORDINARY + PIECES
)
mixtures = st.lists(fragments | st.text(max_size=5), max_size=6).map("".join)


@given(mixtures)
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


company = st.lists(st.sampled_from(ORDINARY + PIECES) | st.text(max_size=5), max_size=6).map("".join)


@given(st.sampled_from(sorted(SECRETS)), company, company)
def test_no_company_saves_a_secret(name: str, before: str, behind: str) -> None:
    secret, _ = SECRETS[name]
    company_alone = before.count(secret) + behind.count(secret)
    assert redact_text(f"{before} {secret} {behind}").count(secret) <= company_alone


@pytest.mark.parametrize(
    "unit", ["ordinary words, ", 'password=\\"', "-----BEGIN PRIVATE KEY-----A ", "a://b:", "eyJ."]
)
def test_a_megabyte_passes(unit: str) -> None:
    text = unit * (1_000_000 // len(unit)) + " api_key=hunter2"
    assert "hunter2" not in redact_text(text)


@pytest.mark.parametrize("text", [text for text, _ in NAMED] + [f"x {secret} y" for secret, _ in SECRETS.values()])
def test_findings_replaced_in_pieces_are_the_redacted_text(text: str) -> None:
    for size in (1, 2, 5, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert "".join(replace_in_pieces(pieces, find_secrets(text))) == redact_text(text)


@given(mixtures)
@example("Authorization: Bearer abcdefgh/sk-proj-abcDEF1234567890abcdEFGHauthorization: Basic dXNlcjpwYXNz")
def test_what_is_not_found_stays(text: str) -> None:
    text = valid_text(text)
    findings = find_secrets(text)
    assert findings == merged(findings)
    assert all(0 <= finding.start < finding.end <= len(text) for finding in findings)
    replaced = "".join(replace_in_pieces(list(text), findings))
    assert redact_text(replaced) == replaced


def test_findings_that_overlap_are_one() -> None:
    assert merged([Finding(4, 6, "b"), Finding(0, 2, "a"), Finding(1, 5, "c"), Finding(6, 7, "d")]) == [
        Finding(0, 6, "a"),
        Finding(6, 7, "d"),
    ]
