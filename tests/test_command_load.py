"""Thousands of callers wait for devices at the same time: each gets its own answer, and who hangs up leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import psutil
import pytest

from benchmarks.caller import Caller
from benchmarks.command_device import CommandDevice, Heard
from benchmarks.packets import device_connect
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import Hub
from tests.endpoint.inside import run_inside
from tests.endpoint.site import metric
from tests.process import PATIENCE

CALLS = 2_000
DEVICES = 20
KEY, SECRET = "the-key-of-an-application", "a-device-secret"

REGISTRY: dict[str, Any] = {
    "products": [{"key": "P", "model": "inverter"}],
    "devices": [{"product": "P", "key": f"inv-{number}", "secret": SECRET} for number in range(DEVICES)],
    "applications": [{"name": "scada", "api_key": KEY, "scopes": ["control"]}],
}

_AT_ONCE = 100
"""Connections that are being made at the same time; the system holds some that are not accepted yet."""

_LOOKING = 4
"""Descriptors that looking itself may hold."""


class Footprint(NamedTuple):
    """What a hub holds for its callers and their commands."""

    commands: float
    tasks: int
    descriptors: int

    def is_within(self, before: Footprint) -> bool:
        """Whether no more is held than before, each on its own; what reads the metrics may hold a connection."""
        return (
            self.commands <= before.commands
            and self.tasks <= before.tasks
            and self.descriptors <= before.descriptors + _LOOKING
        )


def footprint(hub: Hub) -> Footprint:
    """As it is now; the descriptors are those of both ends, as the hub runs in this process."""
    tasks: list[asyncio.Task[Any]] = []
    run_inside(hub, lambda: tasks.extend(asyncio.all_tasks()))
    waiting = metric(hub, "enos_ingest_commands_waiting")
    # One task is the look itself.
    return Footprint(waiting, len(tasks) - 1, psutil.Process().num_fds())


async def until(condition: Callable[[], bool]) -> None:
    """Look until it is so: a hub tells nobody what it has let go."""
    async with asyncio.timeout(2 * PATIENCE):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.01)


class Site:
    """Devices that hold back their answers, and callers; `heard` has what the devices got, by what was asked for."""

    def __init__(self, hub: Hub) -> None:
        self.heard: dict[int, tuple[CommandDevice, Heard]] = {}
        self.callers = [Caller(hub.http_url.removeprefix("http://"), KEY) for _ in range(CALLS)]
        self._hub = hub
        self._all_heard = asyncio.Event()
        self._devices = [
            CommandDevice(f"P/inv-{number}", device_connect(DeviceId("P", f"inv-{number}"), SECRET), self._hear)
            for number in range(DEVICES)
        ]

    async def join(self) -> None:
        """Connect the devices."""
        for device in self._devices:
            await device.join(self._hub.host, self._hub.port)

    async def call(self, seconds: int) -> None:
        """Have each caller ask for another limit, and wait until all of that is with the devices."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def send(number: int) -> None:
            device = self._devices[number % DEVICES].name
            async with gate:
                await self.callers[number].send(
                    "invokeService",
                    device,
                    {"inputData": {"limit": number / CALLS}},
                    serviceId="limitPower",
                    timeout=seconds,
                )

        await asyncio.gather(*map(send, range(CALLS)))
        async with asyncio.timeout(2 * PATIENCE):
            await self._all_heard.wait()

    def answer(self) -> None:
        """Answer all commands in any order, each with what it asked for."""
        for number in random.sample(range(CALLS), CALLS):
            device, heard = self.heard[number]
            device.answer(heard, {"applied": heard.params["limit"]})

    async def close(self) -> None:
        """End all connections."""
        for caller in self.callers:
            caller.close()
        for device in self._devices:
            device.close()
        await asyncio.gather(*(device.gone.wait() for device in self._devices))

    def _hear(self, device: CommandDevice, heard: Heard) -> None:
        number = round(CALLS * heard.params["limit"])
        assert number not in self.heard, "it came twice"
        self.heard[number] = device, heard
        if len(self.heard) == CALLS:
            self._all_heard.set()


@contextlib.asynccontextmanager
async def site(hub: Hub) -> AsyncIterator[Site]:
    """Devices and callers, connected to nothing any more at the end."""
    opened = Site(hub)
    try:
        await opened.join()
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def hub(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with some devices and the limits that it has by default."""
    return enos_hub(registry=REGISTRY)


def test_each_of_2000_waiting_callers_gets_its_own_answer(hub: Hub) -> None:
    """All commands are with their devices before the first is answered; afterwards nothing of them is left."""

    async def run() -> None:
        async with site(hub) as plant:
            before = await asyncio.to_thread(footprint, hub)
            await plant.call(60)
            during = await asyncio.to_thread(footprint, hub)
            assert during.commands == CALLS
            assert during.descriptors >= 2 * CALLS
            plant.answer()
            answers = await asyncio.gather(*(caller.receive() for caller in plant.callers))
            for number, answer in enumerate(answers):
                assert answer["code"] == 0
                _, heard = plant.heard[number]
                assert answer["data"] == {"commandId": heard.id, "outputData": {"applied": number / CALLS}}
            for caller in plant.callers:
                caller.close()
            await until(lambda: footprint(hub).is_within(before))

    asyncio.run(run())


@pytest.mark.parametrize("are_answered", [True, False])
def test_callers_who_hang_up_leave_nothing(hub: Hub, *, are_answered: bool) -> None:
    """Their connections and tasks end at once, their commands with the answer or the time; others are answered."""

    async def run() -> None:
        async with site(hub) as plant:
            before = await asyncio.to_thread(footprint, hub)
            await plant.call(60 if are_answered else 10)
            leaving = set(random.sample(range(CALLS), CALLS // 2))
            staying = [number for number in range(CALLS) if number not in leaving]
            for number in leaving:
                plant.callers[number].close()
            await until(lambda: psutil.Process().num_fds() <= before.descriptors + 2 * len(staying))
            await until(lambda: footprint(hub).tasks <= before.tasks + 3 * len(staying))
            if are_answered:
                assert metric(hub, "enos_ingest_commands_waiting") == CALLS, "they go on all the same"
                plant.answer()
            answers = await asyncio.gather(*(plant.callers[number].receive() for number in staying))
            for number, answer in zip(staying, answers, strict=True):
                assert answer["code"] == (0 if are_answered else 11915)
                assert answer["data"]["commandId"] == plant.heard[number][1].id
            for number in staying:
                plant.callers[number].close()
            await until(lambda: footprint(hub).is_within(before))

    asyncio.run(run())
