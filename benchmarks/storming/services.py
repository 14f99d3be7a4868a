"""Services to storm: one in this process, and one in a process of its own that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavebreak import ActorSystem, SqliteJournal
from wavebreak.service import Scope, ServiceSettings, new_token, serve
from wavebreak.service.access import ANY_TENANT, write_rules

from .bot import agent
from .clients import Place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from typing import Self

BOT = Path(__file__).with_name("bot.py")


@contextlib.asynccontextmanager
async def inside(folder: Path, **settings: Any) -> AsyncGenerator[tuple[Place, ActorSystem]]:
    """Serve in this process, from an SQLite journal."""
    journal = SqliteJournal(folder / "inside.db", keep_entries=1_000_000)
    system = ActorSystem(agent, journal=journal)
    told: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    def started(url: str, token: str | None) -> None:
        told.set_result(Place(int(url.rpartition(":")[2]), token or ""))

    given = {"port": 0, "rate": 1e6, "burst": 1_000_000, **settings}
    chosen = ServiceSettings.model_validate(given)
    serving = asyncio.create_task(serve(system, chosen, started=started, stop=stop))
    try:
        yield await told, system
    finally:
        stop.set()
        await serving


class Beside:
    """A service in a process of its own; it can be killed, and started again at the same place.

    Args:
        folder: where its journal is.
        target: what is served, of ``bot.py``.
        settings: of the service.
    """

    def __init__(self, folder: Path, target: str = "agent", **settings: object) -> None:
        self._folder = folder
        self._target = target
        self._settings: Mapping[str, object] = {"rate": 1e6, "burst": 1_000_000, **settings}
        self._port = 0
        # One that holds over restarts.
        token, rule = new_token("storms", [Scope.ADMIN], [ANY_TENANT])
        self._tokens = folder / "tokens.json"
        write_rules(self._tokens, [rule])
        self.place = Place(0, token)
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("WAVEBREAK_")}
        given = {f"WAVEBREAK_{name.upper()}": str(v) for name, v in self._settings.items()}
        command = ["-m", "wavebreak.cli", "serve", f"{BOT}:{self._target}", "--json"]
        where = ["--journal", str(self._folder / "beside.db"), "--port", str(self._port)]
        where += ["--tokens", str(self._tokens)]
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *command, *where, "--keep-entries", "1000000"],
            env={**mine, **given},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self._port = int(told["url"].rpartition(":")[2])
        self.place = Place(self._port, self.place.token)

    def kill(self) -> None:
        """Kill it, as a machine would that has no memory left."""
        assert self.process is not None, "it was started"
        self.process.kill()  # it does nothing to one that has ended
        self.process.communicate()

    def end(self) -> None:
        """Tell it to end, and see that it did so in order."""
        assert self.process is not None, "it was started"
        self.process.terminate()
        self.process.communicate()
        assert self.process.returncode == 0, self.process.returncode

    @property
    def megabytes(self) -> float:
        """Its memory now."""
        assert self.process is not None, "it was started"
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.check_output(command, text=True)) / 1024  # noqa: S603
