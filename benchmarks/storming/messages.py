"""Storms of messages: more than can be carried, and a service that is killed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from typing import Any

from .clients import Client, Place, events
from .services import Beside

Figures = dict[str, Any]

_NO_ANSWER = 0


# --- more than it can carry ---


async def overload(seconds: float, *, times: int = 10, clients: int = 400) -> Figures:
    """Offer ``times`` what a service can carry, and look what became of each message."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Beside(Path(folder), target="heavy", most_requests=100) as service,
    ):
        carries = await _carries(service.place, min(seconds, 3.0))
        before = service.megabytes
        offered = carries * times
        answers: dict[str, int] = {}
        waits: list[float] = []
        until = time.perf_counter() + seconds
        tasks = [
            asyncio.create_task(
                _pace(service.place, each, clients / offered, until, answers, waits)
            )
            for each in range(clients)
        ]
        most = before
        while not all(task.done() for task in tasks):
            most = max(most, service.megabytes)
            await asyncio.wait(tasks, timeout=0.5)
        await asyncio.gather(*tasks)
        lost = await _lost(service.place, answers)
        counted = Counter(answers.values())
        return {
            "carries a second": round(carries),
            "offered a second": round(len(answers) / seconds),
            "seconds": seconds,
            "accepted": counted[HTTPStatus.ACCEPTED],
            "refused": {str(k): n for k, n in sorted(counted.items()) if k != HTTPStatus.ACCEPTED},
            "accepted and lost": lost["lost"],
            "refused and answered": lost["answered"],
            "p99 ms of an answer": round(quantiles(waits, n=100)[98] * 1e3),
            "memory MB before and at most": f"{before:.0f}, {most:.0f}",
        }


def _path(session: int) -> str:
    return f"/v1/sessions/s{session}/messages"


async def _carries(place: Place, seconds: float) -> float:
    """How many messages a second are answered, with as many at a time as keep it busy."""
    until = time.perf_counter() + seconds
    done = 0

    async def work(each: int) -> None:
        nonlocal done
        client = Client(place)
        while time.perf_counter() < until:
            await client.ask("POST", f"{_path(1000 + each)}?wait=60", {"text": "x"})
            done += 1
        client.close()

    await asyncio.gather(*map(work, range(8)))
    return done / seconds


async def _pace(  # noqa: PLR0917 - what a task is given
    place: Place,
    each: int,
    every: float,
    until: float,
    answers: dict[str, int],
    waits: list[float],
) -> None:
    """Send a message every so often, whatever is answered; 0 for no answer."""
    client = Client(place)
    due = time.perf_counter() + every * random.random()  # noqa: S311
    number = 0
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        due += every
        name = f"{each}-{number}"
        number += 1
        body = {"text": name, "message_id": name, "policy": {"kind": "enqueue"}}
        begun = time.perf_counter()
        try:
            answers[name], _ = await client.ask("POST", _path(each % 50), body)
        except OSError:
            answers[name] = _NO_ANSWER
        waits.append(time.perf_counter() - begun)
    client.close()


async def _lost(place: Place, answers: dict[str, int]) -> Counter[str]:
    """Look for those that were accepted and are not answered, and for the contrary."""
    found: Counter[str] = Counter()
    client = Client(place)
    for name, status in answers.items():
        path = f"{_path(int(name.partition('-')[0]) % 50)}/{name}?wait=60"
        _, outcome = await client.ask("GET", path)
        answered = outcome.get("status") == "answered"
        found["lost"] += status == HTTPStatus.ACCEPTED and not answered
        found["answered"] += status not in {HTTPStatus.ACCEPTED, _NO_ANSWER} and answered
    client.close()
    return found


# --- kill -9 ---


async def kills(times: int, *, sessions: int = 10, every: float = 1.5) -> Figures:
    """Kill a service under load again and again; clients retry and resume until all is answered.

    Every third time it is told to end instead, and does that in order.
    """
    draw = random.Random(9)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder, Beside(Path(folder)) as service:
        ended = asyncio.Event()
        sent: list[list[str]] = [[] for _ in range(sessions)]
        seen: list[dict[int, str]] = [{} for _ in range(sessions)]
        again: Counter[str] = Counter()
        readers = [
            asyncio.create_task(_follow(service, each, seen[each], again))
            for each in range(sessions)
        ]
        writers = [
            asyncio.create_task(_retry(service, each, sent[each], ended, again))
            for each in range(sessions)
        ]
        for number in range(times):
            await asyncio.sleep(every * (0.5 + draw.random()))
            await asyncio.to_thread(service.end if number % 3 == 1 else service.kill)
            await asyncio.to_thread(service.start)
        await asyncio.sleep(every)
        ended.set()
        await asyncio.gather(*writers)
        for each in range(sessions):
            await _until_all_ended(sent[each], seen[each])
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        ends = [_ends(mine) for mine in seen]
        return {
            "kills": times,
            "messages": sum(map(len, sent)),
            "sent again": again["sent again"],
            "streams taken up again": again["taken up"],
            "answered once": sum(ends[n][name] == 1 for n in range(sessions) for name in sent[n]),
            "answered twice": sum(count > 1 for each in ends for count in each.values()),
            "events": sum(map(len, seen)),
            "events missing": sum(max(mine) - len(mine) for mine in seen if mine),
            "gaps": again["gap"],
            "different when read again": again["different"],
        }


async def _retry(
    service: Beside, each: int, sent: list[str], ended: asyncio.Event, again: Counter[str]
) -> None:
    """Send messages, each with its id again and again until it is accepted."""
    client = Client(service.place)
    number = 0
    while not ended.is_set():
        name = f"{each}-{number}"
        number += 1
        body = {"text": name, "message_id": name, "policy": {"kind": "enqueue"}}
        while True:
            with contextlib.suppress(OSError):
                status, _ = await client.ask("POST", _path(each), body)
                if status == HTTPStatus.ACCEPTED:
                    break
                assert status in {429, 503}, status
            again["sent again"] += 1
            await asyncio.sleep(0.05)
        sent.append(name)
        await asyncio.sleep(0.01)
    client.close()


async def _follow(service: Beside, each: int, mine: dict[int, str], again: Counter[str]) -> None:
    """Read a session's events, from where one was whenever the stream breaks off."""
    while True:
        with contextlib.suppress(OSError):
            stream = events(service.place, f"/v1/sessions/s{each}/events", max(mine, default=0))
            async with contextlib.aclosing(stream):
                async for told in stream:
                    if told.position is None:
                        again[told.kind] += 1
                        continue
                    again["different"] += mine.get(told.position, told.data) != told.data
                    mine[told.position] = told.data
        again["taken up"] += 1
        await asyncio.sleep(0.05)


async def _until_all_ended(sent: list[str], mine: dict[int, str]) -> None:
    async with asyncio.timeout(120):
        while not set(sent) <= _ends(mine).keys():  # noqa: ASYNC110 - the readers go on
            await asyncio.sleep(0.1)


def _ends(mine: dict[int, str]) -> Counter[str]:
    """How often each message has ended as answered."""
    told = (json.loads(data) for data in mine.values() if '"message_ended"' in data)
    return Counter(each["message_id"] for each in told if each["status"] == "answered")
