from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NoReturn

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from looopy_otel.core import secrets
from looopy_otel.export.verdict import judge, masked, public_url, retry_after, secrets_in

URL = "https://user:pass@collector.example/v1/traces?key=1"


@pytest.mark.parametrize(
    ("status", "kind", "divisible", "words"),
    [
        (200, "delivered", False, ""),
        (202, "delivered", False, ""),
        (301, "rejected", False, "redirects"),
        (400, "rejected", True, "400"),
        (401, "rejected", False, "keys are wrong or missing"),
        (403, "rejected", False, "may not write"),
        (404, "rejected", False, "/v1/traces"),
        (405, "rejected", False, "no POST"),
        (408, "retry", False, "408"),
        (413, "rejected", True, "too large"),
        (415, "rejected", False, "4317"),
        (429, "retry", False, "slow down"),
        (500, "retry", False, "500"),
        (503, "retry", False, "503"),
    ],
)
def test_every_status_has_its_verdict_and_its_likely_cause(status: int, kind: str, divisible: bool, words: str) -> None:
    verdict = judge(status, {}, b"", endpoint=URL, langfuse=False)
    assert (verdict.kind, verdict.divisible) == (kind, divisible)
    assert verdict.reason == ("" if kind == "delivered" else f"http-{status}")
    assert words in verdict.message
    assert "\n" not in verdict.message
    assert "pass" not in verdict.message


def test_langfuse_has_causes_of_its_own() -> None:
    assert "LANGFUSE_SECRET_KEY" in judge(401, {}, b"", endpoint=URL, langfuse=True).message
    assert "/api/public/otel/v1/traces" in judge(404, {}, b"", endpoint=URL, langfuse=True).message


def test_what_the_endpoint_says_is_one_short_line_and_pages_of_html_are_not_shown() -> None:
    text = judge(400, {"content-type": "text/plain"}, b"bad\n\tspan\x00id" + b"x" * 5000, endpoint=URL, langfuse=False)
    assert "it says: bad span id" in text.message
    assert len(masked(text.message, ())) <= 401
    page = judge(502, {"content-type": "text/html"}, b"<html>Bad gateway", endpoint=URL, langfuse=False)
    assert "html" not in page.message


def test_a_web_page_is_no_acknowledgement() -> None:
    verdict = judge(200, {"content-type": "text/html"}, b"\n<!doctype html>", endpoint=URL, langfuse=True)
    assert (verdict.kind, verdict.reason) == ("retry", "web-page")
    assert "web page" in verdict.message
    assert judge(200, {"content-type": "text/html"}, b"", endpoint=URL, langfuse=True).kind == "delivered"


def test_a_partial_success_is_read() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    headers = {"content-type": "application/x-protobuf"}
    verdict = judge(200, headers, response.SerializeToString(), endpoint=URL, langfuse=False)
    assert (verdict.kind, verdict.rejected_spans) == ("delivered", 2)
    assert "too old" in verdict.message
    assert judge(200, headers, b"\xff garbage", endpoint=URL, langfuse=False).rejected_spans == 0


def test_retry_after_is_seconds_or_a_date_within_reason() -> None:
    assert retry_after("7") == 7.0
    assert retry_after("0.5") == 0.5
    assert retry_after("-3") == 0.0
    assert retry_after("999999") == 300.0
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after(in_a_minute) == pytest.approx(60, abs=3)
    assert [retry_after(value) for value in (None, "", "soon", "nan", "inf")] == [None] * 5


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 99999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +9999999999999999999",
        "31 Dec 9999 23:59:59 -2359",
        "1 Jan 0001 00:00:00 +2359",
        "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
        ",",
        "1" * 5000,
    ],
)
def test_a_wait_that_cannot_be_read_is_none_and_the_batch_is_tried_again(value: str) -> None:
    verdict = judge(503, {"retry-after": value}, b"", endpoint=URL, langfuse=False)
    assert verdict.kind == "retry"
    assert verdict.wait is None or 0 <= verdict.wait <= 300


def test_secrets_are_masked_in_every_form() -> None:
    token = b64encode(b"pk-lf-1:sk-lf-secret").decode()
    found = secrets_in({"authorization": f"Basic {token}", "x-api-key": "abcdef123", "x-version": "4"})
    text = masked(f"bad Basic {token}, {token}, sk-lf-secret, abcdef123, 4", found)
    assert text == "bad ***, ***, ***, ***, 4"
    assert masked("x", secrets_in({"authorization": "Basic !!!not-base64"})) == "x"


ECHOED = "sk-" + "proj-abcDEF1234567890abcdEFGH"


@pytest.mark.parametrize("length", [0, 200, 300, 330, 340, 350, 360, 370, 380, 390, 400])
def test_what_an_endpoint_echoes_is_masked_before_it_is_cut_short(length: int) -> None:
    body = f"{'x' * length} {ECHOED} and own-secret-of-the-header".encode()
    text = masked(judge(400, {}, body, endpoint=URL, langfuse=False).message, ("own-secret-of-the-header",))
    assert "sk-" not in text
    assert "own" not in text
    assert len(text) <= 401


def test_the_reason_of_a_partial_success_is_one_masked_line() -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 1
    response.partial_success.error_message = f"invalid span:\nprompt was {ECHOED}" + " word" * 500
    headers = {"content-type": "application/x-protobuf"}
    text = masked(judge(200, headers, response.SerializeToString(), endpoint=URL, langfuse=False).message, ())
    assert "invalid span: prompt was [REDACTED:openai-key] word" in text
    assert len(text) <= 401


def test_a_message_that_cannot_be_searched_for_secrets_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, swallowed_faults: Counter[str]
) -> None:
    def broken(text: str) -> NoReturn:
        raise RuntimeError("the patterns are broken")

    monkeypatch.setattr(secrets, "redact_text", broken)
    assert masked("it says: anything", ()) == "[REDACTED:redaction-failed]"
    assert swallowed_faults["export.verdict"] == 1


def test_a_url_is_shown_without_its_credentials() -> None:
    assert public_url(URL) == "https://collector.example/v1/traces"
