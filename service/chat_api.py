"""The chat routes that clients of MindRoot know, on the same sessions: a log is a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from ..messages.events import TurnEnded
from ..messages.message import Attachment
from ..messages.reasons import TurnOutcome
from .feed import Feed, Item
from .guard import MessageId, Reader, Sender, SessionId, Stopper, Tenant, key_of, tenants_of
from .problems import ProblemError, documented
from .sse import MEDIA_TYPE, EventsResponse

if TYPE_CHECKING:
    from ..actors.sight import ActiveTurn
    from ..messages.ids import SessionKey

router = APIRouter(prefix="/chat", tags=["chat"])

CANCELLED = "Task cancelled"


class MessagePart(BaseModel):
    """A part of a chat message: a text, or something with an address."""

    model_config = ConfigDict(extra="ignore")

    type: str = "text"
    text: str | None = Field(default=None, max_length=1_000_000)
    data: str | None = Field(default=None, max_length=1_000_000)


class Sent(BaseModel):
    """That a message was accepted; its task is named by the message's id."""

    status: Literal["ok"] = "ok"
    task_id: str


class Ok(BaseModel):
    """That something was done."""

    status: Literal["ok"] = "ok"
    message: str


class Cancelled(BaseModel):
    """That the active task of a log was cancelled."""

    status: Literal["cancelled"] = "cancelled"
    log_id: str


class Failed(BaseModel):
    """That there was nothing to do."""

    status: Literal["error"] = "error"
    message: str


class ActiveTask(BaseModel):
    """A turn that runs.

    Args:
        active: whether it goes on; false while it is ending.
        created_at: when its first message was accepted, in seconds since the epoch.
    """

    active: bool
    created_at: float


class ActiveTasks(BaseModel):
    """The turns that run, by the log."""

    status: Literal["ok"] = "ok"
    active_tasks: dict[str, ActiveTask]


class CleanedUp(BaseModel):
    """The logs of which nothing is kept in memory any more."""

    status: Literal["ok"] = "ok"
    cleaned_up: list[str]


@router.post(
    "/{log_id}/send", responses=documented(400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 507)
)
async def send(
    log_id: SessionId,
    parts: Annotated[list[MessagePart], Body(min_length=1, max_length=100)],
    caller: Sender,
    tenant: Tenant = None,
) -> Sent:
    """Send a message of several parts."""
    key = key_of(caller, log_id, tenant)
    caller.service.check_open()
    text = "\n".join(part.text for part in parts if part.text)
    files = [Attachment(url=part.data, mime=part.type) for part in parts if part.data]
    receipt = await caller.service.session(key).send(text, attachments=files)
    return Sent(task_id=receipt.message_id)


class ChatSource:
    """A session's events; when its turn is cancelled, that is told, and the stream closes.

    Args:
        feed: the session's events.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._cancelled = False
        self._ended = False

    def close(self) -> None:
        """Let go of the events."""
        self._feed.close()

    def at_hand(self) -> Item | None:
        """One at a time: after the end of a cancelled turn there is one more."""
        return None

    async def next(self) -> Item | None:
        """The next item."""
        if self._ended:
            return None
        if self._cancelled:
            self._ended = True
            return Item("close", CANCELLED)
        item = await self._feed.next()
        if item is not None and isinstance(item.event, TurnEnded):
            self._cancelled = item.event.outcome is TurnOutcome.STOPPED
        return item


@router.get(
    "/{log_id}/events",
    status_code=200,
    response_class=EventsResponse,
    responses={
        200: {
            "description": "server-sent events",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **documented(401, 403, 404, 422, 429, 500, 503),
    },
)
async def events(log_id: SessionId, caller: Reader, tenant: Tenant = None) -> EventsResponse:
    """The events of a log from now on; a cancelled turn's end is followed by `close`."""
    service, key = caller.service, key_of(caller, log_id, tenant)
    service.enter_stream()
    try:
        feed = service.feed(key, None)
    except BaseException:
        service.leave_stream()
        raise
    return EventsResponse(
        ChatSource(feed),
        heartbeat=service.settings.heartbeat,
        slow_after=service.settings.slow_after,
        counts=caller.counts,
        ended=service.leave_stream,
    )


@router.post("/{log_id}/{task_id}/cancel", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def cancel(
    log_id: SessionId, task_id: MessageId, caller: Stopper, tenant: Tenant = None
) -> Ok:
    """Cancel a task: the turn that works on that message, or the message while it waits."""
    key = key_of(caller, log_id, tenant)
    standing = await caller.service.standing(key)
    state = standing.state
    known = None if state is None else state.remembered.get(task_id)
    if state is None or known is None or known.outcome is not None:
        raise ProblemError(404, "not-found", "Task not found")
    withdrawn = await caller.service.session(key).withdraw(task_id)
    if not withdrawn.done:
        # Its turn may have ended meanwhile, and another one run: that is not to be stopped.
        system = caller.service.system
        cancelled = await system.cancel_active(
            log_id, tenant=key.tenant, reason=CANCELLED, message_id=task_id
        )
        if cancelled.turn is None:
            raise ProblemError(404, "not-found", "Task not found")
    return Ok(message="Task cancelled successfully")


@router.post("/{log_id}/cancel_send_task", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def cancel_send_task(
    log_id: SessionId, caller: Stopper, tenant: Tenant = None
) -> Cancelled | Failed:
    """Cancel what runs for a log."""
    key = key_of(caller, log_id, tenant)
    cancelled = await caller.service.system.cancel_active(log_id, tenant=key.tenant)
    if cancelled.turn is None:
        return Failed(message="No active task found")
    return Cancelled(log_id=log_id)


@router.get("/{log_id}/active_tasks", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def active_tasks(log_id: SessionId, caller: Reader, tenant: Tenant = None) -> ActiveTasks:
    """What runs for a log."""
    key = key_of(caller, log_id, tenant)
    turns = caller.service.system.active_turns()
    return _tasks({key: turns[key]} if key in turns else {})


@router.get("/active_send_tasks", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def active_send_tasks(caller: Reader, tenant: Tenant = None) -> ActiveTasks:
    """What runs for all logs of the tenant."""
    whose = tenants_of(caller, tenant)
    turns = caller.service.system.active_turns()
    return _tasks({key: turn for key, turn in turns.items() if whose in {None, key.tenant}})


def _tasks(turns: Mapping[SessionKey, ActiveTurn]) -> ActiveTasks:
    return ActiveTasks(
        active_tasks={
            key.session_id: ActiveTask(active=turn.active, created_at=turn.created_at)
            for key, turn in turns.items()
        }
    )


@router.post("/cleanup_completed_tasks", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def cleanup_completed_tasks(caller: Stopper, tenant: Tenant = None) -> CleanedUp:
    """Let sessions go out of memory that are at rest; their next message brings them back."""
    whose = tenants_of(caller, tenant)
    swept = caller.service.system.sweep(tenant=whose)
    return CleanedUp(cleaned_up=sorted(key.session_id for key in swept))
