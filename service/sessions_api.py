"""The routes under /v1 by which sessions are seen and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query

from ..actors.histories import read_history as read_entries
from ..messages.errors import JournalCorrupt
from ..messages.events import Event
from ..messages.ids import SessionKey
from ..supervisors.tree import TreeNode
from .access import ANY_TENANT
from .feed import Item, closed, item_of
from .guard import (
    Admin,
    Anyone,
    Reader,
    SessionId,
    Stopper,
    Tenant,
    key_of,
    tenants_of,
)
from .models import (
    Deleted,
    History,
    SessionDetail,
    SessionPage,
    StopIn,
    StopManyIn,
    Stopped,
    StoppedMany,
    TurnDetail,
    Whoami,
)
from .problems import documented, not_found
from .sse import MEDIA_TYPE, EventsResponse
from .views import detail, summary, turn_of

if TYPE_CHECKING:
    from ..actors.hub import EventStream
    from ..actors.requests import StopResult
    from ..system import ActorSystem
    from .guard import Caller
    from .state import Service

router = APIRouter(tags=["sessions"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "server-sent events",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}
_ALL = 1000
"""Events that are read at a time to put a turn together."""


@router.get("/me", responses=documented(401, 403, 429, 500))
async def read_me(caller: Anyone) -> Whoami:
    """What the token allows."""
    rule = caller.rule
    return Whoami(name=rule.name, scopes=sorted(rule.scopes), tenants=sorted(rule.tenants))


@router.get("/tree", responses=documented(401, 403, 422, 429, 500, 503))
async def read_tree(
    caller: Admin,
    limit: Annotated[
        int, Query(ge=0, le=10_000, description="sessions and runtimes that are listed")
    ] = 0,
) -> TreeNode:
    """The supervision tree; sessions are named only to whom all tenants are open."""
    everyone = ANY_TENANT in caller.rule.tenants
    return caller.service.system.tree(limit=limit if everyone else 0)


@router.get("/sessions", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def list_sessions(
    caller: Reader,
    tenant: Annotated[
        str | None, Query(max_length=512, description="whose; `*` for all, if the token may")
    ] = None,
    after: Annotated[str | None, Query(max_length=1100, description="`next` of the page")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    running: Annotated[bool, Query(description="only those with a running turn")] = False,
) -> SessionPage:
    """Some sessions, in the order of their names."""
    service, whose = caller.service, tenants_of(caller, tenant)
    if running:
        keys = sorted(service.system.active_turns())
        keys = [key for key in keys if whose is None or key.tenant == whose]
        last = _key_in(after)
        keys = [key for key in keys if last is None or key > last][: limit + 1]
    else:
        keys = list(await service.journal.sessions(whose, _key_in(after), limit + 1))
    page = keys[:limit]
    view = service.system.view
    return SessionPage(
        sessions=[summary(key, view(key.session_id, tenant=key.tenant)) for key in page],
        next=_cursor(page[-1]) if len(keys) > limit else None,
    )


def _cursor(key: SessionKey) -> str:
    return f"{len(key.tenant)}.{key.tenant}{key.session_id}"


def _key_in(cursor: str | None) -> SessionKey | None:
    length, dot, rest = (cursor or "").partition(".")
    if not dot or not length.isdecimal():
        return None
    cut = int(length[:4])
    return SessionKey(rest[:cut], rest[cut:])


@router.get("/sessions/{session_id}", responses=documented(401, 403, 404, 422, 429, 500, 503))
async def read_session(
    session_id: SessionId, caller: Reader, tenant: Tenant = None
) -> SessionDetail:
    """A session as it is."""
    service, key = caller.service, key_of(caller, session_id, tenant)
    standing = await service.standing(key)
    rests = service.system.view(session_id, tenant=key.tenant) is None
    found = detail(key, standing, rests=rests)
    if found is None:
        raise not_found(f"session {session_id!r}")
    return found


@router.delete(
    "/sessions/{session_id}", responses=documented(401, 403, 404, 422, 429, 500, 503, 507)
)
async def delete_session(
    session_id: SessionId,
    caller: Admin,
    tenant: Tenant = None,
    grace: Annotated[
        float,
        Query(ge=0, le=300, allow_inf_nan=False, description="seconds that calls have to end in"),
    ] = 5.0,
) -> Deleted:
    """Forget a session, with all that was said and done in it; answered when nothing is left.

    A running turn is cut off, and what waits is cancelled. Streams of it are told by
    `session_deleted`, and go on with what is begun under its name later.
    """
    service, key = caller.service, key_of(caller, session_id, tenant)
    with contextlib.suppress(JournalCorrupt):  # that is how one gets rid of it
        if (await service.standing(key)).state is None:
            raise not_found(f"session {session_id!r}")
    turn, message_ids = await service.session(key).delete(grace)
    return Deleted(
        tenant=key.tenant, session_id=session_id, turn=turn, message_ids=list(message_ids)
    )


@router.get(
    "/sessions/{session_id}/history", responses=documented(401, 403, 404, 422, 429, 500, 503)
)
async def read_history(
    session_id: SessionId,
    caller: Reader,
    tenant: Tenant = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> History:
    """The end of a session's history: finished turns, oldest first."""
    service, key = caller.service, key_of(caller, session_id, tenant)
    if service.system.view(session_id, tenant=key.tenant) is None:
        entries = await read_entries(service.journal.history, key, limit)
    else:
        entries = await service.session(key).history(limit, unanswered=False)
    return History(entries=list(entries))


@router.get(
    "/sessions/{session_id}/turns/{number}",
    responses=documented(401, 403, 404, 422, 429, 500, 503),
)
async def read_turn(
    session_id: SessionId,
    number: int,
    caller: Reader,
    tenant: Tenant = None,
) -> TurnDetail:
    """A turn's ledger and what came of it, as far as the journal keeps its events."""
    service, key = caller.service, key_of(caller, session_id, tenant)
    standing = await service.standing(key)
    events: list[Event] = []
    after = 0
    while more := await service.journal.events(key, after, _ALL):
        events += (event for event in more if event.turn == number)
        after = more[-1].position or after
        if len(more) < _ALL:
            break
    found = turn_of(events, number)
    if found is None:
        raise not_found(f"turn {number} in session {session_id!r}, or it is not kept any more")
    state = standing.state
    if state is not None and state.running is not None and state.running.number == number:
        found.preview = standing.preview
    return found


@router.get(
    "/sessions/{session_id}/events",
    status_code=200,
    response_class=EventsResponse,
    responses={**_STREAM, **documented(401, 403, 404, 422, 429, 500, 503)},
)
async def stream_session(
    session_id: SessionId,
    caller: Reader,
    tenant: Tenant = None,
    after: Annotated[int | None, Query(ge=0, description="begin behind this position")] = None,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> EventsResponse:
    """A session's events as they happen; with `Last-Event-ID` those that were missed before.

    An event's id is its position. A `gap` tells that some are not kept any more, a `catch_up`
    stands for the deltas of the running turn so far, and a `close` is the last.
    """
    service, key = caller.service, key_of(caller, session_id, tenant)
    service.enter_stream()
    try:
        feed = service.feed(key, after if last_event_id is None else last_event_id)
    except BaseException:
        service.leave_stream()
        raise
    return EventsResponse(
        feed,
        heartbeat=service.settings.heartbeat,
        slow_after=service.settings.slow_after,
        counts=caller.counts,
        ended=service.leave_stream,
    )


class Overview:
    """What happens in all sessions of some tenants, from now on; without ids.

    Args:
        live: the events of all sessions.
        caller: who may see what.
        tenant: of which tenant to tell; of all if None.
    """

    def __init__(self, live: EventStream, caller: Caller, tenant: str | None) -> None:
        self._live = live
        self._caller = caller
        self._tenant = tenant
        self._ready: deque[Item] = deque()
        self._ended = False

    def close(self) -> None:
        """Subscribe no more."""
        self._live.close()

    def at_hand(self) -> Item | None:
        """One at a time."""
        return None

    async def next(self) -> Item | None:
        """The next item."""
        while not self._ended:
            try:
                event = await anext(self._live)
            except StopAsyncIteration:
                self._ended = True
                return closed("shutdown")
            if self._tenant is None or event.tenant == self._tenant:
                return item_of(event)._replace(position=None)
        return None


@router.get(
    "/events",
    status_code=200,
    response_class=EventsResponse,
    responses={**_STREAM, **documented(401, 403, 404, 422, 429, 500, 503)},
)
async def stream_all(
    caller: Reader,
    tenant: Annotated[
        str | None, Query(max_length=512, description="whose; `*` for all, if the token may")
    ] = None,
) -> EventsResponse:
    """What happens in all sessions, from now on; without ids, and so without resuming."""
    service, whose = caller.service, tenants_of(caller, tenant)
    service.enter_stream()
    return EventsResponse(
        Overview(service.system.events(), caller, whose),
        heartbeat=service.settings.heartbeat,
        slow_after=service.settings.slow_after,
        counts=caller.counts,
        ended=service.leave_stream,
    )


@router.post(
    "/sessions/{session_id}/stop",
    responses=documented(400, 401, 403, 404, 408, 413, 422, 429, 500, 503),
)
async def stop_session(
    session_id: SessionId, caller: Stopper, body: StopIn | None = None, tenant: Tenant = None
) -> Stopped:
    """Stop the running turn, and wait for its end; nothing happens if none runs."""
    key, how = key_of(caller, session_id, tenant), body or StopIn()
    standing = await caller.service.standing(key)
    if standing.state is None:
        raise not_found(f"session {session_id!r}")
    if standing.state.running is None and not standing.state.waiting:
        return _stopped(key, None)
    session = caller.service.session(key)
    return _stopped(key, await session.stop(how.how, backlog=how.backlog, reason=how.reason))


@router.post(
    "/sessions/{session_id}/resume",
    status_code=204,
    responses=documented(401, 403, 404, 422, 429, 500, 503),
)
async def resume_session(session_id: SessionId, caller: Stopper, tenant: Tenant = None) -> None:
    """Let the messages go on that a stop has parked."""
    key = key_of(caller, session_id, tenant)
    if (await caller.service.standing(key)).state is None:
        raise not_found(f"session {session_id!r}")
    await caller.service.session(key).resume()


@router.post("/stop", responses=documented(400, 401, 403, 404, 408, 413, 422, 429, 500, 503))
async def stop_many(
    body: StopManyIn,
    caller: Stopper,
    tenant: Annotated[
        str | None, Query(max_length=512, description="whose; `*` for all, if the token may")
    ] = None,
) -> StoppedMany:
    """Stop the running turns of many sessions, and wait for their ends."""
    whose = tenants_of(caller, tenant)
    keys = _running(caller.service.system, body, whose)
    results = await asyncio.gather(*(_stop(caller.service, key, body) for key in keys))
    return StoppedMany(
        stopped=[_stopped(key, each) for key, each in zip(keys, results, strict=True)]
    )


def _running(system: ActorSystem, body: StopManyIn, whose: str | None) -> list[SessionKey]:
    wanted = None if body.session_ids is None else set(body.session_ids)
    before = time.time() - body.older_than
    return [
        key
        for key, turn in sorted(system.active_turns().items())
        if (whose is None or key.tenant == whose)
        and (wanted is None or key.session_id in wanted)
        and key.session_id.startswith(body.prefix)
        and turn.created_at <= before
    ]


async def _stop(service: Service, key: SessionKey, body: StopManyIn) -> StopResult:
    return await service.session(key).stop(body.how, backlog=body.backlog, reason=body.reason)


def _stopped(key: SessionKey, result: StopResult | None) -> Stopped:
    turn, outcome = result or (None, None)
    return Stopped(tenant=key.tenant, session_id=key.session_id, turn=turn, outcome=outcome)
