"""The routes under /v1 that ask for messages, and change or take back those that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from ..actors.session_face import Receipt
from ..messages.message import MessageOutcome
from .guard import MessageId, Reader, Sender, SessionId, Tenant, key_of
from .models import Accepted, Changed, EditIn
from .problems import documented, not_found
from .waiting import waited

if TYPE_CHECKING:
    from ..actors.backlog_requests import Edited, Withdrawal
    from ..messages.ids import SessionKey
    from .state import Service

router = APIRouter(tags=["messages"])


@router.get(
    "/sessions/{session_id}/messages/{message_id}",
    response_model=MessageOutcome,
    responses={
        202: {"model": Accepted, "description": "the message has not ended"},
        **documented(401, 403, 404, 422, 429, 500, 503),
    },
)
async def read_outcome(  # noqa: PLR0917 - FastAPI gives them by name
    session_id: SessionId,
    message_id: MessageId,
    caller: Reader,
    request: Request,
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
        outcome = await waited(service, receipt, wait, request.receive)
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
