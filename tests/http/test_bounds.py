"""How many HTTP connections there are, in all and from one address."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.http.bounds import Connections, Refused

ADDRESSES = ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "")
SAME = {"::ffff:192.0.2.1": "192.0.2.1", "2001:db8::2": "2001:db8::1"}


def test_one_address_leaves_room_for_others() -> None:
    """However it is written; who is refused is not counted."""
    connections = Connections(4, 2)
    assert [connections.admit("192.0.2.1"), connections.admit("::ffff:192.0.2.1")] == [None, None]
    assert [connections.admit("192.0.2.1") for _ in range(3)] == ["address"] * 3
    assert [connections.admit("2001:db8::1"), connections.admit("2001:db8::ffff")] == [None, None]
    assert connections.admit("192.0.2.2") == "connections"
    assert (len(connections), connections.sources) == (4, 2)
    connections.leave("192.0.2.1")
    assert connections.admit("192.0.2.2") is None


@given(st.integers(1, 6), st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.sampled_from(ADDRESSES))))
def test_it_counts_as_a_list_would(limit: int, per_address: int, steps: list[tuple[bool, str]]) -> None:
    """Whoever comes and goes, and nothing is left of who has gone."""
    connections, inside = Connections(limit, per_address), list[str]()
    for comes, address in steps:
        if comes:
            count = Counter(SAME.get(each, each) for each in inside)[SAME.get(address, address)]
            expected: Refused | None = "address" if count >= per_address else None
            assert connections.admit(address) == ("connections" if len(inside) >= limit else expected)
            if len(inside) < limit and expected is None:
                inside.append(address)
        elif address in inside:
            connections.leave(address)
            inside.remove(address)
        assert len(connections) == len(inside)
        assert connections.sources == len({SAME.get(each, each) for each in inside})
