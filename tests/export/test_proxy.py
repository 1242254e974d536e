"""The proxy that the environment names: read, or refused without a word of what may be a password."""

from __future__ import annotations

import pytest

from looopy_otel.export.proxy import Proxy


def test_a_proxy_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:p%2Fw@[::1]:3128")
    monkeypatch.setenv("NO_PROXY", "near.example")
    proxy = Proxy.of("http", "collector.example")
    assert proxy is not None
    assert (proxy.variable, proxy.url, proxy.credentials) == ("HTTP_PROXY", "http://[::1]:3128", ("user", "p/w"))
    assert "p/w" not in repr(proxy)
    assert Proxy.of("http", "near.example") is None
    assert Proxy.of("https", "collector.example") is None


@pytest.mark.parametrize("said", ["http://a:secret/word@h:1", "http://[secret", "secret://h", "http://h:0", "http://"])
def test_what_is_no_proxy_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("ALL_PROXY", said)
    with pytest.raises(ValueError, match="ALL_PROXY names no proxy") as raised:
        Proxy.of("http", "collector.example")
    assert "secret" not in str(raised.value)
