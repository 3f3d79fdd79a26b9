"""A dispatcher with a loop whose clock a test turns, a disk that writes when it is told, and devices that listen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.dispatcher import Dispatcher
from enos_ingest.commands.downlink import invoke_service, set_measurepoint
from enos_ingest.commands.links import IgnoredReason
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.store import Done, Writer

__all__ = ["DIRECTORY", "GATEWAY", "OTHER", "SUB", "Disk", "Stage", "TurnedLoop", "command"]

GATEWAY, SUB, OTHER = (DeviceId("P", key) for key in ("gw", "sub", "other"))
DIRECTORY = Directory([Product("P")], [Device(GATEWAY), Device(SUB), Device(OTHER)], [(GATEWAY, SUB)])

_START = 1_800_000_000.0
_TURNS = 12
"""Turns of the loop after which nothing happens any more of what was possible at once."""

_TICK = 1e-6

T = TypeVar("T")


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: its clock stands until a test turns it."""

    def __init__(self) -> None:
        self.clock = _START
        super().__init__()

    def time(self) -> float:
        """Seconds; as good as the epoch's here."""
        return self.clock

    def settle(self) -> None:
        """Let happen whatever can happen now."""

        async def turns() -> None:
            for _ in range(_TURNS):
                await asyncio.sleep(0)

        self.run_until_complete(turns())

    def turn(self, seconds: float) -> None:
        """Let time pass, from one time limit to the next."""
        end = self.clock + seconds
        while (due := self.next_timer()) is not None and due <= end:
            self.clock = max(self.clock, due + _TICK)  # asyncio wants a time limit behind it
            self.settle()
        self.clock = max(self.clock, end)
        self.settle()

    def next_timer(self) -> float | None:
        """When the next time limit ends, None where there is none."""
        timers = cast("list[asyncio.TimerHandle]", self._scheduled)  # type: ignore[attr-defined]
        return min((each.when() for each in timers if not each.cancelled()), default=None)


class Disk:
    """In place of a writer: what was handed in is on disk, and is told, when the test says so."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        """What a hub that starts now would find."""
        self.handed_in: list[tuple[Record, Done]] = []
        self.fails_with: StorageError | None = None

    def commit(self, record: Record, done: Done) -> None:
        """Take a record."""
        self.handed_in.append((record, done))

    def write(self, count: int | None = None) -> None:
        """Write so many records, oldest first, or all; then tell who waits for them."""
        group, self.handed_in = self.handed_in[:count], self.handed_in[len(self.handed_in[:count]) :]
        for record, _ in group:
            if record.command is not None and self.fails_with is None:
                self.commands[record.command.id] = record.command
        for _, done in group:
            done(self.fails_with)

    def last(self, identifier: str) -> Command:
        """A command as it is on disk, or on its way there."""
        found = [record.command for record, _ in self.handed_in if record.command and record.command.id == identifier]
        last = found[-1] if found else self.commands[identifier]
        assert last is not None
        return last


class Stage:
    """A dispatcher, a disk and devices; made again after a crash, with the same disk."""

    def __init__(self, **options: Any) -> None:
        self.loop = TurnedLoop()
        self.disk = Disk()
        self.online: set[DeviceId] = set()
        self.settling: set[DeviceId] = set()
        """Who has just come online."""
        self.sent: list[Command] = []
        """What has left, in order."""
        self.ended: Counter[State] = Counter()
        self.ignored: Counter[str] = Counter()
        self._options = options
        self.start()

    def start(self) -> None:
        """Another dispatcher, as after a start of the hub."""
        self.dispatcher = self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something that needs no time."""
        return self.loop.run_until_complete(work)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something that may take longer."""
        task = self.loop.create_task(work)
        self.loop.settle()
        return task

    def connect(self, device: DeviceId) -> None:
        """A device comes online."""
        self.online.add(device)
        self.dispatcher.came_online(device)
        self.loop.settle()

    def write(self, count: int | None = None) -> None:
        """Have the disk write, and what follows from that happen."""
        self.disk.write(count)
        self.loop.settle()

    def write_all(self) -> None:
        """Have the disk write until nothing more follows from it."""
        while self.disk.handed_in:
            self.write()

    def now(self) -> int:
        """Epoch milliseconds."""
        return round(self.loop.time() * 1000)

    def close(self) -> None:
        """End the loop, and whoever still waits there."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self.loop.close()

    # What the dispatcher asks.

    def is_reachable(self, device: DeviceId, topic: str) -> bool:
        """Whether a device is online."""
        assert str(device) in topic
        return device in self.online

    def is_ready(self, device: DeviceId, topic: str) -> bool:
        """Whether a device has been online for a while."""
        return self.is_reachable(device, topic) and device not in self.settling

    def send_command(self, device: DeviceId, topic: str, payload: bytes) -> bool:
        """A packet leaves: only for a command that is on disk as sent, and has not been sent before."""
        if not self.is_reachable(device, topic):
            return False
        (on_disk,) = [each for each in self.disk.commands.values() if each.payload == payload]
        assert on_disk.state is State.RELEASED
        assert (on_disk.device, on_disk.topic) == (device, topic)
        assert on_disk.id not in [each.id for each in self.sent], "sent twice"
        if on_disk.is_cached:
            before = [each.id for each in self.sent if each.device == device and each.is_cached]
            assert all(self.disk.last(each).state.is_final for each in before), "not one at a time"
        self.sent.append(on_disk)
        return True

    def command_ended(self, state: State) -> None:
        """Count an end."""
        assert state.is_final
        self.ended[state] += 1

    def answer_ignored(self, reason: IgnoredReason) -> None:
        """Count an answer without effect."""
        self.ignored[reason] += 1

    async def _start(self) -> Dispatcher:
        writer = cast("Writer", self.disk)
        return Dispatcher(writer, self, self, lambda: DIRECTORY, now=self.now, **self._options)


def command(
    number: int,
    device: DeviceId = GATEWAY,
    *,
    at: int,
    pending_ttl: int = 0,
    timeout: int = 30,
    service: bool = False,
) -> Command:
    """A command, not yet known to anybody."""
    identifier = str(127_000_000_000_000_000 + number)
    topic, payload = (
        invoke_service(identifier, device, "restart", {})
        if service
        else set_measurepoint(identifier, device, "temp", number)
    )
    return Command(
        id=identifier,
        device=device,
        kind=Kind.INVOKE_SERVICE if service else Kind.SET_MEASUREPOINT,
        identifier="restart" if service else "temp",
        input=number,
        topic=topic,
        payload=payload,
        timeout=timeout,
        pending_ttl=pending_ttl,
        created=at,
        application="scada",
    )
