"""Which topics carry messages in products' own formats, and which request each of them is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.raw import is_raw_uplink, may_be_raw, request_topic
from enos_ingest.protocol.topics import Topic, parse_topic

DEVICE = "/sys/P/d/thing/model/up_raw"
CHANNEL = "/sys/P/integration/model/up_raw"


def raw(name: str) -> Topic:
    """A topic of ours, taken apart."""
    topic = parse_topic(name)
    assert topic is not None
    return topic


@pytest.mark.parametrize(
    ("name", "is_raw"),
    [
        (DEVICE, True),
        (DEVICE[1:], True),
        (CHANNEL, True),
        ("/sys/P/integration/up_raw", True),
        ("sys/P/integration/up_raw", True),
        ("/sys/P/d/model/up_raw", False),
        ("/sys/P/integration/thing/model/up_raw", False),
        ("/ext/session/P/d/thing/model/up_raw", False),
        (f"{DEVICE}_reply", False),
        ("/sys/P/d/thing/model/down_raw", False),
    ],
)
def test_raw_topics(name: str, is_raw: bool) -> None:
    """Those of devices and channels, with and without the slash, the old name too."""
    assert is_raw_uplink(raw(name)) is is_raw
    assert may_be_raw(name) or not is_raw


@pytest.mark.parametrize(
    ("method", "topic"),
    [
        ("thing.measurepoint.post", "/sys/P/d/thing/measurepoint/post"),
        ("thing.measurepoint.resume.batch", "/sys/P/d/thing/measurepoint/resume/batch"),
        ("thing.attribute.update", "/sys/P/d/thing/attribute/update"),
        ("thing.event.overheat.post", "/sys/P/d/thing/event/overheat/post"),
        ("thing.event.motor.hot.post", "/sys/P/d/thing/event/motor.hot/post"),
        ("thing.event.post", "/sys/P/d/thing/event/post"),  # which the pipeline does not know
        ("combine.login", "/ext/session/P/d/combine/login"),
        ("integration.measurepoint.post", None),
        ("ota.inform", None),
        ("thing", None),
        ("thing.", None),
        ("", None),
        ("thing/measurepoint.post", None),
        ("thing.measurepoint.#", None),
        ("thing.\0", None),
        ("thing.measurepoint.post_reply", None),
        ("thing.service.measurepoint.set", None),
        ("combine.disable", None),
        ("thing.model.up_raw", None),
        (f"thing.{'x' * 70_000}", None),
    ],
)
def test_what_a_device_asks_for(method: str, topic: str | None) -> None:
    """On its own topics, nothing that is an answer, for devices, or raw itself."""
    assert request_topic(raw(DEVICE), method) == topic


@pytest.mark.parametrize(
    ("method", "topic"),
    [
        ("integration.measurepoint.post", "/sys/P/integration/measurepoint/post"),
        ("integration.attribute.post", "/sys/P/integration/attribute/post"),
        ("integration.model.up_raw", None),
        ("integration.up_raw", None),
        ("thing.measurepoint.post", None),
        ("combine.login", None),
    ],
)
def test_what_a_channel_asks_for(method: str, topic: str | None) -> None:
    """On the integration topics of its product alone."""
    for name in (CHANNEL, "sys/P/integration/up_raw"):
        assert request_topic(raw(name), method) == topic


@given(st.text() | st.builds("{}.{}".format, st.sampled_from(["thing", "combine", "thing.event"]), st.text()))
def test_a_method_leads_to_topics_of_its_owner_alone(method: str) -> None:
    """Whatever a codec makes of bytes that a device chose: it is a request of that device, and not raw again."""
    name = request_topic(raw(DEVICE), method)
    if name is not None:
        topic = raw(name)
        assert topic.owner == DeviceId("P", "d")
        assert topic.is_request
        assert not is_raw_uplink(topic)
