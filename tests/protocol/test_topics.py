"""Topics: families, directions, names and filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from enos_ingest.protocol.identity import Channel, DeviceId, Publisher
from enos_ingest.protocol.topics import (
    Family,
    Topic,
    filter_matches,
    is_filter,
    is_reply,
    is_topic_name,
    parse_topic,
    reply_topic,
)

slashes = pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])


@slashes
@pytest.mark.parametrize(
    ("name", "family", "owner", "action"),
    [
        ("sys/P/d/thing/measurepoint/resume", Family.DEVICE, DeviceId("P", "d"), "thing/measurepoint/resume"),
        ("sys/P/d/ota/device/inform", Family.DEVICE, DeviceId("P", "d"), "ota/device/inform"),
        ("sys/P/d/x", Family.DEVICE, DeviceId("P", "d"), "x"),
        ("ext/session/P/d/combine/login", Family.SESSION, DeviceId("P", "d"), "combine/login"),
        ("sys/P/integration/measurepoint/post", Family.INTEGRATION, Channel("P"), "measurepoint/post"),
        ("ext/session/P/integration/combine/login", Family.SESSION, DeviceId("P", "integration"), "combine/login"),
        ("sys/P/d/", Family.DEVICE, DeviceId("P", "d"), ""),
        ("sys/P/d/thing//resume", Family.DEVICE, DeviceId("P", "d"), "thing//resume"),
        ("sys/P/integration/measurepoint/post/", Family.INTEGRATION, Channel("P"), "measurepoint/post/"),
        ("ext/session/P/d/combine/", Family.SESSION, DeviceId("P", "d"), "combine/"),
        ("sys/sys/ext/x", Family.DEVICE, DeviceId("sys", "ext"), "x"),
    ],
)
def test_a_topic_of_each_family_is_read(slash: str, name: str, family: Family, owner: Publisher, action: str) -> None:
    """With and without the leading slash; the spelling is kept for the reply, an action's empty levels are its own."""
    topic = parse_topic(slash + name)
    assert topic == Topic(slash + name, family, owner, action)
    assert type(owner) is type(topic.owner)
    assert topic.kind == f"{family.value}/{action}"
    assert topic.reply_topic == f"{slash}{name}_reply"


@slashes
@pytest.mark.parametrize(
    "name",
    [
        "",
        "sys",
        "sys/P",
        "sys/P/d",
        "sys/P/integration",
        "sys//d/thing",
        "sys/P//thing",
        "sys//integration/measurepoint/post",
        "ext/session/P/d",
        "ext/session//d/combine/login",
        "ext/session/P//combine/login",
        "ext/other/P/d/x",
        "Sys/P/d/thing",
        "plant/line/1",
    ],
)
def test_other_topics_belong_to_no_family(slash: str, name: str) -> None:
    """Keys that are missing or empty, no action, other prefixes."""
    assert parse_topic(slash + name) is None


def test_one_leading_slash_is_enough() -> None:
    """Two make an empty first level."""
    assert parse_topic("/sys/P/d/thing") is not None
    assert parse_topic("//sys/P/d/thing") is None


_levels = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    st.sampled_from(["", "/"]), _levels, _levels.filter(lambda key: key != "integration"), st.lists(_levels, min_size=1)
)
def test_what_is_put_together_is_taken_apart(slash: str, product: str, device: str, rest: list[str]) -> None:
    """For any keys and actions, in all families."""
    action = "/".join(rest)
    for name, family, owner in (
        (f"{slash}sys/{product}/{device}/{action}", Family.DEVICE, DeviceId(product, device)),
        (f"{slash}ext/session/{product}/{device}/{action}", Family.SESSION, DeviceId(product, device)),
        (f"{slash}sys/{product}/integration/{action}", Family.INTEGRATION, Channel(product)),
    ):
        assert parse_topic(name) == Topic(name, family, owner, action)


@given(st.text())
def test_any_text_is_a_topic_or_none(name: str) -> None:
    """Never an exception; a topic keeps its name."""
    topic = parse_topic(name)
    assert topic is None or (topic.name == name and name.endswith(topic.action))


@slashes
def test_a_reply_keeps_the_spelling_of_its_request(slash: str) -> None:
    """The SDKs listen to exactly that."""
    request = f"{slash}sys/P/d/thing/measurepoint/resume"
    assert reply_topic(request) == f"{request}_reply"
    assert is_reply(reply_topic(request))
    assert not is_reply(request)


def test_an_answer_to_an_rrpc_is_a_reply() -> None:
    """It does not end in `_reply` as all others do."""
    assert is_reply("/sys/P/d/rrpc/response/17")
    assert not is_reply("/sys/P/d/rrpc/request/17")


@pytest.mark.parametrize(
    "action",
    [
        "thing/measurepoint/resume",
        "thing/measurepoint/resume/batch",
        "thing/event/measurepoint/post",
        "thing/model/up_raw",
        "thing/service/measurepoint/set_reply",
        "thing/service/restart_reply",
        "thing/activate/info_reply",
        "thing/disable_reply",
        "ota/device/inform",
        "ota/device/upgrade_reply",
        "rrpc/response/17",
        "combine/login",
        "combine/disable_reply",
        "thing/model/down_raw_reply",
    ],
)
def test_what_devices_send_is_no_downlink(action: str) -> None:
    """Requests of devices, and their answers to what the hub asks."""
    for prefix in ("/sys/P/d/", "/ext/session/P/d/"):
        topic = parse_topic(prefix + action)
        assert topic is not None
        assert not topic.is_to_device
        assert topic.is_request == (not is_reply(topic.name))


@pytest.mark.parametrize(
    "action",
    [
        "thing/measurepoint/resume_reply",
        "thing/event/measurepoint/post_reply",
        "thing/model/up_raw_reply",
        "thing/service/measurepoint/set",
        "thing/service/restart",
        "thing/model/down_raw",
        "thing/activate/info",
        "thing/enable",
        "thing/disable",
        "thing/delete",
        "ota/device/upgrade",
        "rrpc/request/17",
        "combine/login_reply",
        "combine/enable",
        "combine/disable",
        "combine/delete",
    ],
)
def test_what_the_hub_sends_is_a_downlink(action: str) -> None:
    """Commands, and answers to what devices ask."""
    topic = parse_topic(f"/ext/session/P/d/{action}")
    assert topic is not None
    assert topic.is_to_device
    assert not topic.is_request


@pytest.mark.parametrize("name", ["a", "/", "a/b", "/a", "a//b", "a b", "a$", "é", "x" * 65529])
def test_a_topic_name_may_be_anything_but(name: str) -> None:
    """Blanks, empty levels and a dollar later on are allowed. [MQTT-4.7.3-1]"""
    assert is_topic_name(name)


@pytest.mark.parametrize(
    "name", ["", "#", "a/#", "a/+/b", "+", "a+", "a#b", "a\0b", "$SYS/broker", "$share/g/a", "x" * 65530, "é" * 32765]
)
def test_a_topic_name_has_no_wildcard(name: str) -> None:
    """Nor is it empty, the server's own, or so long that no reply's topic would fit into MQTT. [MQTT-3.3.2-2]"""
    assert not is_topic_name(name)


@pytest.mark.parametrize(
    "text", ["sport/tennis/player1/#", "#", "+", "+/tennis/#", "sport/+/player1", "/+", "+/+", "/", "a//b", "$SYS/#"]
)
def test_filters_that_the_specification_calls_valid(text: str) -> None:
    """[MQTT-4.7.1-2], [MQTT-4.7.1-3]"""
    assert is_filter(text)


@pytest.mark.parametrize(
    "text", ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+sport", "#/a", "a\0", "##"]
)
def test_filters_that_the_specification_calls_invalid(text: str) -> None:
    """[MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1]"""
    assert not is_filter(text)


@pytest.mark.parametrize(
    ("topic_filter", "matching", "other"),
    [
        (
            "sport/tennis/player1/#",
            ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"],
            ["sport/tennis/player2", "sport/tennis"],
        ),
        ("sport/#", ["sport", "sport/", "sport/a/b"], ["sports"]),
        ("sport/tennis/+", ["sport/tennis/player1", "sport/tennis/player2"], ["sport/tennis/player1/ranking"]),
        ("sport/+", ["sport/"], ["sport"]),
        ("+/+", ["/finance"], ["finance"]),
        ("/+", ["/finance"], ["finance"]),
        ("+", ["finance"], ["/finance"]),
        ("#", ["a", "/", "a/b"], ["$SYS/broker"]),
        ("+/monitor/Clients", ["a/monitor/Clients"], ["$SYS/monitor/Clients"]),
        ("$SYS/#", ["$SYS/", "$SYS/monitor"], ["SYS/monitor"]),
        ("$SYS/monitor/+", ["$SYS/monitor/Clients"], []),
        ("ACCOUNTS", ["ACCOUNTS"], ["Accounts", "/ACCOUNTS"]),
    ],
)
def test_filters_match_as_in_the_specification(topic_filter: str, matching: list[str], other: list[str]) -> None:
    """The examples of section 4.7."""
    assert [name for name in matching + other if filter_matches(topic_filter, name)] == matching


_name_levels = st.sampled_from(["", "a", "b", "sys", "$SYS"])
_names = st.lists(_name_levels, min_size=1, max_size=5).map("/".join).filter(is_topic_name)
_filters = (
    st.tuples(st.lists(st.sampled_from(["", "a", "b", "sys", "+"]), max_size=5), st.sampled_from(["", "a", "+", "#"]))
    .map(lambda parts: "/".join([*parts[0], parts[1]]))
    .filter(is_filter)
)


@given(_filters, _names)
def test_filters_match_as_paho_matches_them(topic_filter: str, name: str) -> None:
    """An implementation that is not ours is the judge."""
    assert filter_matches(topic_filter, name) == topic_matches_sub(topic_filter, name)
