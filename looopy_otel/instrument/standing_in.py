"""An object that stands for another one: `isinstance` holds, attributes are the other's, operators work as on it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

_OPERATORS: Final = (
    "__len__", "__length_hint__", "__bool__", "__getitem__", "__setitem__", "__delitem__", "__contains__",
    "__reversed__", "__call__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__str__",
    "__format__", "__bytes__", "__int__", "__float__", "__index__", "__add__", "__radd__", "__or__", "__ror__",
    "__iter__", "__next__", "__aiter__", "__anext__", "__await__",
    "__enter__", "__exit__", "__aenter__", "__aexit__", "__get__",
)  # fmt: skip
"""Special methods that Python looks up on the class, and so not by `__getattr__`."""


def defines(kind: type, name: str) -> bool:
    """Whether a class, or one that it inherits from, defines a name; runs no code of the class or its metaclass."""
    return any(name in vars(base) for base in type.__getattribute__(kind, "__mro__") if base is not object)


def operators(kind: type, target: str) -> dict[str, Any]:
    """The special methods of a class for one whose objects stand for one of its objects.

    Args:
        kind: The class.
        target: The attribute that holds the object that is stood for.
    """
    found: dict[str, Any] = {name: _forwarding(name, target) for name in _OPERATORS if defines(kind, name)}
    if "__eq__" in found and type.__getattribute__(kind, "__hash__") is None:
        found["__hash__"] = None
    return found


def _forwarding(name: str, target: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(object.__getattribute__(self, target), name)(*args, **kwargs)

    forward.__name__ = name
    return forward


class StandIn:
    """Stands for an object that a class of its own cannot be made for; attributes that are set are set on the object.

    Attributes:
        looopy_target: The object.
        looopy_made: Makes such a stand-in of another object.
    """

    __slots__ = ("__weakref__", "looopy_made", "looopy_target")

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(cast("object", _target(self)))

    def __getattr__(self, name: str) -> Any:
        target = _target(self)
        if name == "__signature__" and callable(target):
            return inspect.signature(target)
        return getattr(target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_target(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target(self), name)

    def __repr__(self) -> str:
        return repr(_target(self))

    def __dir__(self) -> list[str]:
        return dir(_target(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _made(self), (_target(self),)

    def __copy__(self) -> Any:
        return _made(self)(copy.copy(_target(self)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _made(self)(copy.deepcopy(_target(self), memo))


def stand_in(target: Any, made: partial[Any], **members: Any) -> Any:
    """Makes an object that stands for another one.

    Args:
        target: The object.
        made: Makes such a stand-in of another object: for copies, and for pickle.
        members: What is different on it.
    """
    kind = type(cast("object", target))
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__, "__slots__": ()}
    made_class = type(kind.__name__, (StandIn,), {**names, **operators(kind, "looopy_target"), **members})
    one = object.__new__(made_class)
    object.__setattr__(one, "looopy_target", target)
    object.__setattr__(one, "looopy_made", made)
    return one


def made_from(one: StandIn) -> tuple[Any, Mapping[str, Any]]:
    """The object that one stands for, and the keywords of what made it."""
    return _target(one), _made(one).keywords


def _target(one: StandIn) -> Any:
    return object.__getattribute__(one, "looopy_target")


def _made(one: StandIn) -> partial[Any]:
    return cast("partial[Any]", object.__getattribute__(one, "looopy_made"))
