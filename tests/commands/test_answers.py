"""Answers that need a codec, and those without effect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.downlink import answer_topic, raw_topic
from enos_ingest.commands.refusals import RestCode
from enos_ingest.errors import CodecError
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId
from tests.commands.callers import MakeStage, answer, made, refusal, run
from tests.commands.stage import GATEWAY, Stage


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
