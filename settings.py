"""What a system is given, looked at before it is used."""

from __future__ import annotations

import inspect
from math import inf
from typing import TYPE_CHECKING

from .actors.runtime import RuntimeActor, function_runtime
from .journal.base import RetainingJournal
from .messages.errors import InvalidSetting
from .messages.message import SessionMessage, UserMessage
from .messages.numbers import LARGEST
from .messages.policies import Retention

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .actors.turn import Turn
    from .messages.message import Reply

    Agent = Callable[[Turn], Awaitable[str | Reply]] | type[RuntimeActor]


def is_more(value: object, *, endless: bool = False) -> bool:
    """Whether it is a number, more than 0; a bool is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value <= LARGEST or (endless and value == inf)


def is_channel(deliver: object) -> bool:
    """Whether it can bring deliveries to users, or says that nobody does."""
    return deliver is None or deliver == "pull" or callable(deliver)


def checked_retention(retention: Retention | None, journal: object) -> Retention | None:
    """The retention, if the journal can keep to it.

    Raises:
        InvalidSetting: it is none, or the journal cannot.
    """
    is_one = retention is None or isinstance(retention, Retention)
    check(is_one, "retention", retention, "a Retention(idle=timedelta(days=...))")
    if retention is not None and journal is not None and not isinstance(journal, RetainingJournal):
        msg = (
            f"retention={retention!r}: the journal {journal!r} does not know which sessions are "
            "not used; give one that is a RetainingJournal, or leave it out"
        )
        raise InvalidSetting(msg)
    return retention


def check_metrics(metrics: object) -> None:
    """Raise InvalidSetting unless it counts and observes, or is None."""
    for method in ("count", "observe"):
        has = metrics is None or callable(getattr(metrics, method, None))
        check(has, "metrics", metrics, f"an object with {method}(name, number, **labels)")


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raise InvalidSetting, with the value and what is wanted, unless something holds of it."""
    if not holds:
        msg = f"{name}={value!r}: give {wanted}"
        raise InvalidSetting(msg)


def runtime_of(agent: Agent) -> type[RuntimeActor]:
    """The runtime that runs an agent.

    Raises:
        InvalidSetting: it is no agent.
    """
    if inspect.isclass(agent):
        is_runtime = issubclass(agent, RuntimeActor) and agent.run is not RuntimeActor.run
        check(is_runtime, "agent", agent, "a subclass of RuntimeActor that has its own run(turn)")
        assert issubclass(agent, RuntimeActor), "it was looked at just now"
        return agent
    call: object = getattr(agent, "__call__", None)  # noqa: B004 - the method is looked at
    is_async = inspect.iscoroutinefunction(agent) or inspect.iscoroutinefunction(call)
    check(is_async, "agent", agent, "an async function of a turn, or a subclass of RuntimeActor")
    return function_runtime(agent)


def message_classes(types: Iterable[type[SessionMessage]]) -> tuple[type[SessionMessage], ...]:
    """The program's own classes of messages.

    Raises:
        InvalidSetting: one is none, or two have one name.
    """
    types = tuple(types)
    names: set[str] = {UserMessage.__name__}
    for kind in types:
        is_message = isinstance(kind, type) and issubclass(kind, SessionMessage)
        check(is_message, "message_types", kind, "subclasses of SessionMessage")
        check(kind.__name__ not in names, "message_types", kind, "classes of different names")
        names.add(kind.__name__)
    return types
