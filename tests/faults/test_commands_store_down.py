"""The database fails while commands are given: nothing is sent that is not on disk, callers wait or are refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from benchmarks.caller import Caller
from enos_ingest.commands.command import State
from enos_ingest.storage.commands import SqliteCommands
from tests.faults.commands import KEY, Plant, database, plant_registry, stored
from tests.faults.test_store_down import FAULTS, locked
from tests.process import PATIENCE, HubProcess, running, write_config

CANNOT_COMMIT = "the store cannot commit"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with two devices."""
    return write_config(tmp_path, plant_registry(2))


def failed_commits(hub: HubProcess) -> float:
    """How often the writer has tried in vain."""
    found = re.search(r"^enos_ingest_commits_failed_total (\S+)", hub.get("/metrics")[1], re.MULTILINE)
    assert found
    return float(found[1])


async def until_it_failed_twice_more(hub: HubProcess) -> None:
    """Wait until the writer has tried twice more: long enough for what does not wait for it."""
    wanted = await asyncio.to_thread(failed_commits, hub) + 2
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(failed_commits, hub) < wanted:
            await asyncio.sleep(0.05)  # the hub tells nobody


def with_a_hub(config: Path, work: Callable[[HubProcess, Plant, Caller, Caller], Awaitable[None]]) -> None:
    """Do some work with a running hub, its devices, and two callers."""

    async def run() -> None:
        with running(config) as hub, Caller(hub.address, KEY) as one, Caller(hub.address, KEY) as two:
            async with Plant(2) as plant:
                await plant.join(hub)
                await work(hub, plant, one, two)

    asyncio.run(run())


@pytest.mark.parametrize("fault", FAULTS)
def test_commands_wait_for_the_store(config: Path, fault: str) -> None:
    """While it fails none is sent, and no caller is told anything; once it is mended all go out."""

    async def work(hub: HubProcess, plant: Plant, one: Caller, two: Caller) -> None:
        device, other = plant.names
        with FAULTS[fault][0](hub, database(config)):
            calls = [
                asyncio.create_task(one.set_measurepoint(device, "temp", 1, timeout=60)),
                asyncio.create_task(two.set_measurepoint(other, "temp", 2, timeout=60, pendingTtl=600)),
            ]
            await asyncio.to_thread(hub.wait_for, CANNOT_COMMIT)
            await until_it_failed_twice_more(hub)
            assert plant.count == 0
            assert not any(call.done() for call in calls)
        answers = await asyncio.gather(*calls)
        assert [answer["code"] for answer in answers] == [0, 0]
        await plant.hear(2)
        assert [*plant.heard[device], *plant.heard[other]] == [answer["data"]["commandId"] for answer in answers]
        await plant.finish(config)

    with_a_hub(config, work)


def test_commands_that_wait_too_long_for_the_store_are_not_sent(config: Path) -> None:
    """The caller of an instant one is told that it was not sent, that of a cached one that it is not kept.

    And so it is when the store is mended: the device gets what is sent then, and on disk both have ended.
    """

    async def work(hub: HubProcess, plant: Plant, one: Caller, two: Caller) -> None:
        device = plant.names[0]
        with locked(hub, database(config)):
            cached = asyncio.create_task(two.set_measurepoint(device, "temp", 1, timeout=1, pendingTtl=600))
            instant = asyncio.create_task(one.set_measurepoint(device, "temp", 2, timeout=1))
            assert (await cached)["code"] == 99500
            refused = await instant
            assert refused["code"] == 11904
        answer = await one.set_measurepoint(device, "temp", 3)
        assert answer["code"] == 0
        assert plant.heard[device] == [answer["data"]["commandId"]]
        await plant.finish(config)
        assert [command.state for command in stored(config, [refused["data"]["commandId"]])] == [State.EXPIRED]
        with SqliteCommands(database(config)) as reader:
            assert reader.unfinished() == []

    with_a_hub(config, work)


def test_an_answer_waits_for_the_store(config: Path) -> None:
    """Neither the device has its PUBACK nor the caller the answer before that is on disk."""

    async def work(hub: HubProcess, plant: Plant, one: Caller, _: Caller) -> None:
        device = plant.names[0]
        plant.silent = plant.names
        call = asyncio.create_task(one.set_measurepoint(device, "temp", 1, timeout=60))
        await plant.hear(1)
        with locked(hub, database(config)):
            plant.answer(plant.heard[device][0])
            await asyncio.to_thread(hub.wait_for, CANNOT_COMMIT)
            await until_it_failed_twice_more(hub)
            assert not call.done()
            assert plant.acknowledged(device) == 0
        assert (await call)["code"] == 0
        async with asyncio.timeout(PATIENCE):
            while plant.acknowledged(device) == 0:
                await asyncio.sleep(0.01)  # its connection tells nobody but the plant's

    with_a_hub(config, work)


def test_what_waits_for_the_store_at_kill_9_was_never_sent(config: Path) -> None:
    """Nobody was told of it, no device got it, and the next hub does not know it; an answer is lost with the hub."""

    async def run() -> None:
        async with Plant(2) as plant:
            device, other = plant.names
            plant.silent = plant.names
            with running(config) as hub, Caller(hub.address, KEY) as one, Caller(hub.address, KEY) as two:
                await plant.join(hub)
                answered = asyncio.create_task(one.set_measurepoint(device, "temp", 1, timeout=60))
                await plant.hear(1)
                (out,) = plant.heard[device]
                with locked(hub, database(config)):
                    plant.answer(out)
                    pending = asyncio.create_task(two.set_measurepoint(other, "temp", 2, timeout=60, pendingTtl=600))
                    await asyncio.to_thread(hub.wait_for, CANNOT_COMMIT)
                    await until_it_failed_twice_more(hub)
                    hub.kill()
                results = await asyncio.gather(answered, pending, return_exceptions=True)
                assert all(isinstance(result, Exception) for result in results)
                await plant.leave()
            with running(config) as hub, Caller(hub.address, KEY) as one:
                plant.silent = ()
                await plant.join(hub)
                answers = [await one.set_measurepoint(name, "temp", 3) for name in plant.names]
                assert [answer["code"] for answer in answers] == [0, 0]
                assert plant.heard == {
                    device: [out, answers[0]["data"]["commandId"]],
                    other: [answers[1]["data"]["commandId"]],
                }
            assert [command.state for command in stored(config, [out])] == [State.TIMED_OUT]

    asyncio.run(run())
