"""Who may speak for whom: check 4 for the topic as a whole, and a thing model that is missing."""

from __future__ import annotations

from collections.abc import Iterator

from tests.cases.case import Case
from tests.cases.requests import ALONE, BATCHES, POST, UPLINKS, Uplink
from tests.cases.world import (
    BARE,
    CHANNEL,
    DIRECT,
    FREE,
    GATEWAY,
    GATEWAYS,
    METERS,
    NEIGHBOUR,
    NEIGHBOURS_SUB,
    SHARED,
    SOLO,
    SUB_1,
    SUB_2,
    identity,
)

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    """Every case of this theme."""
    for uplink in (*ALONE, *BATCHES):
        yield from _strangers(uplink)
        yield from _gateway(uplink)
        yield from _no_model(uplink)
    yield from _channel()
    for batch in BATCHES:
        yield from _sub_devices_topic(batch)
    for uplink in UPLINKS:
        topic = uplink.topic.removeprefix("/")
        yield uplink.case("topic without a slash", uplink.one(), 200, topic=topic, stored=(uplink.stored(),))
        yield uplink.case("topic without a slash, refused", uplink.one(version=""), 1206, _EMPTY_VERSION, topic=topic)


_EMPTY_VERSION = "version: at least 1 character"


def _topic_of(uplink: Uplink, device: str) -> str:
    return uplink.topic.replace(GATEWAY, device)


def _strangers(uplink: Uplink) -> Iterator[Case]:
    for name, sender, device in (
        ("a device for another device", DIRECT, GATEWAY),
        ("a gateway for another gateway", NEIGHBOUR, GATEWAY),
        ("a gateway for another gateway's sub-device", GATEWAY, NEIGHBOURS_SUB),
        ("a sub-device for its gateway", SOLO, GATEWAY),
        ("a sub-device for another sub-device", SOLO, SUB_1),
        ("a gateway for a device of no gateway", GATEWAY, FREE),
        ("a gateway for a device that does not exist", GATEWAY, f"{METERS}/nobody"),
        ("a channel for a device of its product", CHANNEL, GATEWAY),
        ("a device whose key differs in its letters", DIRECT, f"{GATEWAYS}/DIRECT"),
    ):
        what = f"{identity(sender)} may not report for {device}"
        topic = _topic_of(uplink, device)
        yield uplink.case(name, uplink.one(), 1212, what, topic=topic, sender=sender)


def _gateway(uplink: Uplink) -> Iterator[Case]:
    for name, device in (("a device for itself", DIRECT), ("a gateway for itself", NEIGHBOUR)):
        stored = (uplink.stored(device=device),)
        topic = _topic_of(uplink, device)
        yield uplink.case(name, uplink.one(), 200, topic=topic, sender=device, stored=stored)
    topic = _topic_of(uplink, SUB_1)
    online = frozenset({(GATEWAY, SUB_1)})
    stored = (uplink.stored(device=SUB_1),)
    yield uplink.case(
        "a gateway on its sub-device's topic", uplink.one(), 200, topic=topic, online=online, stored=stored
    )
    what = f"{uplink.path}: {SUB_1} is offline"
    yield uplink.case("a gateway on its offline sub-device's topic", uplink.one(), 1212, what, topic=topic)
    topic = _topic_of(uplink, SHARED)
    what = f"{uplink.path}: {SHARED} is offline"
    yield uplink.case(
        "a gateway for a sub-device that another one logged in",
        uplink.one(),
        1212,
        what,
        topic=topic,
        online=frozenset({(NEIGHBOUR, SHARED)}),
        by_sender=True,
    )


def _no_model(uplink: Uplink) -> Iterator[Case]:
    product = BARE.partition("/")[0]
    what = f"{uplink.path}: product {product}: has no thing model"
    topic = _topic_of(uplink, BARE)
    yield uplink.case("a device whose product has no thing model", uplink.one(), 1204, what, topic=topic, sender=BARE)
    request = uplink.request(uplink.params(uplink.item({})))
    yield uplink.case("the same without a point", request, 1204, what, topic=topic, sender=BARE)


def _channel() -> Iterator[Case]:
    other = f"{METERS}/%channel%"
    for name, sender in (
        ("a channel of another product", other),
        ("a device of the product", GATEWAY),
        ("a device of another product", SOLO),
    ):
        what = f"{identity(sender)} is not the channel of {GATEWAYS}"
        yield POST.case(name, POST.one(), 1212, what, sender=sender)
    topic = POST.topic.replace(GATEWAYS, METERS)
    for name, online in (("offline", frozenset()), ("online", frozenset({(GATEWAY, SUB_1)}))):
        yield POST.case(
            f"a channel for a sub-device that is {name}",
            POST.request([POST.item(deviceKey="sub-1")]),
            200,
            topic=topic,
            sender=other,
            online=online,
            stored=(POST.stored(device=SUB_1),),
        )
    bare = BARE.partition("/")[0]
    yield POST.case(
        "a channel of a product without a thing model",
        POST.request([POST.item(deviceKey="bare")]),
        1204,
        f"params[0]: product {bare}: has no thing model",
        topic=POST.topic.replace(GATEWAYS, bare),
        sender=f"{bare}/%channel%",
    )


def _sub_devices_topic(batch: Uplink) -> Iterator[Case]:
    topic = _topic_of(batch, SUB_1)
    both = frozenset({(GATEWAY, SUB_1), (GATEWAY, SUB_2)})
    product, _, key = SUB_1.partition("/")
    named = batch.request([batch.item(), batch.item({"energy": 1}, productKey=product, deviceKey=key)])
    yield batch.case(
        "on a sub-device's topic, by name and without",
        named,
        200,
        topic=topic,
        online=both,
        stored=(batch.stored(device=SUB_1), batch.stored("energy", 1, device=SUB_1)),
    )
    yield batch.case(
        "on a sub-device's topic, offline and allowed",
        batch.one(allowOfflineSubDevice=True),
        200,
        topic=topic,
        stored=(batch.stored(device=SUB_1),),
    )
    sibling = batch.request([batch.item(productKey=product, deviceKey="sub-2")])
    yield batch.case(
        "on a sub-device's topic for another sub-device",
        sibling,
        200,
        topic=topic,
        online=both,
        stored=(batch.stored(device=SUB_2),),
        by_sender=True,
    )
    gateways, _, gateway = GATEWAY.partition("/")
    for_gateway = batch.request([batch.item(productKey=gateways, deviceKey=gateway)])
    what = f"params[0]: {GATEWAY} is not a sub-device of {GATEWAY}"
    yield batch.case(
        "on a sub-device's topic for the gateway", for_gateway, 1212, what, topic=topic, online=both, by_sender=True
    )
