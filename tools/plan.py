"""Plans: graphs of tool calls, cut into waves by dependency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from ..messages.errors import PlanError
from .call import DeferredCall, ToolCall
from .references import Reference
from .tool import Tool

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Planned(Generic[T_co]):
    """A call in a plan; made by :meth:`Plan.add`."""

    __slots__ = ("__weakref__", "_dependencies", "_number", "_plan", "_result", "call")

    def __init__(self, plan: Plan, number: int, call: ToolCall[T_co]) -> None:
        self.call = call
        self._plan = plan
        self._number = number
        self._dependencies: dict[Planned[Any], None] = {}
        self._result = Reference(self)

    def __repr__(self) -> str:
        return f"<Planned {self.name}: {self.call!r}>"

    @property
    def name(self) -> str:
        """The tool and the place in the plan, from 1."""
        return f"{self.call.tool.name}#{self._number}"

    @property
    def result(self) -> T_co:
        """Stands for the result as an argument of a later call, which then depends on this one.

        Items and attributes of it stand for those of the result. Anything else that would look
        at the value raises PlanError: it is not known yet.
        """
        return cast("T_co", self._result)

    @property
    def dependencies(self) -> tuple[Planned[Any], ...]:
        """The planned calls that have to complete before this one starts."""
        return tuple(self._dependencies)

    def after(self, *others: Planned[Any]) -> Planned[T_co]:
        """Start this call in a later wave than others.

        Raises:
            PlanError: another is not of this plan, or the calls would wait for each other.
        """
        for other in others:
            self._plan.check_member(other, f"{self.name} cannot come after it")
            self._plan.check_acyclic(self, other)
            self._dependencies[other] = None
        return self

    def born_after(self, others: Iterable[Planned[Any]]) -> None:
        """As :meth:`after`, for a new call, for which nothing can wait yet.

        Raises:
            PlanError: another is not of this plan.
        """
        for other in others:
            self._plan.check_member(other, f"{self.name} cannot come after it")
            self._dependencies[other] = None

    def resolve(self, results: Mapping[Planned[Any], Any]) -> ToolCall[T_co]:
        """The call with what its references stand for.

        Args:
            results: of the planned calls that it depends on.

        Raises:
            InvalidArguments: a result does not have what is referred to, or the tool does not
                take it.
        """
        call = self.call
        return call.resolve(results.__getitem__) if isinstance(call, DeferredCall) else call


class Plan:
    """Calls and what each of them waits for.

    A plan holds no results: it can be run as often as you like.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[Planned[Any]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Planned[Any]]:
        return iter(self._calls)

    def add(self, call: ToolCall[T], after: Iterable[Planned[Any]] = ()) -> Planned[T]:
        """Put a call into the plan.

        Args:
            call: made by calling the tool; ``planned.result`` of calls added before may be among
                its arguments.
            after: calls that have to complete first, beside those whose results it takes.

        Raises:
            PlanError: it is no call, or depends on one that is not of this plan.
        """
        if isinstance(call, Tool):
            msg = f"plan.add({call!r}): call the tool, plan.add({call.name}(...))"
            raise PlanError(msg)
        if not isinstance(call, ToolCall):
            msg = f"plan.add({call!r}): that is not a tool call; add what calling a tool gives"
            raise PlanError(msg)
        if isinstance(after, Planned):
            after = (after,)
        planned = Planned(self, len(self._calls) + 1, call)
        needs = call.needs if isinstance(call, DeferredCall) else ()
        planned.born_after([*needs, *after])
        self._calls.append(planned)
        return planned

    def waves(self) -> tuple[tuple[Planned[Any], ...], ...]:
        """The calls in waves: each as early as what it waits for allows, in the order added."""
        level: dict[Planned[Any], int] = {}
        waits = {planned: len(planned.dependencies) for planned in self._calls}
        followers: dict[Planned[Any], list[Planned[Any]]] = {one: [] for one in self._calls}
        for planned in self._calls:
            for dependency in planned.dependencies:
                followers[dependency].append(planned)
        ready = [planned for planned in self._calls if not waits[planned]]
        for planned in ready:  # grows while it is read
            level[planned] = max((level[one] + 1 for one in planned.dependencies), default=0)
            for follower in followers[planned]:
                waits[follower] -= 1
                if not waits[follower]:
                    ready.append(follower)
        waves: list[list[Planned[Any]]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
        for planned in self._calls:
            waves[level[planned]].append(planned)
        return tuple(map(tuple, waves))

    def check_member(self, other: object, consequence: str) -> None:
        """Refuse what is not a call of this plan.

        Raises:
            PlanError: naming it.
        """
        if not isinstance(other, Planned):
            msg = f"{other!r} is not a planned call: {consequence}; give what plan.add(...) gave"
            raise PlanError(msg)
        if other._plan is not self:  # noqa: SLF001  the two are one concept
            msg = f"{other!r} belongs to another plan: {consequence}; add it to this one"
            raise PlanError(msg)

    def check_acyclic(self, planned: Planned[Any], dependency: Planned[Any]) -> None:
        """Refuse a dependency that would close a circle.

        Raises:
            PlanError: naming the calls in it.
        """
        came_from: dict[Planned[Any], Planned[Any]] = {}
        reached = [dependency]
        while reached:
            one = reached.pop()
            if one is planned:
                raise PlanError(_circle(planned, dependency, came_from))
            for further in one.dependencies:
                if further not in came_from:
                    came_from[further] = one
                    reached.append(further)


def _circle(
    planned: Planned[Any], dependency: Planned[Any], came_from: dict[Planned[Any], Planned[Any]]
) -> str:
    circle = [planned]
    one = planned
    while one is not dependency:
        one = came_from[one]
        circle.append(one)
    names = " -> ".join(one.name for one in [planned, *reversed(circle)])
    return f"calls wait for each other in a circle ({names}): leave out one of the dependencies"


class Results(Mapping[Planned[Any], Any]):
    """The results of a plan's calls, by planned call; typed by it."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[Planned[Any], Any] | None = None) -> None:
        self._values: dict[Planned[Any], Any] = dict(values or {})

    def __getitem__(self, planned: Planned[T]) -> T:
        value: T = self._values[planned]
        return value

    def __iter__(self) -> Iterator[Planned[Any]]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        words = ", ".join(f"{one.name}: {value!r}" for one, value in self._values.items())
        return f"{{{words}}}"
