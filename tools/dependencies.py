"""Dependencies: what tools need and must not find in globals, given to the system by type."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Coroutine
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    contextmanager,
)
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..messages.errors import DependencyError
from .providers import Given, Provider, Providers, TurnInfo, is_instance, name_of

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Dependencies", "Given", "Scope", "TurnInfo", "dep"]

T = TypeVar("T")


class Dependencies:
    """What tools may ask for, by type.

    Args:
        mapping: for each type an instance of it, or a function that takes a :class:`TurnInfo`:
            plain, async, or one that gives an (async) context manager. What a function makes is
            made once for a turn.

    Raises:
        DependencyError: a key is no type, or a value neither an instance nor a function.
    """

    __slots__ = ("_empty", "_layers", "_providers")

    def __init__(self, mapping: Given | None = None) -> None:
        self._layers = [Providers.of(mapping or {})]
        self._providers = self._layers[0]
        # One for all turns, as long as nothing is given: it never holds anything.
        self._empty = Scope(Providers({}), TurnInfo())

    def scope(self, turn_info: TurnInfo) -> Scope:
        """What the tools of one turn see."""
        return self.nothing or Scope(self._providers, turn_info)

    @property
    def nothing(self) -> Scope | None:
        """What the tools of every turn see, as long as nothing is given."""
        return None if self._providers else self._empty

    @contextmanager
    def override(self, mapping: Given) -> Generator[None]:
        """Give other things, for tests, to the turns that start within the block."""
        layer = Providers.of(mapping)
        self._layers.append(layer)
        self._merge()
        try:
            yield
        finally:
            # By identity: overrides may end in another order than they began.
            self._layers = [one for one in self._layers if one is not layer]
            self._merge()

    def _merge(self) -> None:
        merged: dict[type[Any], Provider] = {}
        for layer in self._layers:
            merged.update(layer)
        self._providers = Providers(merged)


class Scope:
    """The dependencies of one turn: each is made once, and closed when the turn is over."""

    __slots__ = (
        "_closed",
        "_lock",
        "_making",
        "_providers",
        "_stack",
        "_turn",
        "_values",
        "needs_opening",
    )

    def __init__(self, providers: Providers, turn: TurnInfo) -> None:
        self._providers = providers
        self._turn = turn
        self._values: dict[type[Any], Any] = {}
        self._making: list[type[Any]] = []
        self._lock = threading.RLock()
        self._stack: AsyncExitStack | None = None
        self._closed = False
        # Whether something has to be awaited, or closed later: then await open().
        self.needs_opening = providers.opens

    @property
    def needs_closing(self) -> bool:
        """Whether the end of the turn is of any matter to it."""
        return bool(self._providers)

    @property
    def is_active(self) -> bool:
        """Whether :func:`dep` finds this scope in the current context."""
        return _SCOPE.get(None) is self

    async def open(self) -> None:
        """Make what has to be awaited or closed, in the order it was given; once.

        When one cannot be made, those before it are closed, and its error is raised.
        """
        if not self.needs_opening:
            return
        token = _SCOPE.set(self)
        try:
            for type_, provider in self._providers.items():
                if provider.opens:
                    self._values[type_] = await self._opened(provider)
        except BaseException:
            self._values.clear()
            await self._unwind()
            raise
        finally:
            _SCOPE.reset(token)
        self.needs_opening = False

    async def close(self) -> None:
        """Close what was opened, last first; harmless when nothing was."""
        self._closed = True
        if self._stack is not None:
            await self._unwind()

    async def _unwind(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def activate(self, context: Context) -> None:
        """Have :func:`dep` find this scope in a context."""
        context.run(_SCOPE.set, self)

    def enter(self) -> None:
        """Have :func:`dep` find this scope in the current context."""
        _SCOPE.set(self)

    def get(self, type_: type[T]) -> T:
        """The dependency of that type.

        Raises:
            DependencyError: nobody gave it, or it has to be awaited and was not.
        """
        provider = self._providers.get(type_)
        if provider is None:
            raise DependencyError(self._missing(type_))
        if not provider.is_factory:
            given: T = provider.value
            return given
        # Not a lock for each type: a factory may ask for other types.
        with self._lock:
            if type_ not in self._values:
                self._values[type_] = self._made(type_, provider)
            made: T = self._values[type_]
            return made

    async def _opened(self, provider: Provider) -> Any:
        made = provider.value(self._turn)
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, AbstractAsyncContextManager):
            manager = cast("AbstractAsyncContextManager[Any]", made)
            return await self._exits().enter_async_context(manager)
        return self._entered(made)

    def _made(self, type_: type[Any], provider: Provider) -> Any:
        if provider.opens:
            msg = (
                f"{name_of(type_)} is made when the turn starts, and is not there yet: give it "
                "before the factory that asks for it"
            )
            raise DependencyError(msg)
        if self._closed:
            msg = f"{name_of(type_)} was asked for after the turn was over"
            raise DependencyError(msg)
        if type_ in self._making:
            circle = " -> ".join(map(name_of, [*self._making, type_]))
            msg = f"dependencies ask for each other in a circle: {circle}"
            raise DependencyError(msg)
        self._making.append(type_)
        try:
            made = provider.value(self._turn)
        finally:
            self._making.pop()
        return self._taken(type_, made)

    def _taken(self, type_: type[Any], made: Any) -> Any:
        """What a factory gave that did not look as if it had to be opened."""
        if is_instance(made, type_):
            return made
        if inspect.isawaitable(made) or isinstance(made, AbstractAsyncContextManager):
            if isinstance(made, Coroutine):
                made.close()
            msg = (
                f"the factory of {name_of(type_)} gave {made!r}, which has to be awaited: make it "
                "an `async def`, or put @asynccontextmanager on it, so that it is seen before"
            )
            raise DependencyError(msg)
        return self._entered(made)

    def _entered(self, made: Any) -> Any:
        if isinstance(made, AbstractContextManager):
            return self._exits().enter_context(cast("AbstractContextManager[Any]", made))
        return made

    def _exits(self) -> AsyncExitStack:
        if self._stack is None:
            self._stack = AsyncExitStack()
        return self._stack

    def _missing(self, type_: object) -> str:
        known = ", ".join(sorted(map(name_of, self._providers))) or "nothing"
        name = name_of(type_)
        return (
            f"no dependency {name}: give it to the system, deps={{{name}: ...}}; it was given "
            f"{known}"
        )


_SCOPE: ContextVar[Scope] = ContextVar("wavebreak_dependencies")


def dep(type_: type[T]) -> T:
    """What the system was given for a type; for tools, in worker threads too.

    Raises:
        DependencyError: nobody gave it, or there is no running turn here.
    """
    try:
        scope = _SCOPE.get()
    except LookupError:
        msg = f"dep({name_of(type_)}) was called outside of a turn: call it in a tool or agent"
        raise DependencyError(msg) from None
    return scope.get(type_)
