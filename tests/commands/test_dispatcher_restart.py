"""Stops and starts: what waits on, what has ended, and who is told."""

from __future__ import annotations

import logging

import pytest

from enos_ingest.commands.command import State
from enos_ingest.commands.refusals import RestCode
from tests.commands.callers import MakeStage, answer, cache, made, numbers, refusal, run, states
from tests.commands.stage import GATEWAY, SUB


def test_what_an_earlier_run_left(make_stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """Cached commands wait on, in order; what was out is never sent again, and the log says so."""
    caplog.set_level(logging.INFO)
    stage = make_stage()
    stage.connect(GATEWAY)
    caches = [cache(stage, number) for number in (1, 2, 3)]
    short = cache(stage, 4, SUB, pending_ttl=30)
    stage.write_all()
    instants = [run(stage, 5), run(stage, 6, SUB)]
    stage.write_all()
    assert numbers(stage) == [1]
    assert states(stage) == [State.RELEASED, State.CREATED, State.CREATED, State.CREATED, State.CREATED]
    for entry in stage.dispatcher._entries.values():  # noqa: SLF001 - the process is killed
        entry.stop_timer()
    for caller in (*caches, short, *instants):
        caller.cancel()
    stage.loop.turn(40)
    stage.start()
    stage.online.clear()
    stage.dispatcher.restore(list(reversed(stage.disk.commands.values())))
    stage.write_all()
    assert states(stage) == [State.TIMED_OUT, State.CREATED, State.CREATED, State.EXPIRED, State.EXPIRED]
    assert stage.disk.commands[made(stage, 1).id].sent is not None
    assert "commands were sent before the last stop and not answered: they are not sent again count=1" in caplog.text
    assert "commands were not sent before the last stop and have expired count=2" in caplog.text
    assert "cached commands wait for their devices count=2" in caplog.text
    for _ in range(3):
        stage.connect(GATEWAY)
        stage.write_all()
        answer(stage, stage.sent[-1])
        stage.write_all()
    assert numbers(stage) == [1, 2, 3]


def test_a_start_with_nothing_left_says_nothing(make_stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """As nearly all are."""
    caplog.set_level(logging.INFO)
    make_stage().dispatcher.restore([])
    assert caplog.text == ""


def test_a_stop_tells_every_caller(make_stage: MakeStage) -> None:
    """What was sent is stored as unanswered; cached commands stay, also one that was about to leave."""
    stage = make_stage()
    stage.connect(GATEWAY)
    sent = run(stage, 1)
    stage.write()
    cached, late, unsent = cache(stage, 2), cache(stage, 3), run(stage, 4)
    closing = stage.spawn(stage.dispatcher.close())
    stage.connect(SUB)
    stage.write_all()
    assert closing.done()
    assert [refusal(each).code for each in (sent, unsent)] == [RestCode.NOT_ANSWERED, RestCode.NOT_SENT]
    assert [refusal(each).message for each in (sent, unsent)] == [
        "the command was sent, and not answered before the hub stopped",
        "the command could not be sent before the hub stopped",
    ]
    assert cached.result() is late.result() is None
    assert states(stage) == [State.TIMED_OUT, State.CREATED, State.CREATED, State.EXPIRED]
    assert numbers(stage) == [1]
    assert stage.loop.next_timer() is None
    for caller in (run(stage, 5), cache(stage, 6), stage.spawn(stage.dispatcher.cancel(GATEWAY))):
        assert refusal(caller).message == "the hub is stopping, nothing is sent any more"


def test_a_stop_does_not_wait_for_a_store_that_fails(make_stage: MakeStage) -> None:
    """Callers have been told soon all the same."""
    stage = make_stage()
    stage.connect(GATEWAY)
    closing = stage.spawn(stage.dispatcher.close())
    stage.loop.turn(1.9)
    assert not closing.done()
    stage.loop.turn(0.2)
    assert closing.done()
