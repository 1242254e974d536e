"""What does a traced LLM call cost its caller, against the same span written by hand with plain OpenTelemetry?

``python -m benchmarks.overhead`` times both in turns, in one process: a busy machine slows both, the ratio counts.
By hand means: a batch processor, attributes of the GenAI conventions, and the conversation as JSON. Neither exports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Tracer

import looopy_otel as lo

Messages = list[dict[str, Any]]


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Forgets them."""
        return SpanExportResult.SUCCESS


def by_hand(tracer: Tracer, messages: Messages) -> None:
    """One call, as people write it."""
    with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT) as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.provider.name", "openai")
        span.set_attribute("gen_ai.request.model", "gpt-4o")
        span.set_attribute("gen_ai.input.messages", json.dumps(messages))
        span.set_attribute("gen_ai.response.model", "gpt-4o-2024-08-06")
        span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
        span.set_attribute("gen_ai.usage.input_tokens", 100)
        span.set_attribute("gen_ai.usage.output_tokens", 20)
        answer = [{"role": "assistant", "parts": [{"type": "text", "content": "yes"}]}]
        span.set_attribute("gen_ai.output.messages", json.dumps(answer))


def by_library(messages: Messages) -> None:
    """The same call with this library."""
    with lo.llm_span(model="gpt-4o", provider_name="openai", input=messages) as call:
        call.record(
            output="yes",
            response_model="gpt-4o-2024-08-06",
            finish_reason="stop",
            usage={"prompt_tokens": 100, "completion_tokens": 20},
        )


def seconds_per_call(call: Callable[[], None], calls: int) -> float:
    """Processor seconds of the calling thread; what other threads and processes do is not in it."""
    start = time.thread_time()
    for _ in range(calls):
        call()
    return (time.thread_time() - start) / calls


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="The caller's cost of a traced call, as a ratio.")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("by hand")
    print(f"{'characters':>10} {'by hand µs':>11} {'library µs':>11} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as spool:
        with lo.configure(exporters=Nowhere(), metrics="none", spool_directory=spool) as telemetry:
            for characters, calls in ((200, 400), (8_000, 200), (200_000, 30)):
                messages = conversation(characters)
                hand: list[float] = []
                library: list[float] = []
                for _ in range(options.rounds):
                    hand.append(seconds_per_call(lambda given=messages: by_hand(tracer, given), calls))
                    library.append(seconds_per_call(lambda given=messages: by_library(given), calls))
                    telemetry.flush(timeout=30.0)
                    provider.force_flush()
                first, second = statistics.median(hand) * 1e6, statistics.median(library) * 1e6
                print(f"{characters:10d} {first:11.1f} {second:11.1f} {second / first:6.2f}")
    provider.shutdown()


def conversation(characters: int) -> Messages:
    """A conversation of ten messages of so many characters together."""
    roles = ("user", "assistant")
    return [{"role": roles[turn % 2], "content": "word " * (characters // 50)} for turn in range(10)]


if __name__ == "__main__":
    main()
