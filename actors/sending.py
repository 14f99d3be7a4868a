"""What is sent to a session, and what it is asked for, is looked at where it comes in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from ..messages.errors import InvalidMessage
from ..messages.message import UserMessage
from ..messages.numbers import LARGEST
from ..messages.policies import POLICIES, AfterWave, Now
from ..messages.reasons import Backlog, Reason
from ..messages.text import check_id, check_text, read_back
from .current import is_within
from .requests import StopRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..messages.ids import SessionKey
    from ..messages.message import Attachment, SessionMessage
    from .future import Future

_HOWS: Final = (AfterWave, Now)

_new_message = UserMessage.trusted


def user_message(
    text: str,
    sender: str | None,
    attachments: Sequence[Attachment],
    metadata: Mapping[str, Any] | None,
    message_id: str,
) -> UserMessage:
    """A message of a text.

    Raises:
        InvalidMessage: there is nothing to say, or something that cannot be said.
    """
    if not text.strip() and not attachments:
        msg = f"nothing to say: text={text!r}; give a text or an attachment"
        raise InvalidMessage(msg)
    try:
        if metadata:
            read_back(to_json(dict(metadata)))
        elif not attachments and (sender is None or isinstance(sender, str)):
            return _new_message(
                {
                    "message_id": message_id,
                    "sender": sender,
                    "received_at": 0.0,
                    "text": text,
                    "attachments": (),
                    "metadata": {},
                }
            )
        return UserMessage(
            message_id=message_id,
            text=text,
            sender=sender,
            attachments=tuple(attachments),
            metadata=dict(metadata) if metadata else {},
        )
    except (ValueError, TypeError) as error:
        msg = f"the message cannot be sent: {error}"
        raise InvalidMessage(msg) from error


def check_policy(policy: object) -> None:
    """Look at a policy, or a function that chooses one.

    Raises:
        InvalidMessage: it is neither.
    """
    if policy is None or type(policy) in POLICIES:
        return
    if isinstance(policy, (type, *POLICIES)) or not callable(policy):
        msg = (
            f"policy={policy!r} is no policy: use AfterWave(), Now(), Enqueue() and so on as they "
            "are, or a function of (message, view) that chooses one"
        )
        raise InvalidMessage(msg)


def check_grace(grace: object) -> None:
    """Look at how many seconds calls have to end in.

    Raises:
        InvalidMessage: it is no such number.
    """
    number = isinstance(grace, int | float) and not isinstance(grace, bool) and grace
    if number is False or not 0 <= number <= LARGEST:
        msg = f"grace={grace!r}: give seconds, 0 or more"
        raise InvalidMessage(msg)


def check_priority(priority: object) -> None:
    """Look at a message's priority.

    Raises:
        InvalidMessage: it is none.
    """
    if not isinstance(priority, int) or isinstance(priority, bool):
        msg = f"priority={priority!r}: give an integer; a higher one is before a lower one"
        raise InvalidMessage(msg)


def check_deadline(deadline: object) -> None:
    """Look at how many seconds a message has until a turn on it times out.

    Raises:
        InvalidMessage: it is no such number.
    """
    if deadline is None:
        return
    number = isinstance(deadline, int | float) and not isinstance(deadline, bool) and deadline
    if not 0 < number <= LARGEST:
        msg = f"deadline={deadline!r}: give seconds from now, more than 0, or leave it out"
        raise InvalidMessage(msg)


def stop_request(
    key: SessionKey, how: object, backlog: str, reason: str, stopped: Future[Any]
) -> StopRequest:
    """The request to stop a session, of arguments that were looked at.

    Raises:
        InvalidMessage: one cannot be used.
    """
    if not isinstance(how, AfterWave | Now) or type(how) not in _HOWS:
        msg = f"how={how!r}: a turn is stopped by AfterWave() or Now()"
        raise InvalidMessage(msg)
    try:
        rule = Backlog(backlog)
    except ValueError:
        msg = f"backlog={backlog!r} is none of {', '.join(repr(str(b)) for b in Backlog)}"
        raise InvalidMessage(msg) from None
    check_text("reason", reason)
    kind = Reason.DISCONNECT if reason == Reason.DISCONNECT else Reason.STOPPED
    return StopRequest(how, rule, kind, reason, is_within(key), stopped)


def check_key(session_id: object, tenant: object) -> None:
    """Look at a session's name.

    Raises:
        InvalidMessage: it cannot be one.
    """
    check_id("session_id", session_id)
    check_text("tenant", tenant)


def fingerprint_of(message: SessionMessage) -> str:
    """Of the content, so that an id that is used again for something else is noticed.

    Raises:
        InvalidMessage: it does not survive JSON.
    """
    try:
        content = message.model_dump_json(exclude={"message_id", "received_at"})
        if type(message) is not UserMessage or message.metadata:
            read_back(content.encode())
    except ValueError as error:
        msg = f"the message {message!r} does not survive JSON: {error}"
        raise InvalidMessage(msg) from error
    words = f"{type(message).__name__}:{content}"
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
