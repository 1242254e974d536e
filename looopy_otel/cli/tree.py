"""Draws the spans of one trace as a tree, the way Langfuse shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.tree import Tree

from looopy_otel.cli.amounts import cost_text, duration_text, usage_text
from looopy_otel.cli.content import Detail, content_lines
from looopy_otel.cli.terminal import printable
from looopy_otel.core.draft import AgentDraft, AttemptDraft, IterationDraft, LLMDraft, ToolDraft
from looopy_otel.core.semconv import (
    LANGFUSE_TYPE_AGENT,
    LANGFUSE_TYPE_CHAIN,
    LANGFUSE_TYPE_GENERATION,
    LANGFUSE_TYPE_SPAN,
    LANGFUSE_TYPE_TOOL,
)
from looopy_otel.store.span import StoredSpan

_TYPES: Final = {
    "agent": LANGFUSE_TYPE_AGENT,
    "iteration": LANGFUSE_TYPE_CHAIN,
    "llm": LANGFUSE_TYPE_GENERATION,
    "tool": LANGFUSE_TYPE_TOOL,
}
_STYLES: Final = {"agent": "bold", "iteration": "bold", "llm": "bold cyan", "tool": "bold magenta"}
_GUIDE_STYLE: Final = "dim"


def span_tree(spans: Sequence[StoredSpan], *, content: bool = False) -> Group:
    """Draws the spans of one trace.

    Args:
        spans: All spans of the trace, in any order.
        content: True to show inputs and outputs too.

    Returns:
        One tree per span without a parent in `spans`, in the order of their start. Every span stands in it once,
        also where parents are missing or refer to each other in a circle.
    """
    ordered = sorted(spans, key=lambda span: span.start_time)
    family = _family(ordered)
    return Group(*(_drawn(root, family, content) for root in _roots(ordered, family)))


_Family = Mapping[str, Sequence[StoredSpan]]


def _family(ordered: Sequence[StoredSpan]) -> _Family:
    """Children by the id of their parent, in the order of their start."""
    family: dict[str, list[StoredSpan]] = {}
    for span in ordered:
        if span.parent_id is not None:
            family.setdefault(span.parent_id, []).append(span)
    return family


def _roots(ordered: Sequence[StoredSpan], family: _Family) -> Iterator[StoredSpan]:
    present = {span.span_id for span in ordered}
    reached: set[str] = set()
    for span in ordered:
        if span.parent_id is None or span.parent_id not in present:
            reached.update(one.span_id for one in _descendants(span, family))
            yield span
    for span in ordered:
        if span.span_id not in reached:
            reached.update(one.span_id for one in _descendants(span, family))
            yield span


def _descendants(span: StoredSpan, family: _Family) -> Iterator[StoredSpan]:
    """The span itself and all below it, each once."""
    seen: set[str] = set()
    waiting = [span]
    while waiting:
        one = waiting.pop()
        if one.span_id not in seen:
            seen.add(one.span_id)
            waiting.extend(family.get(one.span_id, ()))
            yield one


def _below(span: StoredSpan, family: _Family) -> Iterator[StoredSpan]:
    return (one for one in _descendants(span, family) if one is not span)


def _drawn(root: StoredSpan, family: _Family, content: bool) -> Tree:
    tree = Tree(_label(root, family, content, root=True), guide_style=_GUIDE_STYLE)
    drawn = {root.span_id}
    waiting = [(root, tree)]
    while waiting:
        parent, branch = waiting.pop()
        for child in family.get(parent.span_id, ()):
            if child.span_id not in drawn:
                drawn.add(child.span_id)
                waiting.append((child, branch.add(_label(child, family, content))))
    return tree


@dataclass(frozen=True, slots=True)
class _Label:
    """A title and the lines below it; with `guide` the line down to the children goes past them."""

    title: Text
    details: tuple[Detail, ...]
    guide: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        guides = Tree.ASCII_GUIDES if options.ascii_only else Tree.TREE_GUIDES[0]
        gutter = Segment(guides[1], Style.parse(_GUIDE_STYLE)) if self.guide else Segment("")
        yield self.title
        for detail in self.details:
            indent = Segment(" " * detail.indent)
            room = options.update(width=options.max_width - len(gutter.text) - detail.indent)
            for line in console.render_lines(detail.text, room, pad=False):
                yield from (gutter, indent, *line, Segment.line())


def _label(span: StoredSpan, family: _Family, content: bool, *, root: bool = False) -> _Label:
    return _Label(
        title=_title(span),
        details=tuple(_details(span, family, content, root)),
        guide=bool(family.get(span.span_id)),
    )


def _title(span: StoredSpan) -> Text:
    kind = span.draft.kind if span.draft else ""
    facts = [*_facts(span), duration_text(span.duration)]
    return Text.assemble(
        (printable(span.name), _STYLES.get(kind, "bold")),
        (f" ({_TYPES.get(kind, LANGFUSE_TYPE_SPAN)})", "dim"),
        "  ",
        printable(" · ".join(facts)),
    )


def _facts(span: StoredSpan) -> Iterator[str]:
    """What tells this span from others of its kind, and how it ended where that is not plain success."""
    draft = span.draft
    match draft:
        case AgentDraft():
            if draft.identity.agent_id:
                yield draft.identity.agent_id
            if draft.outcome != "completed":
                yield draft.outcome
        case IterationDraft() | AttemptDraft():
            yield f"#{draft.number}"
        case ToolDraft():
            yield draft.tool_name
        case LLMDraft():
            if draft.outcome != "completed":
                yield draft.outcome
        case _:
            if span.kind != "INTERNAL":
                yield span.kind.lower()
    if span.status == "ERROR" and not isinstance(draft, AgentDraft | LLMDraft):
        yield "failed"


def _details(span: StoredSpan, family: _Family, content: bool, root: bool) -> Iterator[Detail]:
    draft = span.draft
    if root and span.parent_id is not None:
        yield Detail(Text(f"Parent: {span.parent_id} (not stored here)", style="dim"))
    if isinstance(draft, AgentDraft):
        yield from map(Detail, _totals(draft, span, family))
    elif isinstance(draft, LLMDraft):
        yield from map(Detail, _generation(draft))
    reason = _reason(span)
    # An error that came up from a span below is shown there alone.
    if reason is not None and not any(_reason(one) == reason for one in _below(span, family)):
        yield Detail(Text.assemble(("Error: ", "bold red"), (printable(reason), "red")))
    if content and draft is not None:
        yield from content_lines(draft)


def _totals(draft: AgentDraft, span: StoredSpan, family: _Family) -> Iterator[Text]:
    if draft.usage is not None:
        yield Text(f"Tokens: {usage_text(draft.usage)}")
    calls = [one.draft for one in _below(span, family) if isinstance(one.draft, LLMDraft)]
    unknown = sum(call.answered and call.cost is None for call in calls)
    if draft.cost is not None:
        rest = f" and {unknown} {'call' if unknown == 1 else 'calls'} of unknown cost" if unknown else ""
        yield Text(f"Cost: {cost_text(draft.cost)}{rest}")
    elif unknown or (draft.llm_calls and not calls):
        yield Text("Cost unknown")


def _generation(draft: LLMDraft) -> Iterator[Text]:
    model = draft.response_model or draft.request_model
    asked = f" (requested: {draft.request_model})" if draft.request_model not in ("", model) else ""
    yield Text(printable(f"Model: {model}{asked}"))
    if not draft.answered:
        return
    if draft.usage is None:
        yield Text("Tokens not reported")
    else:
        guess = ", estimated" if draft.usage_source == "estimated" else ""
        yield Text(f"Tokens: {usage_text(draft.usage)}{guess}")
    yield _cost_line(draft.cost.total if draft.cost else None)


def _cost_line(cost: Decimal | None) -> Text:
    return Text("Cost unknown") if cost is None else Text(f"Cost: {cost_text(cost)}")


def _reason(span: StoredSpan) -> str | None:
    """Why the span failed or was stopped, in one text; None where there is nothing to say."""
    draft = span.draft
    if draft is not None and draft.error is not None:
        failure = draft.error
        return f"{failure.type}: {failure.message}" if failure.message else failure.type
    if isinstance(draft, AgentDraft) and draft.reason and draft.outcome != draft.reason:
        return draft.reason
    if span.status == "ERROR":
        return span.status_message or "no message"
    return None
