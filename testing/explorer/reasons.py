"""Nothing is refused, cancelled, stopped or failed unless somebody has asked for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...messages.errors import MailboxFull, MessageRejected
from ...messages.events import MessageEnded, TurnEnded
from ...messages.policies import POLICIES, Aside, Reject, Rollback
from ...messages.reasons import MessageStatus, Reason, TurnOutcome
from .names import ASKED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .facts import Facts, Sent

_DIES = frozenset({"crash", "kill", "restart", "lose", "unsure"})
"""What a runtime may die of; a turn whose runtime keeps dying fails."""


def check_reasons(facts: Facts) -> None:
    """Look for what nobody has asked for."""
    reasons = Reasons(facts)
    for sent in facts.sent:
        if sent.error is not None and not reasons.is_refused(sent):
            facts.breaks(ASKED, f"{sent.text!r} was refused: {sent.error}")
    for entry in facts.log:
        if isinstance(entry, MessageEnded):
            asked = _MESSAGES.get(entry.status)
            if asked is not None and not asked(reasons, entry.at):
                words = f"ended as {entry.status.value}, and nobody had asked for that"
                facts.breaks(ASKED, f"{reasons.text_of(entry.message_id)!r} {words}")
        elif isinstance(entry, TurnEnded) and not reasons.may_end(entry):
            words = f"ended as {entry.outcome.value}, and nobody had asked for that"
            facts.breaks(ASKED, f"turn {entry.turn} {words}")


class Reasons:
    """What was asked for in a run, and when.

    Args:
        facts: the run.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._texts = {sent.id: sent.text for sent in facts.sent}
        policy: object = facts.options.get("policy")
        self._chosen = policy is not None and type(policy) not in POLICIES
        self._policies = [sent.policy or policy for sent in facts.sent]

    def text_of(self, message_id: str) -> str:
        """What a message says."""
        return self._texts.get(message_id, message_id)

    def is_refused(self, sent: Sent) -> bool:
        """Whether a message may be refused."""
        if isinstance(sent.error, MessageRejected):
            policy: object = sent.policy or self._facts.options.get("policy")
            return self._chosen or isinstance(policy, Reject)
        return isinstance(sent.error, MailboxFull) and "capacity" in self._facts.options

    def was_stopped(self, at: float) -> bool:
        """Whether somebody has asked for a stop, or for a rollback."""
        return self._facts.was_asked("stop", at) or self.was_rolled_back(at)

    def was_rolled_back(self, at: float) -> bool:
        """Whether somebody has asked for a rollback."""
        del at
        return self._chosen or any(isinstance(one, Rollback) for one in self._policies)

    def had_a_deadline(self, at: float) -> bool:
        """Whether a turn had one."""
        del at
        options = self._facts.options
        return options.get("turn_deadline") is not None or any(
            sent.deadline is not None for sent in self._facts.sent
        )

    def may_fail(self, at: float) -> bool:
        """Whether a message may end as failed."""
        failed = {TurnOutcome.FAILED, TurnOutcome.TIMED_OUT, TurnOutcome.ROLLBACK_FAILED}
        return any(isinstance(one, Aside) for one in self._policies) or any(
            isinstance(entry, TurnEnded) and entry.outcome in failed and entry.at <= at
            for entry in self._facts.log
        )

    def may_expire(self, at: float) -> bool:
        """Whether a message may end because it waited for too long."""
        del at
        return self._facts.options.get("expires_after") is not None

    def may_be_dropped(self, at: float) -> bool:
        """Whether a message may end because it waits."""
        del at
        return "capacity" in self._facts.options or self._facts.drops

    def may_end(self, entry: TurnEnded) -> bool:
        """Whether a turn may end so."""
        if entry.outcome is TurnOutcome.FAILED and entry.reason is Reason.CRASHED:
            ended = any(
                one.turn == entry.turn and one.raised is not None for one in self._facts.attempts
            )
            return ended or any(one.what in _DIES for one in self._facts.injected)
        asked = _TURNS.get(entry.outcome)
        return asked is None or asked(self, entry.at)


_MESSAGES: Mapping[MessageStatus, Callable[[Reasons, float], bool]] = {
    MessageStatus.CANCELLED: Reasons.was_stopped,
    MessageStatus.FAILED: Reasons.may_fail,
    MessageStatus.EXPIRED: Reasons.may_expire,
    MessageStatus.DROPPED: Reasons.may_be_dropped,
}

_TURNS: Mapping[TurnOutcome, Callable[[Reasons, float], bool]] = {
    TurnOutcome.STOPPED: Reasons.was_stopped,
    TurnOutcome.TIMED_OUT: Reasons.had_a_deadline,
    TurnOutcome.ROLLED_BACK: Reasons.was_rolled_back,
    TurnOutcome.ROLLBACK_FAILED: Reasons.was_rolled_back,
}
