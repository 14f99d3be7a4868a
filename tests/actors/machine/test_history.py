from __future__ import annotations

from wavebreak.messages.history import HistoryEntry, HistoryKind
from wavebreak.messages.message import Attachment, Reply

from .driving import Driver, opened, running


def lines(driver: Driver) -> list[tuple[int, str, str, bool]]:
    return [(e.turn, str(e.kind), e.text, e.interrupted) for e in driver.history]


def test_a_finished_turn_adds_its_messages_what_it_said_and_its_reply() -> None:
    driver = opened()
    driver.send("m1")
    driver.send("m2")
    driver.at += 1.0
    driver.exit()
    driver.say("one moment")
    driver.say("and another")
    driver.at += 1.0
    assert driver.history == []
    driver.exit("done")
    assert lines(driver) == [
        (2, "message", "text of m1", False),
        (2, "message", "text of m2", False),
        (2, "said", "one moment", False),
        (2, "said", "and another", False),
        (2, "reply", "done", False),
    ]
    first, _, said, _, reply = driver.history
    assert first.message is not None
    assert first.message.message_id == "m1"
    assert [entry.at for entry in (first, said, reply)] == [1000.0, 1001.0, 1002.0]
    assert reply.reply == Reply(text="done")


def test_a_reply_without_words_is_in_the_history_when_it_has_anything() -> None:
    for reply in (Reply(attachments=(Attachment(media_id="7"),)), Reply(data={"card": 1})):
        driver = running()
        driver.exit(reply)
        assert driver.history[-1] == HistoryEntry(
            kind=HistoryKind.REPLY, turn=1, text="", reply=reply, at=driver.at
        )


def test_what_was_said_before_an_interruption_stays_in_the_history_and_is_marked() -> None:
    driver = running()
    driver.say("one moment")
    driver.send("m2")
    driver.exit("a draft")
    assert lines(driver) == [(1, "said", "one moment", True)]
    driver.exit("done")
    assert lines(driver) == [
        (1, "said", "one moment", True),
        (2, "message", "text of m1", False),
        (2, "message", "text of m2", False),
        (2, "reply", "done", False),
    ]


def test_what_a_turn_said_that_was_stopped_or_failed_is_marked_too() -> None:
    stopped, failed = running(), running()
    for driver in (stopped, failed):
        driver.say("one moment")
    stopped.stop()
    stopped.exit()
    failed.exit(cause="ValueError")
    assert lines(stopped) == lines(failed) == [(1, "said", "one moment", True)]


def test_what_was_said_by_an_attempt_that_died_is_in_the_history_once() -> None:
    driver = running()
    driver.say("one moment")
    driver.crash()
    driver.exit("done")
    assert [line[2] for line in lines(driver)] == ["text of m1", "one moment", "done"]
