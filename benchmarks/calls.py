"""Business software that sends values at a rate of its own, and the devices that get them."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.accounts import Account
from benchmarks.caller import Caller, CallerError
from benchmarks.command_device import CommandDevice, Heard
from benchmarks.hub import Hub
from benchmarks.packets import device_connect

__all__ = ["Calls"]

_MEASUREPOINT = "temp"
_TICK_SECONDS = 0.001
_IDLE_SECONDS = 2.0
"""How long an idle connection is used again; the hub keeps it for longer."""


class Calls:
    """Calls of setMeasurepoint at a rate of their own, to devices in turn, which answer at once.

    Args:
        address, key: the hub's HTTP listener, and an application's API key.
        accounts: the devices.
        fault: called with a sentence for each thing that is wrong: a call that is refused or not answered, a command
            that its device got more than once, or not at all, or with another value.

    Attributes:
        latencies: seconds from when each call was due to its answer.
        late: seconds that a call was made after it was due, at worst.
    """

    def __init__(self, address: str, key: str, accounts: Sequence[Account], fault: Callable[[str], None]) -> None:
        self.latencies = array("d")
        self.late = 0.0
        self.since = float("inf")
        """Calls that were due before are not measured."""
        self._address = address
        self._key = key
        self._fault = fault
        self._devices = [
            CommandDevice(str(device), device_connect(device, secret), self._hear) for device, secret in accounts
        ]
        self._free: list[tuple[Caller, float]] = []
        self._callers: set[Caller] = set()
        self._heard: Counter[tuple[str, str, float]] = Counter()

    async def join(self, hub: Hub) -> None:
        """Connect the devices."""
        await asyncio.gather(*(device.join(hub.host, hub.port) for device in self._devices))

    async def run(self, rate: float, warmup: float, seconds: float) -> None:
        """Call at this rate; returns once all is answered."""
        start = time.perf_counter() + _TICK_SECONDS
        self.since = start + warmup
        made, count = 0, round((warmup + seconds) * rate)
        async with asyncio.TaskGroup() as calls:
            while made < count:
                due = min(count, int((time.perf_counter() - start) * rate) + 1)
                for turn in range(made, due):
                    calls.create_task(self._call(turn, start + turn / rate), name=f"call {turn}")
                made = max(made, due)
                await asyncio.sleep(_TICK_SECONDS)
        for command, device, value in self._heard:
            self._fault(f"{device} got the command {command} with the value {value}, which nobody asked for")

    def close(self) -> None:
        """End all connections."""
        for device in self._devices:
            device.close()
        for caller in self._callers:
            caller.close()

    def _hear(self, device: CommandDevice, heard: Heard) -> None:
        self._heard[heard.id, device.name, heard.params.get(_MEASUREPOINT)] += 1
        device.answer(heard)

    async def _call(self, turn: int, due: float) -> None:
        if due >= self.since:
            self.late = max(self.late, time.perf_counter() - due)
        caller = self._take()
        device = self._devices[turn % len(self._devices)].name
        try:
            envelope = await caller.set_measurepoint(device, _MEASUREPOINT, turn)
        except CallerError as error:
            self._fault(str(error))
            return
        now = time.perf_counter()
        self._free.append((caller, now))
        if envelope["code"] != 0:
            self._fault(f"call {turn}: {envelope['code']} {envelope['msg']}")
            return
        copies = self._heard.pop((envelope["data"]["commandId"], device, turn), 0)
        if copies != 1:
            self._fault(f"call {turn}: {device} got {copies} copies of its command")
        if due >= self.since:
            self.latencies.append(now - due)

    def _take(self) -> Caller:
        """The connection that was used last, where it is not so old that the hub may be closing it; else a new one."""
        if self._free:
            caller, used = self._free.pop()
            if time.perf_counter() - used < _IDLE_SECONDS:
                return caller
            for idle, _ in (*self._free, (caller, used)):
                idle.close()
                self._callers.discard(idle)
            self._free.clear()
        caller = Caller(self._address, self._key)
        self._callers.add(caller)
        return caller
