"""The dispatcher step by step: what is on disk when a packet leaves, and what callers are told."""

from __future__ import annotations

from typing import Any

import pytest

from enos_ingest.commands.command import State
from enos_ingest.commands.refusals import RestCode
from tests.commands.callers import MakeStage, answer, cache, made, numbers, refusal, run, states
from tests.commands.stage import GATEWAY, SUB

# Instant commands.


def test_an_instant_command_is_on_disk_before_it_leaves_and_before_its_caller_is_told(make_stage: MakeStage) -> None:
    """Once as sent, once at its end."""
    stage = make_stage()
    stage.connect(GATEWAY)
    caller = run(stage)
    assert stage.sent == []
    stage.write()
    (sent,) = stage.sent
    assert (sent.state, sent.sent) == (State.RELEASED, stage.now())
    stage.loop.turn(1)
    answer(stage, sent, message="done")
    assert not caller.done()
    stage.write()
    found = caller.result()
    assert found == stage.disk.commands[sent.id]
    assert (found.state, found.finished, found.output) == (State.SUCCESS, stage.now(), None)
    assert stage.ended == {State.SUCCESS: 1}
    assert stage.loop.next_timer() is None


def test_instant_commands_go_at_once_however_many(make_stage: MakeStage) -> None:
    """None waits for the answer of another, and answers come in any order."""
    stage = make_stage()
    stage.connect(GATEWAY)
    callers = [run(stage, number) for number in range(1, 6)]
    stage.write()
    assert numbers(stage) == [1, 2, 3, 4, 5]
    for sent in reversed(stage.sent):
        answer(stage, sent)
    stage.write()
    assert [caller.result().input for caller in callers] == [1, 2, 3, 4, 5]


def test_a_device_that_is_offline_gets_no_instant_command(make_stage: MakeStage) -> None:
    """The caller is told at once, and nothing is stored."""
    stage = make_stage()
    assert refusal(run(stage)).code is RestCode.OFFLINE
    assert stage.disk.handed_in == []
    assert stage.dispatcher.waiting == 0


def test_what_was_cached_waits_for_a_device_that_has_just_come_online(make_stage: MakeStage) -> None:
    """Also where it comes again while the disk is at it; instant commands do not wait, but for cached ones."""
    stage = make_stage()
    stage.settling.add(GATEWAY)
    stage.connect(GATEWAY)
    first = run(stage, 1)
    stage.write()
    assert numbers(stage) == [1]
    answer(stage, stage.sent[0])
    stage.write_all()
    assert first.done()
    cache(stage, 2)
    stage.write_all()
    second = run(stage, 3)
    stage.write_all()
    assert numbers(stage) == [1]
    stage.settling.clear()
    stage.connect(GATEWAY)
    stage.settling.add(GATEWAY)
    stage.write_all()
    assert numbers(stage) == [1]
    assert not second.done()
    stage.settling.clear()
    stage.connect(GATEWAY)
    stage.write_all()
    assert numbers(stage) == [1, 2]
    answer(stage, stage.sent[1])
    stage.write_all()
    assert numbers(stage) == [1, 2, 3]


def test_a_device_that_leaves_before_the_packet_does_gets_nothing(make_stage: MakeStage) -> None:
    """An instant command has expired then; a cached one waits again, and leaves once."""
    stage = make_stage()
    stage.connect(GATEWAY)
    cached, instant = cache(stage, 2), run(stage, 1)
    stage.online.clear()
    stage.write_all()
    assert cached.result() is None
    told = refusal(instant)
    assert (told.code, told.data) == (RestCode.OFFLINE, {"commandId": made(stage, 1).id})
    assert states(stage) == [State.EXPIRED, State.CREATED]
    assert [each.sent for each in stage.disk.commands.values()] == [None, None]
    stage.connect(GATEWAY)
    stage.write_all()
    assert numbers(stage) == [2]


def test_an_instant_command_that_nobody_answers(make_stage: MakeStage) -> None:
    """Its time counts from the call."""
    stage = make_stage()
    stage.connect(GATEWAY)
    caller = run(stage, timeout=10)
    stage.loop.turn(4)
    stage.write()
    stage.loop.turn(5.5)
    assert states(stage) == [State.RELEASED]
    stage.loop.turn(0.5)
    stage.write()
    told = refusal(caller)
    assert (told.code, told.message) == (
        RestCode.NOT_ANSWERED,
        "the command was sent, and not answered within 10 s",
    )
    assert states(stage) == [State.TIMED_OUT]
    answer(stage, stage.sent[0])
    stage.write()
    assert states(stage) == [State.TIMED_OUT]
    assert stage.ignored == {"late": 1}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"code": 500, "message": "jammed"}, 500, "jammed"),
        ({"code": "1101", "message": "no handler"}, 1101, "no handler"),
        ({"code": None}, None, "the answer has no code that is a number"),
        (
            {"data": "x" * 1000},
            None,
            "the answer cannot be read: payload of 1048 bytes is over the limit of 1000",
        ),
    ],
    ids=["number", "digits", "no code", "too long"],
)
def test_a_device_that_refuses(make_stage: MakeStage, body: dict[str, Any], code: int | None, message: str) -> None:
    """The command is returned as failed, with the device's words or ours."""
    stage = make_stage(answer_bytes=1000)
    stage.connect(GATEWAY)
    caller = run(stage)
    stage.write()
    answer(stage, stage.sent[0], **body)
    stage.write()
    found = caller.result()
    assert (found.state, found.device_code, found.device_message) == (State.FAILED, code, message)
    assert stage.disk.commands[found.id] == found


def test_the_output_of_a_service_is_kept(make_stage: MakeStage) -> None:
    """Of a service, not of a point that is set; what does not fit the model is a failure."""
    stage = make_stage(output_fault=lambda _, output: None if output == {"x": 1} else "x: expected 1")
    stage.connect(GATEWAY)
    good, bad, point = run(stage, 1, service=True), run(stage, 2, service=True), run(stage, 3)
    stage.write()
    for sent, data in zip(stage.sent, [{"x": 1}, {"x": 2}, {"x": 2}], strict=True):
        answer(stage, sent, data=data)
    stage.write()
    assert (good.result().state, good.result().output) == (State.SUCCESS, {"x": 1})
    assert (bad.result().state, bad.result().output) == (State.FAILED, None)
    assert bad.result().device_message == "x: expected 1"
    assert (point.result().state, point.result().output) == (State.SUCCESS, None)


def test_a_caller_who_hangs_up_changes_nothing(make_stage: MakeStage) -> None:
    """The command goes on, and its answer is stored."""
    stage = make_stage()
    stage.connect(GATEWAY)
    for is_sent in (False, True):
        caller = run(stage, len(stage.sent) + 1)
        if is_sent:
            stage.write()
        caller.cancel()
        stage.write()
        answer(stage, stage.sent[-1])
        stage.write()
        assert caller.cancelled()
    assert states(stage) == [State.SUCCESS, State.SUCCESS]
    assert stage.dispatcher.waiting == 0
    assert stage.loop.next_timer() is None


# Cached commands.


def test_cached_commands_leave_one_at_a_time_and_instant_ones_queue_behind(make_stage: MakeStage) -> None:
    """In the order of their ids; the next after the answer, or when its time is over, which counts from its sending."""
    stage = make_stage()
    for number in (3, 1, 4):
        cache(stage, number, timeout=5)
    stage.write()
    stage.loop.turn(100)
    assert stage.sent == []
    stage.connect(GATEWAY)
    instants = [run(stage, 2, timeout=20), run(stage, 5, timeout=20), run(stage, 6, timeout=5)]
    stage.write_all()
    assert numbers(stage) == [1]
    answer(stage, stage.sent[0])
    stage.write_all()
    assert numbers(stage) == [1, 2, 3], "an instant one between them does not hold up the next"
    stage.loop.turn(5)
    stage.write_all()
    assert numbers(stage) == [1, 2, 3, 4]
    assert refusal(instants[2]).code is RestCode.NOT_SENT
    stage.loop.turn(5)
    stage.write_all()
    assert numbers(stage) == [1, 2, 3, 4, 5]
    assert states(stage)[2:4] == [State.TIMED_OUT, State.TIMED_OUT]


def test_devices_do_not_wait_for_each_other(make_stage: MakeStage) -> None:
    """Not even a gateway and its sub-device."""
    stage = make_stage()
    cache(stage, 1, GATEWAY)
    cache(stage, 2, SUB)
    stage.connect(SUB)
    stage.write_all()
    assert numbers(stage) == [2]
    stage.connect(GATEWAY)
    stage.write_all()
    assert numbers(stage) == [2, 1]


def test_a_cached_command_expires_while_it_waits(make_stage: MakeStage) -> None:
    """It is not sent afterwards."""
    stage = make_stage()
    caller = cache(stage, 1, pending_ttl=10)
    stage.write()
    assert caller.result() is None
    stage.loop.turn(10)
    stage.connect(GATEWAY)
    stage.write_all()
    assert states(stage) == [State.EXPIRED]
    assert stage.sent == []
    assert stage.dispatcher.cached == 0


def test_what_has_not_left_can_be_canceled(make_stage: MakeStage) -> None:
    """One, or all of a device; what is out, instant, another device's or unknown is left alone."""
    stage = make_stage()
    stage.connect(GATEWAY)
    for number in (1, 2, 3, 5):
        cache(stage, number)
    instant = run(stage, 4)
    other = cache(stage, 6, SUB)
    stage.write_all()

    def cancel(wanted: str | None) -> list[int]:
        task = stage.spawn(stage.dispatcher.cancel(GATEWAY, wanted))
        stage.write_all()
        assert all(each.state is State.CANCELED for each in task.result())
        return [each.input for each in task.result()]

    for number in (1, 4, 6, 7):
        assert cancel(made(stage, number).id) == []
    assert cancel(made(stage, 3).id) == [3]
    assert cancel(None) == [2, 5]
    assert cancel(None) == []
    answer(stage, stage.sent[0])
    stage.write_all()
    assert numbers(stage) == [1, 4], "what waited behind them goes"
    assert not instant.done()
    assert other.result() is None
    assert stage.dispatcher.cached == 1


def test_what_is_about_to_leave_can_be_canceled(make_stage: MakeStage) -> None:
    """As long as it is not out; then it stays in."""
    stage = make_stage()
    stage.connect(GATEWAY)
    cache(stage, 1)
    stage.write(1)
    task = stage.spawn(stage.dispatcher.cancel(GATEWAY))
    stage.write_all()
    assert [each.state for each in task.result()] == states(stage) == [State.CANCELED]
    assert stage.sent == []
