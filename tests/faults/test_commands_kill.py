"""The hub ends while commands wait and are on their way: each is delivered once, in order, or reported; never twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import pytest

from benchmarks.caller import Caller, CallerError
from enos_ingest.commands.command import State
from tests.faults.commands import KEY, Plant, caching, plant_registry, stored
from tests.process import PATIENCE, HubProcess, running, write_config

SENT_AND_UNANSWERED = "commands were sent before the last stop and not answered: they are not sent again"

DEVICES, EACH = 100, 50
SILENT = 10
"""Devices that answer nothing until the hub has been killed: so something is out then, on whatever machine."""

KILLS = 2


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with many devices."""
    return write_config(tmp_path, plant_registry(DEVICES))


async def deliver(hub: HubProcess, config: Path, plant: Plant) -> None:
    """Let all devices connect, and answer all that is left."""
    plant.silent = ()
    await plant.join(hub)
    await plant.finish(config)


async def deliver_until_killed(hub: HubProcess, plant: Plant, count: int) -> None:
    """Let all devices connect until so many more commands have come; then there is no hub any more."""
    await plant.join(hub)
    await plant.hear(plant.count + count)
    hub.kill()
    await plant.leave()


def test_cached_commands_survive_kill_9(config: Path) -> None:
    """50 commands for each of 100 devices; twice the hub is killed at a random moment while it delivers them.

    Every device gets each command once at the most, in order. What it does not get, or gets and does not answer, was
    out when the hub died, and is reported so: one command of a device for each death, as they go one at a time.
    """

    async def run() -> tuple[Plant, dict[str, list[str]]]:
        async with Plant(DEVICES) as plant:
            with running(config) as hub:
                cached = await caching(hub, plant.names, EACH)
                plant.silent = plant.names[:SILENT]
                await deliver_until_killed(hub, plant, random.randint(DEVICES, 1_500))
            with running(config) as hub:
                assert hub.wait_for(SENT_AND_UNANSWERED, level="warning")["count"] >= SILENT
                plant.silent = plant.names[SILENT : 2 * SILENT]
                await deliver_until_killed(hub, plant, random.randint(DEVICES, 1_500))
            with running(config) as hub:
                await deliver(hub, config, plant)
                assert [line for line in hub.lines if line["level"] == "error"] == []
            return plant, cached

    plant, cached = asyncio.run(run())
    all_reported = 0
    for name, ids in cached.items():
        assert len(ids) == EACH
        assert ids == sorted(ids)
        heard = plant.heard[name]
        assert heard == sorted(set(heard)), name
        states = {command.id: command.state for command in stored(config, ids)}
        succeeded = {each for each in ids if states[each] is State.SUCCESS}
        reported = {each for each in ids if states[each] is State.TIMED_OUT}
        assert succeeded | reported == set(ids), name
        assert succeeded <= set(heard), name
        assert len(reported) <= KILLS, name
        all_reported += len(reported)
    assert all_reported >= KILLS * SILENT, "nothing was out when the hub was killed: the test shows nothing"


def test_what_was_accepted_is_delivered_after_kill_9(config: Path) -> None:
    """Killed while calls come in, the hub has kept every cached command that a caller was told of."""
    accepted: list[tuple[str, str]] = []
    wanted = random.randint(50, 500)

    async def call(hub: HubProcess, name: str, enough: asyncio.Event) -> None:
        with Caller(hub.address, KEY) as caller, contextlib.suppress(CallerError):
            for number in range(EACH):
                answer = await caller.set_measurepoint(name, "temp", number, pendingTtl=3600)
                assert answer["code"] == 0, answer
                accepted.append((name, answer["data"]["commandId"]))
                if len(accepted) >= wanted:
                    enough.set()

    async def run() -> Plant:
        async with Plant(DEVICES) as plant:
            with running(config) as hub:
                enough = asyncio.Event()
                calls = [asyncio.create_task(call(hub, name, enough)) for name in plant.names[:20]]
                async with asyncio.timeout(PATIENCE):
                    await enough.wait()
                hub.kill()
                await asyncio.gather(*calls)
            with running(config) as hub:
                await deliver(hub, config, plant)
            return plant

    plant = asyncio.run(run())
    for name, heard in plant.heard.items():
        told = [command for device, command in accepted if device == name]
        assert heard == sorted(set(heard))
        # One more may have been on disk whose caller was not told any more.
        assert heard[: len(told)] == told
        assert len(heard) <= len(told) + 1


@pytest.mark.parametrize("is_answered_later", [True, False])
def test_an_instant_command_is_out_at_kill_9(config: Path, *, is_answered_later: bool) -> None:
    """Its caller loses the connection; it is reported, and not sent again. An answer that comes then has no effect."""

    async def run() -> None:
        async with Plant(1) as plant:
            (name,) = plant.silent = plant.names
            with running(config) as hub, Caller(hub.address, KEY) as caller:
                await plant.join(hub)
                waiting = asyncio.create_task(caller.set_measurepoint(name, "temp", 1))
                await plant.hear(1)
                hub.kill()
                with pytest.raises(CallerError):
                    await waiting
                await plant.leave()
            (out,) = plant.heard[name]
            with running(config) as hub, Caller(hub.address, KEY) as caller:
                assert hub.wait_for(SENT_AND_UNANSWERED)["commands"] == [out]
                await plant.join(hub)
                if is_answered_later:
                    plant.answer(out)
                plant.silent = ()
                answer = await caller.set_measurepoint(name, "temp", 2)
                assert answer["code"] == 0
                assert plant.heard[name] == [out, answer["data"]["commandId"]]
            assert [command.state for command in stored(config, plant.heard[name])] == [State.TIMED_OUT, State.SUCCESS]

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_commands_wait(config: Path, number: signal.Signals) -> None:
    """Callers are told whether their command was sent, and the hub exits with 0; what was not sent goes out next time.

    One device has instant commands that it does not answer, one a cached one, with others and instant ones behind it,
    one is not there.
    """

    async def run() -> None:
        async with Plant(3) as plant:
            instant, queued, away = plant.silent = plant.names
            with running(config) as hub, contextlib.ExitStack() as stack:
                kept = await caching(hub, [queued, away], 3)
                await plant.join(hub, [instant, queued])
                callers = [stack.enter_context(Caller(hub.address, KEY)) for _ in range(20)]
                calls = [
                    asyncio.create_task(caller.set_measurepoint(device, "temp", 1))
                    for caller, device in zip(callers, [instant] * 10 + [queued] * 10, strict=True)
                ]
                await plant.hear(11)
                await plant.until_waiting(hub, 20)
                hub.signal(number)
                answers = [answer["code"] for answer in await asyncio.gather(*calls)]
                assert answers == [11915] * 10 + [11904] * 10
                assert await asyncio.to_thread(hub.wait) == 0, hub.log()
                assert [line for line in hub.lines if line["level"] in ("error", "warning")] == []
            out, *behind = kept[queued]
            assert [command.state for command in stored(config, [out])] == [State.TIMED_OUT]
            assert {command.state for command in stored(config, [*behind, *kept[away]])} == {State.CREATED}
            with running(config) as hub:
                await deliver(hub, config, plant)
            assert plant.heard[queued] == kept[queued]
            assert plant.heard[away] == kept[away]
            assert len(plant.heard[instant]) == 10

    asyncio.run(run())
