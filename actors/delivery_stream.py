"""What a consumer sees of deliveries: a stream of them, each held until it is answered for."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import pykka

from ..messages.errors import InvalidMessage, SystemClosed
from ..messages.numbers import LARGEST
from ..messages.text import check_text
from .failures import in_words
from .future import Future
from .mailbox import running_on

if TYPE_CHECKING:
    from typing import Any, Self

    from ..messages.ids import DeliveryId, SessionKey
    from ..messages.message import Delivery
    from .standing import Standing

_CLOSED: Final = "the system does not run: what was not acknowledged is handed out again"


class Verdict(Enum):
    """What a consumer says of a delivery."""

    TAKEN = "taken"
    NOT_NOW = "not now"
    NEVER = "never"


class Take(NamedTuple):
    """Give the stream a delivery, as soon as there is one; None when there are no more."""

    stream: DeliveryStream
    answer: Future[HeldDelivery | None]


class GiveBack(NamedTuple):
    """Who waited for this answer does not wait any more."""

    answer: Future[HeldDelivery | None]


class Settle(NamedTuple):
    """How it went with a delivery; the answer is whether that counts.

    Args:
        held: by whom it was held; None for whoever only knows its id.
        retry_after: seconds; None for what the system has.
    """

    delivery_id: DeliveryId
    held: HeldDelivery | None
    verdict: Verdict
    reason: str
    retry_after: float | None
    answer: Future[bool]


class CloseStream(NamedTuple):
    """A consumer goes away; ``error`` is what it ended by, in words."""

    stream: DeliveryStream
    error: str


def tell(place: Standing[Any], message: Take | GiveBack | Settle | CloseStream) -> None:
    """Have a message handled at once on the loop's thread, and soon from any other.

    Raises:
        ActorDeadError: the place was closed.
    """
    if running_on(place.mailbox.loop):
        place.hand(message)
    else:
        place.put(message)


def settle(place: Standing[Any], message: Settle) -> Future[bool]:
    """Say how it went with a delivery, from any thread."""
    try:
        tell(place, message)
    except pykka.ActorDeadError:
        message.answer.try_set_error(SystemClosed(_CLOSED))
    return message.answer


class HeldDelivery:
    """A delivery that a consumer holds, until it says how it went or the lease is over.

    Of the three :meth:`ack`, :meth:`nack` and :meth:`reject` exactly one is called. Each acts at
    once, from any thread; the future that it gives, which need not be awaited, says whether it
    counted. With the system closed its error is ``SystemClosed``.

    Args:
        delivery: what to bring to the user.
        attempt: how often it was handed out by this process, from 1.
    """

    __slots__ = ("_stream", "attempt", "delivery", "key")

    def __init__(
        self, key: SessionKey, delivery: Delivery, attempt: int, stream: DeliveryStream
    ) -> None:
        self.key = key
        self.delivery = delivery
        self.attempt = attempt
        self._stream = stream

    def __repr__(self) -> str:
        return f"<HeldDelivery {self.delivery.delivery_id!r} of session {str(self.key)!r}>"

    @property
    def stream(self) -> DeliveryStream:
        """Whose it is."""
        return self._stream

    def ack(self) -> Future[bool]:
        """It was delivered; the next one of its session may be.

        It counts as long as the delivery has not ended, also when the lease is over.
        """
        return self._settle(Verdict.TAKEN)

    def nack(self, reason: str = "", retry_after: float | None = None) -> Future[bool]:
        """It was not delivered: hand it out again, or give it up after ``deliver_attempts``.

        Args:
            reason: in words; for the log, and the dead letter.
            retry_after: seconds to wait; by default longer after each attempt.

        Raises:
            InvalidMessage: an argument cannot be used.
        """
        if retry_after is not None and not _is_delay(retry_after):
            msg = f"retry_after={retry_after!r}: give seconds, 0 or more, or leave it out"
            raise InvalidMessage(msg)
        return self._settle(Verdict.NOT_NOW, reason, retry_after)

    def reject(self, reason: str = "") -> Future[bool]:
        """It can never be delivered: give it up, as a dead letter.

        Args:
            reason: in words.

        Raises:
            InvalidMessage: the reason is no text.
        """
        return self._settle(Verdict.NEVER, reason)

    def _settle(
        self, verdict: Verdict, reason: str = "", retry_after: float | None = None
    ) -> Future[bool]:
        check_text("reason", reason)
        place = self._stream.place
        answer: Future[bool] = Future(place.mailbox.loop)
        id_ = self.delivery.delivery_id
        return settle(place, Settle(id_, self, verdict, reason or "refused", retry_after, answer))


def _is_delay(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value <= LARGEST


class DeliveryStream:
    """Deliveries, one after the other, to whoever asks: ``async for``, or ``for`` in a thread.

    It ends when it is closed, or the system is. Leaving a ``with`` block, plain or async, closes
    it: what it still holds is handed out again at once, and counts as an attempt that failed if the
    block was left by an error.

    Args:
        place: where deliveries are handed out.
        lease: seconds for which a delivery is held.
        prefetch: deliveries that may be held at the same time.
    """

    __slots__ = ("__weakref__", "closed", "holds", "lease", "place", "prefetch")

    def __init__(self, place: Standing[Any], lease: float, prefetch: int) -> None:
        self.place = place
        self.lease = lease
        self.prefetch = prefetch
        self.holds = 0
        """How many deliveries are held by it; kept by who hands them out, on the loop."""
        self.closed = False
        """Whether it gets no more; set by the same."""

    def close(self) -> None:
        """Take no more, and give back what is held; from any thread."""
        self._close("")

    def _close(self, error: str) -> None:
        try:
            tell(self.place, CloseStream(self, error))
        except pykka.ActorDeadError:
            self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, *exc: object) -> None:
        # Who is cancelled, or ends with the program, has no quarrel with what it holds.
        self._close(in_words(error) if isinstance(error, Exception) else "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, *exc: object) -> None:
        self.__exit__(kind, error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HeldDelivery:
        """The next delivery."""
        answer = self._take()
        try:
            held = await answer
        except asyncio.CancelledError:
            self._give_back(answer)
            raise
        except SystemClosed:
            held = None
        if held is None:
            raise StopAsyncIteration
        return held

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HeldDelivery:
        """The next delivery, waited for in another thread than the loop's.

        Raises:
            WouldDeadlock: called on the loop's thread.
        """
        answer = self._take()
        try:
            held = answer.get()
        except (SystemClosed, pykka.ActorDeadError):
            held = None
        except BaseException:
            self._give_back(answer)
            raise
        if held is None:
            raise StopIteration
        return held

    def _take(self) -> Future[HeldDelivery | None]:
        answer: Future[HeldDelivery | None] = Future(self.place.mailbox.loop)
        try:
            tell(self.place, Take(self, answer))
        except pykka.ActorDeadError:
            answer.try_set(None)
        return answer

    def _give_back(self, answer: Future[HeldDelivery | None]) -> None:
        try:
            tell(self.place, GiveBack(answer))
        except pykka.ActorDeadError:
            return
