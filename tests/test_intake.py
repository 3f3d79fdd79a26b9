"""Pipeline, store and answer joined: what is answered is on disk, what is not on disk is not answered."""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.intake import Intake
from enos_ingest.outcome import Outcome, Point, Record
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.store import Writer
from tests.endpoint.waiting import DEADLINE
from tests.models.documents import compiled, point
from tests.storage.samples import DEVICE, PRODUCT, open_writer, stored

GATEWAY = DeviceId(PRODUCT, DEVICE)
DIRECTORY = Directory([Product(PRODUCT, model="m")], [Device(GATEWAY)])
TOPIC = f"/sys/{GATEWAY}/thing/measurepoint/resume"


def pipeline() -> Pipeline:
    """One device, one point."""
    return Pipeline(lambda: DIRECTORY, {"m": compiled(temp=point("INT"))}, Presence())


def report(time: int, value: object = 1) -> Message:
    """A report of one point."""
    params = {"measurepoints": {"temp": value}, "time": time}
    request = {"id": str(time), "version": "1.0", "method": "thing.measurepoint.resume", "params": params}
    return Message(TOPIC, orjson.dumps(request), time)


LOGOUT = Message(
    f"/ext/session/{GATEWAY}/combine/logout",
    b'{"id":"9","version":"1.0","method":"combine.logout","params":{"productKey":"P","deviceKey":"d"}}',
    9,
)
"""A request that has nothing to store."""


class Observed(list[tuple[str, str]]):
    """What an intake has said, in order: ("observe" or "answer", the id of the message)."""

    def observe(self, outcome: Outcome, seconds: float) -> None:
        """Take what metrics are told."""
        assert seconds >= 0
        self.append(("observe", orjson.loads(outcome.reply)["id"]))

    def answer(self, outcome: Outcome | None) -> None:
        """Take what a sender is told: no outcome, no answer; no reply, an acknowledgement."""
        if outcome is None:
            self.append(("nothing", ""))
        else:
            self.append(("answer", orjson.loads(outcome.reply)["id"] if outcome.reply else ""))


def intake(
    writer: object, observed: Observed, judge: object = None, *, in_flight: int = 1000, in_flight_bytes: int = 10**6
) -> Intake:
    """An intake; by default with a real pipeline, and room."""
    return Intake(
        cast("Pipeline", judge or pipeline()),
        cast("Writer", writer),
        observed.observe,
        in_flight=in_flight,
        in_flight_bytes=in_flight_bytes,
    )


async def idle(taking: Intake) -> None:
    """Return when all messages are committed or given up."""
    async with asyncio.timeout(DEADLINE):
        while taking.in_flight:
            await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test in an event loop."""
    asyncio.run(main)


def test_an_answer_comes_after_the_commit(tmp_path: Path) -> None:
    """When it comes the point is on disk; answers keep the order of the messages."""
    path = tmp_path / "store.db"

    async def main() -> None:
        observed = Observed()
        on_disk: list[int] = []

        def answer(outcome: Outcome | None) -> None:
            observed.answer(outcome)
            on_disk.append(len(stored(path)))

        async with open_writer(path) as writer:
            taking = intake(writer, observed)
            for time in range(5):
                taking.submit(report(time), answer)
            assert observed == []
            assert taking.in_flight == 5
            await idle(taking)
        assert observed == [(what, str(time)) for time in range(5) for what in ("observe", "answer")]
        assert all(count > number for number, count in enumerate(on_disk))

    run(main())


def test_what_has_nothing_to_store_is_answered_in_its_turn(tmp_path: Path) -> None:
    """After what came before it, so that answers keep the order of the messages."""
    path = tmp_path / "store.db"

    async def main() -> None:
        observed = Observed()
        async with open_writer(path) as writer:
            taking = intake(writer, observed)
            for message in (report(1), LOGOUT, report(2)):
                taking.submit(message, observed.answer)
            await idle(taking)
        assert [name for what, name in observed if what == "answer"] == ["1", "9", "2"]

    run(main())
    assert [row.time for row in stored(path)] == [1, 2]


def test_what_is_no_request_is_acknowledged_in_its_turn(tmp_path: Path) -> None:
    """Replies, commands, topics of others: there is no reply, and no metric counts it."""

    async def main() -> None:
        observed = Observed()
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, observed)
            taking.submit(report(1), observed.answer)
            for topic in (f"{TOPIC}_reply", f"/sys/{GATEWAY}/thing/service/x", "plant/line"):
                taking.submit(Message(topic, b"{}", 1), observed.answer)
            await idle(taking)
        assert observed == [("observe", "1"), ("answer", "1"), *[("answer", "")] * 3]

    run(main())


def test_what_may_be_an_answer_is_shown_before_it_is_acknowledged(tmp_path: Path) -> None:
    """What is handed to the writer for it is committed by then; requests are not shown."""

    async def main() -> None:
        seen: list[str] = []
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, Observed())

            def answered(message: Message) -> None:
                seen.append(message.topic)
                writer.commit(Record([]), lambda _: seen.append("committed"))

            taking.answered = answered
            for message in (report(1), Message(f"{TOPIC}_reply", b"{}", 1), LOGOUT):
                taking.submit(message, lambda outcome: seen.append("answer" if outcome else "nothing"))
            await idle(taking)
        assert seen == [f"{TOPIC}_reply", "answer", "committed", "answer", "answer"]

    run(main())


@pytest.mark.parametrize("limits", [{"in_flight": 2}, {"in_flight_bytes": 2 * len(report(0).payload)}], ids=str)
def test_who_waits_for_room_is_called_in_turn(tmp_path: Path, limits: dict[str, int]) -> None:
    """Once there is some; who finds none may ask again."""
    path = tmp_path / "store.db"

    async def main() -> None:
        observed = Observed()
        async with open_writer(path) as writer:
            taking = intake(writer, observed, **limits)
            woken: list[int] = []
            all_woken = asyncio.Event()

            def go_on(number: int) -> None:
                assert not taking.is_full
                woken.append(number)
                taking.submit(report(10 + number), observed.answer)
                if len(woken) == 5:
                    all_woken.set()

            for time in range(2):
                assert not taking.is_full
                taking.submit(report(time), observed.answer)
            for number in range(5):
                taking.when_room(number, functools.partial(go_on, number))
            taking.when_room("gone", lambda: woken.append(99))
            taking.forget("gone")
            taking.forget("never there")
            assert taking.is_full
            assert woken == []
            async with asyncio.timeout(DEADLINE):
                await all_woken.wait()
            await idle(taking)
            assert woken == [0, 1, 2, 3, 4]
            assert not taking.is_full

    run(main())


def test_while_the_store_fails_there_is_no_room(tmp_path: Path) -> None:
    """As long as something waits for it; with nothing on the way somebody has to try."""

    async def main() -> None:
        observed = Observed()
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, observed)
            found = []
            for fails, message in ((True, report(1)), (True, None), (False, None)):
                taking.store_fails = fails
                found.append(taking.is_full)
                if message is not None:
                    taking.submit(message, observed.answer)
            assert found == [False, True, False]
            await idle(taking)

    run(main())


def test_a_refusal_is_answered_once_it_is_in_quarantine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says why."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        observed = Observed()
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, observed)
            taking.submit(report(1, "warm"), observed.answer)
            assert observed == []
            await idle(taking)
            assert writer.stats().quarantine_rows == 1
        assert observed == [("observe", "1"), ("answer", "1")]

    run(main())
    assert "code=1204" in caplog.text
    assert "expected an integer" in caplog.text


def test_an_intake_counts_what_the_store_cannot_commit(tmp_path: Path) -> None:
    """In messages and in bytes; it takes what comes all the same, and is empty once commits succeed."""
    path = tmp_path / "store.db"
    size = len(report(0).payload)

    async def main() -> None:
        observed = Observed()
        async with open_writer(path) as writer:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            taking = intake(writer, observed)
            seen = []
            for time in range(4):
                seen.append((taking.in_flight, taking.in_flight_bytes))
                taking.submit(report(time), observed.answer)
            assert seen == [(time, time * size) for time in range(4)]
            async with asyncio.timeout(DEADLINE):
                while writer.stats().failure is None:
                    await asyncio.sleep(0.01)
            assert observed == []
            other.execute("ROLLBACK")
            other.close()
            await idle(taking)
            assert taking.in_flight_bytes == 0
        assert [name for what, name in observed if what == "answer"] == ["0", "1", "2", "3"]

    run(main())


def test_a_store_that_is_closed_answers_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The device sends again, to the next start."""

    async def main() -> None:
        observed = Observed()
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, observed)
        taking.submit(report(1), observed.answer)
        taking.activate(GATEWAY, 1)
        await idle(taking)
        assert observed == [("nothing", "")]

    run(main())
    assert caplog.text.count("stopped before a message was committed; its sender gets no answer") == 2


def test_a_first_login_is_stored(tmp_path: Path) -> None:
    """Without a message, and without an answer."""
    path = tmp_path / "store.db"

    async def main() -> None:
        async with open_writer(path) as writer:
            with open_registry(path) as registry:
                registry.apply(lambda _: DIRECTORY)
            intake(writer, Observed()).activate(GATEWAY, 1_700_000_000_000)

    run(main())
    with open_registry(path, read_only=True) as registry:
        assert registry.directory().devices[GATEWAY].activated == 1_700_000_000_000


class Scripted:
    """In place of a pipeline or a writer, for faults that no real one shows."""

    def __init__(self, result: object) -> None:
        self.result = result

    def process(self, _: Message) -> object:
        """Judge as was said, or fail."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def commit(self, _: Record, done: Callable[[StorageError | None], None]) -> None:
        """Fail as was said, in the next turn of the loop."""
        asyncio.get_running_loop().call_soon(lambda: done(cast("StorageError", self.result)))


def test_a_fault_of_the_pipeline_leaves_its_message_unanswered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with where it happened; the next message is judged."""

    async def main() -> None:
        observed = Observed()
        async with open_writer(tmp_path / "store.db") as writer:
            taking = intake(writer, observed, Scripted(ZeroDivisionError("x")))
            taking.submit(report(1), observed.answer)
            assert taking.in_flight == 0
        assert observed == [("nothing", "")]

    run(main())
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"a message could not be judged topic={TOPIC}" in record.getMessage()
    assert "ZeroDivisionError" in caplog.text


def test_a_record_that_no_store_can_hold_leaves_its_message_unanswered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails alone: others of the same commit are stored."""
    path = tmp_path / "store.db"

    async def main() -> None:
        observed = Observed()
        impossible = Outcome(
            "x",
            Code.SUCCESS,
            "",
            "x",
            b'{"id":"0"}',
            Record([Point(PRODUCT, DEVICE, "temp", 0, object(), None, "post")]),
        )
        async with open_writer(path) as writer:
            failing, working = intake(writer, observed, Scripted(impossible)), intake(writer, observed)
            failing.submit(report(0), observed.answer)
            working.submit(report(1), observed.answer)
            await idle(failing)
            await idle(working)
        assert observed == [("nothing", ""), ("observe", "1"), ("answer", "1")]

    run(main())
    assert [row.time for row in stored(path)] == [1]
    assert "a message cannot be stored; its sender gets no answer" in caplog.text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (StoreClosedError("closed"), "stopped before a message was committed"),
        (StorageError("no space"), "a message cannot be stored; its sender gets no answer topic="),
    ],
)
def test_no_answer_without_a_commit(fault: StorageError, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever kept the store from it."""

    async def main() -> None:
        observed = Observed()
        taking = intake(Scripted(fault), observed)
        taking.submit(report(1), observed.answer)
        assert taking.in_flight == 1
        await idle(taking)
        assert observed == [("nothing", "")]

    run(main())
    assert said in caplog.text
