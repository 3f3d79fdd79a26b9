"""Calls counted by application, and wrong credentials by address."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.http.logins import Logins


def request(address: str | None) -> Request:
    return Request({"type": "http", "headers": [], "client": None if address is None else (address, 4711)})


def is_held_back(logins: Logins, address: str | None, claim: str = "", proof: str = "") -> bool:
    try:
        logins.hold_back(request(address), claim, proof)
    except CommandRefusal as refusal:
        return refusal.code == RestCode.TOO_MANY_CALLS
    return False


def fail(logins: Logins, address: str | None, claim: str = "") -> None:
    for _ in range(20):
        assert not is_held_back(logins, address, claim)
        logins.failed(request(address), "wrong", claim)


@pytest.mark.parametrize(
    ("address", "same", "others"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        (None, None, "192.0.2.1"),
    ],
)
def test_an_address_is_held_back_for_itself_alone(address: str | None, same: str | None, others: str) -> None:
    """However it is written; a whole /64 of IPv6 is one, as a host has it."""
    logins = Logins(10, now=lambda: 0.0)
    fail(logins, address)
    assert is_held_back(logins, same)
    assert not is_held_back(logins, others)


def test_each_claim_has_a_bucket_of_its_own() -> None:
    """Guesses at one application do not keep the other's programs out."""
    logins = Logins(10, now=lambda: 0.0)
    fail(logins, "192.0.2.1", "scada")
    assert is_held_back(logins, "192.0.2.1", "scada")
    assert not is_held_back(logins, "192.0.2.1", "grafana")
    assert not is_held_back(logins, "192.0.2.1")


def test_what_was_right_passes_from_where_it_was_right() -> None:
    """Of the last thousand; the one not used for longest is forgotten first."""
    logins = Logins(10, now=lambda: 0.0)
    for number in range(1000):
        logins.remember(request("192.0.2.1"), f"proof-{number}")
    logins.remember(request("192.0.2.1"), "proof-0")
    fail(logins, "192.0.2.1")
    fail(logins, "192.0.2.2")
    assert not is_held_back(logins, "192.0.2.1", proof="proof-1")
    assert is_held_back(logins, "192.0.2.2", proof="proof-1")
    logins.remember(request("192.0.2.1"), "proof-1000")
    assert [is_held_back(logins, "192.0.2.1", proof=f"proof-{number}") for number in (0, 1, 2, 1000)] == [
        False,
        True,
        False,
        False,
    ]


def test_strangers_of_one_address_are_bounded() -> None:
    """As many a second as the setting says, each address for itself; those over it are counted."""
    clock, refused = [0.0], list[str]()
    logins = Logins(10, 3, refused=refused.append, now=lambda: clock[0])

    def meet(address: str) -> bool:
        try:
            logins.meet_stranger(request(address))
        except CommandRefusal as refusal:
            return "limits.http_strangers_per_second = 3" not in str(refusal)
        return True

    assert [meet("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    assert refused == ["strangers", "strangers"]
    assert meet("192.0.2.2")
    clock[0] = 1.0
    assert [meet("::ffff:192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert not is_held_back(logins, "192.0.2.1"), "who has credentials is looked at"


def test_a_flood_of_failures_is_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """At most 50 a second, with the address and the reason."""
    logins = Logins(10)
    for _ in range(1000):
        logins.failed(request("192.0.2.1"), "no application has this API key")
    assert 50 <= len(caplog.records) < 1000
    assert "192.0.2.1" in caplog.text
    assert "no application has this API key" in caplog.text
