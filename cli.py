"""The command line: serves an agent, talks to it, and watches its sessions.

Needs the extra: ``pip install 'wavebreak[service]'``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

from loguru import logger

from .messages.errors import MissingExtra, WavebreakError
from .service.extra import require

try:
    require()
except MissingExtra as missing:
    sys.exit(f"wavebreak: {missing}")

from cyclopts import App, Parameter
from pydantic import ValidationError
from rich.console import Console

from .actors.loop_thread import loop_factory
from .journal.memory import MemoryJournal
from .journal.sqlite import SqliteJournal
from .service import ServiceSettings, serve
from .service.client import Client
from .service.journal_app import WAVEBREAK_DB, At, journal_app
from .service.logs import log_to_stderr
from .service.saved import saved_page
from .service.settings import unknown_variables
from .service.talk import talk
from .service.target import load, system_of
from .service.terminal import (
    in_a_line,
    session_tree,
    sessions_table,
    supervision_tree,
    text_of,
)
from .service.token_app import token_app

app = App(
    name="wavebreak",
    help="Conversations that can be interrupted: serve them, talk to them, watch them.",
    result_action="return_value",
)
app.command(token_app)
app.command(journal_app)
cast("Any", app).register_install_completion_command()

PolicyName = Literal["after_wave", "now", "enqueue", "steer", "collect", "reject", "aside"]

_KEPT = 10_000
"""Entries of a session that are kept for who was away."""


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which service is asked, and how it answers."""

    url: Annotated[str, Parameter(env_var="WAVEBREAK_URL")] = "http://127.0.0.1:8765"
    """Where the service is."""
    token: Annotated[str | None, Parameter(env_var="WAVEBREAK_TOKEN")] = None
    """Who asks; better by the variable, since arguments are seen by others."""
    tenant: str | None = None
    """Whose sessions are meant; by default the token's tenant."""
    json: Annotated[bool, Parameter(negative="")] = False
    """Answer in JSON."""

    def client(self) -> Client:
        """Make a client of it."""
        return Client(self.url, self.token, self.tenant)


_HERE = Where()


def _show(where: Where, data: Any, shown: Any) -> None:
    if where.json:
        print(json.dumps(data))  # noqa: T201 - for other programs
    else:
        Console().print(shown)


def _path(session: str) -> str:
    return f"/v1/sessions/{quote(session, safe='')}"


# --- serving ---


@app.command(name="serve")
def serve_command(
    target: str,
    /,
    *,
    host: str | None = None,
    port: int | None = None,
    tokens: Path | None = None,
    journal: At = WAVEBREAK_DB,
    memory: Annotated[bool, Parameter(negative="")] = False,
    keep_entries: int = _KEPT,
    accept_loss: Annotated[bool, Parameter(negative="")] = False,
    workers: int = 1,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Serve an agent over HTTP, with a page at /.

    Args:
        target: MODULE:AGENT or FILE.py:AGENT; an agent, an ActorSystem, or a function that is
            given a journal and makes an ActorSystem.
        host: the address to listen on; WAVEBREAK_HOST.
        port: the port, 0 for any; WAVEBREAK_PORT.
        tokens: a file of tokens, see `wavebreak token new`; WAVEBREAK_TOKENS.
        journal: the SQLite file that conversations are kept in; one is gone on with;
            WAVEBREAK_JOURNAL.
        memory: keep them in memory instead, and lose them at the end.
        keep_entries: how far event streams can go back in a session, in events.
        accept_loss: open a journal of which the newest part is missing or damaged.
        workers: must be 1: a journal belongs to one process.
        json: tell the address in JSON.
    """
    if workers != 1:
        msg = (
            f"--workers {workers}: one process serves one journal, and its one loop carries "
            "thousands of sessions; start a second service with a journal of its own instead"
        )
        raise WavebreakError(msg)
    settings = ServiceSettings.given(host=host, port=port, tokens=tokens)
    if "rare_gc" not in settings.model_fields_set:  # this process does nothing else
        settings = settings.model_copy(update={"rare_gc": True})
    log_to_stderr(debug=settings.debug, texts=settings.log_texts)
    for sentence in unknown_variables(os.environ):
        logger.warning(sentence)
    kept = (
        MemoryJournal(keep_entries=keep_entries)
        if memory
        else SqliteJournal(journal, keep_entries=keep_entries, accept_loss=accept_loss)
    )
    system = system_of(load(target), kept)

    def started(address: str, token: str | None) -> None:
        if json:
            text = _in_json({"url": address, "token": token})
            print(text, flush=True)  # noqa: T201
            return
        console = Console()
        console.print(f"wavebreak serves [bold]{target}[/] at [bold]{address}[/]")
        if token is not None:
            console.print(f"token for this run: {token}", soft_wrap=True, highlight=False)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(system, settings, started=started))


def _in_json(data: Any) -> str:
    return json.dumps(data)


# --- talking ---


@app.command
def chat(
    target: str | None = None,
    /,
    *,
    session: str = "terminal",
    where: Where = _HERE,
) -> None:
    """Talk to an agent: write while it works. Ctrl-D ends.

    Args:
        target: MODULE:AGENT to run here; without one, the service at --url is talked to.
        session: the session's id.
        where: which service.
    """
    asyncio.run(_chat(target, session, where))


async def _chat(target: str | None, session: str, where: Where) -> None:
    if target is None:
        async with where.client() as client:
            await talk(client, session)
        return
    loop = asyncio.get_running_loop()
    address: asyncio.Future[tuple[str, str | None]] = loop.create_future()
    stop = asyncio.Event()
    system = system_of(load(target), MemoryJournal(keep_entries=_KEPT))

    def started(url: str, token: str | None) -> None:
        address.set_result((url, token))

    serving = asyncio.create_task(
        serve(
            system,
            ServiceSettings(port=0, page=False, tokens=None, host="127.0.0.1"),
            started=started,
            stop=stop,
        )
    )
    try:
        both: set[asyncio.Future[Any]] = {serving, address}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if address.done():
            url, token = address.result()
            async with Client(url, token) as client:
                await talk(client, session)
    finally:
        stop.set()
        await serving


@app.command
def send(
    session: str,
    text: str,
    /,
    *,
    wait: float = 300.0,
    policy: PolicyName | None = None,
    message_id: str | None = None,
    where: Where = _HERE,
) -> None:
    """Send a message, and print the reply.

    Args:
        session: the session's id.
        text: what to say.
        wait: seconds to wait for the reply; 0 for its acceptance only.
        policy: what it does to a running turn.
        message_id: de-duplicates.
        where: which service.
    """

    async def ask() -> Any:
        body: dict[str, Any] = {"text": text, "message_id": message_id}
        if policy is not None:
            body["policy"] = {"kind": policy}
        async with where.client() as client:
            return await client.post(f"{_path(session)}/messages", body, wait=wait)

    accepted = asyncio.run(ask())
    outcome = accepted.get("outcome")
    if outcome is None:
        _show(where, accepted, f"accepted as {accepted['message_id']}")
    else:
        words = text_of(outcome.get("reply")) or outcome.get("error") or ""
        _show(where, accepted, words or f"it ended as {outcome['status']}")


# --- watching ---


@app.command
def events(
    session: str | None = None,
    /,
    *,
    after: int | None = None,
    where: Where = _HERE,
) -> None:
    """Print what happens, until Ctrl-C; taken up again where it was when the service restarts.

    Args:
        session: of this session; of all if not given.
        after: begin behind this position; 0 for all that is kept.
        where: which service.
    """

    async def watch() -> None:
        path = "/v1/events" if session is None else f"{_path(session)}/events"
        async with (
            where.client() as client,
            contextlib.aclosing(client.events(path, after=after)) as told,
        ):
            async for event in told:
                data = json.loads(event.data)
                _show(where, {"kind": event.event, **data}, in_a_line(event.event, data))
                sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(watch())


@app.command
def ps(*, running: Annotated[bool, Parameter(negative="")] = False, where: Where = _HERE) -> None:
    """List the sessions.

    Args:
        running: only those with a running turn.
        where: which service.
    """

    async def ask() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with where.client() as client:
            after = ""
            while True:
                page = await client.get("/v1/sessions", running=running, after=after, limit=1000)
                found += page["sessions"]
                after = page["next"]
                if after is None:
                    return found

    sessions = asyncio.run(ask())
    _show(where, {"sessions": sessions}, sessions_table(sessions))


@app.command
def show(
    session: str,
    /,
    *,
    turns: int = 10,
    html: Path | None = None,
    where: Where = _HERE,
) -> None:
    """Show a session with its turns and their calls.

    Args:
        session: the session's id.
        turns: how many of the last.
        html: write it to a file instead, as a page that can be opened anywhere.
        where: which service.
    """
    detail, ledger, told = asyncio.run(_seen(where, session, turns, all_events=html is not None))
    if html is None:
        _show(where, {**detail, "turns": ledger}, session_tree(detail, ledger))
        return
    html.write_text(saved_page(detail, told), encoding="utf-8")
    _show(where, {"html": str(html)}, f"written to {html}")


async def _seen(
    where: Where, session: str, turns: int, *, all_events: bool
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    async with where.client() as client:
        detail = await client.get(_path(session))
        if all_events:
            return detail, [], await _events_up_to(client, session, detail["position"])
        first = max(1, (detail["turn"] or 0) - turns + 1)
        ledger: list[dict[str, Any]] = []
        for number in range(first, (detail["turn"] or 0) + 1):
            try:
                ledger.append(await client.get(f"{_path(session)}/turns/{number}"))
            except WavebreakError as error:
                logger.debug("turn {} is not kept any more: {}", number, error)
        return detail, ledger, []


async def _events_up_to(client: Client, session: str, position: int) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    stream = client.events(f"{_path(session)}/events", after=0, again=False)
    async with contextlib.aclosing(stream) as source:
        async for event in source:
            data = json.loads(event.data)
            told.append({"kind": event.event, "data": data})
            # What is not kept is not waited for.
            reached = data["next"] - 1 if event.event == "gap" else data.get("position") or 0
            if reached >= position:
                break
    return told


@app.command
def tree(*, limit: int = 20, where: Where = _HERE) -> None:
    """Show the supervision tree.

    Args:
        limit: how many sessions and runtimes to list.
        where: which service.
    """

    async def ask() -> Any:
        async with where.client() as client:
            return await client.get("/v1/tree", limit=limit)

    root = asyncio.run(ask())
    _show(where, root, supervision_tree(root))


@app.command
def stop(
    session: str | None = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    now: Annotated[bool, Parameter(negative="")] = False,
    drop: Annotated[bool, Parameter(negative="")] = False,
    reason: str = "",
    where: Where = _HERE,
) -> None:
    """Stop a session's turn after its wave.

    Args:
        session: the session's id.
        every: stop the turns of all sessions instead.
        now: cut its calls off, and do not wait for the wave.
        drop: drop the messages that wait, too.
        reason: in words, for the record.
        where: which service.
    """
    if (session is None) is not every:
        msg = "name one session, or all of them by --all"
        raise WavebreakError(msg)
    body = {
        "how": {"kind": "now" if now else "after_wave"},
        "backlog": "drop" if drop else "keep",
        "reason": reason,
    }

    async def ask() -> Any:
        async with where.client() as client:
            path = "/v1/stop" if session is None else f"{_path(session)}/stop"
            return await client.post(path, body)

    stopped = asyncio.run(ask())
    each = stopped["stopped"] if session is None else [stopped]
    lines = [f"{one['session_id']}: turn {one['turn']} {one['outcome']}" for one in each]
    _show(where, stopped, "\n".join(lines if any(o["turn"] for o in each) else ["nothing ran"]))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        its exit status.
    """
    try:
        ended: object = app(arguments)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (WavebreakError, ValidationError, OSError) as error:
        if os.environ.get("WAVEBREAK_DEBUG") == "1":
            raise
        Console(stderr=True).print(f"wavebreak: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return ended if isinstance(ended, int) else 0


if __name__ == "__main__":
    sys.exit(main())
