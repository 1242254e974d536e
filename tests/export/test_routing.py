"""Spans go to the Langfuse project that their identity names, and to no other."""

from __future__ import annotations

import asyncio
import logging
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.context import attach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.core.config import database_path
from looopy_otel.core.semconv import LANGFUSE_AS_ROOT
from looopy_otel.core.settings import ConsoleDestination, HTTPDestination
from looopy_otel.export.route import Router
from looopy_otel.export.sdk_filter import SDKFilters
from looopy_otel.store.sqlite import Store
from tests.support.otlp_sink import Answer, OTLPSink

INSIDE = {"looopy.project"}


def keys(name: str, sink: OTLPSink) -> dict[str, str]:
    return {"public_key": f"pk-{name}", "secret_key": f"sk-{name}", "base_url": sink.url}


def authorization(name: str) -> str:
    return "Basic " + b64encode(f"pk-{name}:sk-{name}".encode()).decode()


class Tenants:
    """Two Langfuse projects, the default one, and a collector."""

    def __init__(self) -> None:
        self.a, self.b, self.default, self.collector = OTLPSink(), OTLPSink(), OTLPSink(), OTLPSink()

    def configure(self, *, default: bool = True, **options: Any) -> lo.Telemetry:
        if default:
            options |= {
                "langfuse_public_key": "pk-default",
                "langfuse_secret_key": "sk-default",
                "langfuse_base_url": self.default.url,
            }
        options.setdefault("exporters", ["langfuse", "otlp"])
        return lo.configure(
            otlp_endpoint=self.collector.url,
            metrics="none",
            langfuse_projects={"tenant-a": keys("a", self.a), "tenant-b": keys("b", self.b)},
            **options,
        )

    def arrived(self) -> dict[str, list[str]]:
        sinks = {"a": self.a, "b": self.b, "default": self.default, "collector": self.collector}
        for name, sink in sinks.items():
            for request in sink.requests:
                expected = None if name == "collector" else authorization(name)
                assert request.headers.get("authorization") == expected
                assert all(not INSIDE & span.attributes.keys() for span in request.spans)
        return {name: sorted(sink.span_names) for name, sink in sinks.items()}

    def close(self) -> None:
        for sink in (self.a, self.b, self.default, self.collector):
            sink.close()


@pytest.fixture
def tenants() -> Iterator[Tenants]:
    made = Tenants()
    yield made
    made.close()


def test_each_project_gets_its_own_and_a_collector_gets_all(tenants: Tenants) -> None:
    with tenants.configure() as telemetry:
        for project in ("tenant-a", "tenant-b", None):
            with lo.session("s", project=project), lo.agent_span(str(project)), lo.tool_span("t"):
                with telemetry.tracer("mine").start_as_current_span(f"by hand {project}"):
                    pass
        stats = telemetry.flush() and telemetry.stats()
    expected = {name: ["agent.execute", f"by hand {project}", "tool.execute"] for name, project in
                (("a", "tenant-a"), ("b", "tenant-b"), ("default", "None"))}  # fmt: skip
    arrived = tenants.arrived()
    assert {name: arrived[name] for name in expected} == expected
    assert len(arrived["collector"]) == 9
    assert {one.name: one.exported for one in stats.destinations} == {
        "langfuse": 3,
        "langfuse:tenant-a": 3,
        "langfuse:tenant-b": 3,
        "otlp": 9,
    }
    assert stats.dropped == {}


def test_an_unknown_project_goes_to_no_langfuse_and_is_told(tenants: Tenants, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), tenants.configure() as telemetry:
        for _ in range(3):
            with lo.session(project="tenant-c"), lo.span("theirs"):
                pass
        telemetry.flush()
        assert telemetry.stats().dropped == {"unknown-project": 3}
    assert tenants.arrived() == {"a": [], "b": [], "default": [], "collector": ["theirs"] * 3}
    (warning,) = [record.getMessage() for record in caplog.records if "Known" in record.getMessage()]
    assert "'tenant-c'" in warning
    assert "'tenant-a', 'tenant-b'" in warning


def test_an_unknown_project_is_refused_by_an_only_langfuse_too() -> None:
    with OTLPSink() as sink:
        with lo.configure(otlp_endpoint=f"{sink.url}/api/public/otel", metrics="none") as telemetry:
            with lo.session(project="tenant-c"), lo.span("theirs"):
                pass
            with lo.span("mine"):
                pass
            assert telemetry.flush().dropped == 1
            assert telemetry.stats().dropped == {"unknown-project": 1}
        assert sink.span_names == ["mine"]


def test_without_a_default_spans_without_a_project_are_counted(
    tenants: Tenants, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), tenants.configure(default=False) as telemetry:
        with lo.span("nobody's"):
            pass
        with lo.session(project="tenant-a"), lo.span("a's"):
            pass
        telemetry.flush()
        assert telemetry.stats().dropped == {"no-project": 1}
    assert tenants.arrived() == {"a": ["a's"], "b": [], "default": [], "collector": ["a's", "nobody's"]}
    assert "no default project" in caplog.text


def test_without_a_langfuse_a_project_means_nothing() -> None:
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter) as telemetry:
        with lo.session(project="tenant-a"), lo.span("mine"), telemetry.tracer("x").start_as_current_span("plain"):
            pass
        telemetry.flush()
        assert telemetry.stats().dropped == {}
    spans = exporter.get_finished_spans()
    assert sorted(span.name for span in spans) == ["mine", "plain"]
    assert all(not INSIDE & (span.attributes or {}).keys() for span in spans)


def test_children_elsewhere_keep_the_project(tenants: Tenants) -> None:
    def work(name: str) -> None:
        with lo.span(name):
            pass

    async def run() -> None:
        async def task(project: str) -> None:
            with lo.session(project=project), lo.agent_span(project):
                await asyncio.gather(asyncio.to_thread(work, "thread"), asyncio.create_task(child()))
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(lo.propagated(work), "pool").result()

        async def child() -> None:
            work("task")

        await asyncio.gather(task("tenant-a"), task("tenant-b"))

    with tenants.configure(exporters=["langfuse"]):
        asyncio.run(run())
    expected = ["agent.execute", "pool", "task", "thread"]
    assert tenants.arrived() == {"a": expected, "b": expected, "default": [], "collector": []}


def test_a_session_inside_a_run_starts_a_tree_in_its_own_project(tenants: Tenants) -> None:
    with (
        tenants.configure(exporters=["langfuse"]),
        lo.session(project="tenant-a"),
        lo.agent_span("outer"),
        lo.session(project="tenant-b"),
        lo.span("inner"),
        lo.span("innermost"),
    ):
        pass
    assert tenants.arrived() == {"a": ["agent.execute"], "b": ["inner", "innermost"], "default": [], "collector": []}
    roots = [span.name for sink in (tenants.a, tenants.b) for span in sink.spans if LANGFUSE_AS_ROOT in span.attributes]
    assert roots == ["agent.execute", "inner"]


def test_the_store_keeps_all_spans_and_the_project_as_a_fact_of_the_draft(tenants: Tenants) -> None:
    with tenants.configure(exporters=["langfuse", "local"]) as telemetry:
        with lo.session(project="tenant-c"), lo.span("theirs") as step:
            with telemetry.tracer("mine").start_as_current_span("by hand"):
                pass
        trace_id = step.trace_id
    assert trace_id is not None
    with Store(database_path()) as store:
        spans = {span.name: span for span in store.spans(trace_id)}
    assert spans.keys() == {"theirs", "by hand"}
    assert not any(INSIDE & span.attributes.keys() for span in spans.values())
    draft = spans["theirs"].draft
    assert draft is not None
    assert draft.identity.project == "tenant-c"


def test_one_dead_project_slows_and_loses_nothing_of_another(tenants: Tenants) -> None:
    release = threading.Event()
    tenants.a.answer(then=Answer(hold=release))
    try:
        with tenants.configure(exporters=["langfuse"]) as telemetry:
            for project in ("tenant-a", "tenant-b", None):
                with lo.session(project=project), lo.span(f"of {project}"):
                    pass
            telemetry.flush(1.0)
            assert (tenants.b.span_names, tenants.default.span_names) == (["of tenant-b"], ["of None"])
            stats = {one.name: (one.exported, one.spooled) for one in telemetry.stats().destinations}
            assert stats == {"langfuse": (1, 0), "langfuse:tenant-a": (0, 1), "langfuse:tenant-b": (1, 0)}
            release.set()
        assert tenants.a.wait_for(1)[0].name == "of tenant-a"
    finally:
        release.set()


def test_one_project_that_refuses_its_keys_loses_its_own_spans_only(tenants: Tenants) -> None:
    tenants.a.answer(then=Answer(403))
    with tenants.configure(exporters=["langfuse"]) as telemetry:
        for project in ("tenant-a", "tenant-b"):
            with lo.session(project=project), lo.span("one"):
                pass
        telemetry.flush()
        found = {one.name: one for one in telemetry.stats().destinations}
    assert found["langfuse:tenant-b"].exported == 1
    assert found["langfuse:tenant-b"].last_error is None
    assert found["langfuse:tenant-a"].exported == 0
    assert "403" in (found["langfuse:tenant-a"].last_error or "")


@pytest.mark.parametrize("further", [1, 150])
def test_a_call_that_shows_late_what_it_is_goes_to_its_project(tenants: Tenants, further: int) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("library")
    with tenants.configure(exporters=["langfuse"], tracer_provider=provider) as telemetry:
        for project in ("tenant-a", "tenant-c"):
            with lo.session("s", user_id="u", project=project), tracer.start_as_current_span(f"of {project}") as span:
                for number in range(further):
                    span.set_attribute(f"gen_ai.prompt.{number}.content", "a secret")
        telemetry.flush()
        assert telemetry.stats().dropped == {"unknown-project": 1}
    assert tenants.arrived() == {"a": ["of tenant-a"], "b": [], "default": [], "collector": []}
    attributes = tenants.a.spans[0].attributes
    assert (attributes["session.id"], attributes["user.id"]) == ("s", "u")


def test_what_opentelemetry_alone_carries_to_a_thread_keeps_the_project(tenants: Tenants) -> None:
    with tenants.configure(exporters=["langfuse"]) as telemetry:
        with lo.session("s", user_id="u", project="tenant-a"), lo.agent_span("run"):
            here = get_current()

            def work() -> None:
                attach(here)
                with lo.llm_span(model="m"), telemetry.tracer("mine").start_as_current_span("by hand"):
                    pass
                with lo.session("other"), lo.span("in a session of its own"):
                    pass

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert tenants.arrived()["a"] == ["agent.execute", "by hand", "in a session of its own", "llm.call"]
    sessions = {span.name: span.attributes["session.id"] for span in tenants.a.spans}
    assert sessions == {"agent.execute": "s", "llm.call": "s", "by hand": "s", "in a session of its own": "other"}


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_project_is_an_unknown_one(tenants: Tenants, blank: str) -> None:
    with tenants.configure(exporters=["langfuse"]) as telemetry:
        with lo.session(project=blank), lo.agent_span("a"):
            pass
        with lo.session(project="tenant-a"), lo.session(project=blank), lo.span("b"):
            pass
        telemetry.flush()
        assert telemetry.stats().dropped == {"unknown-project": 2}
    assert tenants.arrived() == {"a": [], "b": [], "default": [], "collector": []}


def test_what_stands_below_a_left_out_span_keeps_its_place_in_the_tree(tenants: Tenants) -> None:
    options: dict[str, Any] = {"exporters": ["langfuse"], "instrumentation_scopes": ["!noisy"]}
    with tenants.configure(**options) as telemetry:
        noisy = telemetry.tracer("noisy")
        with (
            lo.session(project="tenant-a"),
            lo.agent_span("run"),
            noisy.start_as_current_span("noise"),
            lo.span("below"),
        ):
            pass
        with noisy.start_as_current_span("noise"), lo.span("top"):
            pass
    run, below = sorted(tenants.a.spans, key=lambda span: span.name)
    assert (below.parent_id, LANGFUSE_AS_ROOT in below.attributes) == (run.span_id, False)
    assert [LANGFUSE_AS_ROOT in span.attributes for span in tenants.default.spans] == [True]


@pytest.mark.parametrize("owner", ["default", "a"])
def test_the_langfuse_sdk_beside_sends_no_span_of_another_project(tenants: Tenants, owner: str) -> None:
    langfuse = pytest.importorskip("langfuse")
    provider = TracerProvider(shutdown_on_exit=False)
    sdk = langfuse.Langfuse(**keys(owner, getattr(tenants, owner)), tracer_provider=provider)
    library = provider.get_tracer("library")
    with tenants.configure(exporters=["langfuse"], tracer_provider=provider) as telemetry:
        for project in ("tenant-a", "tenant-b", "tenant-c", None):
            with lo.session(project=project), lo.span(f"ours {project}"):
                with sdk.start_as_current_observation(name="theirs"):
                    pass
                with library.start_as_current_span(f"late {project}") as span:
                    span.set_attribute("gen_ai.request.model", "m")
        telemetry.flush()
        sdk.flush()
        assert telemetry.stats().dropped == {"unknown-project": 2}
    sdk.shutdown()
    expected = {"a": "tenant-a", "b": "tenant-b", "default": "None"}
    assert {
        name: [span for span in names if span != "theirs"]
        for name, names in tenants.arrived().items()
        if name in expected
    } == {name: [f"late {project}", f"ours {project}"] for name, project in expected.items()}
    assert tenants.arrived()[owner].count("theirs") == 4


def test_a_configuration_that_was_replaced_leaves_the_langfuse_sdk_as_it_was(tenants: Tenants) -> None:
    langfuse = pytest.importorskip("langfuse")
    provider = TracerProvider(shutdown_on_exit=False)
    sdk = langfuse.Langfuse(**keys("of-its-own", tenants.default), tracer_provider=provider)
    tenants.configure(exporters=["langfuse"], tracer_provider=provider)
    otlp: dict[str, Any] = {"exporters": ["otlp"], "otlp_endpoint": tenants.collector.url, "metrics": "none"}
    with lo.configure(tracer_provider=provider, **otlp):
        with lo.session(project="new"), lo.span("second"):
            pass
        sdk.flush()
    with lo.session(project="new"), provider.get_tracer("library").start_as_current_span("after") as span:
        span.set_attribute("gen_ai.request.model", "m")
    sdk.shutdown()
    assert sorted(tenants.default.span_names) == ["after", "second"]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_rules_on_the_filter_of_the_langfuse_sdk_go_in_any_order(oldest_first: bool, wrapped: bool) -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("library").start_span("any")

    def own(_: object) -> bool:
        return True

    def wrapping(span: object) -> bool:
        return ours(span)

    processor: Any = SimpleNamespace(public_key="pk", _should_export_span=own)
    asked: list[str] = []
    rules = {name: SDKFilters(lambda _span, _key, name=name: asked.append(name) is None) for name in ("old", "new")}
    for name in rules:
        rules[name].put_on([processor])
    ours, left = processor._should_export_span, own
    if wrapped:
        left = processor._should_export_span = wrapping
    assert processor._should_export_span(span)
    assert asked == ["old", "new"]
    first, last = ("old", "new") if oldest_first else ("new", "old")
    rules[first].take_off()
    assert processor._should_export_span(span)
    assert asked == ["old", "new", last]
    rules[last].take_off()
    assert processor._should_export_span is left
    assert left(span)
    assert asked == ["old", "new", last]


def test_a_router_without_a_langfuse_refuses_nothing() -> None:
    router = Router([HTTPDestination("otlp", "http://collector:4318/v1/traces"), ConsoleDestination()])
    assert (router.projects_at(0), router.projects_at(1)) == (None, None)
    assert router.refused("anything") is None
    assert router.refused(None) is None


def test_a_secret_in_the_place_of_a_project_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    langfuse = HTTPDestination("langfuse", "http://lf/api/public/otel/v1/traces")
    router = Router([langfuse], lambda text: text.replace("sk-1", "***"))
    with caplog.at_level(logging.WARNING):
        assert [router.refused("sk-1"), router.refused("sk-1")] == ["unknown-project"] * 2
    assert len(caplog.records) == 1
    assert "sk-1" not in caplog.text
