"""A tool call: a tool with validated arguments, not started yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..messages.errors import InvalidArguments, PlanError
from .plain import are_own_json
from .references import replace, targets
from .sameness import same_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .plan import Planned
    from .tool import Tool

T_co = TypeVar("T_co", covariant=True)


def equality_of(
    tool_name: str, version: str, json_arguments: Mapping[str, Any], same_as: str | None = None
) -> str:
    """What makes two calls equal: the tool, its version and its arguments, in canonical form.

    Args:
        tool_name: the tool's name.
        version: the tool's version.
        json_arguments: validated, in their JSON form, as a call record keeps them.
        same_as: what the tool's own ``same_as`` says instead of the arguments, as JSON.
    """
    if same_as is not None:
        # Three items and a text: no call is equal to it that is equal by its arguments.
        return repr((tool_name, version, same_as))
    if are_own_json(json_arguments):
        # Six times as fast; told apart from the other form by its brackets.
        return repr((tool_name, version, tuple(json_arguments.items())))
    return json.dumps([tool_name, version, json_arguments], sort_keys=True, separators=(",", ":"))


class ToolCall(Generic[T_co]):
    """A tool with validated arguments; made by calling the tool, and immutable."""

    __slots__ = ("_arguments", "_equality", "_is_again", "_is_fresh", "_json", "_same_as", "_tool")

    def __init__(
        self,
        tool: Tool[Any, T_co],
        arguments: dict[str, Any],
        json_form: dict[str, Any] | None = None,
        *,
        is_fresh: bool = False,
        is_again: bool = False,
    ) -> None:
        self._tool = tool
        self._arguments = arguments
        self._is_fresh = is_fresh
        self._is_again = is_again
        self._json = json_form
        self._equality: str | None = None
        self._same_as: str | None = None

    def __repr__(self) -> str:
        words = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self._tool.name}({words})"

    @property
    def tool(self) -> Tool[Any, T_co]:
        """The tool that is called."""
        return self._tool

    @property
    def arguments(self) -> dict[str, Any]:
        """The validated arguments, defaults included, in the order of the signature."""
        return self._arguments

    @property
    def is_fresh(self) -> bool:
        """Whether a carried result is refused."""
        return self._is_fresh

    @property
    def is_again(self) -> bool:
        """Whether it is started although an equal call is unknown."""
        return self._is_again

    def fresh(self) -> ToolCall[T_co]:
        """The same call, that no carried result may answer."""
        return ToolCall(self._tool, self._arguments, is_fresh=True, is_again=self._is_again)

    def again(self) -> ToolCall[T_co]:
        """The same call, that is started once more after an unknown one, with the old key."""
        return ToolCall(self._tool, self._arguments, is_fresh=self._is_fresh, is_again=True)

    @property
    def json_arguments(self) -> dict[str, Any]:
        """The arguments in their JSON form.

        Raises:
            InvalidArguments: JSON cannot hold one of them.
        """
        form = self._json
        if form is None:
            arguments = self.arguments
            plain = self._tool.is_plain and are_own_json(arguments)
            form = arguments.copy() if plain else self._tool.arguments_to_json(arguments)
            self._json = form
        return form

    @property
    def equality(self) -> str:
        """What makes it equal to another call; see :func:`equality_of`."""
        if self._equality is None:
            tool = self._tool
            self._equality = equality_of(tool.name, tool.version, self.json_arguments, self.same_as)
        return self._equality

    @property
    def same_as(self) -> str | None:
        """What the tool's ``same_as`` says of the arguments, as JSON; None when it has none.

        Raises:
            ToolDefinitionError: it raised, or gave something that is no JSON.
        """
        function = self._tool.same_as
        if function is not None and self._same_as is None:
            self._same_as = same_key(self._tool.name, function, self.arguments)
        return self._same_as


class DeferredCall(ToolCall[T_co]):
    """A call whose arguments hold references; only a plan can make a real call of it."""

    __slots__ = ("_args", "_kwargs")

    def __init__(
        self,
        tool: Tool[Any, T_co],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        is_fresh: bool = False,
        is_again: bool = False,
    ) -> None:
        super().__init__(tool, {}, is_fresh=is_fresh, is_again=is_again)
        self._args = args
        self._kwargs = kwargs

    def __repr__(self) -> str:
        words = [repr(value) for value in self._args]
        words += [f"{name}={value!r}" for name, value in self._kwargs.items()]
        return f"{self._tool.name}({', '.join(words)})"

    @property
    def arguments(self) -> NoReturn:
        """Not known yet: raises PlanError."""
        msg = (
            f"{self!r} takes results of a plan: give it to plan.add(...) and run the plan, it "
            "cannot be run by itself"
        )
        raise PlanError(msg)

    def fresh(self) -> DeferredCall[T_co]:
        """The same call, that no carried result may answer."""
        return DeferredCall(
            self._tool, self._args, self._kwargs, is_fresh=True, is_again=self._is_again
        )

    def again(self) -> DeferredCall[T_co]:
        """The same call, that is started once more after an unknown one, with the old key."""
        return DeferredCall(
            self._tool, self._args, self._kwargs, is_fresh=self._is_fresh, is_again=True
        )

    @property
    def needs(self) -> tuple[Planned[Any], ...]:
        """The planned calls whose results it takes, each once."""
        found = targets([*self._args, *self._kwargs.values()])
        return tuple({id(planned): planned for planned in found}.values())

    def resolve(self, known: Callable[[Planned[Any]], Any]) -> ToolCall[T_co]:
        """The real call.

        Args:
            known: the result of a planned call.

        Raises:
            InvalidArguments: a result does not have what is referred to, or the tool does not
                take it.
        """
        try:
            args = [replace(value, known) for value in self._args]
            kwargs = {name: replace(value, known) for name, value in self._kwargs.items()}
        except InvalidArguments as error:
            msg = f"tool {self._tool.name!r}: {error}"
            raise InvalidArguments(msg) from error
        call: ToolCall[T_co] = self._tool(*args, **kwargs)
        call = call.fresh() if self._is_fresh else call
        return call.again() if self._is_again else call
