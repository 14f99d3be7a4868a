"""References: what stands for a result that is not known yet, in the arguments of a later call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages.errors import InvalidArguments, PlanError
from .plain import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import Planned


class Step(NamedTuple):
    """One step of the way into a result: an item or an attribute."""

    is_item: bool
    key: Any


class Reference:
    """Stands for ``planned.result``, or for an item or attribute of it.

    It can only be handed on: the value is not known while the plan is put together, so whatever
    would look at it raises :class:`PlanError`.
    """

    # The names are mangled so that every attribute of a result can be referred to.
    __slots__ = ("__path", "__planned")

    def __init__(self, planned: Planned[Any], path: tuple[Step, ...] = ()) -> None:
        self.__planned = planned
        self.__path = path

    def __getitem__(self, key: object) -> Reference:
        return Reference(self.__planned, (*self.__path, Step(is_item=True, key=key)))

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Reference(self.__planned, (*self.__path, Step(is_item=False, key=name)))

    def __repr__(self) -> str:
        way = "".join(f"[{key!r}]" if is_item else f".{key}" for is_item, key in self.__path)
        return f"{self.__planned.name}.result{way}"

    def __bool__(self) -> bool:
        raise _not_known(self)

    def __iter__(self) -> Iterator[Any]:
        raise _not_known(self)

    def __len__(self) -> int:
        raise _not_known(self)

    def __contains__(self, item: object) -> bool:
        raise _not_known(self)

    def __str__(self) -> str:
        raise _not_known(self)

    def __format__(self, spec: str) -> str:
        raise _not_known(self)

    def __eq__(self, other: object) -> bool:
        raise _not_known(self)

    def __hash__(self) -> int:
        raise _not_known(self)

    def __resolve__(self, result: Any) -> Any:
        value = result
        for is_item, key in self.__path:
            try:
                value = value[key] if is_item else getattr(value, key)
            except (LookupError, AttributeError, TypeError) as error:
                msg = f"{self!r} leads nowhere: {type(error).__name__}: {error}"
                raise InvalidArguments(msg) from error
        return value

    def __target__(self) -> Planned[Any]:
        return self.__planned


def _not_known(reference: Reference) -> PlanError:
    return PlanError(
        f"{reference!r} is not known while the plan is put together: hand it to a tool as an "
        "argument, and look at it there"
    )


def holds_reference(value: Any) -> bool:
    """Whether a value is a reference, or a list, tuple or dict with one in it."""
    kind: type = value.__class__
    if kind in PLAIN:
        return False
    if kind is list or kind is tuple:
        return any(map(holds_reference, value))
    if kind is dict:
        return any(map(holds_reference, value.values()))
    return kind is Reference


def replace(value: Any, known: Callable[[Planned[Any]], Any]) -> Any:
    """A value with every reference in it replaced by what it stands for.

    Args:
        value: a reference, a container that may hold some, or anything else.
        known: the result of a planned call.

    Raises:
        InvalidArguments: an item or attribute is not there.
    """
    kind: type = value.__class__
    if kind is Reference:
        return value.__resolve__(known(value.__target__()))
    if kind is list:
        return [replace(item, known) for item in value]
    if kind is tuple:
        return tuple(replace(item, known) for item in value)
    if kind is dict:
        return {key: replace(item, known) for key, item in value.items()}
    return value


def targets(value: Any) -> Iterator[Planned[Any]]:
    """The planned calls that the references in a value need."""
    kind: type = value.__class__
    if kind is Reference:
        yield value.__target__()
    elif kind is list or kind is tuple:
        for item in value:
            yield from targets(item)
    elif kind is dict:
        yield from targets(list(value.values()))
