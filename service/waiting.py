"""Waiting for a message's end, as long as its client does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..messages.errors import WavebreakError

if TYPE_CHECKING:
    from starlette.types import Receive

    from ..actors.session_face import Receipt
    from ..messages.message import MessageOutcome
    from .state import Service


async def waited(
    service: Service, receipt: Receipt, wait: float, receive: Receive
) -> MessageOutcome | None:
    """How a message ends; None if that takes longer, or cannot be waited for.

    Args:
        service: the service.
        receipt: of the message.
        wait: seconds; no more than the settings allow.
        receive: tells when the client goes. Who waits for nobody does not go on waiting.
    """
    if service.waits >= service.settings.most_streams:
        return None
    service.waits += 1
    gone = asyncio.ensure_future(until_gone(receive))
    ends = asyncio.ensure_future(_end(receipt))
    try:
        longest = min(wait, service.settings.longest_wait)
        await asyncio.wait({gone, ends}, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        return ends.result() if ends.done() else None
    finally:
        service.waits -= 1
        for task in (gone, ends):
            task.cancel()
        await asyncio.gather(gone, ends, return_exceptions=True)


async def _end(receipt: Receipt) -> MessageOutcome | None:
    try:
        return await receipt.outcome()
    except WavebreakError:
        return None  # the service ends, say; the message was accepted all the same


async def until_gone(receive: Receive) -> None:
    """Wait until a request's client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
