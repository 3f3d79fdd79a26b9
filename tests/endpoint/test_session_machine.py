"""One device against a real hub and its database, whatever it does and however often the store fails.

hypothesis makes up what the device does. `session_model` says what the hub may send next, `ledger` what is stored;
the limits of the hub are small, so that each is met.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from enos_ingest.endpoint.packets import PacketType, encode_ack, encode_publish
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.hub import run_hub
from tests.endpoint import inside
from tests.endpoint.ledger import Ledger
from tests.endpoint.raw import (
    DISCONNECT,
    PINGREQ,
    Packet,
    RawClient,
    connect_packet,
    subscribe_packet,
    unsubscribe_packet,
)
from tests.endpoint.session_model import FILTERS, NOT_GRANTED, UNRELATED, Report, Sent, SessionModel
from tests.endpoint.site import MODELS, REGISTRY, resume, resume_topic
from tests.endpoint.waiting import eventually
from tests.endpoint.wire import Wire

UNACKNOWLEDGED, SUBSCRIPTIONS = 3, 3
IN_FLIGHT, IN_FLIGHT_BYTES, IN_FLIGHT_PER_CONNECTION = 6, 3000, 4
MESSAGE_BYTES, PACKET_BYTES, OUTGOING_BYTES = 1024, 2048, 4096

LIMITS = {
    "limits.unacknowledged": UNACKNOWLEDGED,
    "limits.subscriptions": SUBSCRIPTIONS,
    "limits.in_flight": IN_FLIGHT,
    "limits.in_flight_bytes": IN_FLIGHT_BYTES,
    "limits.in_flight_per_connection": IN_FLIGHT_PER_CONNECTION,
    "limits.message_bytes": MESSAGE_BYTES,
    "limits.packet_bytes": PACKET_BYTES,
    "limits.outgoing_bytes": OUTGOING_BYTES,
    "limits.drain_seconds": 1,
}

DEVICE = "P/alone"

READ_BYTES = 2**18
"""What asyncio reads from a socket at once."""

LITTLE = 4096
"""What the kernel is asked to keep for one end of a connection, so that those who do not read are noticed."""

LAST_WORDS = {
    "finish": b"",
    "disconnect": DISCONNECT,
    "malformed": b"\x00\x00",
    "too long": encode_publish(resume_topic("alone"), bytes(PACKET_BYTES), qos=1, packet_id=1),
}
"""After which the hub closes a connection, and has taken all that came before."""

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

TIMES = 5
TIMES_APART = 1000
"""Each run has a span of time of its own, on one hub."""

_ID = re.compile(rb'"id":"([^"]*)"')


class Site:
    """A hub, and what it is looked at with: its database, and a connection that locks it."""

    def __init__(self) -> None:
        self.runs = itertools.count(1)
        self.failure: Exception | None = None
        """What the first run that failed has failed with."""
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def renew(self, failure: Exception) -> None:
        """Start again with another hub: with this one a run has failed."""
        self.failure = self.failure or failure
        self._parts.close()
        self._open()

    def _open(self) -> None:
        with contextlib.ExitStack() as parts:
            self.hub = parts.enter_context(run_hub(registry=REGISTRY, models=MODELS, settings=LIMITS))
            for server in inside.listener(self.hub)._servers:  # noqa: SLF001
                for listening in server.sockets:  # which its connections take after
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LITTLE)
            self.credentials = self.hub.credentials(DEVICE)
            self.reader = parts.enter_context(SqliteReader(self.hub.database))
            self.lock = parts.enter_context(
                contextlib.closing(sqlite3.connect(self.hub.database, isolation_level=None))
            )
            self.lock.execute("PRAGMA busy_timeout = 30000")
            self._use_once()
            self.sockets = sockets()
            self._parts = parts.pop_all()

    def _use_once(self) -> None:
        """Have everything opened that stays open."""
        with RawClient(self.hub) as client:
            assert client.connect(connect_packet(self.credentials)) == 0
            client.publish(resume_topic("alone"), resume(1, time=0))
        self.lock.execute("BEGIN IMMEDIATE")
        self.lock.execute("ROLLBACK")
        eventually(lambda: list(self.reader.points("P", "alone")))
        eventually(lambda: inside.accepted(self.hub) == 0)

    def last_rejected(self) -> int:
        """The id of the newest quarantine entry, 0 for none."""
        return max((row.id for row in self.reader.quarantine(limit=1)), default=0)

    def values(self, start: int) -> dict[int, int]:
        """What is stored of the device from a time on, by time."""
        return {point.time: point.value for point in self.reader.points("P", "alone", start=start)}

    def rejected(self, after: int) -> Counter[str]:
        """What is in quarantine behind an entry, by the ids of the messages."""
        entries = [self.reader.quarantine_entry(entry) for entry in range(after + 1, self.last_rejected() + 1)]
        found = [_ID.search(entry.payload) for entry in entries if entry is not None]
        return Counter(each[1].decode() for each in found if each is not None)


class Held(NamedTuple):
    """What the hub holds of a session."""

    in_flight: int
    unacknowledged: int
    unreleased: int
    subscriptions: int
    buffered: int
    outgoing: int
    is_paused: bool


class Draft(NamedTuple):
    """A PUBLISH to be: what of, how, and how long its id is."""

    kind: str
    qos: int
    packet_id: int
    time: int = 0
    padding: int = 0


class Again(NamedTuple):
    """What was sent before, on this connection or an earlier one, counted from the last: same id, same time, DUP."""

    back: int


class Release(NamedTuple):
    """PUBREL, of all that PUBREC has come for, or of nothing that there was."""

    is_unasked: bool


class Subscribe(NamedTuple):
    """SUBSCRIBE to topics of replies; more of them than the limit allows, and others' as well."""

    filters: list[str]
    qos: int


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE, from what is subscribed to or not."""

    filters: list[str]


class Acknowledge(NamedTuple):
    """PUBACK of replies that have come: `all`, `first`, `last`; or of an `unknown` one."""

    which: str


class Ping(NamedTuple):
    """PINGREQ."""


Action: TypeAlias = Draft | Again | Release | Subscribe | Unsubscribe | Acknowledge | Ping

_WANTED = st.lists(st.sampled_from([*FILTERS, UNRELATED, NOT_GRANTED]), min_size=1, max_size=SUBSCRIPTIONS)
_ENDED = st.lists(st.sampled_from([*FILTERS]), min_size=1, max_size=SUBSCRIPTIONS)

DRAFTS = st.builds(
    Draft,
    st.sampled_from(["good", "good", "good", "bad", "unreadable", "oversized", "denied", "nothing"]),
    st.sampled_from([1, 2, 0]),
    st.sampled_from([1, 2, 3, 1, 2, 3, 4]),
    st.integers(0, TIMES - 1),
    st.sampled_from([0, 100, 800]),
)

AGAIN = st.builds(Again, st.integers(1, 20))

LISTENING: st.SearchStrategy[Action] = st.one_of(
    st.builds(Subscribe, _WANTED, st.integers(0, 2)),
    st.builds(Unsubscribe, _ENDED),
)

RECEIPTS: st.SearchStrategy[Action] = st.one_of(
    st.builds(Release, st.booleans()),
    st.builds(Acknowledge, st.sampled_from(["all", "first", "last", "unknown"])),
    st.just(Ping()),
)

SLICES = st.lists(st.integers(1, 300), max_size=4)
"""How the first bytes of a burst are cut."""

KEPT = st.sampled_from([0, 0, 0, 1, 30, 100_000])
"""How many of its last bytes leave with the next."""


class Link:
    """One connection of the device: its wire, its model, its messages."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.model = SessionModel(unacknowledged=UNACKNOWLEDGED, subscriptions=SUBSCRIPTIONS)
        self.sent: list[Sent] = []
        self.is_finished = False
        """Whether nothing more will be sent, and the hub is to see it."""

    def publish(self, report: Report, qos: int, packet_id: int, serial: int, *, is_again: bool = False) -> Sent | None:
        """Queue a PUBLISH; the message that it is, None where it is none or one that was sent before."""
        first = self.model.unreleased.get(packet_id) if qos == 2 else None
        if first is not None:
            report, is_again = first.report, True
        packet = encode_publish(report.topic, report.payload, qos=qos, packet_id=packet_id if qos else 0)
        self.wire.queue(bytes((packet[0] | 8,)) + packet[1:] if is_again else packet)
        sent = self.model.publish(report, qos, packet_id if qos else 0, serial)
        if sent is not None:
            self.sent.append(sent)
        return sent

    def ping(self) -> None:
        """Queue a PINGREQ."""
        self.wire.queue(PINGREQ)
        self.model.ping()

    def end(self, last: bytes) -> None:
        """Queue what makes the hub close the connection; with nothing to queue it is the end of the stream."""
        if last:
            self.wire.queue(last)
            self.model.end()
        self.is_finished = True
        self.push()

    def push(self) -> None:
        """Hand over what waits, and the end of the stream behind it."""
        self.wire.push()
        if self.is_finished and not self.model.is_over and self.wire.is_empty:
            self.wire.finish()

    def receive(self) -> None:
        """Take what has come, which must be what the model says."""
        for packet in self.wire.packets():
            self.model.receive(packet)

    def receive_until(self, condition: Callable[[], bool]) -> None:
        """Receive until it holds, or the hub has closed the connection."""
        self.receive()
        while not self.wire.is_closed and not condition():
            self.wire.wait()
            self.push()
            self.receive()


class SessionMachine(RuleBasedStateMachine):
    """What a device does, and what the hub makes of it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site, self.hub = site, site.hub
        run = next(site.runs)
        self.prefix, self.start = f"{run}.", run * TIMES_APART
        self.first_rejected = site.last_rejected()
        self.serials = itertools.count(1)
        self.ledger = Ledger()
        self.messages: list[Sent] = []
        self.link: Link | None = None
        self.leaving: list[Link] = []
        self.ended: list[Link] = []
        self.is_reading = True
        self.is_down = False
        self.down_since: int | None = None

    # What the device does.

    @rule(has_little_room=st.booleans())
    def connect(self, has_little_room: bool) -> None:
        """Also while connected: the newer connection takes over. Code 3 while the hub knows that it cannot commit."""
        is_failing = self._is_failing()
        wire = Wire(self.hub, buffer=LITTLE if has_little_room else 0)
        wire.queue(connect_packet(self.site.credentials))
        wire.push()
        answer: list[Packet] = []
        while not answer and not wire.is_closed:
            wire.wait()
            answer = wire.packets()
        assert len(answer) == 1
        assert answer[0].kind is PacketType.CONNACK
        if answer[0].body[1]:
            assert answer[0].body == b"\0\3"
            assert self.is_down
            while not wire.is_closed:
                wire.wait()
                assert wire.packets() == []
            wire.close()
            return
        assert not is_failing, "let in while the store cannot commit"
        for older in self._links():
            older.receive_until(lambda: False)
            self._end(older)
        self.leaving.clear()
        self.link = Link(wire)
        self.link.model.only_before = self.down_since

    @rule(actions=st.lists(DRAFTS, min_size=3, max_size=10), slices=SLICES, kept=KEPT)
    def report(self, actions: list[Action], slices: list[int], kept: int) -> None:
        """Nothing but reports."""
        self._send(actions, slices, kept)

    @rule(actions=st.lists(DRAFTS | LISTENING, min_size=3, max_size=10), slices=SLICES, kept=KEPT)
    def listen(self, actions: list[Action], slices: list[int], kept: int) -> None:
        """Reports, and what is heard of their replies."""
        self._send(actions, slices, kept)

    @rule(actions=st.lists(DRAFTS | RECEIPTS, min_size=3, max_size=10), slices=SLICES, kept=KEPT)
    def receipt(self, actions: list[Action], slices: list[int], kept: int) -> None:
        """Reports, and receipts for what has come."""
        self._send(actions, slices, kept)

    @rule(actions=st.lists(AGAIN | DRAFTS | RECEIPTS | LISTENING, min_size=1, max_size=10), slices=SLICES, kept=KEPT)
    def repeat(self, actions: list[Action], slices: list[int], kept: int) -> None:
        """Reports that were sent before, among all that can be sent."""
        self._send(actions, slices, kept)

    @rule(count=st.integers(5, 40), slices=SLICES)
    def neglect(self, count: int, slices: list[int]) -> None:
        """Long replies are asked for, and not read: the hub may cut the connection."""
        self.is_reading = False
        self._send([Draft("good", 1, 1, 0, 800)] * count, slices, 0)

    @rule(is_reading=st.booleans())
    def read(self, is_reading: bool) -> None:
        """Read whatever comes from now on, or nothing at all."""
        self.is_reading = is_reading

    @rule(how=st.sampled_from(["close", "reset", *LAST_WORDS]))
    def cut(self, how: str) -> None:
        """End the connection, in one way or another."""
        link = self.link
        if link is None:
            return
        if how in LAST_WORDS:
            link.end(LAST_WORDS[how])
            self._leave(link)
        else:
            link.wire.close(reset=how == "reset")
            self._end(link)
            self.link = None
        if not self.is_down:
            self._compare()

    # What the store does.

    @precondition(lambda self: not self.is_down)
    @rule(is_noticed=st.booleans())
    def store_down(self, is_noticed: bool) -> None:
        """Another program holds the database; the hub notices once it has something to commit."""
        self.site.lock.execute("BEGIN IMMEDIATE")
        self.is_down = True
        self.down_since = next(self.serials)
        if self.link is not None:
            self.link.model.only_before = self.down_since
            if is_noticed:
                self._publish(self.link, self._report(Draft("good", 1, 1, 0, 0)), 1, 1)
                self.link.push()
                link = self.link
                eventually(lambda: self._is_failing() or self._is_lost(link))

    @precondition(lambda self: self.is_down)
    @rule()
    def store_up(self) -> None:
        """It is let go. Nothing was answered meanwhile; now those that left are let go, too."""
        inside.run_inside(self.hub, lambda: None)
        for link in self._links():
            link.receive()
            link.model.only_before = None
        self.site.lock.execute("ROLLBACK")
        self.is_down, self.down_since = False, None
        eventually(lambda: not self._is_failing())
        self._see_them_off()

    @precondition(lambda self: not self.is_down)
    @rule(is_released=st.booleans())
    def settle(self, is_released: bool) -> None:
        """Everything that was sent has its answer, and the database is what it must be; PUBREL follows, or not."""
        link = self.link
        if link is not None:
            # The first makes sure that all was read, the second that all was answered.
            for _ in range(2):
                link.ping()
                link.push()
                link.receive_until(lambda: not link.model.prompts_missing)
                eventually(lambda: inside.intake(self.hub).in_flight == 0)
            if self._is_lost(link):
                self._lose(link)
            else:
                link.model.pass_over()
        self._compare()
        if self.link is not None and is_released:
            self._send([Release(is_unasked=False)], [], 0)

    # What always holds.

    @invariant()
    def answers_are_in_order_and_stored(self) -> None:
        """What has come is what the model says, and what was acknowledged is in the database."""
        link = self.link
        if link is None or not self.is_reading:
            return
        link.receive()
        self._check_stored()
        if link.wire.is_closed:
            self._lose(link)

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        """In the hub, and for the connection."""
        intake = inside.intake(self.hub)
        assert 0 <= intake.in_flight <= IN_FLIGHT
        assert 0 <= intake.in_flight_bytes < IN_FLIGHT_BYTES + MESSAGE_BYTES
        held = self._held()
        if held is None:
            return
        assert 0 <= held.in_flight <= IN_FLIGHT_PER_CONNECTION, held
        assert held.unacknowledged <= UNACKNOWLEDGED, held
        assert held.unreleased <= UNACKNOWLEDGED, held
        assert held.subscriptions <= SUBSCRIPTIONS, held
        assert held.outgoing <= OUTGOING_BYTES, held
        assert held.buffered <= (READ_BYTES if held.is_paused else 0) + PACKET_BYTES, held

    def teardown(self) -> None:
        """Nothing is left of it; after a failure the next run gets another hub."""
        failure = sys.exception()
        try:
            # What is no `Exception` is hypothesis's own way to end a run.
            if not isinstance(failure, Exception):
                self._leave_nothing()
        except Exception as error:
            failure = error
            raise
        finally:
            if isinstance(failure, Exception):
                self.site.lock.rollback()
                for link in self._links():
                    link.wire.close()
                self.site.renew(failure)

    def _leave_nothing(self) -> None:
        if self.is_down:
            self.store_up()
        self.settle(is_released=False)
        self.cut("disconnect")
        self._compare()
        eventually(lambda: inside.connections(self.hub) == inside.online(self.hub) == 0)
        assert inside.intake(self.hub).in_flight == inside.intake(self.hub).in_flight_bytes == 0
        eventually(lambda: sockets() <= self.site.sockets)

    def _links(self) -> list[Link]:
        """Those that leave, and that which is there."""
        return [*self.leaving, *([] if self.link is None else [self.link])]

    def _send(self, actions: Sequence[Action], slices: list[int], kept: int) -> None:
        """Send packets in one burst, on a new connection where there is none."""
        if self.link is None and not self._is_failing():
            self.connect(has_little_room=True)
        link = self.link
        if link is None:
            return
        for action in actions:
            self._act(link, action)
            if link.model.is_over:
                link.end(b"")
                self._leave(link)
                return
        link.wire.push(slices, kept)

    def _act(self, link: Link, action: Action) -> None:
        """Queue what an action stands for, and tell the model."""
        match action:
            case Draft(_, qos, packet_id):
                self._publish(link, self._report(action), qos, packet_id)
            case Again(back):
                known = [sent for sent in self.messages if sent.qos]
                if known:
                    sent = known[-back % len(known)]
                    self._publish(link, sent.report, sent.qos, sent.packet_id, is_again=True)
            case Release(is_unasked):
                received = [each for each, sent in link.model.unreleased.items() if sent.acknowledged]
                for packet_id in [999] if is_unasked else received:
                    link.wire.queue(encode_ack(PacketType.PUBREL, packet_id))
                    link.model.release(packet_id)
            case Subscribe(filters, qos):
                link.wire.queue(subscribe_packet(*filters, qos=qos, packet_id=8))
                link.model.subscribe(8, filters, qos)
            case Unsubscribe(filters):
                link.wire.queue(unsubscribe_packet(*filters, packet_id=9))
                link.model.unsubscribe(9, filters)
            case Acknowledge(which):
                replies = link.model.replies()
                chosen = {"all": replies, "first": replies[:1], "last": replies[-1:], "unknown": [60_000]}
                for packet_id in chosen[which]:
                    link.wire.queue(encode_ack(PacketType.PUBACK, packet_id))
                    link.model.acknowledge(packet_id)
            case Ping():
                link.ping()

    def _report(self, draft: Draft) -> Report:
        number = next(self.serials)
        padding = 0 if draft.kind == "oversized" else draft.padding
        identifier = f"{self.prefix}{number}.{'x' * padding}"
        time = self.start + draft.time
        topic = resume_topic("alone")
        match draft.kind:
            case "good":
                payload = resume(number, time=time, identifier=identifier)
                return Report(topic, payload, identifier, 200, time, number)
            case "bad":
                return Report(topic, resume("none", time=time, identifier=identifier), identifier, 1204)
            case "unreadable":
                return Report(topic, f'{{"id":"{identifier}", what'.encode(), identifier, 1206)
            case "oversized":
                payload = resume("x" * 1500, name="text", time=time, identifier=identifier)
                return Report(topic, payload, identifier, 1206)
            case "denied":
                payload = resume(number, time=time, identifier=identifier)
                return Report(resume_topic("other"), payload, identifier, 1212)
        return Report("plant/line", b"runs", identifier, None)

    def _publish(self, link: Link, report: Report, qos: int, packet_id: int, *, is_again: bool = False) -> None:
        sent = link.publish(report, qos, packet_id, next(self.serials), is_again=is_again)
        if sent is not None:
            self.ledger.add(sent)
            self.messages.append(sent)

    def _leave(self, link: Link) -> None:
        """A connection that the hub is to close is watched to its end, which does not come while the store is down."""
        self.link = None
        self.leaving.append(link)
        if not self.is_down:
            self._see_them_off()

    def _see_them_off(self) -> None:
        """Receive from those that leave until the hub has closed them; all that it read of them is kept."""
        for link in self.leaving:
            link.push()
            link.receive_until(lambda: False)
        eventually(lambda: inside.intake(self.hub).in_flight == 0)
        for link in self.leaving:
            if not self._may_be_cut(link):
                for sent in link.sent:
                    sent.certain = True
            self._end(link)
        self.leaving.clear()

    def _end(self, link: Link) -> None:
        link.wire.close()
        delivered = link.wire.delivered
        self.ledger.forget(sent for sent in link.sent if sent.position >= delivered)
        self.ended.append(link)

    def _lose(self, link: Link) -> None:
        """The hub has closed a connection: only for what was not read."""
        assert self._may_be_cut(link), f"closed by the hub; missing: {link.model.missing}"
        self._end(link)
        self.link = None

    def _is_lost(self, link: Link) -> bool:
        link.receive()
        return link.wire.is_closed

    def _may_be_cut(self, link: Link) -> bool:
        return link.model.owed_bytes > OUTGOING_BYTES

    def _is_failing(self) -> bool:
        return inside.store(self.hub).failure is not None

    def _check_stored(self) -> None:
        self.ledger.check(self.site.values(self.start), self.site.rejected(self.first_rejected))

    def _compare(self) -> None:
        """Once all that left have gone: the database holds what it must, and nothing else."""
        eventually(lambda: inside.accepted(self.hub) == (self.link is not None))
        eventually(lambda: inside.intake(self.hub).in_flight == 0)
        self._check_stored()
        stored, rejected = self.site.values(self.start), self.site.rejected(self.first_rejected)
        for link in self.ended:
            self.ledger.check_order(link.sent, stored, rejected)
        self.ended.clear()
        self.ledger.settle(stored, rejected)

    def _held(self) -> Held | None:
        found: list[Held] = []

        def look() -> None:
            session = inside.listener(self.hub).sessions._sessions.get(DeviceId("P", "alone"))  # noqa: SLF001
            if session is None:
                return
            connection = session._connection  # noqa: SLF001
            found.append(
                Held(
                    session.in_flight,
                    len(session._unacknowledged),  # noqa: SLF001
                    len(session._unreleased),  # noqa: SLF001
                    len(session._subscriptions),  # noqa: SLF001
                    connection._decoder.buffered,  # noqa: SLF001
                    connection._transport.get_write_buffer_size(),  # noqa: SLF001
                    connection._paused,  # noqa: SLF001
                )
            )

        inside.run_inside(self.hub, look)
        return found[0] if found else None


def test_whatever_one_device_does() -> None:
    """What is acknowledged is stored, answers come in order, nothing grows, nothing is left."""
    before = descriptors()
    with Site() as site:
        try:
            run_state_machine_as_test(lambda: SessionMachine(site), settings=SETTINGS)  # type: ignore[arg-type]
        except Flaky as flaky:
            # The hub has threads, so a failure may not come again; it is one all the same.
            raise (site.failure or flaky) from flaky
    assert descriptors() <= before


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def sockets() -> int:
    """How many of them are sockets; SQLite keeps a closed file open while another connection has it locked."""
    found = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the folder itself is gone
            found += descriptor.is_socket()
    return found
