"""More commands than are taken, and a store that does not come to them: callers are told what is certain."""

from __future__ import annotations

import pytest

from enos_ingest.commands.command import State
from enos_ingest.commands.refusals import RestCode
from enos_ingest.errors import StorageError, StoreClosedError
from tests.commands.callers import MakeStage, answer, cache, refusal, run, states
from tests.commands.stage import GATEWAY, SUB

# Limits.


def test_so_many_cached_commands_of_a_device_are_kept(make_stage: MakeStage) -> None:
    """The one that is out counts; another device has its own."""
    stage = make_stage(cached_per_device=2)
    stage.connect(GATEWAY)
    callers = [cache(stage, number) for number in (1, 2, 3)] + [cache(stage, 4, SUB)]
    stage.write_all()
    assert [caller.exception() is None for caller in callers] == [True, True, False, True]
    assert refusal(callers[2]).code is RestCode.CACHE_FULL
    assert len(stage.disk.commands) == 3
    answer(stage, stage.sent[0])
    again = cache(stage, 5)
    stage.write_all()
    assert again.result() is None


def test_so_many_instant_commands_may_be_under_way(make_stage: MakeStage) -> None:
    """Also those whose callers have gone; each end makes room."""
    stage = make_stage(waiting=2)
    stage.connect(GATEWAY)
    first, second, third = (run(stage, number) for number in (1, 2, 3))
    assert refusal(third).code is RestCode.TOO_MANY_CALLS
    first.cancel()
    stage.write()
    assert refusal(run(stage, 4)).code is RestCode.TOO_MANY_CALLS
    answer(stage, stage.sent[0])
    stage.write()
    fifth = run(stage, 5)
    assert not fifth.done()
    assert not second.done()
    assert stage.dispatcher.waiting == 2


def test_unfinished_commands_may_hold_so_many_bytes(make_stage: MakeStage) -> None:
    """Cached and instant ones together, however few they are; each end makes room."""
    stage = make_stage(held_bytes=250)
    stage.connect(GATEWAY)
    first, second = run(stage, 1), cache(stage, 2, SUB)
    assert refusal(run(stage, 3)).code is RestCode.TOO_MANY_CALLS
    assert refusal(cache(stage, 4, SUB)).code is RestCode.TOO_MANY_CALLS
    stage.write_all()
    assert second.result() is None
    answer(stage, stage.sent[0])
    stage.write_all()
    assert first.result().state is State.SUCCESS
    fifth = run(stage, 5)
    assert not fifth.done()


def test_a_store_that_fails_for_long_gathers_only_so_many_steps(make_stage: MakeStage) -> None:
    """Commands that end keep their last step waiting; then no more are taken, whatever they are."""
    stage = make_stage(waiting=3)
    stage.connect(GATEWAY)
    ended = [run(stage, number, timeout=1) for number in (1, 2)]
    stage.loop.turn(60)
    assert [refusal(caller).code for caller in ended] == [RestCode.NOT_SENT] * 2
    assert refusal(run(stage, 3)).code is RestCode.TOO_MANY_CALLS
    assert refusal(cache(stage, 4)).code is RestCode.TOO_MANY_CALLS
    assert refusal(stage.spawn(stage.dispatcher.cancel(GATEWAY))).code is RestCode.TOO_MANY_CALLS
    stage.write_all()
    assert states(stage) == [State.EXPIRED] * 2
    assert stage.sent == []
    assert not run(stage, 5).done()


# The store does not come to it.


def test_no_caller_waits_much_longer_for_the_disk_than_for_the_device(make_stage: MakeStage) -> None:
    """It is told what is certain: not sent, or sent and perhaps done; never a success that is not on disk."""
    stage = make_stage()
    stage.connect(GATEWAY)
    unsent = run(stage, 1, timeout=5)
    stage.loop.turn(6.9)
    assert not unsent.done()
    stage.loop.turn(0.2)
    assert refusal(unsent).code is RestCode.NOT_SENT
    stage.write_all()
    assert stage.sent == []

    sent = run(stage, 2, timeout=5)
    stage.write()
    answer(stage, stage.sent[0])
    stage.loop.turn(7.1)
    assert refusal(sent).code is RestCode.NOT_ANSWERED
    stage.write_all()
    assert states(stage) == [State.EXPIRED, State.SUCCESS]


@pytest.mark.parametrize("pending_ttl", [2, 1000])
def test_a_cached_command_that_is_not_stored_in_time_is_withdrawn(make_stage: MakeStage, pending_ttl: int) -> None:
    """Its caller is told that it will not be sent, and it is not, also once the store commits again."""
    stage = make_stage()
    stage.connect(GATEWAY)
    caller = cache(stage, 1, timeout=5, pending_ttl=pending_ttl)
    stage.loop.turn(5.1)
    assert refusal(caller).code is RestCode.INTERNAL
    stage.write_all()
    assert stage.sent == []
    assert states(stage) == [State.CANCELED if pending_ttl > 5 else State.EXPIRED]


def test_who_cancels_does_not_wait_for_long_either(make_stage: MakeStage) -> None:
    """What is canceled does not leave."""
    stage = make_stage()
    cache(stage, 1)
    stage.write()
    caller = stage.spawn(stage.dispatcher.cancel(GATEWAY))
    stage.loop.turn(2.1)
    assert refusal(caller).code is RestCode.INTERNAL
    stage.connect(GATEWAY)
    stage.write_all()
    assert stage.sent == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (StorageError("no such number"), "a command cannot be stored"),
        (StoreClosedError("closed"), "stopped before a command was stored"),
    ],
)
def test_what_no_store_takes_is_not_sent(
    make_stage: MakeStage, fault: StorageError, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller is told, the log says why, and those behind it go on."""
    stage = make_stage()
    stage.connect(GATEWAY)
    callers = [cache(stage, 1), run(stage, 2)]
    waiting = cache(stage, 3, SUB)
    stage.disk.fails_with = fault
    stage.write()
    stage.disk.fails_with = None
    stage.write_all()
    assert [refusal(caller).code for caller in (*callers, waiting)] == [RestCode.INTERNAL] * 3
    assert stage.sent == []
    assert caplog.text.count(said) == 3
    assert (stage.dispatcher.waiting, stage.dispatcher.cached) == (0, 0)
    assert stage.loop.next_timer() is None


def test_an_end_that_no_store_takes_is_no_success(make_stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """The caller hears that nothing is known."""
    stage = make_stage()
    stage.connect(GATEWAY)
    caller = run(stage)
    stage.write()
    answer(stage, stage.sent[0])
    stage.disk.fails_with = StorageError("no such number")
    stage.write()
    assert refusal(caller).code is RestCode.NOT_ANSWERED
    assert "a command cannot be stored" in caplog.text
