"""Masking of what leaves the provider: known secrets, everything that looks like one, and texts in pieces."""

from __future__ import annotations

from collections import Counter
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core import secrets
from looopy_otel.providers import LiteLLMAPIError, Reply
from looopy_otel.providers.masking import SecretMask
from tests.privacy.secrets import SECRETS
from tests.providers.conftest import KEY, Connect, Serve

mask = SecretMask(["known-secret", "known-secret-that-is-longer", "abc"])


def test_known_secrets_and_others_are_replaced() -> None:
    text = "known-secret-that-is-longer, known-secret, abc, password=hunter2"
    assert mask(text) == "***, ***, abc, password=[REDACTED:secret]"


@pytest.mark.parametrize("name", SECRETS)
def test_the_patterns_are_those_of_the_gate(name: str) -> None:
    secret, marker = SECRETS[name]
    assert mask(f"it said {secret}!") == f"it said [REDACTED:{marker}]!"


@pytest.mark.parametrize("name", [*SECRETS, "known"])
@given(st.data())
def test_a_secret_in_pieces_is_replaced_where_it_begins(name: str, data: st.DataObject) -> None:
    secret, marker = SECRETS.get(name, ("known-secret", ""))
    text = f"é it said {secret} and {secret}."
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    masked = mask.pieces(pieces)
    shown = f"[REDACTED:{marker}]" if marker else "***"
    assert len(masked) == len(pieces)
    assert "".join(masked) == f"é it said {shown} and {shown}."


def test_neither_a_neighbour_nor_an_empty_piece_hides_a_secret() -> None:
    secret, marker = SECRETS["openai"]
    assert mask.pieces(["a", secret, "", "b"]) == ["a", f"[REDACTED:{marker}]", "", "b"]
    assert mask.pieces([]) == []
    assert mask.pieces(["\ud83d", "abc"]) == ["\ufffd", "abc"]


def test_a_text_that_cannot_be_searched_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, swallowed_faults: Counter[str]
) -> None:
    def broken(text: str) -> NoReturn:
        raise RuntimeError("the patterns are broken")

    monkeypatch.setattr(secrets, "redact_text", broken)
    assert mask("anything") == "[REDACTED:redaction-failed]"
    assert swallowed_faults["providers.masking"] == 1


@pytest.mark.parametrize("length", [0, 200, 270, 280, 290, 300])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_says_no_secret_that_the_endpoint_echoed(
    serve: Serve, connect: Connect, length: int, stream: bool
) -> None:
    secret, _ = SECRETS["aws"]
    said = f"bad {'x' * length} {secret}, key {KEY}"
    server = serve(Reply(text="well", stream_error=said) if stream else Reply(status=400, text=said))
    call = connect(server).call(messages=[{"role": "user", "content": "Hello!"}])
    with pytest.raises(LiteLLMAPIError) as caught:
        await (anext(event async for event in call if event.kind == "content-complete") if stream else call)
    assert "bad x" in str(caught.value) or not length
    assert "AKIA" not in str(caught.value)
    assert "sk-" not in str(caught.value)
