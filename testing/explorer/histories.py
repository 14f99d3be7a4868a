"""What has to hold of a session's history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...messages.events import MessageEnded, TurnEnded
from ...messages.history import HistoryKind
from ...messages.reasons import MessageStatus, TurnOutcome
from .names import HISTORY

if TYPE_CHECKING:
    from .facts import Facts


def check_history(facts: Facts) -> None:
    """Each message once, before the reply to it; one reply for a turn that finished."""
    messages = Counter(
        entry.message.message_id
        for entry in facts.history
        if entry.kind is HistoryKind.MESSAGE and entry.message is not None
    )
    twice = [id_ for id_, times in messages.items() if times > 1]
    if twice:
        facts.breaks(HISTORY, f"message {twice[0]} is there {messages[twice[0]]} times")
    turns = [
        entry.turn
        for entry in facts.history
        # What was answered beside the turns has none; a correction is of an entry before it.
        if entry.turn and entry.kind is not HistoryKind.CORRECTION
    ]
    if turns != sorted(turns):
        facts.breaks(HISTORY, f"its turns are in the order {turns}")
    replied: set[int] = set()
    for entry in facts.history:
        if entry.kind is HistoryKind.REPLY:
            if entry.turn in replied:
                facts.breaks(HISTORY, f"turn {entry.turn} has two replies")
            replied.add(entry.turn)
        elif entry.kind is HistoryKind.MESSAGE and entry.turn in replied:
            facts.breaks(HISTORY, f"turn {entry.turn} has its reply before its messages")
    finished = {
        entry.turn
        for entry in facts.log
        if isinstance(entry, TurnEnded) and entry.outcome is TurnOutcome.FINISHED and _speaks(entry)
    }
    if replied != finished:
        facts.breaks(HISTORY, f"it has replies of turns {replied}, finished are {finished}")
    answered = {
        entry.message_id
        for entry in facts.log
        if isinstance(entry, MessageEnded)
        and entry.status is MessageStatus.ANSWERED
        and entry.reply is None  # else it was answered beside the turn
    }
    missing = answered - messages.keys()
    if missing:
        facts.breaks(HISTORY, f"message {min(missing)} was answered and is not there")


def _speaks(entry: TurnEnded) -> bool:
    reply = entry.reply
    return reply is not None and bool(reply.text or reply.attachments or reply.data)
