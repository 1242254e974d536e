"""Clients of Anthropic's SDK: Anthropic, those of Bedrock, Vertex AI and Foundry, their async forms, and subclasses.

The SDK makes spans of its own from 2.0 on. A call that is recorded here has none of them, wherever they would go; one
that is not recorded here keeps its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, TypeVar

from looopy_otel.core.shapes.anthropic_messages import ANTHROPIC_MESSAGES
from looopy_otel.core.vendors import UNKNOWN, ModelVendor, vendor_of
from looopy_otel.instrument.anthropic_spans import NO_SECOND_SPAN
from looopy_otel.instrument.call import MiddlewareLike, WrapOptions, layers_of
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.instrument.stainless.client import instrument_sdk, wrap_client
from looopy_otel.instrument.stainless.made import message_events
from looopy_otel.instrument.stainless.request import Route, Sdk

ClientT = TypeVar("ClientT")

_ANTHROPIC: Final = ModelVendor("anthropic", "anthropic")
_PLATFORMS: Final = {
    "Bedrock": ModelVendor("bedrock", "aws.bedrock"),
    "AWS": ModelVendor("bedrock", "aws.bedrock"),
    "Vertex": ModelVendor("vertex_ai", "gcp.vertex_ai"),
    "Foundry": ModelVendor("azure_ai", "azure.ai.inference"),
}
"""Who answers, by a part of the name of the SDK's class."""


def _vendor(client: Any, model: str) -> ModelVendor:
    names = [base.__name__ for base in type(client).__mro__ if base.__module__.partition(".")[0] == "anthropic"]
    for part, vendor in _PLATFORMS.items():
        if any(part in name for name in names):
            return vendor
    if client.base_url.host.endswith("api.anthropic.com"):
        return _ANTHROPIC
    vendor = vendor_of(model)
    return _ANTHROPIC if vendor is UNKNOWN else vendor


ANTHROPIC_SDK: Final = Sdk("anthropic", (Route("/v1/messages", ANTHROPIC_MESSAGES, message_events),), _vendor)


def wrap_anthropic(client: ClientT, options: WrapOptions) -> ClientT:
    """A copy of a client that records messages, in all their forms.

    Args:
        client: An ``Anthropic`` or ``AsyncAnthropic``, or one of a subclass such as ``AnthropicBedrock``; it stays as
            it is.
        options: What the user says.
    """
    return wrap_client(ANTHROPIC_SDK, client, options)


def instrument_anthropic(
    *,
    provider_name: str | None = None,
    middleware: MiddlewareLike = (),
    ask_for_usage: bool = True,
    propagate: bool = True,
) -> None:
    """Records the calls of all clients of Anthropic's SDK, made before or after, until ``uninstrument("anthropic")``.

    Args:
        provider_name: ``gen_ai.provider.name``; by default what the client and the model tell.
        middleware: Runs around every call: one, or several with the outermost first.
        ask_for_usage: True asks for the usage of a stream where the caller did not; Anthropic always tells it.
        propagate: True sends ``traceparent`` with the request.

    Raises:
        ImportError: If ``anthropic`` is not installed.
    """
    options = WrapOptions(
        provider_name=provider_name, middleware=layers_of(middleware), ask_for_usage=ask_for_usage, propagate=propagate
    )
    uninstrument(NO_SECOND_SPAN)
    instrument_sdk(ANTHROPIC_SDK, import_module("anthropic._base_client"), options)
