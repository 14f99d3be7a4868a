"""What a program may do, by a session's handle, to messages that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages.text import check_id, check_text
from .backlog_requests import EditRequest, ResumeRequest, WithdrawRequest
from .mailbox import Envelope
from .session_future import SessionFuture

if TYPE_CHECKING:
    from ..messages.ids import SessionKey
    from .backlog_requests import Edited, Withdrawal
    from .future import Future
    from .gate import Gate


class BacklogFace:
    """The part of a session's handle that is about messages which wait."""

    __slots__ = ()

    key: SessionKey
    _gate: Gate

    def resume(self) -> Future[None]:
        """Let messages that a stop has parked go on. Done when that is durable.

        A session whose journal could not be read reads it again: call it after the repair.

        Raises:
            SystemClosed: the system does not run, or closes.
            SessionFailed: the journal is still corrupt.
        """
        resumed: Future[None] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(ResumeRequest(resumed)))
        return resumed

    def withdraw(self, message_id: str) -> Future[Withdrawal]:
        """Take a message back that waits: it ends as cancelled. One in a turn goes on.

        Raises:
            InvalidMessage: the id is empty, or no text.
            UnknownMessage: the session does not know a message of that id (any more).
            SystemClosed: the system does not run.
        """
        check_id("message_id", message_id)
        withdrawn: Future[Withdrawal] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(WithdrawRequest(message_id, withdrawn)))
        return withdrawn

    def edit(self, message_id: str, text: str) -> Future[Edited]:
        """Replace the text of a message that waits and that no turn has seen.

        Raises:
            InvalidMessage: the id or the text cannot be used, or the message has no text.
            UnknownMessage: the session does not know a message of that id (any more).
            SystemClosed: the system does not run.
        """
        check_id("message_id", message_id)
        check_text("text", text)
        edited: Future[Edited] = SessionFuture(self.key, self._gate.loop)
        self._gate.put(self.key, Envelope(EditRequest(message_id, text, edited)))
        return edited
