"""What waits for slow readers is added up, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.endpoint.outgoing import Outgoing

LIMIT = 1000


class Client:
    """A client that reads when the test says so."""

    def __init__(self) -> None:
        self.unread = 0
        self.told: list[str] = []

    def reads_too_slowly(self, detail: str) -> None:
        """It ends."""
        self.told.append(detail)
        self.unread = 0


def test_beyond_the_limit_those_end_for_whom_most_waits() -> None:
    """Until a tenth of it is free, so that it is not exceeded at once again."""
    outgoing, clients = Outgoing(LIMIT), [Client() for _ in range(4)]
    for client, unread in zip(clients, (100, 500, 380, 20), strict=True):
        client.unread = unread
        outgoing.note(client, unread)
    assert outgoing.unread == LIMIT
    clients[3].unread = 21
    outgoing.note(clients[3], 21)
    assert clients[1].told == ["500 bytes were not read, more than by others, of 1001 in all"]
    assert [len(client.told) for client in clients] == [0, 1, 0, 0]
    assert outgoing.unread == 501


def test_what_was_read_meanwhile_does_not_count() -> None:
    """Nobody ends for what has left already."""
    outgoing, (first, second) = Outgoing(LIMIT), (Client(), Client())
    outgoing.note(first, 900)
    second.unread = 200
    outgoing.note(second, 200)
    assert (first.told, second.told, outgoing.unread) == ([], [], 200)


def test_who_has_read_or_ended_is_forgotten() -> None:
    """As one that was never there."""
    outgoing, client = Outgoing(LIMIT), Client()
    outgoing.note(client, 900)
    outgoing.forget(client)
    outgoing.forget(client)
    assert outgoing.unread == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2 * LIMIT), st.booleans())))
def test_no_more_waits_than_is_allowed(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever the clients do; the sum that is shown is what was noted of those that are there."""
    outgoing, clients = Outgoing(LIMIT), [Client() for _ in range(5)]
    noted: dict[Client, int] = {}
    for who, unread, leaves in steps:
        client = clients[who]
        if leaves:
            outgoing.forget(client)
            noted.pop(client, None)
            client.unread = 0
            continue
        client.unread = noted[client] = unread
        outgoing.note(client, unread)
        for each in clients:
            if each.told:
                each.told.clear()
                del noted[each]
        assert outgoing.unread == sum(noted.values()) <= LIMIT
