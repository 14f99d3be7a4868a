"""A message through HTTP beside a bare FastAPI handler that commits one row.

    python benchmarks/http_service.py [--quick] [--json PATH]

wavebreak   `POST /v1/sessions/{id}/messages`, answered when the message is durable; behind it a
            turn runs for each of them and its reply is journaled, all in SQLite with a sync for
            each commit
bare        a FastAPI handler of a pydantic body, which inserts one row, commits it with a sync, and
            answers; in the thread that the loop runs in, since that is the cheapest it can do

Both behind the same uvicorn, each run in a fresh process, by turns; medians. Clients keep their
connections and send the next message when the last one was answered. Processor time is the
server's alone, everything it does: threads and turns too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json as json_of
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from wavebreak.benchmarks.command_line import Flag, app_of, run_command

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

SYSTEMS = ("wavebreak", "bare")
SESSIONS = 10
"""Of each client, by turns: what is measured is messages, and not interruptions."""


@dataclass(frozen=True)
class Measured:
    """One run.

    Args:
        micros: processor time of the server for a request, in microseconds.
        rate: requests a second.
        p50: milliseconds from sending a request to its 202.
        p99: the same, of the slowest hundredth.
    """

    micros: float
    rate: float
    p50: float
    p99: float


def compare(*, clients: int = 16, requests: int = 4_000, runs: int = 5) -> dict[str, Any]:
    """Measure both, and how they compare.

    Args:
        clients: connections at a time.
        requests: of each run, after as many again as warm it up by half.
        runs: of each system.
    """
    found: dict[str, list[Measured]] = {name: [] for name in SYSTEMS}
    for number in track(range(runs), "http", console=Console(stderr=True), transient=True):
        for name in SYSTEMS[:: 1 if number % 2 else -1]:
            found[name].append(_run(name, clients, requests))
    medians = {name: _median(each) for name, each in found.items()}
    ratio = medians["wavebreak"].micros / medians["bare"].micros
    return {
        "clients": clients,
        "requests": requests,
        **{name: asdict(each) for name, each in medians.items()},
        "cpu_ratio": round(ratio, 2),
    }


def _median(runs: list[Measured]) -> Measured:
    rows = [asdict(run) for run in runs]
    return Measured(**{name: round(median(row[name] for row in rows), 2) for name in rows[0]})


# --- the load ---


def _run(name: str, clients: int, requests: int) -> Measured:
    with _served(name) as server:
        port, token = server.told()
        heads = [_head(name, token, client) for client in range(clients)]
        asyncio.run(_load(port, heads, requests // 2))
        before, begun = server.processor(), time.perf_counter()
        waits = asyncio.run(_load(port, heads, requests))
        seconds = time.perf_counter() - begun
        used = server.processor() - before
    cuts = quantiles(waits, n=100)
    return Measured(used / len(waits) * 1e6, len(waits) / seconds, cuts[49] * 1e3, cuts[98] * 1e3)


def _head(name: str, token: str, client: int) -> list[bytes]:
    body = json_of.dumps({"text": "Is there a room with a view of the sea?"}).encode()
    paths = [f"/v1/sessions/c{client}-{number}/messages" for number in range(SESSIONS)]
    return [
        (
            f"POST {path if name == 'wavebreak' else '/messages'} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Accept: */*\r\nUser-Agent: benchmark\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for path in paths
    ]


async def _load(port: int, requests: list[list[bytes]], total: int) -> list[float]:
    waits: list[float] = []
    each = total // len(requests)
    await asyncio.gather(*(_client(port, mine, each, waits) for mine in requests))
    return waits


async def _client(port: int, requests: list[bytes], times: int, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(times):
        begun = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 202 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"refused: {head.decode()}")
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        waits.append(time.perf_counter() - begun)
    writer.close()
    await writer.wait_closed()


# --- the servers, each in a process of its own ---


class _Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json_of.loads(self._process.stdout.readline())

    def told(self) -> tuple[int, str]:
        """Where it listens, and a token."""
        port, token = self._line()
        return port, token

    def processor(self) -> float:
        """Seconds of processor time so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())


@contextlib.contextmanager
def _served(name: str) -> Generator[_Server]:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, __file__, "--serve", name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield _Server(process)
        finally:
            process.terminate()
            process.communicate()


def _tell(*what: Any) -> None:
    sys.stdout.write(f"{json_of.dumps(what)}\n")
    sys.stdout.flush()


def _answer_for_processor_time() -> None:
    def answer() -> None:
        for _ in sys.stdin:
            sys.stdout.write(f"{time.process_time()}\n")
            sys.stdout.flush()

    threading.Thread(target=answer, daemon=True).start()


def _serve_wavebreak(folder: Path) -> None:
    from wavebreak import ActorSystem, SqliteJournal, Turn  # noqa: PLC0415 - the other needs none
    from wavebreak.service import ServiceSettings, serve  # noqa: PLC0415

    async def agent(turn: Turn) -> str:
        return f"About {turn.text!r}: yes."

    def started(url: str, token: str | None) -> None:
        _tell(int(url.rpartition(":")[2]), token)

    system = ActorSystem(agent, journal=SqliteJournal(folder / "journal.db", "FULL"))
    settings = ServiceSettings(port=0, rate=1e6, burst=1_000_000, rare_gc=True)
    asyncio.run(serve(system, settings, started=started))


def _serve_bare(folder: Path) -> None:
    import socket  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415
    from pydantic import BaseModel  # noqa: PLC0415

    class Message(BaseModel):
        text: str

    class Accepted(BaseModel):
        id: int

    app = FastAPI()
    database = sqlite3.connect(folder / "rows.db", check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, text TEXT)")

    async def post(message: Message) -> Accepted:
        row = database.execute("INSERT INTO message (text) VALUES (?)", (message.text,))
        database.commit()
        return Accepted(id=row.lastrowid or 0)

    # The annotations are of this function, where FastAPI does not look.
    post.__annotations__ = {"message": Message, "return": Accepted}
    app.post("/messages", status_code=202)(post)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _tell(sock.getsockname()[1], "")
    config = uvicorn.Config(app, http="h11", ws="none", loop="asyncio", log_config=None)
    asyncio.run(uvicorn.Server(config).serve([sock]))


# --- the command line ---


app = app_of("http_service.py", __doc__)


@app.default
def http_service(
    *,
    quick: Flag = False,
    json: Path | None = None,
    serve: Annotated[tuple[str, Path] | None, Parameter(show=False)] = None,
) -> int:
    """Measure, and tell.

    Args:
        quick: in some seconds.
        json: where to write the figures.
        serve: one of the systems, for who measures it; and the folder for what it keeps.
    """
    if serve is not None:
        name, folder = serve
        _answer_for_processor_time()
        (_serve_wavebreak if name == "wavebreak" else _serve_bare)(folder)
        return 0
    found = compare(requests=800, runs=1) if quick else compare()
    _show(found)
    if json is not None:
        json.write_text(json_of.dumps(found, indent=2) + "\n")
    return 0


def _show(found: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold")
    for head in ("a message over HTTP", "µs processor", "a second", "p50 ms", "p99 ms"):
        table.add_column(head, justify="left" if head.startswith("a m") else "right")
    for name in SYSTEMS:
        each = found[name]
        table.add_row(name, *(f"{each[key]:,.1f}" for key in ("micros", "rate", "p50", "p99")))
    console = Console()
    console.print(table)
    console.print(f"processor time, as a multiple of bare: {found['cpu_ratio']} (at most 1.5)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    return run_command(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
