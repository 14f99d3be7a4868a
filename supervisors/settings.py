"""How a supervisor is set up: who is started again, how often, and when it ends by itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from ..messages.errors import InvalidChildSpec, InvalidSetting
from .child_spec import ChildSpec
from .policy import Budget

E = TypeVar("E", bound=StrEnum)


class Strategy(StrEnum):
    """Who is started again when a child has ended."""

    ONE_FOR_ONE = "one_for_one"
    """That child."""
    ONE_FOR_ALL = "one_for_all"
    """All of them; those that run are stopped before."""
    REST_FOR_ONE = "rest_for_one"
    """That child and those that were started after it."""
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"
    """That child, of a pool: any number of children by one spec, added while it runs."""


class AutoShutdown(StrEnum):
    """Whether a supervisor ends when its significant children have ended for good."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Settings(NamedTuple):
    """What a supervisor was given besides its children; ``Supervisor`` says what they mean."""

    strategy: Strategy
    budget: Budget
    auto_shutdown: AutoShutdown
    max_children: int | None
    max_abandoned: int

    def check(self, specs: tuple[ChildSpec, ...]) -> Settings:
        """Look at each value, and at each child; give what can be used.

        Raises:
            InvalidSetting: a value that cannot be; the message names it.
            InvalidChildSpec: an id that is there twice, or a child that cannot be had.
        """
        checked = Settings(
            _one_of(Strategy, "strategy", self.strategy),
            self.budget.check(),
            _one_of(AutoShutdown, "auto_shutdown", self.auto_shutdown),
            None if self.max_children is None else _bound("max_children", self.max_children),
            _bound("max_abandoned", self.max_abandoned),
        )
        seen = set[Any]()
        for spec in specs:
            if checked.check_child(spec).id in seen:
                raise InvalidChildSpec(f"id={spec.id!r} is there twice: give each child its own")
            seen.add(spec.id)
        pool = checked.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        if pool and len(specs) != 1:
            raise InvalidSetting(f"children={specs!r}: a pool has to have exactly one spec")
        if checked.max_children is not None and not pool:
            raise InvalidSetting(
                f"max_children={checked.max_children!r}: only a pool"
                f" ({Strategy.SIMPLE_ONE_FOR_ONE}) has a bound"
            )
        return checked

    def check_child(self, spec: object) -> ChildSpec:
        """Give a spec, if such a supervisor can have it.

        Raises:
            InvalidChildSpec: it cannot.
        """
        if not isinstance(spec, ChildSpec):
            raise InvalidChildSpec(f"{spec!r} is no ChildSpec: it has to be one")
        if spec.significant and self.auto_shutdown is AutoShutdown.NEVER:
            raise InvalidChildSpec(
                f"significant=True of child {spec.id!r}: this supervisor has auto_shutdown=never;"
                " give it another one"
            )
        return spec


def _one_of(kind: type[E], name: str, value: Any) -> E:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(one) for one in kind)
        raise InvalidSetting(f"{name}={value!r}: it has to be one of {choices}") from None


def _bound(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidSetting(f"{name}={value!r}: it has to be a whole number from 1")
    return value
