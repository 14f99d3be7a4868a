"""Tools: typed functions whose calls can be recorded, carried over and refused."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from inspect import getdoc
from math import isfinite
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from pydantic import ValidationError
from pydantic_core import ArgsKwargs

from ..messages.errors import InvalidArguments, ToolDefinitionError
from ..messages.reasons import Effect
from .call import DeferredCall, ToolCall
from .compensation import CompletedCall, checked_compensation
from .plain import PLAIN
from .references import holds_reference
from .results import Result
from .retrying import Retries, checked_retries
from .sameness import checked_same_as
from .signature import Arguments, check_function, hints_of, is_blocking

P = ParamSpec("P")
T = TypeVar("T")
EffectName = Effect | Literal["read", "idempotent", "once"]
Carry = bool | float | timedelta
Undo = Callable[[CompletedCall, Any], Any]


class Tool(Generic[P, T]):
    """A typed function that an agent may call; made by :func:`tool`.

    Calling it validates the arguments and gives a :class:`ToolCall`; it runs nothing.
    ``accept(value)`` validates what the function returned and gives its JSON form beside it;
    ``restore(form)`` gives the value of a recorded result again. Both raise InvalidResult.
    """

    __slots__ = (
        "_arguments",
        "_as_given",
        "_schema",
        "_validate",
        "accept",
        "blocking",
        "carry",
        "compensation",
        "description",
        "effect",
        "function",
        "is_inlinable",
        "is_one_task",
        "is_plain",
        "is_read",
        "name",
        "protected",
        "restore",
        "retries",
        "same_as",
        "timeout",
        "version",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        effect: EffectName = Effect.ONCE,
        timeout: float | None = None,
        protected: bool = False,
        carry: Carry = True,
        compensate: Undo | None = None,
        retries: int | Retries | None = None,
        same_as: Callable[..., Any] | None = None,
        version: str = "",
        name: str | None = None,
        description: str | None = None,
        local_names: Mapping[str, Any] | None = None,
    ) -> None:
        check_function(function)
        hints = hints_of(function, dict(local_names or {}))
        self.function = function
        self.name = _checked_name(function.__name__ if name is None else name)
        self.effect = _checked_effect(self.name, effect)
        self.timeout = _checked_timeout(self.name, timeout)
        self.protected = _checked_protected(self.name, protected, self.timeout)
        self.carry = _checked_carry(self.name, carry)
        self.compensation = checked_compensation(self.name, compensate, self.effect)
        self.retries = checked_retries(self.name, retries, self.effect)
        self.version = _checked_text(self.name, "version", version)
        self.description = getdoc(function) or "" if description is None else description
        _checked_text(self.name, "description", self.description)
        self.blocking = is_blocking(function, hints)
        self.is_read = self.effect is Effect.READ
        self.is_one_task = not (self.blocking or self.retries)
        # Not a protected one: cancelling the agent would cancel it. Nor one that is tried again:
        # cancelled between two tries it ends by an error, and so the agent would not see it.
        self.is_inlinable = self.is_one_task and not self.protected
        self._arguments = Arguments(self.name, function, hints)
        self.same_as = checked_same_as(self.name, same_as, self._arguments.names)
        result: Result[T] = Result(self.name, hints)
        self.accept = result.accept
        self.restore = result.restore
        self._schema: dict[str, Any] | None = None
        # Looked up once: a call is made for every call of every wave.
        self._as_given = self._arguments.as_given
        self._validate = self._arguments.validate
        self.is_plain = self._arguments.is_plain

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ToolCall[T]:
        """Make a call; nothing is run.

        Raises:
            InvalidArguments: the tool does not take them.
        """
        given = self._as_given(args, kwargs)
        if given is not None:
            return ToolCall(self, given, given)
        for value in args:
            if value.__class__ not in PLAIN and holds_reference(value):
                return self._defer(args, kwargs)
        for value in kwargs.values():
            if value.__class__ not in PLAIN and holds_reference(value):
                return self._defer(args, kwargs)
        try:
            valid = self._validate(ArgsKwargs(args, kwargs))
        except ValidationError as error:
            raise self._arguments.refusal(error) from error
        return ToolCall(self, valid.__dict__)

    def __repr__(self) -> str:
        return f"<Tool {self.name} ({self.effect})>"

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, as models want it.

        Raises:
            ToolDefinitionError: an argument's type has none.
        """
        if self._schema is None:
            self._schema = self._arguments.schema()
        return self._schema

    def bind(self, arguments: Mapping[str, Any]) -> ToolCall[T]:
        """Make a call from a model's words: arguments by name, in their JSON form.

        Args:
            arguments: what JSON holds; a date may be a text, a set a list.

        Raises:
            InvalidArguments: the tool does not take them.
        """
        if not isinstance(arguments, Mapping):
            msg = f"tool {self.name!r}: {arguments!r} are no arguments; give a dict by name"
            raise InvalidArguments(msg)
        try:
            valid = self._arguments.from_json(dict(arguments))
        except ValidationError as error:
            raise self._arguments.refusal(error) from error
        except ValueError as error:
            msg = f"tool {self.name!r}: the arguments {arguments!r} are no JSON: {error}"
            raise InvalidArguments(msg) from error
        return ToolCall(self, valid.__dict__)

    def arguments_to_json(self, valid: dict[str, Any]) -> dict[str, Any]:
        """The JSON form of arguments that this tool has validated.

        Raises:
            InvalidArguments: there is none.
        """
        return self._arguments.to_json(valid)

    def _defer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolCall[T]:
        self._arguments.check_names(args, kwargs)
        return DeferredCall(self, args, kwargs)


class ToolDecorator(Protocol):
    """What ``@tool(...)`` with options gives."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Tool[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Tool[P, T]: ...


@overload
def tool(function: Callable[P, Awaitable[T]], /) -> Tool[P, T]: ...
@overload
def tool(function: Callable[P, T], /) -> Tool[P, T]: ...
@overload
def tool(
    *,
    effect: EffectName = ...,
    timeout: float | None = ...,
    protected: bool = ...,
    carry: Carry = ...,
    compensate: Undo | None = ...,
    retries: int | Retries | None = ...,
    same_as: Callable[..., Any] | None = ...,
    version: str = ...,
    name: str | None = ...,
    description: str | None = ...,
) -> ToolDecorator: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: EffectName = Effect.ONCE,
    timeout: float | None = None,
    protected: bool = False,
    carry: Carry = True,
    compensate: Undo | None = None,
    retries: int | Retries | None = None,
    same_as: Callable[..., Any] | None = None,
    version: str = "",
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Make a tool of a typed function, async or blocking (that one runs in a thread).

    Args:
        function: the function, when used without options.
        effect: "read" may run again whenever needed; "idempotent" may be retried with the same
            key; "once" (the default) is never started again by the framework.
        timeout: seconds a call may take, or None. A blocking one may also wait that long for a
            thread; it cannot be ended then, only abandoned.
        protected: finish within the timeout even when the turn is stopped; needs a timeout.
        carry: whether an equal call of the next turn may be answered by its result, or for how
            long (seconds or a timedelta).
        compensate: a function of a :class:`CompletedCall` and its result, plain (then it runs in
            a thread) or async, that undoes the call in a rollback; at least once, so it has to
            bear being called again. Not for reads.
        retries: how often a call is tried again within its wave, as a number or as
            :class:`Retries`; all tries have the same key and share the timeout. Only for "read"
            and "idempotent"; needs ``wavebreak[retries]``.
        same_as: what "equal" means for calls of this tool: a function that takes the validated
            arguments by name and gives anything JSON holds. It is noted with the call: give
            another version when you change it.
        version: another one is another tool to the ledger.
        name: instead of the function's.
        description: instead of the function's docstring.

    Raises:
        ToolDefinitionError: the function or an option cannot be used.
        MissingExtra: ``retries`` were given, and tenacity is not installed.
    """
    frame = sys._getframe(1)  # noqa: SLF001  annotations may name types local to the caller
    local = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)

    def make(function: Callable[..., Any]) -> Tool[..., Any]:
        return Tool[..., Any](
            function,
            effect=effect,
            timeout=timeout,
            protected=protected,
            carry=carry,
            compensate=compensate,
            retries=retries,
            same_as=same_as,
            version=version,
            name=name,
            description=description,
            local_names=local,
        )

    return make if function is None else make(function)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name or not name.isprintable() or " " in name:
        msg = f"name={name!r}: a tool's name is a text without spaces; give @tool(name=...)"
        raise ToolDefinitionError(msg)
    return name


def _checked_text(tool_name: str, option: str, text: object) -> str:
    if not isinstance(text, str):
        msg = f"tool {tool_name!r}: {option}={text!r} is not a text"
        raise ToolDefinitionError(msg)
    return text


def _checked_effect(tool_name: str, effect: Any) -> Effect:
    try:
        return Effect(effect)
    except ValueError:
        names = ", ".join(repr(str(one)) for one in Effect)
        msg = f"tool {tool_name!r}: effect={effect!r} is none of {names}"
        raise ToolDefinitionError(msg) from None


def _checked_timeout(tool_name: str, timeout: object) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        msg = f"tool {tool_name!r}: timeout={timeout!r} is not a number of seconds, nor None"
        raise ToolDefinitionError(msg)
    if not (timeout > 0 and isfinite(timeout)):
        msg = f"tool {tool_name!r}: timeout={timeout!r}: give more than 0 seconds, or None"
        raise ToolDefinitionError(msg)
    return float(timeout)


def _checked_protected(tool_name: str, protected: object, timeout: float | None) -> bool:
    if not isinstance(protected, bool):
        msg = f"tool {tool_name!r}: protected={protected!r} is neither True nor False"
        raise ToolDefinitionError(msg)
    if protected and timeout is None:
        msg = (
            f"tool {tool_name!r}: protected=True needs a timeout, because a stop waits for it: "
            "give timeout=seconds"
        )
        raise ToolDefinitionError(msg)
    return protected


def _checked_carry(tool_name: str, carry: object) -> bool | float:
    if isinstance(carry, bool):
        return carry
    seconds = carry.total_seconds() if isinstance(carry, timedelta) else carry
    if not isinstance(seconds, int | float) or not (seconds >= 0 and isfinite(seconds)):
        msg = f"tool {tool_name!r}: carry={carry!r}: give True, False, or a duration of 0 or more"
        raise ToolDefinitionError(msg)
    return float(seconds)
