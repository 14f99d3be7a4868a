"""Where dependencies come from: values, and functions that make one for each turn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, NamedTuple, get_origin

from ..messages.errors import DependencyError


class TurnInfo(NamedTuple):
    """The turn that a factory makes something for.

    Args:
        senders: who wrote the messages of the turn.
    """

    tenant: str = ""
    session_id: str = ""
    senders: tuple[str | None, ...] = ()


Given = Mapping[type[Any], Callable[[TurnInfo], object] | object]
"""What a user gives: for each type an instance of it, or a function that makes one."""


class Provider(NamedTuple):
    """Where a dependency comes from.

    Args:
        value: the thing itself, or what makes it.
        is_factory: which of the two.
        opens: whether making it has to be awaited, or it has to be closed, so that it is made
            when the turn starts.
    """

    value: Any
    is_factory: bool
    opens: bool


class Providers(dict[type[Any], Provider]):
    """The providers of a system, by type."""

    def __init__(self, providers: Mapping[type[Any], Provider]) -> None:
        super().__init__(providers)
        self.opens = any(provider.opens for provider in providers.values())

    @classmethod
    def of(cls, mapping: Given) -> Providers:
        """Read what a user gave.

        Raises:
            DependencyError: a key is no type, or a value neither an instance nor a function.
        """
        return cls({type_: _provider(type_, value) for type_, value in mapping.items()})


def _provider(type_: object, value: Any) -> Provider:
    if not isinstance(type_, type):
        msg = f"deps: {type_!r} is not a type: give {{Type: value or factory}}"
        raise DependencyError(msg)
    if is_instance(value, type_):
        return Provider(value, is_factory=False, opens=False)
    if not callable(value):
        msg = (
            f"deps: {value!r} is neither a {name_of(type_)} nor a function that makes one: for a "
            f"double give {{{name_of(type_)}: lambda turn: value}}"
        )
        raise DependencyError(msg)
    if inspect.isasyncgenfunction(value):
        return Provider(asynccontextmanager(value), is_factory=True, opens=True)
    if inspect.isgeneratorfunction(value):
        return Provider(contextmanager(value), is_factory=True, opens=True)
    return Provider(value, is_factory=True, opens=_opens(value))


def _opens(factory: Callable[..., Any]) -> bool:
    """Whether a factory shows, before it is called, that it has to be awaited or closed."""
    inner = inspect.unwrap(factory)
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(factory, "__call__", None)  # noqa: B004  whether that is async, not whether it is
    ):
        return True
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        return True
    try:
        returns = inspect.signature(factory, eval_str=True).return_annotation
    except Exception:  # noqa: BLE001  whatever evaluating foreign annotations raises
        return False
    origin = get_origin(returns) or returns
    return origin in (AbstractAsyncContextManager, AbstractContextManager)


def is_instance(value: object, type_: type[Any]) -> bool:
    """Whether a value is of a type, as far as that can be told."""
    try:
        return isinstance(value, type_)
    except TypeError:  # a protocol that cannot be checked at run time
        return False


def name_of(type_: object) -> str:
    """A type's name, for messages."""
    return getattr(type_, "__qualname__", repr(type_))
