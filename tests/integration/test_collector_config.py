"""collector-config.yaml as it stands: safe defaults, documented variables, names that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from looopy_otel.core import semconv
from tests.support.collector import CONFIG, MANIFEST, Collector, validate
from tests.support.otlp_sink import Answer, OTLPSink
from tests.support.prometheus import check_config

GUIDE: Final = CONFIG.parent / "docs" / "collector.md"
VARIABLE: Final = re.compile(r"\$\{env:([A-Z0-9_]+)(?::-([^}]*))?\}")


def variables() -> dict[str, set[str]]:
    """Each environment variable of the configuration with its defaults; there should be one at most."""
    found: dict[str, set[str]] = {}
    for name, default in VARIABLE.findall(CONFIG.read_text(encoding="utf-8")):
        found.setdefault(name, set()).add(default)
    return found


def test_the_guide_names_each_variable_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]*)`|none) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: {default} for name, default in rows} == variables()


def test_nothing_listens_beyond_loopback_by_default() -> None:
    defaults = {name: default for name, (default,) in ((name, tuple(said)) for name, said in variables().items())}
    addresses = {name: default for name, default in defaults.items() if re.search(r":\d+$|^[\d.]+\.\d+$", default)}
    assert len(addresses) == 5
    assert all(address.startswith("127.0.0.1") for address in addresses.values()), addresses
    assert "0.0.0.0" not in CONFIG.read_text(encoding="utf-8")


def test_attributes_are_spelled_as_in_semconv() -> None:
    known = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    used = set(re.findall(r'span\.attributes\["([^"]+)"\]', CONFIG.read_text(encoding="utf-8")))
    assert len(used) > 10
    assert used <= known


def test_the_manifest_is_of_one_release_and_the_guide_names_it() -> None:
    manifest = MANIFEST.read_text(encoding="utf-8")
    (version,) = re.findall(r"^  version: (\S+)$", manifest, re.MULTILINE)
    components = set(re.findall(r"gomod: \S+(?:extension|storage|receiver|processor|exporter)/\S+ v(\S+)", manifest))
    assert components == {version}
    assert f"opentelemetry-collector-contrib:{version}" in GUIDE.read_text(encoding="utf-8")


def test_the_collector_takes_it_with_nothing_but_the_keys() -> None:
    result = validate(CONFIG, {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"})
    assert (result.returncode, result.stderr) == (0, "")


def test_the_queue_is_for_the_collectors_user_alone(collector: Collector) -> None:
    places = [collector.directory, *collector.directory.rglob("*")]
    assert len(places) >= 3
    assert {oct(path.stat().st_mode & 0o077) for path in places} == {"0o0"}


def test_wrong_keys_are_told(tmp_path: Path) -> None:
    with OTLPSink(Answer(401)) as sink, Collector(tmp_path, sink.url) as collector:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        provider.get_tracer("tests").start_span("refused").end()
        provider.shutdown()
        sink.wait_for_requests(1)
        collector.stop()
        assert "401" in collector.log_end(10_000)


def test_prometheus_takes_the_scrape_configuration_of_the_guide(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "prometheus.yml"
    path.write_text(block, encoding="utf-8")
    result = check_config(path)
    assert result.returncode == 0, result.stdout + result.stderr
