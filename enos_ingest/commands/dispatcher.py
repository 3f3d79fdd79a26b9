"""Which command goes out when, and what became of it.

Every step of a command is handed to the one writer before it has an effect, and the writer keeps the order: a command
is on disk as `RELEASED` before its packet leaves, so whatever happens no command leaves twice. What was out at a crash
is reported as timed out, as nobody can know whether the device has done it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from enos_ingest.clock import epoch_ms
from enos_ingest.commands.answer import Answer
from enos_ingest.commands.answers import Answers, Decode
from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.downlink import answer_topic
from enos_ingest.commands.entry import Entry, is_done, tell
from enos_ingest.commands.ledger import Ledger
from enos_ingest.commands.links import CommandCounters, IgnoredReason, Links
from enos_ingest.commands.queue import DeviceQueue
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import StorageError
from enos_ingest.logs import get_logger
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.store import Committer

__all__ = ["Dispatcher"]

log = get_logger(__name__)

_STORE_SECONDS = 2.0
"""How long beyond its own time a caller waits for the disk: a commit takes milliseconds, and a caller who is told
nothing for minutes learns nothing more by it. A command's fate is stored all the same, once the store commits."""

_HELD_BYTES = 256 * 2**20
"""Payloads of all unfinished commands together: a million of the usual length. What they were made from is in memory
beside them, a list of numbers as ten times as much, and no limit on their number alone would bound that."""


class Dispatcher:
    """Sends commands and takes their answers.

    Args:
        links: the ways to devices.
        directory: gives the registry as it is now.
        now: gives epoch milliseconds, for what is stored; time limits run on the clock of the event loop.
        cached_per_device: how many cached commands of one device may be unfinished.
        waiting: how many instant commands may be unfinished, and how many steps may wait for the disk.
        held_bytes: how long the payloads of all unfinished commands may be together.
        answer_bytes: the longest answer that is read.
        decode: decodes answers in a product's own format; None where there are none.
        output_fault: says what is wrong with a service's output, None for nothing; the command has failed then.
    """

    def __init__(
        self,
        writer: Committer,
        links: Links,
        counters: CommandCounters,
        directory: Callable[[], Directory],
        *,
        now: Callable[[], int] = epoch_ms,
        cached_per_device: int = 50,
        waiting: int = 10_000,
        held_bytes: int = _HELD_BYTES,
        answer_bytes: int = 524_288,
        decode: Decode | None = None,
        output_fault: Callable[[Command, Any], str | None] | None = None,
    ) -> None:
        self._ledger = Ledger(writer)
        self._links = links
        self._counters = counters
        self._now = now
        self._cached_limit = cached_per_device
        self._waiting_limit = waiting
        self._held_limit = held_bytes
        self._output_fault = output_fault
        self._answers = Answers(self._take, counters, directory, limit=answer_bytes, decode=decode)
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, Entry] = {}
        self._queues: dict[DeviceId, DeviceQueue] = {}
        self._online: dict[DeviceId, None] = {}
        self._cached = 0
        self._held = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many instant commands are unfinished."""
        return len(self._entries) - self._cached

    @property
    def cached(self) -> int:
        """How many cached commands are unfinished."""
        return self._cached

    # What business software asks for.

    async def run(self, command: Command) -> Command:
        """Send an instant command and return it as it ended: with success, or with the device's refusal.

        Where the caller hangs up the command goes on all the same.

        Raises:
            CommandRefusal: OFFLINE, NOT_SENT, NOT_ANSWERED, or TOO_MANY_CALLS.
        """
        self._admit(command)
        if self.waiting >= self._waiting_limit:
            raise CommandRefusal(RestCode.TOO_MANY_CALLS, f"{self.waiting} instant commands are waiting, try again")
        if not self._links.is_reachable(command.device, command.topic):
            raise CommandRefusal(RestCode.OFFLINE, "the device is offline, an instant command cannot be sent")
        entry = self._enter(command)
        queue = self._queues.get(command.device)
        if queue is not None and queue.must_wait(command.id):
            queue.add(command.id, is_cached=False)
            self._ledger.store(entry, self._created)
        else:
            self._release(entry)
        if not await is_done(entry.told, self._seconds_until(command.expires) + _STORE_SECONDS):
            raise entry.unanswered()
        if entry.refusal is not None:
            raise entry.refusal
        return entry.command

    async def cache(self, command: Command) -> None:
        """Store a cached command; it goes out when the device is online, also now.

        Raises:
            CommandRefusal: CACHE_FULL, TOO_MANY_CALLS, or INTERNAL where it could not be stored and will not be sent.
        """
        self._admit(command)
        queue = self._queues.get(command.device)
        if queue is not None and queue.cached >= self._cached_limit:
            sentence = f"{queue.cached} cached commands of the device are unfinished, more are not kept"
            raise CommandRefusal(RestCode.CACHE_FULL, sentence)
        entry = self._enter(command)
        self._queue_of(command.device).add(command.id, is_cached=True)
        self._ledger.store(entry, self._created)
        self._pump(command.device)
        if not await is_done(entry.told, command.timeout):
            # It is not on disk as created, nor as released, which would come later: so it has not been sent.
            if command.id in self._entries:
                self._finish(entry, State.CANCELED)
            raise entry.not_stored()
        if entry.refusal is not None:
            raise entry.refusal

    async def cancel(self, device: DeviceId, command: str | None = None) -> list[Command]:
        """Cancel one cached command of a device that has not been sent, or all of them; returns those, canceled.

        Raises:
            CommandRefusal: INTERNAL where the store cannot commit; they will not be sent before the hub starts again.
        """
        self._admit()
        queue = self._queues.get(device)
        cached = queue.all_cached() if queue is not None else []
        entries = [self._entries[each] for each in cached if command in (None, each)]
        entries = [entry for entry in entries if not entry.is_sent]
        last: asyncio.Future[None] = self._loop.create_future()
        for entry in entries:
            self._finish(entry, State.CANCELED, last if entry is entries[-1] else None)
        if entries and not await is_done(last, _STORE_SECONDS):
            raise CommandRefusal(RestCode.INTERNAL, "the store cannot commit now that the commands are canceled")
        return [entry.command for entry in entries]

    # What devices do.

    def came_online(self, device: DeviceId) -> None:
        """Send what waits for a device, after what it is told in this turn of the event loop, such as CONNACK."""
        if device not in self._queues:
            return
        if not self._online:
            self._loop.call_soon(self._pump_online)
        self._online[device] = None

    def answered(self, message: Message) -> None:
        """Look whether a message answers a command; if so its end is handed to the writer before this returns.

        Answers in a product's own format are an exception: they are decoded first.
        """
        self._answers.receive(message)

    # Start and stop.

    def restore(self, commands: Sequence[Command]) -> None:
        """Take over what an earlier run has left unfinished, before any device connects.

        Cached commands wait again. What was sent is never sent again: it has timed out. Instant commands that were
        not sent have nobody who waits for them: they have expired.
        """
        unanswered, expired = [], []
        for command in sorted(commands, key=lambda each: each.id):
            entry = self._enter(command)
            if command.state is State.RELEASED:
                unanswered.append(command.id)
                self._sent(entry)
                self._finish(entry, State.TIMED_OUT)
            elif not command.is_cached or command.expires <= self._now():
                expired.append(command.id)
                self._finish(entry, State.EXPIRED)
            else:
                self._queue_of(command.device).add(command.id, is_cached=True)
        if unanswered:
            sentence = "commands were sent before the last stop and not answered: they are not sent again"
            log.warning(sentence, count=len(unanswered), commands=unanswered)
        if expired:
            sentence = "commands were not sent before the last stop and have expired"
            log.warning(sentence, count=len(expired), commands=expired)
        if self._entries:
            log.info("cached commands wait for their devices", count=len(self._entries))

    async def close(self) -> None:
        """Tell all callers, end all timers; cached commands that were not sent stay on disk for the next start."""
        self._closed = True
        await self._answers.close()
        for entry in list(self._entries.values()):
            if not entry.command.is_cached:
                entry.refusal = entry.unanswered("before the hub stopped")
            if entry.is_sent:
                self._finish(entry, State.TIMED_OUT)
            elif not entry.command.is_cached:
                self._finish(entry, State.EXPIRED)
            else:
                entry.stop_timer()
        last: asyncio.Future[None] = self._loop.create_future()
        self._ledger.when_stored(functools.partial(tell, last))
        await is_done(last, _STORE_SECONDS)

    # The steps of a command.

    def _admit(self, command: Command | None = None) -> None:
        """Refuse what would be too much; `command` is one that is to be held."""
        if self._closed:
            raise CommandRefusal(RestCode.NOT_SENT, "the hub is stopping, nothing is sent any more")
        if self._ledger.uncommitted >= self._waiting_limit:
            raise CommandRefusal(RestCode.TOO_MANY_CALLS, "too many commands wait for the store, try again")
        if command is not None and self._held + len(command.payload) > self._held_limit:
            sentence = f"unfinished commands hold {self._held} bytes, for longer ones there is no room: try again later"
            raise CommandRefusal(RestCode.TOO_MANY_CALLS, sentence)

    def _enter(self, command: Command) -> Entry:
        entry = Entry(command, self._loop.create_future())
        self._entries[command.id] = entry
        self._cached += command.is_cached
        self._held += len(command.payload)
        self._start_timer(entry, self._seconds_until(command.expires))
        return entry

    def _queue_of(self, device: DeviceId) -> DeviceQueue:
        return self._queues.setdefault(device, DeviceQueue())

    def _pump_online(self) -> None:
        devices, self._online = self._online, {}
        for device in devices:
            self._pump(device)

    def _pump(self, device: DeviceId) -> None:
        """Let out what may go, as long as the device can be reached."""
        queue = self._queues.get(device)
        if queue is None or self._closed:
            return
        while (command := queue.next()) is not None:
            entry = self._entries[command]
            if not self._may_go(entry.command):
                break
            queue.take()
            self._release(entry)
        if not queue:
            del self._queues[device]

    def _may_go(self, command: Command) -> bool:
        """Whether its way is open.

        A cached one meets a program that may have just begun: the SDKs for Node.js, in Java and in Python take
        commands from CONNACK on, their samples say only then who handles them, and one that nobody handles is lost.
        """
        is_open = self._links.is_ready if command.is_cached else self._links.is_reachable
        return is_open(command.device, command.topic)

    def _release(self, entry: Entry) -> None:
        """Have it on disk that a command is sent; then it is."""
        entry.command = replace(entry.command, state=State.RELEASED, sent=self._now())
        self._ledger.store(entry, self._released)

    def _released(self, entry: Entry, error: StorageError | None) -> None:
        command = entry.command
        if command.id not in self._entries:
            return  # it came to its end while it waited for the disk
        if error is not None:
            self._drop(entry, error)
        elif not self._closed and self._may_go(command) and self._send(command):
            self._sent(entry)
            if command.is_cached:
                self._start_timer(entry, command.timeout)
        elif command.is_cached:
            entry.command = replace(command, state=State.CREATED, sent=None)
            self._queue_of(command.device).put_back(command.id)
            self._ledger.store(entry, self._created)
        else:
            data = {"commandId": command.id}
            entry.refusal = CommandRefusal(RestCode.OFFLINE, "the device went offline before it could be sent", data)
            self._finish(entry, State.EXPIRED)

    def _send(self, command: Command) -> bool:
        return self._links.send_command(command.device, command.topic, command.payload)

    def _sent(self, entry: Entry) -> None:
        entry.is_sent = True
        self._answers.expect(entry.command.device)

    def _created(self, entry: Entry, error: StorageError | None) -> None:
        if error is not None:
            self._drop(entry, error)
        elif entry.command.is_cached:
            tell(entry.told)

    def _take(self, device: DeviceId, topic: str, answer: Answer) -> IgnoredReason | None:
        """Let an answer end its command; or say why not."""
        entry = self._entries.get(answer.id)
        if entry is None:
            return "late"
        command = entry.command
        expected = answer_topic(command.topic).removeprefix("/")
        if not entry.is_sent or command.device != device or expected != topic.removeprefix("/"):
            return "foreign"
        is_service = command.kind is Kind.INVOKE_SERVICE
        fault = None
        if answer.is_success and is_service and self._output_fault is not None:
            fault = self._output_fault(command, answer.data)
        if answer.is_success and fault is None:
            entry.command = replace(command, output=answer.data if is_service else None)
            self._finish(entry, State.SUCCESS)
        else:
            entry.command = replace(command, device_code=answer.code, device_message=fault or answer.message)
            self._finish(entry, State.FAILED)
        return None

    def _too_late(self, entry: Entry) -> None:
        self._finish(entry, State.TIMED_OUT if entry.is_sent else State.EXPIRED)

    def _finish(self, entry: Entry, state: State, stored: asyncio.Future[None] | None = None) -> None:
        """Bring a command to its end, and let out what waited for that."""
        self._forget(entry)
        sent = entry.command.sent if entry.is_sent else None
        entry.command = replace(entry.command, state=state, sent=sent, finished=self._now())
        self._counters.command_ended(state)
        self._ledger.store(entry, functools.partial(self._ended, stored))
        self._pump(entry.command.device)

    def _ended(self, stored: asyncio.Future[None] | None, entry: Entry, error: StorageError | None) -> None:
        if error is not None:
            self._ledger.say_unstored(entry, error)
        elif stored is not None:
            tell(stored)
        entry.end_on_disk(stored=error is None)

    def _drop(self, entry: Entry, error: StorageError) -> None:
        """Give up a command that the store does not take: it is not sent."""
        if entry.command.id in self._entries:
            self._ledger.say_unstored(entry, error)
            self._forget(entry)
            entry.refusal = entry.not_stored()
            tell(entry.told)
            self._pump(entry.command.device)

    def _forget(self, entry: Entry) -> None:
        command = entry.command
        entry.stop_timer()
        del self._entries[command.id]
        self._cached -= command.is_cached
        self._held -= len(command.payload)
        if entry.is_sent:
            self._answers.expect_no_more(command.device)
        queue = self._queues.get(command.device)
        if queue is not None:
            queue.finish(command.id)
            if not queue:
                del self._queues[command.device]

    # Time.

    def _seconds_until(self, moment: int) -> float:
        return max(0.0, (moment - self._now()) / 1000)

    def _start_timer(self, entry: Entry, seconds: float) -> None:
        entry.stop_timer()
        entry.timer = self._loop.call_later(seconds, self._too_late, entry)
