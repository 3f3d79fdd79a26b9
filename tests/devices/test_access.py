"""Who may publish, subscribe and receive where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.access import may_publish, may_receive, may_subscribe
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Identity, Operator

GATEWAY, SUB, OTHER = DeviceId("G", "gw"), DeviceId("S", "sub"), DeviceId("S", "other")
DIRECTORY = Directory([Product("G"), Product("S")], [Device(key) for key in (GATEWAY, SUB, OTHER)], [(GATEWAY, SUB)])

WHO: dict[str, Identity] = {
    "gateway": GATEWAY,
    "sub": SUB,
    "channel": Channel("S"),
    "reader": Operator("r", frozenset({"read"})),
    "writer": Operator("w", frozenset({"write"})),
    "nobody": Operator("n", frozenset()),
    "hub": Hub(),
}


def permitted(check: object, text: str) -> set[str]:
    """The names of those who may."""
    assert callable(check)
    return {name for name, identity in WHO.items() if check(identity, text, DIRECTORY)}


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("sys/G/gw/thing/measurepoint/resume", {"gateway"}),
        ("sys/S/sub/thing/measurepoint/resume", {"gateway", "sub"}),
        ("sys/S/sub/thing/service/measurepoint/set_reply", {"gateway", "sub"}),
        ("sys/S/other/thing/measurepoint/resume", set()),
        ("sys/S/unknown/thing/measurepoint/resume", set()),
        ("ext/session/G/gw/combine/login", {"gateway"}),
        ("ext/session/S/sub/combine/login", {"sub"}),
        ("ext/session/S/other/combine/login", set()),
        ("sys/S/integration/measurepoint/post", {"channel"}),
        ("sys/G/integration/measurepoint/post", set()),
        ("plant/line", set()),
        ("sys/G/gw", set()),
    ],
)
def test_who_may_publish_uplinks(slash: str, name: str, who: set[str]) -> None:
    """A device for itself, a gateway for its sub-devices, a channel for its product, a writing operator anywhere."""
    assert permitted(may_publish, slash + name) == who | {"writer", "hub"}


@pytest.mark.parametrize(
    "name",
    [
        "/sys/G/gw/thing/measurepoint/resume_reply",
        "/sys/G/gw/thing/service/measurepoint/set",
        "/sys/S/sub/thing/disable",
        "/sys/S/integration/measurepoint/post_reply",
        "/ext/session/G/gw/combine/login_reply",
    ],
)
def test_downlinks_are_the_hubs_alone(name: str) -> None:
    """Whoever could send one would command devices, or answer them in the hub's place."""
    assert permitted(may_publish, name) == {"hub"}


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("sys/G/gw/thing/measurepoint/resume_reply", {"gateway"}),
        ("sys/G/gw/thing/service/measurepoint/set", {"gateway"}),
        ("sys/S/sub/thing/measurepoint/resume_reply", {"gateway", "sub"}),
        ("sys/S/sub/thing/service/restart", {"gateway", "sub"}),
        ("sys/S/other/thing/service/restart", set()),
        ("ext/session/G/gw/combine/login_reply", {"gateway"}),
        ("ext/session/S/sub/combine/login_reply", {"sub"}),
        ("sys/S/integration/measurepoint/post_reply", {"channel"}),
        ("sys/G/integration/measurepoint/post_reply", set()),
        ("sys/G/gw/thing/measurepoint/resume", {"hub"}),
        ("sys/S/other/thing/measurepoint/resume", {"hub"}),
        ("sys/S/integration/measurepoint/post", {"hub"}),
        ("ext/session/G/gw/combine/login", {"hub"}),
        ("sys/G/gw/thing/service/measurepoint/set_reply", set()),
        ("sys/G/gw/rrpc/response/1", set()),
        ("plant/line", set()),
        ("sys/G", set()),
    ],
)
def test_who_receives_what(slash: str, name: str, who: set[str]) -> None:
    """Devices what is sent to them, the hub what devices ask, a reading operator everything."""
    assert permitted(may_receive, slash + name) == who | {"reader"}


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
@pytest.mark.parametrize(
    ("topic_filter", "who"),
    [
        ("sys/G/gw/thing/measurepoint/resume_reply", {"gateway"}),
        ("sys/G/gw/thing/service/+", {"gateway"}),
        ("sys/G/gw/thing/event/+/post_reply", {"gateway"}),
        ("sys/G/gw/#", {"gateway"}),
        ("sys/S/sub/#", {"gateway", "sub"}),
        ("sys/S/other/#", set()),
        ("sys/+/+/thing/service/+", {"gateway", "sub"}),
        ("sys/+/+/#", {"gateway", "sub"}),
        ("sys/S/+/thing/service/+", {"gateway", "sub"}),
        ("sys/+/other/thing/service/+", {"gateway", "sub"}),
        ("sys/+/integration/#", {"gateway", "sub", "channel"}),
        ("ext/session/G/gw/#", {"gateway"}),
        ("ext/session/+/+/combine/login_reply", {"gateway", "sub"}),
        ("ext/session/S/other/#", set()),
        ("sys/S/integration/measurepoint/post_reply", {"channel"}),
        ("sys/S/integration/#", {"channel"}),
        ("sys/G/integration/#", set()),
        ("sys/S/integration", set()),
        ("sys/G/gw", set()),
        ("sys/G/#", set()),
        ("sys/#", set()),
        ("ext/session/#", set()),
        ("ext/session/G/#", set()),
        ("ext/#", set()),
        ("+/G/gw/thing/service/+", set()),
        ("plant/#", set()),
        ("+/+", set()),
    ],
)
def test_who_may_subscribe(slash: str, topic_filter: str, who: set[str]) -> None:
    """Under one's own keys; a plus in their place means mine; a reading operator anywhere."""
    assert permitted(may_subscribe, slash + topic_filter) == who | {"reader", "hub"}


@pytest.mark.parametrize("topic_filter", ["#", "+", "$SYS/#", "$SYS/broker/version", "$share/g/sys/G/gw/#", "/"])
def test_devices_may_not_subscribe_beyond_their_topics(topic_filter: str) -> None:
    """To everything, or to the broker's own topics."""
    assert permitted(may_subscribe, topic_filter) == {"reader", "hub"}


@pytest.mark.parametrize("topic_filter", ["", "sys/G/gw/#/a", "sys/G/gw/a+", "sys/G/gw/a#", "sys/G/gw/\0"])
def test_nobody_may_subscribe_to_what_is_no_filter(topic_filter: str) -> None:
    """Not even the hub."""
    assert permitted(may_subscribe, topic_filter) == set()


_LEVELS = (
    *("sys", "ext", "session", "integration", "G", "S", "gw", "sub", "other"),
    *("thing", "service", "measurepoint", "set", "set_reply", "combine", "rrpc", "request", "response", "x", "x_reply"),
)
_topics = st.builds(
    lambda slash, prefix, rest: slash + "/".join([*prefix, *rest]),
    st.sampled_from(["/", ""]),
    st.sampled_from(
        [["sys", "G", "gw"], ["sys", "S", "sub"], ["ext", "session", "G", "gw"], ["sys", "S", "integration"], []]
    ),
    st.lists(st.sampled_from(_LEVELS), max_size=5),
)


@given(st.sampled_from([GATEWAY, SUB, OTHER, Channel("S"), Channel("G")]), _topics)
def test_nothing_that_a_device_publishes_comes_back(identity: Identity, name: str) -> None:
    """The Python SDK would take its own `set_reply` for a command, and loop."""
    assert not (may_publish(identity, name, DIRECTORY) and may_receive(identity, name, DIRECTORY))


@given(st.sampled_from([GATEWAY, SUB, OTHER, Channel("S"), Channel("G")]), _topics)
def test_what_a_device_may_receive_it_may_subscribe_to(identity: Identity, name: str) -> None:
    """By the topic's own name."""
    if may_receive(identity, name, DIRECTORY):
        assert may_subscribe(identity, name, DIRECTORY)
