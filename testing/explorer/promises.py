"""The promises: what has to hold of every run, whatever was done to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ...actors.machine.evolve import fold
from ...actors.machine.state import SessionState
from ...messages.events import DeliveryEnded, MessageAccepted, MessageEnded
from .chains import Chains
from .facts import KEY
from .histories import check_history
from .knowledge import delivery_of
from .names import DELIVERED, ENDS, FOLD, SILENT
from .reasons import check_reasons
from .turns import check_turns

if TYPE_CHECKING:
    from .facts import Facts

_DELIVER_AGAIN = frozenset({"deadline", "lose", "unsure"})
"""After these a delivery may be made once more: it took too long, or nobody heard of its end."""


def check(facts: Facts) -> None:
    """Note every promise that a run did not keep."""
    if facts.broken:
        return  # the run was broken off; what follows would only be its consequences
    check_fold(facts)
    check_messages(facts)
    check_turns(facts)
    check_reasons(facts)
    Chains(facts).check()
    check_deliveries(facts)
    check_history(facts)


def check_fold(facts: Facts) -> None:
    """The state that the session lives by is what its journal says."""
    try:
        folded = fold(SessionState(KEY), facts.log[: facts.log_at_rest])
    except Exception as error:  # noqa: BLE001 - whatever a journal that is wrong leads to
        facts.breaks(FOLD, f"the journal cannot be folded: {error!r}")
        return
    state = facts.state
    if state is None or folded == state:
        return
    pairs = zip(SessionState._fields, folded, state, strict=True)
    name, wanted, got = next(one for one in pairs if one[1] != one[2])
    facts.breaks(FOLD, f"{name} is {got!r}, and the journal says {wanted!r}")


def check_messages(facts: Facts) -> None:
    """Each accepted message ends exactly once, and its sender is told how."""
    accepted = Counter(e.message.message_id for e in facts.log if isinstance(e, MessageAccepted))
    ends = [entry for entry in facts.log if isinstance(entry, MessageEnded)]
    ended = Counter(entry.message_id for entry in ends)
    status = {entry.message_id: entry.status for entry in ends}
    for sent in facts.sent:
        many, times = accepted[sent.id], ended[sent.id]
        if sent.error is not None:
            if many:
                facts.breaks(ENDS, f"{sent.text!r} was refused and is accepted all the same")
            continue
        if many != 1:
            facts.breaks(ENDS, f"{sent.text!r} was accepted {many} times")
        elif times != 1:
            facts.breaks(ENDS, f"{sent.text!r} ended {times} times")
        elif sent.outcome is None:
            facts.breaks(ENDS, f"nobody was told how {sent.text!r} ended")
        elif sent.outcome.status is not status[sent.id]:
            words = f"told {sent.outcome.status}, recorded {status[sent.id]}"
            facts.breaks(ENDS, f"{sent.text!r}: {words}")
    for message_id in ended.keys() - accepted.keys():
        facts.breaks(ENDS, f"message {message_id} ended and was never accepted")


def check_deliveries(facts: Facts) -> None:
    """What a finished turn replied and what was said reaches the user, in order, once."""
    wanted = [id_ for id_ in map(delivery_of, facts.log) if id_]
    ended = Counter(str(e.delivery_id) for e in facts.log if isinstance(e, DeliveryEnded))
    got = [str(delivery.delivery_id) for delivery in facts.delivered]
    for delivery in facts.delivered:
        if delivery.delivery_id not in wanted:
            words = f"{delivery.reply.text!r} reached the user, and no turn had said it"
            facts.breaks(SILENT, words)
    # Each of these may have one delivery made once more, for all that is known.
    again = facts.lives - 1 + sum(one.what in _DELIVER_AGAIN for one in facts.injected)
    for place, id_ in enumerate(wanted, 1):
        times = got.count(id_)
        if not times or ended[id_] != 1:
            words = f"delivery {place} was made {times} times, and ended {ended[id_]} times"
            facts.breaks(DELIVERED, words)
        elif times > 1 + again:
            facts.breaks(DELIVERED, f"delivery {place} was made {times} times")
    firsts = list(dict.fromkeys(got))
    if firsts != wanted[: len(firsts)]:
        facts.breaks(DELIVERED, f"delivered in the order {firsts}, said in the order {wanted}")
