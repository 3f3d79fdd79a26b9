"""Room for long packets: in turn, never more than there is, and none that is forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from enos_ingest.endpoint.incoming import Incoming

LIMIT = 100


class Client:
    """A connection that notes what it is told."""

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.told: list[str] = []

    def go_on(self) -> None:
        """There is room."""
        self.told.append("go on")

    def holds_too_much(self, detail: str) -> None:
        """It ends, as a connection does, which says so itself."""
        self.told.append(detail)
        self.incoming.forget(self)


def clients(count: int) -> tuple[Incoming, list[Client]]:
    incoming = Incoming(LIMIT)
    return incoming, [Client(incoming) for _ in range(count)]


def test_who_finds_no_room_waits_for_its_turn() -> None:
    """Also one that would fit, behind one that does not: else long packets would wait for ever."""
    incoming, (first, second, long, short) = clients(4)
    assert incoming.reserve(first, 60)
    assert incoming.reserve(second, 40)
    assert incoming.reserve(first, 60)
    assert not incoming.reserve(long, 70)
    assert not incoming.reserve(short, 1)
    incoming.release(second)
    assert (long.told, short.told) == ([], [])
    incoming.release(first)
    assert (long.told, short.told) == (["go on"], ["go on"])
    assert incoming.waiting == 0


def test_who_leaves_makes_room_and_waits_no_more() -> None:
    """Whether it was being read or waited."""
    incoming, (first, second, third) = clients(3)
    assert incoming.reserve(first, 100)
    assert not incoming.reserve(second, 100)
    assert not incoming.reserve(third, 100)
    incoming.forget(second)
    incoming.forget(first)
    assert (second.told, third.told) == ([], ["go on"])


def test_beyond_twice_the_limit_the_one_that_holds_most_without_room_ends() -> None:
    """Those that are being read are let be, as long as there are others."""
    incoming, (read, much, little) = clients(3)
    assert incoming.reserve(read, 100)
    incoming.hold(read, 100)
    incoming.hold(much, 60)
    incoming.hold(little, 40)
    assert incoming.held == 200
    incoming.hold(little, 41)
    assert much.told == ["held 60 bytes of unfinished packets, more than the others, while all together held 201"]
    assert (read.told, little.told, incoming.held) == ([], [], 141)
    incoming.hold(read, 170)
    assert little.told == ["held 41 bytes of unfinished packets, more than the others, while all together held 211"]
    incoming.hold(read, 201)
    assert len(read.told) == 1
    assert incoming.held == 0


class IncomingMachine(RuleBasedStateMachine):
    """Some connections, each of which holds, reserves, waits, completes and leaves as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.incoming, self.clients = clients(6)
        self.sizes: dict[Client, int] = {}
        self.rooms: list[Client] = []
        self.queue: list[Client] = []

    @rule(who=st.integers(0, 5), size=st.integers(1, LIMIT))
    def reserve(self, who: int, size: int) -> None:
        """A long packet begins."""
        client = self.clients[who]
        if client not in self.queue:
            has_room = self.incoming.reserve(client, size)
            if client not in self.rooms:
                self.sizes[client] = size
                (self.rooms if has_room else self.queue).append(client)
            else:
                assert has_room

    @rule(who=st.integers(0, 5), ends=st.booleans())
    def release(self, who: int, ends: bool) -> None:
        """A long packet is complete, or its connection ends."""
        client = self.clients[who]
        (self.incoming.forget if ends else self.incoming.release)(client)
        for place in (self.rooms, self.queue):
            if client in place:
                place.remove(client)

    @invariant()
    def rooms_are_given_in_turn(self) -> None:
        """To the first of those who wait, as soon as there is room for it, and no sooner."""
        while self.queue and sum(self.sizes[client] for client in (*self.rooms, self.queue[0])) <= LIMIT:
            self.rooms.append(self.queue.pop(0))
            assert self.rooms[-1].told.pop() == "go on"
        assert [client.told for client in self.clients] == [[]] * 6
        assert self.incoming.waiting == len(self.queue)
        assert sum(self.sizes[client] for client in self.rooms) <= LIMIT


TestIncoming = IncomingMachine.TestCase
