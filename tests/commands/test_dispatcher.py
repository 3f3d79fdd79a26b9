"""The dispatcher step by step: what is on disk when a packet leaves, what callers are told, what happens at limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.downlink import answer_topic, raw_topic
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.errors import CodecError, StorageError, StoreClosedError
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId
from tests.commands.stage import GATEWAY, SUB, Stage, command

MakeStage = Callable[..., Stage]


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    """Makes stages that are closed at the end."""
    stages: list[Stage] = []

    def make(**options: Any) -> Stage:
        stages.append(Stage(**options))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


def made(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> Command:
    """A command of now."""
    return command(number, device, at=stage.now(), **fields)


def run(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> asyncio.Task[Command]:
    """A caller of an instant command."""
    return stage.spawn(stage.dispatcher.run(made(stage, number, device, **fields)))


def cache(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> asyncio.Task[None]:
    """A caller of a cached command."""
    return stage.spawn(stage.dispatcher.cache(made(stage, number, device, **{"pending_ttl": 1000, **fields})))


def answer(stage: Stage, sent: Command, **body: Any) -> None:
    """The device's own answer."""
    payload = orjson.dumps({"id": sent.id, "code": 200, **body})
    stage.dispatcher.answered(Message(answer_topic(sent.topic), payload, stage.now(), sent.device))
    stage.loop.settle()


def refusal(task: asyncio.Task[Any]) -> CommandRefusal:
    """What a caller was told."""
    assert task.done(), "not told yet"
    error = task.exception()
    assert isinstance(error, CommandRefusal)
    return error


def states(stage: Stage) -> list[State]:
    """Those on disk, by id."""
    return [each.state for _, each in sorted(stage.disk.commands.items())]


def numbers(stage: Stage) -> list[int]:
    """Which commands were sent, in order."""
    return [each.input for each in stage.sent]


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


# Answers in a product's own format.


def raw(stage: Stage, payload: bytes, size: int | None = None) -> None:
    """An answer as bytes."""
    name = answer_topic(raw_topic(GATEWAY))
    stage.dispatcher.answered(Message(name, payload, stage.now(), GATEWAY, size))
    stage.loop.settle()


def run_raw(stage: Stage, number: int = 1) -> asyncio.Task[Command]:
    """An instant command in a product's own format."""
    plain = made(stage, number)
    fields = {name: getattr(plain, name) for name in Command.__slots__}
    return stage.spawn(stage.dispatcher.run(Command(**{**fields, "topic": raw_topic(GATEWAY)})))


async def decode(device: DeviceId, data: bytes) -> dict[str, Any]:
    """A codec whose format is JSON with an exclamation mark."""
    assert device == GATEWAY
    if not data.endswith(b"!"):
        raise CodecError("the frame has no exclamation mark")
    document: dict[str, Any] = orjson.loads(data[:-1])
    return document


def test_an_answer_in_a_products_own_format_is_decoded(make_stage: MakeStage) -> None:
    """What cannot be decoded is no answer: the next one may be."""
    stage = make_stage(decode=decode)
    stage.connect(GATEWAY)
    caller = run_raw(stage)
    stage.write()
    raw(stage, b"?")
    assert stage.ignored == {"unreadable": 1}
    raw(stage, orjson.dumps({"id": stage.sent[0].id, "code": 0}) + b"!")
    stage.write()
    assert caller.result().state is State.SUCCESS
    raw(stage, orjson.dumps({"id": stage.sent[0].id, "code": 0}) + b"!")
    assert stage.ignored == {"unreadable": 1, "late": 1}


def test_a_command_in_json_has_no_answer_in_another_format(make_stage: MakeStage) -> None:
    """Nor the other way round."""
    stage = make_stage(decode=decode)
    stage.connect(GATEWAY)
    run(stage)
    stage.write()
    raw(stage, orjson.dumps({"id": stage.sent[0].id, "code": 0}) + b"!")
    assert stage.ignored == {"foreign": 1}


@pytest.mark.parametrize(
    ("codec", "payload", "size"),
    [(None, b"x!", None), (decode, b"x" * 1000 + b"!", None), (decode, b"{}!", 5000)],
    ids=["no codec", "too long", "the beginning of a longer one"],
)
def test_what_is_not_given_to_a_codec(
    make_stage: MakeStage, codec: Callable[..., Awaitable[Any]] | None, payload: bytes, size: int | None
) -> None:
    """It is counted and no more."""
    stage = make_stage(decode=codec, answer_bytes=1000)
    stage.connect(GATEWAY)
    run_raw(stage)
    stage.write()
    raw(stage, payload, size)
    assert stage.ignored == {"unreadable": 1}


def test_a_fault_of_ours_in_decoding_is_logged(make_stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """With its place; the answer is lost, the command times out."""
    stage = make_stage(decode=decode)
    stage.connect(GATEWAY)
    run_raw(stage)
    stage.write()
    raw(stage, b"{!")
    assert stage.ignored == {"unreadable": 1}
    assert "JSONDecodeError" in caplog.text
    assert stage.dispatcher.waiting == 1


def test_so_many_answers_of_a_device_are_decoded_at_a_time(make_stage: MakeStage) -> None:
    """Those that come on top are dropped, and at a stop none is waited for."""
    never: asyncio.Future[dict[str, Any]] | None = None

    async def hang(_: DeviceId, __: bytes) -> dict[str, Any]:
        nonlocal never
        never = never or asyncio.get_running_loop().create_future()
        return await asyncio.shield(never)

    stage = make_stage(decode=hang)
    stage.connect(GATEWAY)
    caller = run_raw(stage)
    stage.write()
    for _ in range(12):
        raw(stage, b"x")
    assert stage.ignored == {"busy": 3}, "8, and one for the command that is out"
    closing = stage.spawn(stage.dispatcher.close())
    stage.write_all()
    assert closing.done()
    assert refusal(caller).code is RestCode.NOT_ANSWERED
    assert asyncio.all_tasks(stage.loop) == set()


# Start, stop, log.


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


def test_answers_without_effect_are_counted_and_said_in_few_lines(
    make_stage: MakeStage, caplog: pytest.LogCaptureFixture
) -> None:
    """However many a device sends."""
    caplog.set_level(logging.INFO)
    stage = make_stage()
    for _ in range(500):
        answer(stage, made(stage))
    assert stage.ignored == {"late": 500}
    assert 1 <= caplog.text.count("answer ignored reason=late") <= 200
    assert "topic=/sys/P/gw/thing/service/measurepoint/set_reply" in caplog.text


@pytest.mark.parametrize("topic", ["/sys/P/gw/thing/measurepoint/resume_reply", "/sys/P/gw/thing/service/x", "plant"])
def test_what_is_no_answer_is_none_of_its_business(make_stage: MakeStage, topic: str) -> None:
    """Nobody counts it."""
    stage = make_stage()
    stage.dispatcher.answered(Message(topic, b"{}", stage.now(), GATEWAY))
    assert not stage.ignored
