"""Observability: the model that answered, the tokens, and what stands on the span of the call."""

import asyncio

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.providers import LiteLLM

# "auto" is where traces go anyway: Langfuse when its keys are set, OTLP when an endpoint is set, else a local file.
# The exporter beside it keeps the spans in memory, so that this page can print them.
spans = InMemorySpanExporter()
telemetry = lo.configure(
    service_name="observability",
    exporters=["auto", spans],
    dialects={"InMemorySpanExporter": "seed"},
)

provider = LiteLLM.from_env("gpt-4")


async def main() -> None:
    response = await provider.call(messages=[{"role": "user", "content": "Hello!"}])

    # Model information
    print("Model:", response.model)

    # Token usage
    if response.usage is not None:
        print("Prompt tokens:", response.usage.prompt_tokens)
        print("Completion tokens:", response.usage.completion_tokens)
        print("Total tokens:", response.usage.total_tokens)
    print("Cost:", "unknown" if response.cost is None else f"${response.cost}")


asyncio.run(main())

# Tracing integration
telemetry.flush()
for span in spans.get_finished_spans():
    print(f"\n{span.name}")
    for name, value in sorted((span.attributes or {}).items()):
        print(f"  {name} = {value}")
