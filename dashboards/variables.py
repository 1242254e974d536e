"""The variables at the top of the dashboards."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable, TextBoxVariable
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh, VariableSort

DATA_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
LANGFUSE_PROJECT: Final = "https://cloud.langfuse.com/project/your-project-id"
_CALLS = "gen_ai_client_operation_duration_seconds_count"
_RUNS = "gen_ai_invoke_agent_duration_seconds_count"
_SPANS = "looopy_spans_queued"


def data_source() -> DatasourceVariable:
    """Which Prometheus is asked."""
    default = VariableOption(selected=False, text="default", value="default")
    return (
        DatasourceVariable("datasource")
        .label("Prometheus")
        .description("The data source that has scraped the metrics.")
        .type("prometheus")
        .current(default)
    )


def service() -> QueryVariable:
    """Which services; ``service.name`` from a collector, the scrape job's name without one."""
    return _values("service", "Service", _SPANS, "job", "service.name, or the scrape job's name without a collector.")


def instance() -> QueryVariable:
    """Which processes."""
    chosen = f'{_SPANS}{{job=~"$service"}}'
    return _values("instance", "Process", chosen, "instance", "service.instance.id, or host:port without a collector.")


def environment() -> QueryVariable:
    """Which deployment environments."""
    chosen = f'{_CALLS}{{job=~"$service"}}'
    label = "deployment_environment_name"
    return _values("environment", "Environment", chosen, label, "What configure(environment=…) said.")


def agent() -> QueryVariable:
    """Which agents."""
    chosen = f'{_RUNS}{{job=~"$service"}}'
    return _values("agent", "Agent", chosen, "gen_ai_agent_name", "All also has the calls outside of any agent.")


def model() -> QueryVariable:
    """Which models, by the name that was asked for."""
    chosen = f'{_CALLS}{{job=~"$service"}}'
    return _values("model", "Model", chosen, "gen_ai_request_model", "The model that was asked for.")


def langfuse() -> TextBoxVariable:
    """Where the links to Langfuse lead."""
    default = VariableOption(selected=True, text=LANGFUSE_PROJECT, value=LANGFUSE_PROJECT)
    return (
        TextBoxVariable("langfuse")
        .label("Langfuse project")
        .description("Address of the project in Langfuse, without a slash at the end; links to traces begin with it.")
        .default_value(LANGFUSE_PROJECT)
        .current(default)
        .options([default])
    )


def _values(name: str, label: str, metric: str, of: str, description: str) -> QueryVariable:
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATA_SOURCE)
        .query({"query": f"label_values({metric}, {of})", "refId": "A"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Not a list of the values: series without the label are chosen too.
        .all_value(".*")
        .current(everything)
    )
