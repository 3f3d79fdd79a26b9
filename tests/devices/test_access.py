"""Who may publish, subscribe and receive where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.access import may_publish, may_receive, may_subscribe
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Identity, Operator
from enos_ingest.protocol.topics import parse_topic

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
    ("name", "is_request"),
    [
        ("sys/G/gw/thing/measurepoint/resume", True),
        ("sys/S/integration/measurepoint/post", True),
        ("ext/session/G/gw/combine/login", True),
        ("sys/G/gw/thing/measurepoint/resume_reply", False),
        ("sys/G/gw/thing/service/measurepoint/set", False),
        ("sys/G/gw/thing/service/measurepoint/set_reply", False),
        ("sys/G/gw/rrpc/response/1", False),
        ("plant/line", False),
        ("sys/G", False),
    ],
)
def test_who_receives_what_the_broker_delivers(slash: str, name: str, is_request: bool) -> None:
    """The hub what devices ask, a reading operator everything."""
    assert may_receive(Hub(), slash + name) == is_request
    assert may_receive(Operator("r", frozenset({"read"})), slash + name)
    assert not may_receive(Operator("w", frozenset({"write"})), slash + name)


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
def test_nothing_that_the_hub_sends_comes_from_a_device(identity: Identity, name: str) -> None:
    """The Python SDK would take its own `set_reply` for a command, and loop."""
    topic = parse_topic(name)
    assert not (may_publish(identity, name, DIRECTORY) and (topic is None or topic.is_to_device))


@given(st.sampled_from([GATEWAY, SUB, OTHER, Channel("S"), Channel("G")]), _topics)
def test_whoever_may_ask_may_subscribe_to_the_answer(identity: Identity, name: str) -> None:
    """By the topic's own name."""
    topic = parse_topic(name)
    if topic is not None and topic.is_request and may_publish(identity, name, DIRECTORY):
        assert may_subscribe(identity, topic.reply_topic, DIRECTORY)
