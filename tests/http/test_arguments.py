"""How the arguments of calls are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.commands.commands import Target
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.http.arguments import (
    PENDING_TTL_SECONDS,
    TIMEOUT_SECONDS,
    read_object,
    read_parameters,
    read_seconds,
    read_target,
    require,
)
from enos_ingest.protocol.identity import DeviceId

KNOWN = ("action", "orgId", "pendingTtl", "timeout")


def outcome(read: Callable[[], dict[str, Any]]) -> dict[str, Any] | CommandRefusal:
    """What is read, or why nothing is."""
    try:
        return read()
    except CommandRefusal as refusal:
        return refusal


NAMES = st.sampled_from([*KNOWN, "pendingTTL", "", "x" * 9000]) | st.text()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ([("pendingTTL", "5")], "unknown parameter pendingTTL: did you mean pendingTtl?"),
        ([("x", "5")], "unknown parameter x: expected action, orgId, pendingTtl, timeout"),
        ([("orgId", "a"), ("orgId", "a")], "orgId is given more than once"),
        ([("orgId", "")], "orgId is empty"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(query: list[tuple[str, str]], said: str) -> None:
    """Passed over, it would make another call of it."""
    with pytest.raises(CommandRefusal) as refusal:
        read_parameters(query, KNOWN)
    assert (refusal.value.code, refusal.value.message) == (RestCode.BAD_ARGUMENT, said)


@given(st.lists(st.tuples(NAMES, st.text())))
def test_any_query_is_read_whole_or_refused_in_a_short_sentence(query: list[tuple[str, str]]) -> None:
    """Each parameter as it was given."""
    found = outcome(lambda: read_parameters(query, KNOWN))
    if isinstance(found, CommandRefusal):
        assert found.code is RestCode.BAD_ARGUMENT
        assert len(found.message) < 200
    else:
        assert list(found.items()) == query


def test_a_parameter_that_must_be_given_is_asked_for() -> None:
    """By its name."""
    assert require({"orgId": "a"}, "orgId") == "a"
    with pytest.raises(CommandRefusal, match=r"^orgId is missing$"):
        require({}, "orgId")


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (TIMEOUT_SECONDS, ["1", "60", "07"], ["0", "61", "-1", "1.0", "1e1", " 1", "+1", "１", "²", "x", "9" * 5000]),
        (PENDING_TTL_SECONDS, ["0", "172800"], ["172801", "-1", "0.5", "true"]),
    ],
)
def test_seconds_are_whole_numbers_within_their_range(allowed: range, good: list[str], bad: list[str]) -> None:
    """Both ends included."""
    assert [read_seconds({"n": text}, "n", allowed, 30) for text in good] == [int(text) for text in good]
    assert read_seconds({}, "n", allowed, 30) == 30
    for text in bad:
        with pytest.raises(CommandRefusal, match="expected a whole number of seconds from") as refusal:
            read_seconds({"n": text}, "n", allowed, 30)
        assert len(refusal.value.message) < 200


def test_a_device_is_named_by_its_asset_id_or_both_keys() -> None:
    """Or by all three."""
    keys = {"productKey": "p", "deviceKey": "d"}
    assert read_target({}) is None
    assert read_target({"assetId": "a"}) == Target("a")
    assert read_target(keys) == Target(None, DeviceId("p", "d"))
    assert read_target({"assetId": "a", **keys}) == Target("a", DeviceId("p", "d"))
    for name in keys:
        with pytest.raises(
            CommandRefusal, match=f"^{'deviceKey' if name == 'productKey' else 'productKey'} is missing"
        ):
            read_target({name: "x", "assetId": "a"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", 'the body is empty: expected a JSON object such as {"value": 1}'),
        (b"[1]", 'the body is not a JSON object such as {"value": 1}'),
        (b"null", 'the body is not a JSON object such as {"value": 1}'),
        (b'{"value":1,"Value":2}', "unknown member Value in the body: did you mean value?"),
        (b'{"":1}', "unknown member  in the body: expected value"),
    ],
)
def test_a_body_is_an_object_with_known_members(body: bytes, said: str) -> None:
    """Or it is said what is wrong."""
    with pytest.raises(CommandRefusal) as refusal:
        read_object(body, ("value",), '{"value": 1}')
    assert (refusal.value.code, refusal.value.message) == (RestCode.BAD_ARGUMENT, said)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"value":NaN}',
        b'{"value":1e999}',
        b'{"value":' + b"[" * 2000,
        b'{"value":"\\ud800"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    """NaN, numbers without end, half characters and depths without end among them."""
    with pytest.raises(CommandRefusal, match=r"^the body is not JSON: "):
        read_object(body, ("value",), "{}")


@given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(orjson.dumps))
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    """Never another error."""
    found = outcome(lambda: read_object(body, ("value",), "{}"))
    if isinstance(found, CommandRefusal):
        assert found.code is RestCode.BAD_ARGUMENT
    else:
        assert found.keys() <= {"value"}
