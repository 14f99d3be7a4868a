"""wavebreak: conversations that can be interrupted."""

from __future__ import annotations

from loguru import logger

from .actors.actor import AsyncioActor
from .actors.future import Future
from .actors.requests import StopResult
from .actors.runtime import RuntimeActor
from .actors.session import SessionActor
from .actors.session_face import Receipt, Session
from .actors.turn import Turn
from .journal.memory import MemoryJournal
from .messages.errors import (
    AcceptanceUnknown,
    ActorError,
    CallFailed,
    CancelledException,
    ChildAlreadyPresent,
    ChildAlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ChildStartFailed,
    DependencyError,
    Detached,
    InvalidArguments,
    InvalidChildSpec,
    InvalidMessage,
    InvalidResult,
    InvalidSetting,
    JournalCorrupt,
    MailboxFull,
    MessageIdReused,
    MissingExtra,
    NotInPool,
    OutcomeUnknown,
    PlanError,
    PoolFull,
    SessionError,
    SessionFailed,
    Shutdown,
    SubscriberTooSlow,
    SupervisionError,
    SystemClosed,
    TokenHeld,
    ToolDefinitionError,
    TooManyAbandoned,
    TurnInterrupted,
    TurnOver,
    UnknownMessage,
    UnknownTool,
    WavebreakError,
    WaveFailed,
    WaveInProgress,
    WouldDeadlock,
)
from .messages.events import (
    CallEnded,
    CancellationHandled,
    Delta,
    Event,
    ExecutionCancelled,
    MessageAccepted,
    MessageEnded,
    Said,
    StopRequested,
    TurnEnded,
    TurnRestarted,
    TurnStarted,
    WaveEnded,
    WaveStarted,
)
from .messages.history import HistoryEntry, HistoryKind
from .messages.message import (
    Attachment,
    Delivery,
    MessageOutcome,
    Reply,
    SessionMessage,
    UserMessage,
)
from .messages.policies import AfterWave, Enqueue, How, Now, Policy
from .messages.reasons import (
    Backlog,
    CallStatus,
    DeliveryKind,
    Effect,
    MessageStatus,
    Reason,
    TurnOutcome,
)
from .messages.records import CallError, CallRecord, PartialResults
from .messages.view import SessionView
from .supervisors.child_spec import ChildSpec, Restart
from .supervisors.children import ChildCount, ChildInfo, ChildState, Report, ReportKind
from .supervisors.restart_policy import Backoff, RestartPolicy
from .supervisors.settings import AutoShutdown, Strategy
from .supervisors.supervisor import Supervisor
from .supervisors.supervisor_ref import SupervisorRef
from .supervisors.watch import watch, when_started
from .supervisors.watched import watched
from .system import ActorSystem
from .tools.call import ToolCall
from .tools.cancellation import CancellationToken
from .tools.context import current_call
from .tools.dependencies import TurnInfo, dep
from .tools.plan import Plan, Planned, Results
from .tools.run import run_waves
from .tools.tool import Tool, tool

# A library does not log unless its program asks for it: logger.enable("wavebreak").
logger.disable("wavebreak")

__all__ = [
    "AcceptanceUnknown",
    "ActorError",
    "ActorSystem",
    "AfterWave",
    "AsyncioActor",
    "Attachment",
    "AutoShutdown",
    "Backlog",
    "Backoff",
    "CallEnded",
    "CallError",
    "CallFailed",
    "CallRecord",
    "CallStatus",
    "CancellationHandled",
    "CancellationToken",
    "CancelledException",
    "ChildAlreadyPresent",
    "ChildAlreadyStarted",
    "ChildCount",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "ChildStartFailed",
    "ChildState",
    "Delivery",
    "DeliveryKind",
    "Delta",
    "DependencyError",
    "Detached",
    "Effect",
    "Enqueue",
    "Event",
    "ExecutionCancelled",
    "Future",
    "HistoryEntry",
    "HistoryKind",
    "How",
    "InvalidArguments",
    "InvalidChildSpec",
    "InvalidMessage",
    "InvalidResult",
    "InvalidSetting",
    "JournalCorrupt",
    "MailboxFull",
    "MemoryJournal",
    "MessageAccepted",
    "MessageEnded",
    "MessageIdReused",
    "MessageOutcome",
    "MessageStatus",
    "MissingExtra",
    "NotInPool",
    "Now",
    "OutcomeUnknown",
    "PartialResults",
    "Plan",
    "PlanError",
    "Planned",
    "Policy",
    "PoolFull",
    "Reason",
    "Receipt",
    "Reply",
    "Report",
    "ReportKind",
    "Restart",
    "RestartPolicy",
    "Results",
    "RuntimeActor",
    "Said",
    "Session",
    "SessionActor",
    "SessionError",
    "SessionFailed",
    "SessionMessage",
    "SessionView",
    "Shutdown",
    "StopRequested",
    "StopResult",
    "Strategy",
    "SubscriberTooSlow",
    "SupervisionError",
    "Supervisor",
    "SupervisorRef",
    "SystemClosed",
    "TokenHeld",
    "TooManyAbandoned",
    "Tool",
    "ToolCall",
    "ToolDefinitionError",
    "Turn",
    "TurnEnded",
    "TurnInfo",
    "TurnInterrupted",
    "TurnOutcome",
    "TurnOver",
    "TurnRestarted",
    "TurnStarted",
    "UnknownMessage",
    "UnknownTool",
    "UserMessage",
    "WaveEnded",
    "WaveFailed",
    "WaveInProgress",
    "WaveStarted",
    "WavebreakError",
    "WouldDeadlock",
    "current_call",
    "dep",
    "run_waves",
    "tool",
    "watch",
    "watched",
    "when_started",
]
