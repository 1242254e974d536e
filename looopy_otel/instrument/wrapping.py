"""`wrap`: one line that traces what people already have."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar, cast

from looopy_otel.core.types import LLMProvider
from looopy_otel.instrument.call import MiddlewareLike, WrapOptions, layers_of

T = TypeVar("T")

_CLIENTS: Final = {
    "openai": ("looopy_otel.instrument.openai", "wrap_openai"),
    "anthropic": ("looopy_otel.instrument.anthropic", "wrap_anthropic"),
}
"""By the package of a client's class, the module that wraps it, and its function there."""


def wrap(
    target: T,
    *,
    provider_name: str | None = None,
    middleware: MiddlewareLike = (),
    request: Callable[..., Any] | None = None,
    response: Callable[[Any], Any] | None = None,
    ask_for_usage: bool = True,
    propagate: bool = True,
) -> T:
    """Traces the LLM calls of a client, a provider or a function; what it is given stays as it is.

    ::

        client = lo.wrap(openai.OpenAI())
        complete = lo.wrap(litellm.completion, middleware=[Budget(max_cost_usd=1)])
        ask = lo.wrap(my_function, request=lambda text: {"model": "m", "messages": text})

    What is wrapped behaves as before, keeps its type and attributes, and shares the HTTP client. Wrapping it again adds
    nothing but the middleware that is new.

    Args:
        target: A client of OpenAI's or Anthropic's SDK, sync or async; a function of LiteLLM's SDK (``completion``,
            ``acompletion``, ``text_completion``, ``embedding``, ``responses``, …); an `LLMProvider`; or any callable:
            a function, a method, a generator function, sync or async.
        provider_name: ``gen_ai.provider.name`` of the calls; by default what the client and the model tell.
        middleware: ``async def middleware(operation, call_next)`` around every call, outermost first, of the same kind
            as that of `AgentLoop`. It is for sync and async targets alike.
        request: For a callable: gets its arguments, and returns an `LLMCall`, or a mapping with its fields (``model``,
            ``messages``, ``tools``, ``parameters``, ``system``, …). By default the arguments are read by their names.
        response: For a callable: gets its result (of what comes in chunks, their list), and returns an `LLMResponse`,
            a text, or a mapping with ``output``, ``model``, ``usage``, ``finish_reason``, ``id``, ``cost``. By default
            the result is read by its shape.
        ask_for_usage: True asks for the usage of a stream where the caller did not, and hides the chunk that it
            comes in from the caller.
        propagate: True sends ``traceparent`` with the requests.

    Returns:
        The wrapped one, of the type of `target`.

    Raises:
        TypeError: If it cannot be wrapped, or `request` and `response` are given for what is read without them.
    """
    if (behind := _behind(target, request is not None or response is not None)) is not None:
        function, rebuilt = behind
        wrapped = wrap(
            function,
            provider_name=provider_name,
            middleware=middleware,
            request=request,
            response=response,
            ask_for_usage=ask_for_usage,
            propagate=propagate,
        )
        return target if wrapped is function else cast("T", rebuilt(wrapped))
    options = WrapOptions(
        provider_name=provider_name, middleware=layers_of(middleware), ask_for_usage=ask_for_usage, propagate=propagate
    )
    wrapper = _client_wrapper(type(target)) or _provider_wrapper(target) or _litellm_wrapper(target)
    if wrapper is not None:
        if request is not None or response is not None:
            raise TypeError("request= and response= are for callables; what a client sends and gets is known")
        return wrapper(target, options)
    if isinstance(target, type) or not callable(target):
        raise TypeError(_refusal(target))
    return cast("T", _function(target, options, request, response))


def _client_wrapper(kind: type) -> Callable[[Any, WrapOptions], Any] | None:
    """Who wraps a client of an SDK, by the packages that its classes come from; no SDK is imported."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in _CLIENTS and hasattr(kind, "request") and hasattr(kind, "with_options"):
            module, name = _CLIENTS[package]
            return cast("Callable[[Any, WrapOptions], Any]", getattr(import_module(module), name))
    return None


def _behind(target: object, with_readers: bool) -> tuple[Any, Callable[[Any], Any]] | None:
    """The function in a static method, class method or partial, and what makes another such thing of a function.

    A reader of the user's gets the arguments that a partial is called with, and so the partial stays closed to it.
    """
    kind = type(target)
    if isinstance(target, staticmethod | classmethod):
        return target.__func__, kind  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if kind is not partial or with_readers:
        return None
    given = cast("partial[Any]", target)
    if not inspect.isroutine(given.func):
        return None

    def rebuilt(wrapped: Any) -> Any:
        made = partial(wrapped, *given.args, **given.keywords)
        made.__dict__.update(given.__dict__)
        return made

    return given.func, rebuilt


def _provider_wrapper(target: object) -> Callable[[Any, WrapOptions], Any] | None:
    if isinstance(target, type) or not _is_provider(target):
        return None
    return import_module("looopy_otel.instrument.providers").wrap_provider


def _is_provider(target: object) -> bool:
    """Whether an object has a model, and a ``call`` that takes the messages as an `LLMProvider` does.

    A ``call`` that takes them by position too is one only where it is an ``async def``: many a client has a sync one.
    """
    if not isinstance(target, LLMProvider):
        return False
    call: Any = target.call
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    messages = parameters.get("messages")
    if messages is None:
        return kinds == {inspect.Parameter.VAR_KEYWORD}
    if messages.kind is inspect.Parameter.KEYWORD_ONLY:
        return True
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def _litellm_wrapper(target: object) -> Callable[[Any, WrapOptions], Any] | None:
    if "litellm" not in sys.modules or not str(getattr(target, "__module__", "")).startswith("litellm."):
        return None
    module = import_module("looopy_otel.instrument.litellm")
    return module.wrap_litellm if module.is_litellm_function(target) else None


def _function(
    target: Callable[..., Any],
    options: WrapOptions,
    request: Callable[..., Any] | None,
    response: Callable[[Any], Any] | None,
) -> Callable[..., Any]:
    module = import_module("looopy_otel.instrument.traced")
    made_of = module.made_of(target)
    if made_of is not None:
        inner, before, request_before, response_before = made_of
        options = before.joined(options)
        request, response = request or request_before, response or response_before
        if (options, request, response) == (before, request_before, response_before):
            return target
        target = inner
    wrap_function = import_module("looopy_otel.instrument.functions").wrap_function
    wrapped = wrap_function(target, options, request, response)
    if wrapped.__class__ is type(wrapped):  # What stands for a callable object knows by itself what it was made of.
        module.remember(wrapped, (target, options, request, response))
    return wrapped


def _refusal(target: object) -> str:
    kind = (
        f"the class {target.__name__}; make an object of it first" if isinstance(target, type) else repr(type(target))
    )
    return (
        f"wrap() cannot wrap {kind}. It takes clients of OpenAI and Anthropic (sync and async), functions of LiteLLM "
        "(litellm.completion, …), an LLMProvider (an object with 'model' and 'call(*, messages, …)'), and any "
        "callable, such as a method of an object: lo.wrap(thing.ask)"
    )
