from __future__ import annotations

import pytest

from wavebreak.actors.failures import in_words, retryable_by
from wavebreak.messages.errors import CallFailed, OutcomeUnknown, WaveFailed
from wavebreak.messages.ids import CallId, IdempotencyKey
from wavebreak.messages.reasons import CallStatus, Effect
from wavebreak.messages.records import CallError, CallRecord

is_retryable = retryable_by((OSError,))


def failure(error: CallError | None, kind: type[CallFailed] = CallFailed) -> CallFailed:
    record = CallRecord(
        call_id=CallId("1.1.1.1"),
        tool="search",
        arguments={},
        effect=Effect.READ,
        idempotency_key=IdempotencyKey("k"),
        wave=1,
        status=CallStatus.FAILED,
        error=error,
    )
    return kind(record)


WORTH_IT = failure(CallError(type="TimeoutError", message="", retryable=True))
FINAL = failure(CallError(type="ValueError", message="no"))


@pytest.mark.parametrize(
    "error", [OSError(), TimeoutError(), ConnectionResetError(), FileNotFoundError()], ids=repr
)
def test_what_retry_on_names_is_worth_another_attempt_with_its_children(error: Exception) -> None:
    assert is_retryable(error)


@pytest.mark.parametrize(
    "error", [ValueError(), Exception(), KeyboardInterrupt(), SystemExit(1)], ids=repr
)
def test_anything_else_is_not(error: BaseException) -> None:
    assert not is_retryable(error)


def test_several_classes_can_be_named_and_none() -> None:
    several = retryable_by((KeyError, ZeroDivisionError))
    assert several(KeyError())
    assert several(ZeroDivisionError())
    assert not several(OSError())
    assert not retryable_by(())(OSError())


def test_a_group_is_worth_it_when_any_error_in_it_is() -> None:
    deep = ExceptionGroup("a", [ValueError(), ExceptionGroup("b", [KeyError(), OSError()])])
    assert is_retryable(deep)
    assert is_retryable(BaseExceptionGroup("c", [KeyboardInterrupt(), TimeoutError()]))
    assert not is_retryable(ExceptionGroup("d", [ValueError(), KeyError()]))


def test_a_failed_call_is_worth_what_its_tools_error_was() -> None:
    assert is_retryable(WORTH_IT)
    assert not is_retryable(FINAL)
    assert not is_retryable(failure(None))
    unknown = failure(CallError(type="TimeoutError", message="", retryable=True), OutcomeUnknown)
    assert is_retryable(unknown)


def test_a_failed_wave_is_worth_it_when_one_of_its_calls_is() -> None:
    records = [WORTH_IT.record, FINAL.record]
    assert is_retryable(WaveFailed(records, [FINAL, WORTH_IT]))
    assert not is_retryable(WaveFailed(records, [FINAL]))


def test_an_error_is_told_by_its_class_and_its_words() -> None:
    assert in_words(ValueError("no room")) == "ValueError: no room"
    assert in_words(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert in_words(ConnectionResetError("")) == "ConnectionResetError"


def test_words_that_no_journal_could_hold_are_told_all_the_same() -> None:
    told = in_words(ValueError("half a face \ud83d"))
    assert told.encode()
    assert told.startswith("ValueError: half a face")


def test_an_error_that_cannot_say_what_it_is_hides_nothing() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert in_words(Mute()).startswith("Mute: ")
