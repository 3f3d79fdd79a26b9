"""One device against a real hub and its database, whatever it does and however often the store fails.

hypothesis makes up what the device does. `machine.model` says what the hub may send next, `machine.ledger` what is
stored; the limits of the hub are small, so that each is met.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from enos_ingest.endpoint.packets import PacketType, encode_ack
from tests.endpoint import inside
from tests.endpoint.machine.actions import (
    AGAIN,
    DRAFTS,
    KEPT,
    LAST_WORDS,
    LISTENING,
    RECEIPTS,
    SLICES,
    TIMES_APART,
    Acknowledge,
    Action,
    Again,
    Draft,
    Ping,
    Release,
    Subscribe,
    Unsubscribe,
)
from tests.endpoint.machine.ledger import Ledger
from tests.endpoint.machine.link import Link
from tests.endpoint.machine.model import Report, Sent
from tests.endpoint.machine.site import (
    IN_FLIGHT,
    IN_FLIGHT_BYTES,
    IN_FLIGHT_PER_CONNECTION,
    LITTLE,
    MESSAGE_BYTES,
    OUTGOING_BYTES,
    PACKET_BYTES,
    SUBSCRIPTIONS,
    UNACKNOWLEDGED,
    Site,
    descriptors,
    sockets,
)
from tests.endpoint.machine.wire import Wire
from tests.endpoint.raw import Packet, connect_packet, subscribe_packet, unsubscribe_packet
from tests.endpoint.waiting import eventually

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


READ_BYTES = 2**18
"""What asyncio reads from a socket at once."""


class SessionMachine(RuleBasedStateMachine):
    """What a device does, and what the hub makes of it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site, self.hub = site, site.hub
        self.run = next(site.runs)
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
                self._publish(self.link, Draft("good", 1, 1).report(self.run, next(self.serials)), 1, 1)
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
        held = self.site.held()
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
                self._publish(link, action.report(self.run, next(self.serials)), qos, packet_id)
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
        self.ledger.check(self.site.values(self.run * TIMES_APART), self.site.rejected(self.first_rejected))

    def _compare(self) -> None:
        """Once all that left have gone: the database holds what it must, and nothing else."""
        eventually(lambda: inside.accepted(self.hub) == (self.link is not None))
        eventually(lambda: inside.intake(self.hub).in_flight == 0)
        self._check_stored()
        stored, rejected = self.site.values(self.run * TIMES_APART), self.site.rejected(self.first_rejected)
        for link in self.ended:
            self.ledger.check_order(link.sent, stored, rejected)
        self.ended.clear()
        self.ledger.settle(stored, rejected)


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
