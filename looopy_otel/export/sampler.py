"""The sampler of the private provider: it follows our own parents and ignores those of other providers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes


class OwnParentSampler(Sampler):
    """Samples roots by another sampler, and children like their parent, if the parent is ours.

    An unsampled span of a web framework's provider would otherwise make every generation below it vanish.

    Args:
        root: Decides for spans whose parent is not ours.
        has_own_parent: Tells whether the parent in a context is ours.
    """

    def __init__(self, root: Sampler, has_own_parent: Callable[[Context | None], bool]) -> None:
        self._root = root
        self._has_own_parent = has_own_parent

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decides for one span."""
        if not self._has_own_parent(parent_context):
            return self._root.should_sample(Context(), trace_id, name, kind, attributes, links)
        sampled = get_current_span(parent_context).get_span_context().trace_flags.sampled
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes if sampled else None)

    def get_description(self) -> str:
        """Names the sampler."""
        return f"OwnParent{{root:{self._root.get_description()}}}"


def build_sampler(name: str, ratio: float, has_own_parent: Callable[[Context | None], bool]) -> Sampler:
    """Builds the sampler that ``OTEL_TRACES_SAMPLER`` names.

    Args:
        name: ``always_on``, ``always_off``, ``traceidratio``, or one of these with ``parentbased_`` in front.
        ratio: 0 to 1, for ``traceidratio``.
        has_own_parent: Tells whether the parent in a context is ours.
    """
    root = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF, "traceidratio": TraceIdRatioBased(ratio)}[
        name.removeprefix("parentbased_")
    ]
    return OwnParentSampler(root, has_own_parent) if name.startswith("parentbased_") else root
