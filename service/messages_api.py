"""The routes under /v1 by which messages come in."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from loguru import logger

from ..actors.session_face import Receipt
from ..messages.errors import Detached, WavebreakError
from ..messages.events import Event, MessageAccepted, MessageEnded, TurnStarted
from ..messages.message import MessageOutcome
from .feed import Feed, Item, closed
from .guard import MessageId, Reader, Sender, SessionId, Tenant, key_of
from .models import Accepted, Changed, EditIn, MessageIn
from .problems import ProblemError, documented, not_found
from .sse import MEDIA_TYPE, EventsResponse

if TYPE_CHECKING:
    from ..actors.backlog_requests import Edited, Withdrawal
    from ..actors.future import Future
    from ..messages.ids import SessionKey
    from .guard import Caller
    from .state import Service, Standing

router = APIRouter(tags=["messages"])


class Part:
    """Which of a session's events belong to one message: its own, and those of its turns."""

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._turns: set[int] = set()

    def __call__(self, event: Event) -> bool:
        """Whether this one does; asked in their order."""
        if isinstance(event, MessageAccepted):
            return event.message.message_id == self._message_id
        if isinstance(event, MessageEnded):
            return event.message_id == self._message_id
        if isinstance(event, TurnStarted) and self._message_id in event.message_ids:
            self._turns.add(event.turn)
        return event.turn in self._turns


class MessageSource:
    """Streams the events of one message, and then its outcome as the last.

    Args:
        feed: the session's events, with those of the message only.
        outcome: how it ends.
    """

    def __init__(self, feed: Feed, outcome: Future[MessageOutcome]) -> None:
        self._feed = feed
        self._outcome = outcome
        self._ended = False
        self._told = False

    def close(self) -> None:
        """Let go of the events."""
        self._feed.close()

    def at_hand(self) -> Item | None:
        """One at a time: the last may have to be waited for."""
        return None

    async def next(self) -> Item | None:
        """The next item; the outcome is the last."""
        if self._told:
            return None
        if not self._ended:
            item = await self._feed.next()
            if item is not None and item.kind != "close":
                self._ended = isinstance(item.event, MessageEnded)
                return item
            self._ended = True
        try:
            outcome = await self._outcome
        except WavebreakError as error:
            logger.debug("no outcome is told: {}", error)
            self._told = True
            return closed("shutdown")
        self._told = True
        return Item("outcome", outcome.model_dump_json())


_ACCEPT = Header(alias="accept", description=f"`{MEDIA_TYPE}` streams the message's events")


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
    tenant: Tenant = None,
    wait: Annotated[float, Query(ge=0, le=3600, description="seconds to wait for the end")] = 0.0,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=512)] = None,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
    accept: Annotated[str, _ACCEPT] = "*/*",
) -> Response:
    """Send a message. Once this is answered, nothing is lost.

    The same `message_id` or `Idempotency-Key` again is the same message, and is not answered
    twice; with another content it is refused. With `Accept: text/event-stream` the message's
    events are streamed up to its `outcome`; who was cut off sends the same again, with
    `Last-Event-ID`.
    """
    key = key_of(caller, session_id, tenant)
    caller.service.check_open()
    message_id = _id_of(body, idempotency_key)
    if MEDIA_TYPE in accept:
        return await _streamed(caller, key, body, message_id, last_event_id)
    receipt = await _sent(caller.service, key, body, message_id)
    outcome = await _waited(caller.service, receipt, wait)
    accepted = Accepted(
        tenant=key.tenant,
        session_id=key.session_id,
        message_id=receipt.message_id,
        duplicate=receipt.duplicate,
        outcome=outcome,
    )
    return JSONResponse(
        accepted.model_dump(mode="json", exclude_none=True),
        202 if outcome is None else 200,
    )


def _id_of(body: MessageIn, idempotency_key: str | None) -> str | None:
    if body.message_id is None or idempotency_key in {None, body.message_id}:
        return body.message_id or idempotency_key
    detail = "message_id and the header Idempotency-Key differ: give one of them"
    raise ProblemError(422, "invalid-request", detail)


async def _sent(
    service: Service, key: SessionKey, body: MessageIn, message_id: str | None
) -> Receipt:
    return await service.session(key).send(
        body.text,
        sender=body.sender,
        attachments=body.attachments,
        metadata=body.metadata,
        message_id=message_id,
        policy=body.policy,
        deadline=body.deadline,
        priority=body.priority,
    )


async def _waited(service: Service, receipt: Receipt, wait: float) -> MessageOutcome | None:
    if wait <= 0:
        return None
    try:
        async with asyncio.timeout(min(wait, service.settings.longest_wait)):
            return await receipt.outcome()
    except (TimeoutError, Detached):
        return None  # it was accepted all the same


async def _streamed(
    caller: Caller, key: SessionKey, body: MessageIn, message_id: str | None, after: int | None
) -> EventsResponse:
    service = caller.service
    service.enter_stream()
    feed: Feed | None = None
    try:
        # Made up here, so that its events can be told apart from the first on.
        message_id = message_id or secrets.token_hex(16)
        feed = _feed_of(service, key, message_id, after)
        await feed.begin()
        receipt = await _sent(service, key, body, message_id)
        if receipt.duplicate and after is None:
            feed.close()
            feed = _feed_of(service, key, message_id, 0)
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


def _feed_of(service: Service, key: SessionKey, message_id: str, after: int | None) -> Feed:
    def over(standing: Standing) -> bool:
        known = None if standing.state is None else standing.state.remembered.get(message_id)
        return known is not None and known.outcome is not None

    # From the first event on, to learn which turns are the message's.
    begin = None if after is None else 0
    return service.feed(key, begin, has=after or 0, wanted=Part(message_id), over=over)


@router.get(
    "/sessions/{session_id}/messages/{message_id}",
    response_model=MessageOutcome,
    responses={
        202: {"model": Accepted, "description": "the message has not ended"},
        **documented(401, 403, 404, 422, 429, 500, 503),
    },
)
async def read_outcome(
    session_id: SessionId,
    message_id: MessageId,
    caller: Reader,
    tenant: Tenant = None,
    wait: Annotated[float, Query(ge=0, le=3600, description="seconds to wait for the end")] = 0.0,
) -> Response:
    """How a message ended, or that it has not (202)."""
    service, key = caller.service, key_of(caller, session_id, tenant)
    standing = await service.standing(key)
    known = None if standing.state is None else standing.state.remembered.get(message_id)
    if known is None:
        raise not_found(f"message {message_id!r} in session {session_id!r}")
    outcome = known.outcome
    if outcome is None and wait:
        receipt = Receipt(service.session(key), message_id)
        outcome = await _waited(service, receipt, wait)
    if outcome is not None:
        return JSONResponse(outcome.model_dump(mode="json", exclude_none=True))
    accepted = Accepted(
        tenant=key.tenant, session_id=key.session_id, message_id=message_id, duplicate=True
    )
    return JSONResponse(accepted.model_dump(mode="json", exclude_none=True), 202)


_CHANGES = {
    409: {"model": Changed, "description": "it is too late: a turn has it, or it has ended"},
    **documented(400, 401, 403, 404, 408, 413, 422, 429, 500, 503),
}


@router.patch(
    "/sessions/{session_id}/messages/{message_id}", response_model=Changed, responses=_CHANGES
)
async def edit_message(
    session_id: SessionId,
    message_id: MessageId,
    body: EditIn,
    caller: Sender,
    tenant: Tenant = None,
) -> Response:
    """Replace the text of a message that waits and that no turn has seen."""
    key = key_of(caller, session_id, tenant)
    await _known(caller.service, key, message_id)
    edited = await caller.service.session(key).edit(message_id, body.text)
    return _changed(edited)


@router.delete(
    "/sessions/{session_id}/messages/{message_id}", response_model=Changed, responses=_CHANGES
)
async def withdraw_message(
    session_id: SessionId, message_id: MessageId, caller: Sender, tenant: Tenant = None
) -> Response:
    """Take back a message that waits; it ends as cancelled."""
    key = key_of(caller, session_id, tenant)
    await _known(caller.service, key, message_id)
    return _changed(await caller.service.session(key).withdraw(message_id))


async def _known(service: Service, key: SessionKey, message_id: str) -> None:
    """Make no session by asking for what it does not have."""
    standing = await service.standing(key)
    if standing.state is None or message_id not in standing.state.remembered:
        raise not_found(f"message {message_id!r} in session {key.session_id!r}")


def _changed(result: Edited | Withdrawal) -> Response:
    changed = Changed(**result._asdict())
    return JSONResponse(
        changed.model_dump(mode="json", exclude_none=True), 200 if changed.done else 409
    )
