"""Who may connect: an admission against a plain model of the rules, and its memory against a flood."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from enos_ingest.endpoint.admission import IDLE_SOURCES, Admission
from enos_ingest.settings import LimitsSettings


def admission(connections: int = 10_000, per_address: int = 10_000, rate: int = 2000) -> Admission:
    limits = LimitsSettings(connections=connections, connections_per_address=per_address, connects_per_second=rate)
    return Admission(limits)


def test_connections_are_bounded_in_all() -> None:
    """One more gets in when one has left."""
    door = admission(connections=2)
    assert [door.admit(f"10.0.0.{number}", 0) for number in range(3)] == [None, None, "limit"]
    door.leave("10.0.0.0")
    assert door.connections == 1
    assert door.admit("10.0.0.2", 0) is None
    assert door.connections == 2


def test_connections_are_bounded_by_address() -> None:
    """Others are not concerned."""
    door = admission(per_address=2)
    assert [door.admit("10.0.0.1", 0) for _ in range(3)] == [None, None, "address_limit"]
    assert door.admit("10.0.0.2", 0) is None
    door.leave("10.0.0.1")
    assert door.admit("10.0.0.1", 0) is None


def test_connects_are_bounded_by_address_and_second() -> None:
    """A second's worth at once, then as many each second, whether or not earlier ones have left."""
    door = admission(rate=4)
    assert [door.admit("10.0.0.1", 100) for _ in range(5)] == [None] * 4 + ["rate"]
    assert door.admit("10.0.0.2", 100) is None
    door.leave("10.0.0.1")
    assert door.admit("10.0.0.1", 100.125) == "rate"
    assert door.admit("10.0.0.1", 100.25) is None
    assert door.admit("10.0.0.1", 100.25) == "rate"
    assert [door.admit("10.0.0.1", 200) for _ in range(5)] == [None] * 4 + ["rate"]


def test_a_site_behind_one_address_comes_back_within_seconds() -> None:
    """With the defaults, after a power cut: 10 000 devices that try again four times a second are in after five."""
    door = Admission(LimitsSettings())
    waiting = 10_000
    for step in range(20):
        waiting -= sum(door.admit("10.0.0.1", step / 4) is None for _ in range(waiting))
    assert waiting == 0
    assert door.connections == 10_000


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::1", "127.0.0.1", False),
        ("not:an:address", "not:an:address", True),
        ("unknown", "nobody", False),
    ],
)
def test_what_counts_as_one_address(first: str, second: str, same: bool) -> None:
    """IPv6 by /64, IPv4 in either form, and what is no address by its text."""
    door = admission(per_address=1)
    assert door.admit(first, 0) is None
    assert door.admit(second, 0) == ("address_limit" if same else None)
    door.leave(first)
    assert door.admit(first, 0) is None


def test_what_was_refused_leaves_no_trace() -> None:
    """A flood that is not let in costs no memory."""
    door = admission(connections=1)
    assert door.admit("10.0.0.1", 0) is None
    assert {door.admit(f"10.{number >> 8}.{number & 255}.1", 0) for number in range(5000)} == {"limit"}
    assert door.sources == 1


@pytest.mark.parametrize("form", ["10.{0}.{1}.{2}", "2001:db8:{0:x}:{1:x}{2:02x}::1"])
def test_a_flood_from_many_addresses_is_forgotten(form: str) -> None:
    """100 000 addresses that come and go: at most so many are remembered at once, and in the end none."""
    door = admission(rate=1)
    flood = [form.format(number >> 16, number >> 8 & 255, number & 255) for number in range(100_000)]
    for address in flood:
        assert door.admit(address, 0) is None
        door.leave(address)
        assert door.sources <= IDLE_SOURCES
    assert door.sources == IDLE_SOURCES
    for number in range(IDLE_SOURCES):
        assert door.admit("192.0.2.1", 1 + number) is None
        door.leave("192.0.2.1")
    assert door.sources == 1


def test_those_who_are_connected_are_never_forgotten() -> None:
    """However many others come and go."""
    door = admission(per_address=1)
    assert door.admit("192.0.2.1", 0) is None
    for number in range(IDLE_SOURCES + 100):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        door.admit(address, 0)
        door.leave(address)
    assert door.admit("192.0.2.1", 1) == "address_limit"
    assert door.connections == 1


ADDRESSES = ["10.0.0.1", "10.0.0.2", "2001:db8::1"]
CONNECTIONS, PER_ADDRESS, RATE = 6, 4, 3


class Model(RuleBasedStateMachine):
    """The rules as one would say them, over exact numbers; time moves in eighths of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.door = admission(CONNECTIONS, PER_ADDRESS, RATE)
        self.inside = dict.fromkeys(ADDRESSES, 0)
        self.tokens = dict.fromkeys(ADDRESSES, Fraction(RATE))
        self.now = Fraction(0)

    @rule(eighths=st.integers(1, 16))
    def wait(self, eighths: int) -> None:
        passed = Fraction(eighths, 8)
        self.now += passed
        self.tokens = {key: min(Fraction(RATE), tokens + passed * RATE) for key, tokens in self.tokens.items()}

    @rule(address=st.sampled_from(ADDRESSES))
    def come(self, address: str) -> None:
        expected = None
        if sum(self.inside.values()) == CONNECTIONS:
            expected = "limit"
        elif self.inside[address] == PER_ADDRESS:
            expected = "address_limit"
        elif self.tokens[address] < 1:
            expected = "rate"
        assert self.door.admit(address, float(self.now)) == expected
        if expected is None:
            self.inside[address] += 1
            self.tokens[address] -= 1

    @precondition(lambda self: any(self.inside.values()))
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from([each for each in ADDRESSES if self.inside[each]]))
        self.door.leave(address)
        self.inside[address] -= 1

    @invariant()
    def counts_agree(self) -> None:
        assert self.door.connections == sum(self.inside.values())
        needed = [each for each in ADDRESSES if self.inside[each]]
        assert len(needed) <= self.door.sources <= len(ADDRESSES)


TestModel = Model.TestCase
