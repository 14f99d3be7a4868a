"""Who takes part: wavebreak, what one writes by hand, and what one would use instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class System:
    """One that takes part.

    Args:
        name: as tables call it.
        program: the file in ``programs`` without its suffix.
        what: what it is, in a few words.
        loop: ``asyncio`` or ``uvloop``.
        environment: the folder of an environment of its own; "" for ours.
        needs: what is installed there.
        python: the oldest Python that it runs on, if ours may be older.
        at_most: how many things, or rounds, it does where the others' number takes it too long.
        cannot: why it has no figures, by case; a case is found by its beginning.
    """

    name: str
    program: str
    what: str
    loop: str = "asyncio"
    environment: str = ""
    needs: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)
    at_most: Mapping[str, int] = field(default_factory=dict[str, int])
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])

    def why_not(self, case: str) -> str:
        """Say why it has no figures for a case; "" if it may be asked for some."""
        return next((why for key, why in self.cannot.items() if case.startswith(key)), "")


OURS, RAW = "wavebreak", "raw"
CANCELLING = "cancel_and_restart"
"""The plain pattern beside which conversations are replayed."""

OURS_UVLOOP, RAW_UVLOOP = "wavebreak, uvloop", "raw, uvloop"


def by_policy(policy: str) -> str:
    """Name ourselves in a replay, in which the policy is what differs."""
    return f"{OURS}, {policy}"


_NO_TURNS: Final = "it has actors, and no turns to be measured beside the others'"
_THREADS: Final = "an actor is a thread: 10,000 are more than a machine likes"
_NOT_DURABLE: Final = "keeps nothing on the disk"
_NO_ACTORS: Final = "has no actors"

_ALL: Final = (
    System(OURS, "on_wavebreak", "this library"),
    System(OURS_UVLOOP, "on_wavebreak", "this library on uvloop", loop="uvloop"),
    System(
        RAW,
        "on_raw",
        "asyncio by hand: raw_asyncio.py, frozen",
        cannot={
            "D now": "checks a flag between its waves, and cancels nothing",
            "C session at rest": _NOT_DURABLE,
        },
    ),
    System(RAW_UVLOOP, "on_raw", "the same on uvloop", loop="uvloop"),
    System("floor", "on_floor", "nothing but callbacks, for this one job"),
    System("promises", "on_promises", "what wavebreak promises of such a turn, by hand"),
    System("raw durable", "on_raw_durable", "raw with group-committed rows: frozen"),
    System("restart", "on_restart", "one task a session, cancel() and start over"),
    System(
        "Pykka",
        "on_pykka",
        "stock Pykka, a thread for each actor",
        at_most={"C actors": 1_000, "D after_wave, 1,000": 1},
        cannot={
            "A loop": "an actor is a thread",
            "D after_wave, 10,000": _THREADS,
            "C session": _NO_TURNS,
        },
    ),
    System(
        "async-pykka",
        "on_async_pykka",
        "Pykka's interface on one loop",
        environment="async-pykka",
        needs=("async-pykka",),
        at_most={"C actors, 100,000": 10_000},
        python=(3, 12),
    ),
    System(
        "xoscar",
        "on_xoscar",
        "actors in pools, here one on the running loop",
        environment="xoscar",
        needs=("xoscar",),
        at_most={"A": 20_000, "C actors, 100,000": 10_000},
    ),
    System(
        "autogen-core",
        "on_autogen",
        "agents of a single-threaded runtime",
        environment="autogen-core",
        needs=("autogen-core",),
        at_most={"A": 5_000, "B": 5_000, "C actors": 3_000},
    ),
    System(
        "Ray",
        "on_ray",
        "an actor is a process",
        environment="ray",
        needs=("ray",),
        at_most={"A": 5_000, "B": 500, "C actors": 4},
        cannot={
            "A loop": "an actor is another process",
            "D": "an actor is a process of some 60 MB: 100 sessions would be 100 of them",
            "F": "an actor is a process of some 60 MB: 100 sessions would be 100 of them",
        },
    ),
    System(
        "LangGraph",
        "on_langgraph",
        "a graph with a node for each wave, and its memory saver",
        environment="langgraph",
        needs=("langgraph", "langgraph-checkpoint-sqlite"),
        at_most={"D after_wave, 1,000": 1, "D": 2, "E": 1, "F": 2},
        cannot={"A": _NO_ACTORS, "B": _NO_ACTORS, "C": _NO_ACTORS},
    ),
    System(
        "DBOS",
        "on_dbos",
        "a durable workflow with a step for each call, on SQLite",
        environment="dbos",
        needs=("dbos",),
        at_most={"E": 1},
        cannot={"A": _NO_ACTORS, "B": _NO_ACTORS, "C": _NO_ACTORS},
    ),
)

SYSTEMS: Final[Mapping[str, System]] = {system.name: system for system in _ALL}
