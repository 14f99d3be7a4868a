"""The route by which messages come in; its requests are read by hand, and not by the framework.

FastAPI's own reading of parameters, and its layers, took more processor time than all the rest of
such a request together: 480 µs with them and 290 without, where a bare handler that commits a row
takes 290 too (``benchmarks/http_service.py``). FastAPI has the route in its document, and leads to
it where it is mounted below another application.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from .access import Scope as TokenScope
from .guard import CALLER, Caller, Sender, SessionId, check_scope, key_of
from .message_stream import MessageSource, feed_of
from .models import Accepted, MessageIn, Name
from .paths import in_full
from .problems import ProblemError, documented
from .sse import MEDIA_TYPE, EventsResponse
from .waiting import waited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import Receive, Scope, Send

    from ..actors.session_face import Receipt
    from ..messages.ids import SessionKey
    from .feed import Feed
    from .state import Service

M = TypeVar("M", bound=BaseModel)

_BEFORE: Final = "/v1/sessions/"
_BEHIND: Final = "/messages"
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


class SendQuery(BaseModel):
    """What a message's request may say in its address.

    Args:
        tenant: the session's tenant; by default the token's.
        wait: seconds to wait for the message's end.
    """

    model_config = ConfigDict(frozen=True)

    tenant: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="the session's tenant; by default the token's"
    )
    wait: float = Field(
        default=0.0, ge=0, le=3600, allow_inf_nan=False, description="seconds to wait for the end"
    )


class SendHead(BaseModel):
    """What a message's request may say in its head.

    Args:
        idempotency_key: another way to say ``message_id``.
        last_event_id: the last event of this message's stream that the client has.
        accept: ``text/event-stream`` for a stream.
    """

    model_config = ConfigDict(frozen=True)

    idempotency_key: Name | None = None
    last_event_id: Annotated[int, Field(ge=0)] | None = None
    accept: str = Field(default="*/*", description=f"`{MEDIA_TYPE}` streams the message's events")


_PLAIN_QUERY: Final = SendQuery()
_PLAIN_HEAD: Final = SendHead()
_HEADERS: Final = {
    b"idempotency-key": "idempotency_key",
    b"last-event-id": "last_event_id",
    b"accept": "accept",
}


class _ByHand(APIRoute):
    """A route that FastAPI describes, and does not read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request that came by FastAPI's routing."""

        async def handle(request: Request) -> Response:
            return await _answered(request)

        return handle


router = APIRouter(tags=["messages"], route_class=_ByHand)


@router.post(
    "/sessions/{session_id}/messages",
    status_code=202,
    response_model=Accepted,
    responses={
        202: {"description": "the message is durable, and the session's responsibility"},
        200: {
            "model": Accepted,
            "description": "the message has ended within `wait`, or its events are streamed",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **documented(400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 507),
    },
)
async def send_message(  # noqa: PLR0917 - FastAPI gives them by name
    session_id: SessionId,
    body: MessageIn,
    caller: Sender,
    query: Annotated[SendQuery, Query()],
    head: Annotated[SendHead, Header()],
    request: Request,
) -> Response:
    """Send a message, now or `at` a time. Once this is answered, nothing is lost.

    The same `message_id` or `Idempotency-Key` again is the same message, and is not answered
    twice; with another content it is refused. With `Accept: text/event-stream` the message's
    events are streamed up to its `outcome`; who was cut off sends the same again, with
    `Last-Event-ID`.
    """
    service, key = caller.service, key_of(caller, session_id, query.tenant)
    service.check_open()
    message_id = _id_of(body, head.idempotency_key)
    if MEDIA_TYPE in head.accept:
        return await _streamed(caller, key, body, message_id, head.last_event_id)
    receipt = await _sent(service, key, body, message_id)
    # Accepted: from here on nothing may look like a refusal.
    outcome = await waited(service, receipt, query.wait, request.receive) if query.wait else None
    accepted = Accepted(
        tenant=key.tenant,
        session_id=key.session_id,
        message_id=receipt.message_id,
        duplicate=receipt.duplicate,
        outcome=outcome,
    )
    return Response(
        accepted.model_dump_json(exclude_none=True),
        202 if outcome is None else 200,
        media_type="application/json",
    )


def _id_of(body: MessageIn, idempotency_key: str | None) -> str | None:
    if body.message_id is None or idempotency_key in {None, body.message_id}:
        return body.message_id or idempotency_key
    detail = "message_id and the header Idempotency-Key differ: give one of them"
    raise ProblemError(422, "invalid-request", detail)


async def _sent(
    service: Service, key: SessionKey, body: MessageIn, message_id: str | None
) -> Receipt:
    session = service.session(key)
    if body.at is not None:
        return await session.send_later(
            body.text,
            at=body.at,
            sender=body.sender,
            attachments=body.attachments,
            metadata=body.metadata,
            message_id=message_id,
            policy=body.policy,
            deadline=body.deadline,
            priority=body.priority,
        )
    return await session.send(
        body.text,
        sender=body.sender,
        attachments=body.attachments,
        metadata=body.metadata,
        message_id=message_id,
        policy=body.policy,
        deadline=body.deadline,
        priority=body.priority,
    )


async def _streamed(
    caller: Caller, key: SessionKey, body: MessageIn, message_id: str | None, after: int | None
) -> EventsResponse:
    service = caller.service
    service.enter_stream()
    feed: Feed | None = None
    try:
        # Made up here, so that its events can be told apart from the first on.
        message_id = message_id or secrets.token_hex(16)
        feed = feed_of(service, key, message_id, after)
        await feed.begin()
        receipt = await _sent(service, key, body, message_id)
        if receipt.duplicate and after is None:
            feed.close()
            feed = feed_of(service, key, message_id, 0)
    except BaseException:
        if feed is not None:
            feed.close()
        service.leave_stream()
        raise
    return EventsResponse(
        MessageSource(feed, receipt.outcome()),
        heartbeat=service.settings.heartbeat,
        slow_after=service.settings.slow_after,
        counts=caller.counts,
        ended=service.leave_stream,
        headers={"Wavebreak-Message-Id": quote(message_id, safe="")},
    )


# --- reading ---


def is_sending(scope: Scope, path: str) -> bool:
    """Whether a request is one of :func:`send_message`."""
    return (
        scope["method"] == "POST"
        and len(path) > len(_BEFORE) + len(_BEHIND)
        and path.startswith(_BEFORE)
        and path.endswith(_BEHIND)
        and "/" not in path[len(_BEFORE) : -len(_BEHIND)]
    )


async def send_by_hand(scope: Scope, receive: Receive, send: Send, path: str) -> None:
    """Answer a request of :func:`send_message` without FastAPI."""
    scope["path_params"] = {"session_id": path[len(_BEFORE) : -len(_BEHIND)]}
    response = await _answered(Request(scope, receive))
    await response(scope, receive, send)


async def _answered(request: Request) -> Response:
    scope = request.scope
    caller = cast("Caller", scope[CALLER])
    check_scope(caller, TokenScope.SEND)
    session_id = _session_in(scope)
    query = _query_in(scope)
    head = _head_in(scope)
    body = await _body_in(request.receive)
    return await send_message(session_id, body, caller, query, head, request)


def _session_in(scope: Scope) -> str:
    name: str = in_full(scope["path_params"]["session_id"])
    try:
        return _NAME.validate_python(name)
    except ValidationError as error:
        raise _wrong(error, "path", "session_id") from None


def _query_in(scope: Scope) -> SendQuery:
    written: bytes = scope["query_string"]
    if not written:
        return _PLAIN_QUERY
    said = parse_qsl(written.decode("latin-1"), keep_blank_values=True)
    return _read(SendQuery, dict(said), "query")


def _head_in(scope: Scope) -> SendHead:
    said: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS and not (name == b"accept" and value == b"*/*"):
            said[_HEADERS[name]] = value.decode("latin-1")
        elif name == b"content-type" and not _is_json(value):
            detail = "send JSON, with the header Content-Type: application/json"
            raise ProblemError(422, "invalid-request", detail)
    return _read(SendHead, said, "header") if said else _PLAIN_HEAD


def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


async def _body_in(receive: Receive) -> MessageIn:
    message = await receive()
    data: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts = [data]
        while message.get("more_body", False):
            message = await receive()
            parts.append(message.get("body", b""))
        data = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if b"NaN" in data or b"Infinity" in data:
        _refuse_endless(data)
    try:
        return MessageIn.model_validate_json(data)
    except ValidationError as error:
        raise _wrong(error, "body") from None


def _refuse_endless(data: bytes) -> None:
    """See to it that all numbers are such that the journal gives them back."""
    try:
        from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ProblemError(422, "invalid-request", f"body: {error}") from None


def _read(model: type[M], said: dict[str, str], where: str) -> M:
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise _wrong(error, where) from None


def _wrong(error: ValidationError, *where: str) -> RequestValidationError:
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    return RequestValidationError([{**each, "loc": (*where, *each["loc"])} for each in errors])
