"""The arguments of a call by their names, and what they say of the request where the function asks a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from types import FunctionType
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from looopy_otel.core.snapshot import snapshot
from looopy_otel.core.stored import stored
from looopy_otel.core.types import Message, MessageLike

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BOUND = (FunctionType, type(lru_cache(len)))
"""What is bound to the object on whose class it is found."""

_BEHIND = ("__func__", "fget", "func", "__wrapped__")
"""Where descriptors and decorators keep the function that they stand for."""

PARAMETERS: Final = (
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "seed", "stop",
    "presence_penalty", "frequency_penalty", "reasoning_effort", "tool_choice", "response_format",
)  # fmt: skip
"""Names of arguments that steer the model, as OpenAI's API has them."""


class Arguments:
    """How the arguments of one function are called.

    ``self`` and ``cls`` are left out, whatever they are called: an object is left out when the function is found on its
    class (or on it, if it is a class itself) as something that is bound to it. Only where the function cannot be found
    there, the names ``self`` and ``cls`` of a function defined in a class body say so.

    Args:
        function: The function, undecorated.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._bound_on: WeakKeyDictionary[type, bool] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"_function": self._function}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_function"])

    def by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call, as they are; also those of one that the function will complain of."""
        names, rest = self._names
        if args and self._is_bound(args[0]):
            args, names = args[1:], names[1:]
        named = dict(zip(names, args, strict=False))
        if len(args) > len(names):
            named[rest] = args[len(names) :]
        if not named.keys().isdisjoint(kwargs):
            # What is positional-only, or takes the rest, may have a namesake among the keywords.
            declared = {name: value for name, value in kwargs.items() if name in self._keywords}
            others = {name: value for name, value in kwargs.items() if name not in self._keywords}
            return {**named, **declared, self._rest_of_keywords: others}
        named.update(kwargs)
        return named

    @cached_property
    def _parameters(self) -> Sequence[inspect.Parameter]:
        try:
            return tuple(inspect.signature(self._function).parameters.values())
        except (TypeError, ValueError):
            return ()

    @cached_property
    def _keywords(self) -> frozenset[str]:
        """The parameters that only go by their names."""
        return frozenset(one.name for one in self._parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)

    @cached_property
    def _rest_of_keywords(self) -> str:
        kinds = (one.name for one in self._parameters if one.kind is inspect.Parameter.VAR_KEYWORD)
        return next(kinds, "kwargs")

    @cached_property
    def _names(self) -> tuple[tuple[str, ...], str]:
        """The positional parameters in order, and what takes the rest."""
        rest = next((one.name for one in self._parameters if one.kind is inspect.Parameter.VAR_POSITIONAL), "args")
        return tuple(one.name for one in self._parameters if one.kind in _POSITIONAL), rest

    def _is_bound(self, first: object) -> bool:
        if not issubclass(type(cast("object", self._function)), _BOUND):  # A mock may claim to be a function.
            return False
        owner = cast("type", first) if issubclass(type(first), type) else type(first)
        known = self._bound_on.get(owner)
        if known is None:
            known = self._bound_on[owner] = self._is_bound_on(owner)
        return known

    def _is_bound_on(self, owner: type) -> bool:
        for kind in (*type.mro(owner), *type.mro(type(owner))):
            for attribute in _candidates(vars(kind), self._function.__name__):
                if self._is_behind(attribute):
                    return not isinstance(attribute, staticmethod) or self._function.__name__ == "__new__"
        scope = self._function.__qualname__.rpartition(".")[0]
        in_class_body = bool(scope) and not scope.endswith("<locals>")
        return in_class_body and self._names[0][:1] in (("self",), ("cls",))

    def _is_behind(self, attribute: object) -> bool:
        seen = 0
        while attribute is not None and attribute is not self._function and seen < 32:
            seen += 1
            attribute = next((found for name in _BEHIND if (found := _kept(attribute, name)) is not None), None)
        return attribute is self._function


def _candidates(attributes: Mapping[str, object], name: str) -> Iterator[object]:
    """The attribute of that name first, since it nearly always is the one."""
    if name in attributes:
        yield attributes[name]
    for other in list(attributes.values()):
        if isinstance(other, FunctionType | staticmethod | classmethod | property | partial | cached_property):
            yield cast("object", other)


def _kept(attribute: object, name: str) -> object:
    """What a function, or one of the standard descriptors, has under a name; other objects are not asked."""
    if isinstance(attribute, FunctionType | staticmethod | classmethod | property | partial | cached_property):
        return cast("object", getattr(attribute, name, None))  # pyright: ignore[reportUnknownArgumentType]
    return stored(attribute, name)


def messages_in(value: object) -> Sequence[MessageLike]:
    """The messages that a value is a list of, in whatever form an SDK has them; none where it is something else."""
    if not isinstance(value, list | tuple):
        return ()
    messages = [_message(item) for item in cast("Sequence[object]", value)]
    return cast("Sequence[MessageLike]", messages) if None not in messages else ()


def _message(item: object) -> MessageLike | None:
    if isinstance(item, Message):
        return item
    plain = snapshot(item) if stored(item, "role") else item
    role = cast("Mapping[str, object]", plain).get("role") if isinstance(plain, Mapping) else None
    return cast("MessageLike", plain) if isinstance(role, str) else None


def request_in(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What arguments say of an LLM request, as fields of an `LLMCall`.

    The conversation is the argument ``messages``, else the text in ``prompt``, else the first argument that is a text
    (``model`` aside); where there is none of these, all arguments are the input. ``model``, ``tools`` and what is in
    `PARAMETERS` are taken over where they are of the right kind.
    """
    fields: dict[str, Any] = {"messages": _conversation(arguments)}
    if not fields["messages"]:
        fields["input"] = dict(arguments)
    if isinstance(model := arguments.get("model"), str) and model:
        fields["model"] = model
    tools = arguments.get("tools")
    if isinstance(tools, list | tuple) and all(isinstance(tool, Mapping) for tool in cast("list[object]", tools)):
        fields["tools"] = tuple(cast("list[Any]", tools))
    parameters = {name: arguments[name] for name in PARAMETERS if arguments.get(name) is not None}
    for name in ("tool_choice", "response_format"):
        fields[name] = parameters.pop(name, None)
    return {**fields, "parameters": parameters}


def _conversation(arguments: Mapping[str, Any]) -> Sequence[MessageLike]:
    if messages := messages_in(arguments.get("messages")):
        return messages
    texts = (arguments.get("prompt"), *(value for name, value in arguments.items() if name != "model"))
    text = next((one for one in texts if isinstance(one, str)), None)
    return () if text is None else [Message("user", text)]
