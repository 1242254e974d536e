"""Reads a trace back from Langfuse: with its SDK, or by plain HTTP where that is not installed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from looopy_otel.cli.checks.check import Check, sooner, within
from looopy_otel.cli.checks.endpoint import langfuse_keys
from looopy_otel.cli.checks.exchange import Answer, ask
from looopy_otel.core.endpoint import AUTHORIZATION, LANGFUSE_OTLP_PATH
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.deadline import remaining

PATIENCE: Final = 12.0
"""Seconds that Langfuse's worker may take; it stores what the endpoint has accepted in its own time."""

ASK_SECONDS: Final = 4.0
_PAUSE: Final = 0.5


class LangfuseReader:
    """Asks Langfuse's API what it has of a trace.

    Args:
        destination: A Langfuse's OTLP endpoint.
        deadline: A value of `time.monotonic`.
    """

    def __init__(self, destination: HTTPDestination, deadline: float) -> None:
        self._destination = destination
        self._deadline = deadline
        self.base: Final = destination.endpoint.partition("?")[0].partition(LANGFUSE_OTLP_PATH)[0]
        self._with_sdk = find_spec("langfuse") is not None
        self._how = "by its SDK" if self._with_sdk else "by HTTP; pip install 'looopy-otel[langfuse]' for the SDK"
        self._problem = ""
        self._newest = True

    def check(self, trace_id: str, spans: int) -> Check:
        """Waits, with patience, until so many spans of a trace can be read."""
        started = time.monotonic()
        until = sooner(self._deadline, PATIENCE)
        link = self._link(trace_id)
        found = 0
        while remaining(until) > 0:
            found = self._count(trace_id, until)
            if found >= spans:
                detail = f"{found} of {spans} spans after {time.monotonic() - started:.1f} s ({self._how})"
                return Check("read back", "ok", detail, link=link)
            threading.Event().wait(min(_PAUSE, remaining(until)))
        problem = f": {self._problem}" if self._problem else ""
        cause = (
            "Langfuse has accepted the trace but does not show it yet: its worker, queue or storage is down or behind; "
            "look again in a minute"
        )
        detail = f"{found} of {spans} spans after {time.monotonic() - started:.0f} s{problem}"
        return Check("read back", "failed", detail, cause, link)

    def _count(self, trace_id: str, until: float) -> int:
        if not self._with_sdk:
            return self._count_by_http(trace_id, until)
        counted: list[int] = []
        within(sooner(until, ASK_SECONDS), lambda: counted.append(self._count_by_sdk(trace_id)))
        return counted[0] if counted else 0

    def _count_by_sdk(self, trace_id: str) -> int:
        import httpx
        from langfuse.api import LangfuseAPI
        from langfuse.api.core import ApiError

        from looopy_otel.export.bounded_network import trust

        public, secret = self._keys()
        context = trust(self._destination.certificate)
        with httpx.Client(verify=context, timeout=ASK_SECONDS, follow_redirects=False) as client:
            # The API alone: the SDK's own client would make itself the process's tracer and start threads.
            api = LangfuseAPI(base_url=self.base, username=public, password=secret, httpx_client=client)
            try:
                found = api.observations.get_many(trace_id=trace_id, limit=50, request_options={"max_retries": 0})
            except (ApiError, httpx.HTTPError, ValueError) as error:
                # The text of an ApiError holds headers and body.
                status = getattr(error, "status_code", None)
                if status == 404:
                    self._with_sdk, self._how = False, "by HTTP: this Langfuse is older than the SDK"
                self._problem = f"its API answers {status}" if status else f"its API: {type(error).__name__}"
                return 0
        return len(found.data)

    def _count_by_http(self, trace_id: str, until: float) -> int:
        if self._newest:
            answer = self._get(f"/api/public/v2/observations?{urlencode({'traceId': trace_id, 'limit': 50})}", until)
            if answer is not None:
                return len(cast("list[Any]", answer.get("data") or []))
            self._newest = False
        # Before version 4 there is a trace to ask for.
        answer = self._get(f"/api/public/traces/{quote(trace_id)}", until) or {}
        return len(cast("list[Any]", answer.get("observations") or []))

    def _link(self, trace_id: str) -> str:
        """The address of a trace for people; empty where the project is not told."""
        answer = self._get("/api/public/projects", self._deadline) or {}
        projects = cast("list[Mapping[str, Any]]", answer.get("data") or [])
        if not projects or not projects[0].get("id"):
            return ""
        return f"{self.base}/project/{quote(str(projects[0]['id']), safe='')}/traces/{trace_id}"

    def _get(self, path: str, deadline: float) -> dict[str, Any] | None:
        """The JSON object at a path; empty where it is not there yet, None where there is no such route."""
        answer = ask(self._destination, sooner(deadline, ASK_SECONDS), url=self.base + path)
        if not isinstance(answer, Answer):
            self._problem = f"its API: {answer.reason}"
            return {}
        if answer.status == 404:
            return None
        if answer.status != 200:
            self._problem = f"its API answers {answer.status}"
            return {}
        try:
            found = json.loads(answer.body)
        except ValueError:
            self._problem = "its API answers no JSON"
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _keys(self) -> tuple[str, str]:
        headers = self._destination.headers
        return langfuse_keys(next((value for name, value in headers.items() if name.lower() == AUTHORIZATION), ""))
