"""What a tool returns, checked against its return annotation, and its JSON form."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, SchemaError, to_json

from ..messages.errors import InvalidResult, ToolDefinitionError
from ..messages.text import read_back
from .plain import PLAIN, is_own_json
from .signature import awaited, first_line, shown

T = TypeVar("T")


class Result(Generic[T]):
    """What a tool returns, checked against its return annotation."""

    __slots__ = ("_adapter", "_plain", "_tool")

    def __init__(self, tool: str, hints: dict[str, Any]) -> None:
        if "return" not in hints:
            msg = f"tool {tool!r} does not say what it returns: annotate it, `-> None` for nothing"
            raise ToolDefinitionError(msg)
        annotation = hints["return"]
        promised = awaited(annotation)
        annotation = annotation if promised is None else promised[0]
        self._tool = tool
        self._plain = annotation if any(annotation is kind for kind in PLAIN) else None
        try:
            self._adapter = _adapter_of(annotation)
        except (PydanticUserError, SchemaError, TypeError, NameError) as error:
            msg = (
                f"the result of tool {tool!r} cannot be validated: {first_line(error)}; return "
                "what pydantic knows and JSON can hold"
            )
            raise ToolDefinitionError(msg) from error

    def accept(self, value: Any) -> tuple[T, Any]:
        """What a tool returned, validated, and its JSON form.

        Raises:
            InvalidResult: it is not what the annotation says, or JSON cannot hold it.
        """
        if value.__class__ is self._plain and is_own_json(value):
            return value, value
        try:
            valid = self._adapter.validator.validate_python(value)
            return valid, read_back(self._adapter.serializer.to_json(valid, warnings="error"))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            msg = (
                f"tool {self._tool!r} returned {shown(value)}, which its annotation does not "
                f"allow{' at ' + where if where else ''}: {first['msg']}"
            )
            raise InvalidResult(msg) from error
        except (PydanticSerializationError, ValueError, TypeError) as error:
            msg = (
                f"tool {self._tool!r} returned {shown(value)}, which cannot be serialised: "
                f"{first_line(error)}; return plain data or a pydantic model"
            )
            raise InvalidResult(msg) from error

    def restore(self, form: Any) -> T:
        """The value of a result in its JSON form.

        Raises:
            InvalidResult: it does not validate (any more).
        """
        if form.__class__ is self._plain:
            plain: T = form
            return plain
        try:
            value: T = self._adapter.validate_json(to_json(form))
        except ValueError as error:
            msg = (
                f"the recorded result {shown(form)} of tool {self._tool!r} is not what it returns "
                f"now: {first_line(error)}; give the tool another version when that changes"
            )
            raise InvalidResult(msg) from error
        return value


def _adapter_of(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=ConfigDict(ser_json_inf_nan="strings"))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(annotation)  # a model, which has settings of its own
