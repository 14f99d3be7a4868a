"""What a supervisor has to know of a child: how it is started, when again, and how it is ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

import pykka

from ..actors.actor import AsyncioActor
from ..messages.errors import InvalidChildSpec
from .restart_policy import Backoff
from .watched import watched

KILL: Final = "kill"
"""For ``shutdown``: the child is not asked, it is ended with what force the runtime has."""

WORKER_SHUTDOWN: Final = 5.0
"""Seconds that a child has to stop in, when its spec says nothing and it is no supervisor."""

Started: TypeAlias = pykka.ActorRef[Any] | tuple[pykka.ActorRef[Any], Any] | None
"""What starting a child gives: its reference, also with something for whoever started it, or
None when it chose not to run."""

Factory: TypeAlias = Callable[..., Started | Awaitable[Started]]


class Restart(StrEnum):
    """When a child that has ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After an abnormal end only; after another its spec stays, to be restarted by hand."""
    TEMPORARY = "temporary"
    """Never; its spec and arguments are forgotten."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child of a supervisor.

    ``ChildSpec("db", Database, args=("local",))`` starts any ``pykka.Actor`` class, and its death
    is noticed with its cause. A factory is called with the arguments on the supervisor's loop, so
    it must not block; it gives the actor's reference, or an awaitable of it. It may give
    ``(ref, info)``, which ``start_child`` passes on, or None for a child that shall not run. Of a
    stock actor that a factory started, the cause of a death is not known.

    Args:
        id: names it among its siblings; hashable. In a pool it names the spec only.
        start: an actor class, or a factory.
        args: what ``start`` is called with.
        kwargs: what ``start`` is called with.
        restart: when it is started again.
        shutdown: seconds it may take to stop when asked, ``math.inf`` for no limit, or ``KILL``
            not to ask. None is 5 s for workers, and no limit for supervisors.
        significant: whether its end can end its supervisor, see ``auto_shutdown`` there.
        backoff: what to wait before it is started again; None to start it at once. After a life
            as long as its ``maximum`` it begins anew.

    Raises:
        InvalidChildSpec: a value that cannot be used; the message names it.
    """

    id: Any
    start: type[pykka.Actor] | Factory
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    restart: Restart = Restart.PERMANENT
    shutdown: float | Literal["kill"] | None = None
    significant: bool = False
    backoff: Backoff | None = None
    runnable: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Look at each value, and say which one is wrong."""
        self._check_id()
        self._check_start()
        self._check_arguments()
        self._check_restart()
        self._check_shutdown()
        if not isinstance(self.significant, bool):
            raise self._wrong("significant", self.significant, "True or False")
        if self.significant and self.restart is Restart.PERMANENT:
            raise self._wrong(
                "significant",
                self.significant,
                "False for a permanent child, which never ends for good; or make it transient",
            )
        if self.backoff is not None:
            self._check_backoff(self.backoff)
        runnable: Callable[..., Any] = self.start
        if (cls := self.actor_class) is not None:
            # Made here once, so that all its incarnations are of one class.
            runnable = cls.start if issubclass(cls, AsyncioActor) else watched(cls).start
        object.__setattr__(self, "runnable", runnable)

    @property
    def actor_class(self) -> type[pykka.Actor] | None:
        """The class that is started; None if a factory decides."""
        start = self.start
        return start if isinstance(start, type) and issubclass(start, pykka.Actor) else None

    def forgotten(self) -> ChildSpec:
        """The same without its arguments, for a child that is not started again."""
        return replace(self, args=(), kwargs={}) if self.args or self.kwargs else self

    def _check_id(self) -> None:
        try:
            hash(self.id)
        except TypeError:
            raise self._wrong("id", self.id, "something hashable, such as a name") from None
        if self.id is None or self.id == "":
            raise self._wrong("id", self.id, "a name")

    def _check_start(self) -> None:
        if not _can_start(self.start):
            right = "a class of actors, or a function that starts one"
            raise self._wrong("start", self.start, right)

    def _check_arguments(self) -> None:
        if not isinstance(self.args, tuple):
            raise self._wrong("args", self.args, "a tuple, such as (value,)")
        if not isinstance(self.kwargs, Mapping):
            raise self._wrong("kwargs", self.kwargs, "a dict of keyword arguments")

    def _check_restart(self) -> None:
        try:
            # Its text will do as well, for specs that come out of a file.
            object.__setattr__(self, "restart", Restart(self.restart))
        except ValueError:
            choices = ", ".join(Restart)
            raise self._wrong("restart", self.restart, f"one of {choices}") from None

    def _check_shutdown(self) -> None:
        shutdown = self.shutdown
        if shutdown is None or shutdown == KILL:
            return
        if (
            isinstance(shutdown, bool)
            or not isinstance(shutdown, int | float)
            or math.isnan(shutdown)
            or shutdown < 0
        ):
            raise self._wrong(
                "shutdown", shutdown, f"seconds from 0, math.inf, {KILL!r}, or None for the default"
            )

    def _check_backoff(self, backoff: object) -> None:
        if not isinstance(backoff, Backoff):
            raise self._wrong("backoff", backoff, "a Backoff, or None")
        if not (0 <= backoff.minimum <= backoff.maximum < math.inf and backoff.jitter >= 0):
            raise self._wrong("backoff", backoff, "0 <= minimum <= maximum, and jitter from 0")

    def _wrong(self, name: str, value: object, right: str) -> InvalidChildSpec:
        return InvalidChildSpec(f"{name}={value!r} of child {self.id!r}: it has to be {right}")


def _can_start(start: object) -> bool:
    if isinstance(start, type):
        return issubclass(start, pykka.Actor)
    return callable(start)
