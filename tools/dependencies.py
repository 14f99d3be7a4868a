"""Dependencies: what tools need and must not find in globals, given to the system by type."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_origin

from ..messages.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


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


class Dependencies:
    """What tools may ask for, by type.

    Args:
        mapping: for each type an instance of it, or a function that takes a :class:`TurnInfo`:
            plain, async, or one that gives an (async) context manager. What a function makes is
            made once for a turn.

    Raises:
        DependencyError: a key is no type, or a value neither an instance nor a function.
    """

    __slots__ = ("_layers", "_providers")

    def __init__(self, mapping: Given | None = None) -> None:
        self._layers = [Providers.of(mapping or {})]
        self._providers = self._layers[0]

    def scope(self, turn_info: TurnInfo) -> Scope:
        """What the tools of one turn see."""
        return Scope(self._providers, turn_info)

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
                f"{_name(type_)} is made when the turn starts, and is not there yet: give it "
                "before the factory that asks for it"
            )
            raise DependencyError(msg)
        if self._closed:
            msg = f"{_name(type_)} was asked for after the turn was over"
            raise DependencyError(msg)
        if type_ in self._making:
            circle = " -> ".join(map(_name, [*self._making, type_]))
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
        if _is_instance(made, type_):
            return made
        if inspect.isawaitable(made) or isinstance(made, AbstractAsyncContextManager):
            if isinstance(made, Coroutine):
                made.close()
            msg = (
                f"the factory of {_name(type_)} gave {made!r}, which has to be awaited: make it "
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
        known = ", ".join(sorted(map(_name, self._providers))) or "nothing"
        return (
            f"no dependency {_name(type_)}: give it to the system, deps={{{_name(type_)}: ...}}; "
            f"it was given {known}"
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
        msg = f"dep({_name(type_)}) was called outside of a turn: call it inside a tool"
        raise DependencyError(msg) from None
    return scope.get(type_)


def _provider(type_: object, value: Any) -> Provider:
    if not isinstance(type_, type):
        msg = f"deps: {type_!r} is not a type: give {{Type: value or factory}}"
        raise DependencyError(msg)
    if _is_instance(value, type_):
        return Provider(value, is_factory=False, opens=False)
    if not callable(value):
        msg = (
            f"deps: {value!r} is neither a {_name(type_)} nor a function that makes one: for a "
            f"double give {{{_name(type_)}: lambda turn: value}}"
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
    except (ValueError, TypeError, NameError):
        return False
    origin = get_origin(returns) or returns
    return origin in (AbstractAsyncContextManager, AbstractContextManager)


def _is_instance(value: object, type_: type[Any]) -> bool:
    try:
        return isinstance(value, type_)
    except TypeError:  # a protocol that cannot be checked at run time
        return False


def _name(type_: object) -> str:
    return getattr(type_, "__qualname__", repr(type_))
