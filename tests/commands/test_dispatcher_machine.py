"""Callers, devices and a disk, each doing what it likes in any order: what is promised of commands holds throughout.

`Stage.send_command` looks at every packet that leaves: it is on disk as sent, leaves once, and cached ones leave one
at a time. The machine looks at what callers are told, at the order, and at what is left behind at the end.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.downlink import answer_topic
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId
from tests.commands.stage import GATEWAY, OTHER, SUB, Stage, command

CACHED_PER_DEVICE = 3
WAITING = 6

devices = st.sampled_from([GATEWAY, SUB])

GOOD: list[dict[str, Any]] = [{"code": 200}, {"code": 0, "data": {}}, {"code": "200", "message": "done"}]
BAD: list[dict[str, Any]] = [{"code": 500, "message": "jammed"}, {"code": "1101"}, {"data": {}}]


class DispatcherMachine(RuleBasedStateMachine):
    """The model is small: what was asked for, what callers were told, what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(cached_per_device=CACHED_PER_DEVICE, waiting=WAITING)
        self.numbers = itertools.count(1)
        self.asked: dict[str, Command] = {}
        self.callers: dict[str, asyncio.Task[Any]] = {}
        self.told: dict[str, Command | RestCode | None] = {}
        self.unsent: set[str] = set()
        """Of which callers were told that they had not been sent, since the last crash."""
        self.answers: dict[str, bool] = {}
        """Of each command the first answer that came while it was out: whether it was a success."""

    # Business software.

    @rule(device=devices, timeout=st.integers(1, 60))
    def run(self, device: DeviceId, timeout: int) -> None:
        """An instant command."""
        made = command(next(self.numbers), device, at=self.stage.now(), timeout=timeout)
        self._call(made, self.stage.dispatcher.run(made))

    @rule(device=devices, timeout=st.integers(1, 60), pending_ttl=st.sampled_from([1, 30, 172_800]))
    def cache(self, device: DeviceId, timeout: int, pending_ttl: int) -> None:
        """A cached command."""
        made = command(next(self.numbers), device, at=self.stage.now(), timeout=timeout, pending_ttl=pending_ttl)
        self._call(made, self.stage.dispatcher.cache(made))

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        """A caller goes without waiting; the command is none of its business any more."""
        identifier = data.draw(st.sampled_from(sorted(self.callers)))
        self.callers.pop(identifier).cancel()
        self.stage.loop.settle()

    @rule(data=st.data(), device=devices)
    def cancel(self, data: st.DataObject, device: DeviceId) -> None:
        """All cached commands that were not sent, or one of whatever kind."""
        wanted = data.draw(st.none() | st.sampled_from(sorted(self.asked))) if self.asked else None
        task = self.stage.spawn(self.stage.dispatcher.cancel(device, wanted))
        self.stage.write_all()
        if task.exception() is not None:
            with pytest.raises(CommandRefusal, match="too many commands wait for the store"):
                task.result()
            return
        canceled = task.result()
        for each in canceled:
            assert each.is_cached
            assert (each.state, each.device) == (State.CANCELED, device)
            assert wanted in (None, each.id)
            assert self.stage.disk.commands[each.id] == each
            assert each.id not in self._sent()
            self.unsent.add(each.id)
        if wanted is None:
            waiting = [
                each.id
                for each in self.stage.disk.commands.values()
                if each.device == device and each.is_cached and each.state is State.CREATED
            ]
            assert waiting == []

    # Devices.

    @rule(device=devices)
    def connect(self, device: DeviceId) -> None:
        """Or connect again."""
        self.stage.connect(device)

    @rule(device=devices)
    def disconnect(self, device: DeviceId) -> None:
        """What it was sent stays unanswered until it is back, or too late."""
        self.stage.online.discard(device)

    @precondition(lambda self: self.stage.sent)
    @rule(data=st.data(), is_success=st.booleans(), by_gateway=st.booleans())
    def answer(self, data: st.DataObject, is_success: bool, by_gateway: bool) -> None:
        """The device of a command answers, the first time or again, in time or late, by itself or by its gateway."""
        sent = data.draw(st.sampled_from(self.stage.sent[-6:]))
        body = data.draw(st.sampled_from(GOOD if is_success else BAD))
        is_out = self._last(sent).state is State.RELEASED
        publisher = GATEWAY if by_gateway else sent.device
        name = answer_topic(sent.topic).removeprefix(data.draw(st.sampled_from(["", "/"])))
        ignored = self.stage.ignored["late"]
        self._receive(name, {"id": sent.id, **body}, publisher)
        if is_out:
            assert self._last(sent).state is (State.SUCCESS if is_success else State.FAILED)
        assert self.stage.ignored["late"] == ignored + (not is_out)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def foreign_answer(self, data: st.DataObject) -> None:
        """Of a stranger, on another topic, of a command that was not sent: nothing happens."""
        asked = self.asked[data.draw(st.sampled_from(sorted(self.asked)))]
        before = {each: self.stage.disk.last(each) for each in self.stage.disk.commands}
        name = answer_topic(asked.topic)
        what = data.draw(st.sampled_from(["stranger", "other device", "other topic", "unsent"]))
        publisher = asked.device
        if what == "stranger":
            publisher = OTHER
        elif what == "other device":
            publisher = SUB if asked.device == GATEWAY else GATEWAY
            name = name.replace(str(asked.device), str(publisher))
        elif what == "other topic":
            name = name.replace("measurepoint/set", "restart")
        elif asked.id in self._sent():
            return
        self._receive(name, {"id": asked.id, "code": 200}, publisher)
        assert {each: self.stage.disk.last(each) for each in before} == before

    # Disk, time, crashes.

    @precondition(lambda self: self.stage.disk.handed_in)
    @rule(count=st.integers(1, 4))
    def write_some(self, count: int) -> None:
        """A commit."""
        self.stage.write(count)

    @rule()
    def write(self) -> None:
        """The disk is quick."""
        self.stage.write_all()

    @rule(seconds=st.sampled_from([0.5, 5.0, 61.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, also while the disk writes nothing."""
        self.stage.loop.turn(seconds)

    @rule(is_torn=st.booleans())
    def crash(self, is_torn: bool) -> None:
        """What was not written is lost, what was written may not have been told; callers lose their connections."""
        if is_torn:
            for record, _ in self.stage.disk.handed_in[: len(self.stage.disk.handed_in) // 2]:
                if record.command is not None:
                    self.stage.disk.commands[record.command.id] = record.command
        self.stage.disk.handed_in.clear()
        for task in self.callers.values():
            task.cancel()
        self.callers.clear()
        self.stage.loop.settle()
        for entry in self.stage.dispatcher._entries.values():  # noqa: SLF001 - a process that ends has no timers
            entry.stop_timer()
        # Of what is lost nobody can ask any more, and what was not on disk as canceled or expired is not.
        self.asked = {each: made for each, made in self.asked.items() if each in self.stage.disk.commands}
        self.unsent = {each for each in self.unsent if self._is_over(each)}
        self._restart()

    @rule()
    def stop(self) -> None:
        """Every caller is told, and cached commands stay."""
        closing = self.stage.spawn(self.stage.dispatcher.close())
        self.stage.write_all()
        self.stage.loop.settle()
        assert closing.done()
        self.look_at_callers()
        assert self.callers == {}
        assert self.stage.loop.next_timer() is None
        self._restart()

    # What holds.

    @invariant()
    def look_at_callers(self) -> None:
        """Each is told once, and what is told is on disk."""
        for identifier, task in list(self.callers.items()):
            if not task.done():
                continue
            del self.callers[identifier]
            assert identifier not in self.told
            made = self.asked[identifier]
            try:
                found = task.result()
            except CommandRefusal as refusal:
                self.told[identifier] = refusal.code
                self._look_at_refusal(made, refusal)
            else:
                self.told[identifier] = found
                on_disk = self.stage.disk.commands[identifier]
                assert made.is_cached or found == on_disk
                assert made.is_cached or found.state in {State.SUCCESS, State.FAILED}

    @invariant()
    def nothing_that_was_called_unsent_is_sent(self) -> None:
        """Now or later."""
        assert not self.unsent & self._sent()

    @invariant()
    def cached_commands_leave_in_order(self) -> None:
        """Of each device, whatever happened between them."""
        for device in (GATEWAY, SUB):
            sent = [each.id for each in self.stage.sent if each.device == device and each.is_cached]
            assert sent == sorted(sent)

    @invariant()
    def bounds_hold(self) -> None:
        """At every moment."""
        dispatcher = self.stage.dispatcher
        assert 0 <= dispatcher.waiting <= WAITING
        assert 0 <= dispatcher.cached <= 2 * CACHED_PER_DEVICE

    def teardown(self) -> None:
        """Once everything had its time nothing is left: not in memory, not on disk, not in the loop."""
        stage, dispatcher = self.stage, self.stage.dispatcher
        stage.write_all()
        stage.loop.turn(172_800 + 61)
        stage.write_all()
        stage.loop.turn(61)
        self.look_at_callers()
        assert self.callers == {}
        assert (dispatcher.waiting, dispatcher.cached) == (0, 0)
        assert all(each.state.is_final for each in stage.disk.commands.values())
        assert not dispatcher._entries  # noqa: SLF001
        assert not dispatcher._queues  # noqa: SLF001
        assert not dispatcher._answers.unanswered  # noqa: SLF001
        assert dispatcher._ledger.uncommitted == 0  # noqa: SLF001
        assert stage.loop.next_timer() is None
        assert asyncio.all_tasks(stage.loop) == set()
        for identifier, command_on_disk in stage.disk.commands.items():
            was_sent = identifier in self._sent()
            assert was_sent or command_on_disk.state not in {State.SUCCESS, State.FAILED}
        stage.close()

    def _call(self, made: Command, work: Any) -> None:
        self.asked[made.id] = made
        self.callers[made.id] = self.stage.spawn(work)

    def _receive(self, name: str, body: dict[str, Any], publisher: DeviceId) -> None:
        message = Message(name, orjson.dumps(body), self.stage.now(), publisher)
        self.stage.dispatcher.answered(message)
        self.stage.loop.settle()

    def _look_at_refusal(self, made: Command, refusal: CommandRefusal) -> None:
        match refusal.code:
            case RestCode.NOT_ANSWERED:
                assert not made.is_cached
                assert refusal.data == {"commandId": made.id}
                assert made.id in self._sent()
            case RestCode.OFFLINE | RestCode.NOT_SENT | RestCode.TOO_MANY_CALLS | RestCode.CACHE_FULL:
                assert made.is_cached or refusal.code is not RestCode.CACHE_FULL
                self.unsent.add(made.id)
            case RestCode.INTERNAL:
                assert made.is_cached
                self.unsent.add(made.id)
            case _:
                raise AssertionError(refusal.code)

    def _restart(self) -> None:
        stage = self.stage
        sent_before = len(stage.sent)
        stage.online.clear()
        stage.start()
        unfinished = [each for each in stage.disk.commands.values() if not each.state.is_final]
        stage.dispatcher.restore(unfinished)
        stage.write_all()
        for each in unfinished:
            after = stage.disk.commands[each.id].state
            if each.state is State.RELEASED:
                assert after is State.TIMED_OUT
            elif each.is_cached and each.expires > stage.now():
                assert after is State.CREATED
            else:
                assert after is State.EXPIRED
        assert len(stage.sent) == sent_before

    def _sent(self) -> set[str]:
        return {each.id for each in self.stage.sent}

    def _last(self, sent: Command) -> Command:
        return self.stage.disk.last(sent.id)

    def _is_over(self, identifier: str) -> bool:
        found = self.stage.disk.commands.get(identifier)
        return found is None or found.state.is_final


TestDispatcherMachine = DispatcherMachine.TestCase
TestDispatcherMachine.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
