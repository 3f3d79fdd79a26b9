"""A fleet of devices on one event loop, which reports as fast as it is answered or at a rate of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.accounts import Account
from benchmarks.device import Device, DeviceError
from benchmarks.packets import device_connect
from benchmarks.reports import Reports

__all__ = ["Fleet", "FleetError", "Result"]

CONNECTING = 50
"""Connections that are being made at the same time."""

_ANSWER_SECONDS = 60.0
"""How long a connection, and what is open at the end, may take."""

_TICK_SECONDS = 0.001
"""How often what is due is sent at a rate of its own; a request waits half of it on average, which counts."""

_FAULTS = 10
"""Sentences kept of what went wrong; all are counted."""


class FleetError(Exception):
    """The fleet cannot report: refused, or nobody is there."""


@dataclass
class Result:
    """What was seen between warm-up and end; times in seconds, `*_cpu` what a process used meanwhile.

    `late` is how long after it was due a request was sent, at worst. Faults and codes count whenever they come.
    """

    seconds: float = 0.0
    replies: int = 0
    late: float = 0.0
    generator_cpu: float = 0.0
    hub_cpu: float | None = None
    latencies: array[float] = field(default_factory=lambda: array("d"))
    not_200: Counter[object] = field(default_factory=Counter)
    errors: int = 0
    faults: list[str] = field(default_factory=list)


class Fleet:
    """All devices of a run.

    Args:
        reports: makes their messages.
        reply_qos: the QoS with which they subscribe to their replies; those of QoS 1 are acknowledged.
        cpu: reads the seconds of processor time that the hub has used.
        patience: seconds that a connection, and what is open at the end, may take.
    """

    def __init__(
        self,
        reports: Reports,
        *,
        reply_qos: int = 1,
        cpu: Callable[[], float | None] = lambda: None,
        patience: float = _ANSWER_SECONDS,
    ) -> None:
        self.devices: list[Device] = []
        self.result = Result()
        self.sending = False
        self.since = 0.0
        self._measuring = False
        self._reports = reports
        self._reply_qos = reply_qos
        self._cpu = cpu
        self._patience = patience
        self._unsettled: set[Device] = set()
        self._all_settled = asyncio.Event()
        _allow_open_files()

    async def connect(
        self, accounts: Sequence[Account], host: str, port: int, *, at_once: int = CONNECTING
    ) -> array[float]:
        """Connect more devices and subscribe each to its replies.

        Returns:
            how many seconds after the first began each was subscribed, in the order in which they were.

        Raises:
            FleetError: one was refused, or does not get an answer.
        """
        waiting = [self._make(account) for account in reversed(accounts)]
        self.devices += reversed(waiting)
        done = array("d")
        started = time.perf_counter()

        async def join() -> None:
            while waiting:
                await self.reconnect(waiting.pop(), host, port)
                done.append(time.perf_counter() - started)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(waiting))):
                    group.create_task(join())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return done

    async def reconnect(self, device: Device, host: str, port: int) -> None:
        """Connect one device, for the first time or again.

        Raises:
            FleetError: it was refused, or does not get an answer.
        """
        loop = asyncio.get_running_loop()
        device.ready = loop.create_future()
        try:
            async with asyncio.timeout(self._patience):
                await loop.create_connection(lambda: device, host, port)
                await device.ready
        except DeviceError as error:
            raise FleetError(str(error)) from None
        except (OSError, TimeoutError) as error:
            why = str(error) or "no answer"
            raise FleetError(f"{device.name} cannot connect to {host}:{port}: {why}") from None

    async def run(self, window: int, warmup: float, seconds: float, active: int | None = None) -> Result:
        """Keep `window` requests of each device open for some time; returns what was seen after the warm-up.

        Args:
            active: how many devices report; by default all.
        """
        _quiet()
        self.sending = True
        for device in self.devices[:active]:
            device.send([time.perf_counter()] * window)
        await asyncio.sleep(warmup)
        with self._measured():
            await asyncio.sleep(seconds)
        self.sending = False
        await self.settle()
        return self.result

    async def offer(self, rate: float, warmup: float, seconds: float) -> Result:
        """Send `rate` messages a second, whatever is answered, each device in its turn.

        Latencies are those from the moment when each request was due: one that could not be sent in time, because
        the generator or the hub stood still, has waited all the same.
        """
        _quiet()
        start = time.perf_counter() + _TICK_SECONDS
        await self._send(start, rate, 0, round(warmup * rate))
        self.since = start + round(warmup * rate) / rate
        with self._measured():
            await self._send(start, rate, round(warmup * rate), round((warmup + seconds) * rate))
            await self.settle()
        return self.result

    async def send(self, rate: float, seconds: float) -> None:
        """Send `rate` messages a second for some time, as `offer` does, without measuring anything."""
        _quiet()
        await self._send(time.perf_counter(), rate, 0, round(seconds * rate))

    async def settle(self) -> None:
        """Wait for what is open; what then is still is missing, and so an error."""
        self._unsettled = {device for device in self.devices if device.connected and device.open}
        self._all_settled.clear()
        if self._unsettled:
            try:
                async with asyncio.timeout(self._patience):
                    await self._all_settled.wait()
            except TimeoutError:
                for device in self._unsettled:
                    self.fault(f"{device.name}: {device.open} requests without reply or PUBACK", device.open)
        self._unsettled = set()

    def close(self) -> None:
        """End all connections."""
        gc.unfreeze()
        for device in self.devices:
            device.close()

    async def _send(self, start: float, rate: float, first: int, last: int) -> None:
        """Send the messages from number `first` to before `last`; number N is due at `start + N / rate`."""
        devices, result = self.devices, self.result
        number = first
        while number < last:
            now = time.perf_counter()
            due = min(last, int((now - start) * rate) + 1)
            if self._measuring and number < due:
                result.late = max(result.late, now - start - number / rate)
            for turn in range(number, due):
                device = devices[turn % len(devices)]
                if device.connected:  # else its end is an error already
                    device.send([start + turn / rate])
            number = max(number, due)
            await asyncio.sleep(_TICK_SECONDS)

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        hub, own, started = self._cpu(), time.process_time(), time.perf_counter()
        self._measuring = True
        yield
        self._measuring = False
        result = self.result
        result.seconds = time.perf_counter() - started
        result.generator_cpu = time.process_time() - own
        used = self._cpu()
        result.hub_cpu = None if hub is None or used is None else used - hub

    def _make(self, account: Account) -> Device:
        device, secret = account
        stream = self._reports.stream(device)
        return Device(str(device), device_connect(device, secret), stream, self, reply_qos=self._reply_qos)

    # What devices call.

    def answered(self, latencies: list[float]) -> None:
        """Note replies."""
        if self._measuring:
            self.result.replies += len(latencies)
            self.result.latencies.extend(latencies)

    def refused(self, code: object) -> None:
        """Count a code that is not 200."""
        self.result.not_200[code] += 1

    def fault(self, sentence: str, count: int = 1) -> None:
        """Count what should not have come, or did not, and keep the first sentences."""
        self.result.errors += count
        if len(self.result.faults) < _FAULTS:
            self.result.faults.append(sentence)

    def settled(self, device: Device) -> None:
        """Note that a device waits for nothing."""
        if self._unsettled:
            self._unsettled.discard(device)
            if not self._unsettled:
                self._all_settled.set()


def _quiet() -> None:
    """Keep the garbage collector from looking at thousands of devices again and again."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _allow_open_files() -> None:
    """Thousands of devices need as many descriptors, and many systems allow 1024 until they are asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
