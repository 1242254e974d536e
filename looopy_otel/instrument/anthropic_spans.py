"""The spans that Anthropic's SDK makes of its own, where a call of ours stands around its client.

A wrapped client and ``instrument_anthropic()`` see to it by themselves. Inside any other LLM call that is recorded (a
decorated or wrapped function, an adapter of a framework) the SDK's span would be a second generation, so the request is
recorded here instead: it becomes the generation, or tells the call around it what that lacks. Requests outside keep
the SDK's spans.
"""

from __future__ import annotations

import sys
from typing import Final

from looopy_otel.core.hooks import innermost
from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.patching import is_instrumented
from looopy_otel.instrument.stainless.hooks import is_recorded
from looopy_otel.record.nesting import enclosing_call

NO_SECOND_SPAN: Final = "anthropic_spans"
"""What `uninstrument` knows this by."""
_SDK: Final = "anthropic"


def no_second_span() -> None:
    """Called at the start of an LLM call of ours: patches the SDK, once, where it is loaded and makes spans."""
    module = sys.modules.get(f"{_SDK}._base_client")
    if (
        module is None
        or is_instrumented(NO_SECOND_SPAN)
        or is_instrumented(_SDK)
        or not hasattr(module.BaseClient, "_tracer")
    ):
        return
    # Imported here, since most programs never come to this point.
    from looopy_otel.instrument.anthropic import ANTHROPIC_SDK
    from looopy_otel.instrument.stainless.client import instrument_sdk

    instrument_sdk(ANTHROPIC_SDK, module, WrapOptions(propagate=False), name=NO_SECOND_SPAN, wanted=_inside_a_call)


def _inside_a_call() -> bool:
    return not is_recorded() and enclosing_call(innermost()) is not None
