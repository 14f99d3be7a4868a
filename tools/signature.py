"""What a tool takes, read from its function's annotations and checked by pydantic."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from copy import deepcopy
from dataclasses import field, make_dataclass
from typing import Any, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError, to_json

from ..messages.errors import InvalidArguments, ToolDefinitionError
from ..messages.text import read_back
from .plain import PLAIN, is_own_json

_CONFIG = ConfigDict(
    extra="forbid", ser_json_inf_nan="strings", validate_by_name=True, validate_by_alias=True
)
_SHOWN = 80
_AWAITABLES = {Awaitable: 0, Coroutine: 2}


def check_function(function: Any) -> None:
    """Refuse whatever is not a plain function.

    Raises:
        ToolDefinitionError: with what to do instead.
    """
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        msg = f"{_name(function)} is a generator: a tool returns its whole result, with `return`"
        raise ToolDefinitionError(msg)
    if not inspect.isfunction(function):
        msg = (
            f"{function!r} is not a function: put @tool on a function; for a method, a class or a "
            "partial write one that calls it"
        )
        raise ToolDefinitionError(msg)


def hints_of(function: Callable[..., Any], local: dict[str, Any]) -> dict[str, Any]:
    """The function's annotations, with names resolved.

    Args:
        function: the tool's.
        local: names of the place where the function is defined, beside its module's.

    Raises:
        ToolDefinitionError: a name cannot be found.
    """
    try:
        return get_type_hints(function, localns=local, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        msg = (
            f"the annotations of {_name(function)} cannot be resolved ({error}): import what they "
            "name where the function is defined, not under TYPE_CHECKING"
        )
        raise ToolDefinitionError(msg) from error


def is_blocking(function: Callable[..., Any], hints: dict[str, Any]) -> bool:
    """Whether calling it does the work at once, so that it needs a thread."""
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        return False
    return not inspect.iscoroutinefunction(function) and awaited(hints.get("return")) is None


class Arguments:
    """The arguments of a tool: validated by pydantic-core, in Rust, into a plain object.

    A dataclass rather than a pydantic model, because any parameter name can be a field of one,
    and it takes positional and keyword arguments as a call gives them. A call keeps what is in it
    and not the object, which the garbage collector would have to look at.
    """

    __slots__ = (
        "_adapter",
        "_plain_kinds",
        "_plain_names",
        "_shape",
        "_signature",
        "_tool",
        "is_plain",
        "names",
        "validate",
    )

    def __init__(self, tool: str, function: Callable[..., Any], hints: dict[str, Any]) -> None:
        fields = [
            _field(tool, parameter, hints)
            for parameter in inspect.signature(function).parameters.values()
        ]
        self._tool = tool
        self.names = [name for name, _, _ in fields]
        self._signature = inspect.signature(function)
        try:
            shape = make_dataclass(tool_class_name(tool), fields, repr=False, eq=False)
            shape.__doc__ = None
            shape.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
            self._shape: type[Any] = shape
            self._adapter: TypeAdapter[Any] = TypeAdapter(shape)
        except (PydanticUserError, SchemaError, TypeError, ValueError, NameError) as error:
            msg = (
                f"the arguments of tool {tool!r} cannot be validated: {first_line(error)}; use "
                "types that pydantic knows and JSON can hold"
            )
            raise ToolDefinitionError(msg) from error
        self.validate: Callable[[Any], Any] = self._adapter.validator.validate_python
        self.is_plain = not _has_serializer(self._adapter.core_schema)
        self._plain_kinds = [hints[name] for name in self.names]
        self._plain_names = self.names if _are_plain(self._signature, hints) else None
        for parameter in self._signature.parameters.values():
            if parameter.default is not parameter.empty and not isinstance(
                parameter.default, FieldInfo
            ):
                self._check_default(parameter.name, hints[parameter.name], parameter.default)

    def as_given(self, args: Collection[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments by name, if validation and JSON would leave them as they are.

        Most calls are given all of them, in their order, and of the very types that the function
        names: then there is nothing to convert, and half of the price is saved.
        """
        names = self._plain_names
        if kwargs:
            if args or [*kwargs] != names:
                return None
            args = kwargs.values()
        if names is None or len(args) != len(names):
            return None
        kinds = self._plain_kinds
        given: dict[str, Any] = {}
        for place, value in enumerate(args):
            # Not its ``__class__``: of a mock that is whatever it stands for.
            if type(value) is not (kind := kinds[place]):
                return None
            if not (kind is int or is_own_json(value)):
                return None
            given[names[place]] = value
        return given

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments.

        Raises:
            ToolDefinitionError: a type has none.
        """
        try:
            return self._adapter.json_schema()
        except PydanticUserError as error:
            msg = f"the arguments of tool {self._tool!r} have no JSON schema: {first_line(error)}"
            raise ToolDefinitionError(msg) from error

    def from_json(self, arguments: Any) -> Any:
        """Validate arguments in their JSON form.

        Raises:
            ValidationError: the tool does not take them.
            ValueError: they are no JSON.
        """
        return self._adapter.validate_json(to_json(arguments))

    def to_json(self, valid: dict[str, Any]) -> dict[str, Any]:
        """The JSON form of validated arguments.

        Raises:
            InvalidArguments: there is none.
        """
        shaped = object.__new__(self._shape)
        shaped.__dict__ = valid
        try:
            form: dict[str, Any] = read_back(
                self._adapter.serializer.to_json(shaped, warnings="error")
            )
        except Exception as error:
            msg = f"tool {self._tool!r}: the arguments cannot be serialised: {first_line(error)}"
            raise InvalidArguments(msg) from error
        return form

    def check_names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check which arguments are given; their values are not known yet.

        Raises:
            InvalidArguments: one is missing, or not taken.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"tool {self._tool!r}: {error}; it takes {', '.join(self.names)}"
            raise InvalidArguments(msg) from error

    def refusal(self, error: ValidationError) -> InvalidArguments:
        """The error that names tool, argument and value."""
        lines = [self._line(dict(one)) for one in error.errors(include_url=False)]
        return InvalidArguments(f"tool {self._tool!r}: {'; '.join(lines)}")

    def _line(self, one: dict[str, Any]) -> str:
        where = list(one["loc"])
        if where and isinstance(where[0], int) and where[0] < len(self.names):
            where[0] = self.names[where[0]]
        argument = ".".join(map(str, where)) or "(all)"
        if one["type"] == "missing":
            return f"argument {argument!r} is missing"
        if one["type"] == "unexpected_positional_argument":
            place = one["loc"][0] + 1
            return f"positional argument {place} = {shown(one['input'])} is one too many"
        if one["type"].startswith("unexpected"):
            takes = ", ".join(self.names) or "no arguments"
            return f"unexpected argument {argument!r} = {shown(one['input'])}; it takes {takes}"
        return f"argument {argument!r} = {shown(one['input'])}: {one['msg']}"

    def _check_default(self, name: str, annotation: Any, default: Any) -> None:
        """A default is not validated at each call, so it is here, once."""
        try:
            TypeAdapter(annotation).validate_python(default)
        except ValidationError as error:
            msg = (
                f"tool {self._tool!r}: the default of argument {name!r}, {shown(default)}, is "
                f"not valid: {error.errors()[0]['msg']}; correct it or the annotation"
            )
            raise ToolDefinitionError(msg) from error


def tool_class_name(tool: str) -> str:
    """A class name for the arguments of a tool; it becomes the JSON schema's title."""
    return tool if tool.isidentifier() else "arguments"


def _field(tool: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> tuple[str, Any, Any]:
    name = parameter.name
    kind = parameter.kind
    if kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        msg = (
            f"tool {tool!r}: argument {name!r} is {kind.description}; every argument of "
            "a tool has a name: take a list or a dict instead, and leave out `/`"
        )
        raise ToolDefinitionError(msg)
    if name not in hints:
        remedy = "annotate it"
        if name in ("self", "cls"):
            remedy = "a method cannot be a tool: write a function, and get the object by dep(Type)"
        msg = f"tool {tool!r}: argument {name!r} has no annotation; {remedy}"
        raise ToolDefinitionError(msg)
    kw_only = kind is parameter.KEYWORD_ONLY
    default = parameter.default
    if default is parameter.empty:
        return name, hints[name], field(kw_only=kw_only)
    if type(default).__hash__ is None and not isinstance(default, FieldInfo):
        return name, hints[name], field(default_factory=lambda: deepcopy(default), kw_only=kw_only)
    return name, hints[name], field(default=default, kw_only=kw_only)


def _are_plain(signature: inspect.Signature, hints: dict[str, Any]) -> bool:
    """Whether all arguments can be given by place, and nothing is to be done about their types."""
    return all(
        any(hints[one.name] is kind for kind in PLAIN)
        and not isinstance(one.default, FieldInfo)
        and one.kind is one.POSITIONAL_OR_KEYWORD
        for one in signature.parameters.values()
    )


def awaited(annotation: Any) -> tuple[Any] | None:
    """What an annotation of an awaitable promises, or None if it is none."""
    place = _AWAITABLES.get(get_origin(annotation) or annotation)
    if place is None:
        return None
    arguments = get_args(annotation)
    return (arguments[place],) if arguments else (Any,)


def _has_serializer(schema: Any) -> bool:
    """Whether a type has a JSON form of its own making."""
    parts: list[Any] = []
    if isinstance(schema, dict):
        if "serialization" in schema:
            return True
        parts = list(cast("dict[str, Any]", schema).values())
    elif isinstance(schema, list | tuple):
        parts = list(cast("list[Any]", schema))
    return any(map(_has_serializer, parts))


def shown(value: Any) -> str:
    """A value in an error's words, cut to a length that can be read."""
    words = repr(value)
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


def first_line(error: BaseException) -> str:
    """The first line of an error's words; pydantic's have many."""
    return str(error).partition("\n")[0]


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
