"""The requests that the documents print, byte for byte, get the replies that they print."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from enos_ingest.outcome import Point
from enos_ingest.testing.commands import ReceivedCommand
from enos_ingest.testing.hub import Hub
from tests.models.documents import point, thing_model

SAMPLES = Path(__file__).parent / "samples"

PRODUCT, SUBS_PRODUCT = "EbxGvUrE", "Sb7PkXyZ"

CALL = (
    "/connect-service/v2.1/commands?measurepointId=measurepoint1&action=setMeasurepoint&deviceKey=zBAofs6D4s"
    "&pendingTtl=1000&productKey=6Bt59ySj&orgId=o15535059999891&timeout=30"
)
"""What both documents about Set Measurepoint print, behind `https://{apigw-address}`."""

REGISTRY: dict[str, Any] = {
    "products": [
        {"key": PRODUCT, "secret": "product secret", "model": "documents"},
        {"key": SUBS_PRODUCT, "secret": "product secret", "model": "documents"},
    ],
    "devices": [
        *({"product": PRODUCT, "key": key, "secret": f"secret of {key}"} for key in ("gw-1", "device1", "device2")),
        {"product": SUBS_PRODUCT, "key": "sub001", "secret": "secret of sub001"},
    ],
    "gateways": [{"device": f"{PRODUCT}/gw-1", "sub_devices": [f"{SUBS_PRODUCT}/sub001"]}],
    "operators": [{"name": "watcher", "password": "password of watcher", "scopes": ["read"]}],
}

STRUCT = {
    "items": [
        point("INT", identifier="value", required=True),
        point("INT", identifier="quality", required=True),
    ]
}

READINGS = {
    "a struct": point("STRUCT", STRUCT),
    "a value with its quality": point("INT", hasQuality=True),
    "a struct that may have a quality": point("STRUCT", STRUCT, hasQuality=True),
}
"""The documents call `Power` a struct in one place, and a point with the quality indicator in another."""


class Sample(NamedTuple):
    """A request of the documents: `stored` is device, n and time of each item, whose temp is n + 0.02."""

    name: str
    topic: str
    sender: str
    origin: str
    stored: list[tuple[str, int, int]]

    @property
    def request(self) -> bytes:
        """The bytes as they are printed."""
        return (SAMPLES / f"{self.name}.json").read_bytes()

    @property
    def reply(self) -> Any:
        """The reply as it is printed."""
        return json.loads((SAMPLES / f"{self.name}_reply.json").read_bytes())


RESUMING = [
    Sample(
        "measurepoint-resume",
        f"/sys/{PRODUCT}/device1/thing/measurepoint/resume",
        f"{PRODUCT}/device1",
        "resume",
        [(f"{PRODUCT}/device1", 1, 123456)],
    ),
    Sample(
        "measurepoint-resume-batch",
        f"/sys/{PRODUCT}/gw-1/thing/measurepoint/resume/batch",
        f"{PRODUCT}/gw-1",
        "resume",
        [(f"{SUBS_PRODUCT}/sub001", 1, 123456), (f"{PRODUCT}/gw-1", 2, 123567)],
    ),
]
POSTING = [
    Sample(
        "integration-measurepoint-post",
        topic,
        f"{PRODUCT}/%channel%",
        "integration",
        [
            (f"{PRODUCT}/device1", 1, 123456),
            (f"{PRODUCT}/device1", 2, 123567),
            (f"{PRODUCT}/device2", 1, 123456),
        ],
    )
    for topic in (f"/sys/{PRODUCT}/integration/measurepoint/post", f"sys/{PRODUCT}/integration/measurepoint/post")
]
ALL = [pytest.param(sample, id=sample.topic) for sample in (*RESUMING, *POSTING)]


def start(enos_hub: Callable[..., Hub], power: str) -> Hub:
    """A hub whose thing model fits the samples, with one of the readings of `Power`."""
    branches = point("ARRAY", {"itemType": "FLOAT"})
    model = thing_model("documents", Power=READINGS[power], temp=point("FLOAT"), branchCurr=branches)
    return enos_hub(registry=REGISTRY, models=[model])


def expected(sample: Sample, power: str) -> list[str]:
    """Every point of a sample, as JSON, so that 1 and 1.0 and "1" are told apart."""
    points = []
    for device, number, time in sample.stored:
        value: Any = {"value": number, "quality": 9} if "struct" in power else number
        quality = None if "struct" in power else 9
        currents = {1: ["1.02", "2.02", "7.93"], 2: ["2.02", "3.02", "9.93"]}[number]
        keys = device.split("/")
        points += [
            (*keys, "Power", time, value, quality, sample.origin),
            (*keys, "temp", time, number + 0.02, None, sample.origin),
            (*keys, "branchCurr", time, currents, None, sample.origin),
        ]
    return sorted(map(json.dumps, points))


def stored(hub: Hub) -> list[str]:
    """Every point in the store, likewise."""
    points: list[Point] = []
    for row in REGISTRY["devices"]:
        points += hub.points(f"{row['product']}/{row['key']}")
    return sorted(json.dumps(point) for point in points)


@pytest.mark.parametrize("power", READINGS)
@pytest.mark.parametrize("sample", ALL)
def test_printed_request_gets_the_printed_reply(enos_hub: Callable[..., Hub], sample: Sample, power: str) -> None:
    """And its values are found in the store as they were sent."""
    hub = start(enos_hub, power)
    with hub.connect(sample.sender) as client:
        reply = client.request(sample.topic, sample.request)
    assert reply == sample.reply
    assert stored(hub) == expected(sample, power)
    assert hub.quarantine() == []


def test_batch_has_the_printed_flags() -> None:
    """The document prints two lines of the request, and no more."""
    flags = b'    "allowOfflineSubDevice": true,\n    "skipInvalidMeasurepoints": true,\n'
    assert flags in (SAMPLES / "measurepoint-resume-batch.json").read_bytes()


def test_flags_of_the_batch_do_what_the_document_says(enos_hub: Callable[..., Hub]) -> None:
    """Without the first the offline sub-device declines it all; with the second a point that is not known does not."""
    hub = start(enos_hub, "a struct")
    sample = RESUMING[1]
    with hub.connect(sample.sender) as client:
        declined = sample.request.replace(b'SubDevice": true', b'SubDevice": false')
        assert client.request(sample.topic, declined)["code"] == 1212
        assert stored(hub) == []
        skipped = sample.request.replace(b'"temp":1.02', b'"temperature":1.02')
        assert client.request(sample.topic, skipped)["code"] == 200
        declined = skipped.replace(b'Measurepoints": true', b'Measurepoints": false')
        assert client.request(sample.topic, declined)["code"] == 1204
    assert stored(hub) == [text for text in expected(sample, "a struct") if '"temp", 123456' not in text]


@pytest.mark.needs("mosquitto_pub")
@pytest.mark.parametrize("sample", ALL)
def test_mosquitto_pub_sends_the_file(enos_hub: Callable[..., Hub], sample: Sample) -> None:
    """The same bytes out of a file, with the credentials that `enos-ingest credentials` prints."""
    hub = start(enos_hub, "a value with its quality")
    credentials = hub.credentials(sample.sender)
    reply_topic = f"{sample.topic}_reply"
    with hub.connect_operator("watcher", "password of watcher") as watcher:
        assert watcher.subscribe(reply_topic) == 1
        subprocess.run(
            [
                *("mosquitto_pub", "-h", hub.host, "-p", str(hub.port), "-q", "1"),
                *("-i", credentials.client_id, "-u", credentials.user_name, "-P", credentials.password),
                *("-t", sample.topic, "-f", str(SAMPLES / f"{sample.name}.json")),
            ],
            check=True,
            timeout=30,
        )
        reply = json.loads(watcher.next_message(reply_topic))
    assert reply == sample.reply
    assert stored(hub) == expected(sample, "a value with its quality")


def answered_as_printed(body: bytes) -> str:
    """The commandId in an answer that differs from the printed one in the two ids alone, which are of the same kind."""
    printed = (SAMPLES / "set-measurepoint_reply.json").read_text()
    reply, expected = json.loads(body), json.loads(printed)
    assert list(reply) == list(expected)
    command = reply["data"]["commandId"]
    # 18 digits, and not 19: the C SDK has room for no more.
    assert re.fullmatch(r"[1-9][0-9]{17}", command)
    assert re.fullmatch(r"[0-9a-f]{32}", reply["requestId"])
    assert {**reply, "requestId": expected["requestId"], "data": expected["data"]} == expected
    return str(command)


def start_for_commands(enos_hub: Callable[..., Hub]) -> Hub:
    """A hub with the organisation, device and point of the printed call."""
    registry = {
        "products": [{"key": "6Bt59ySj", "secret": "product secret", "model": "documents"}],
        "devices": [{"product": "6Bt59ySj", "key": "zBAofs6D4s", "secret": "secret"}],
        "applications": [{"name": "scada", "api_key": "key of scada", "scopes": ["control", "read"]}],
    }
    models = [thing_model("documents", measurepoint1=point("FLOAT"))]
    return enos_hub(registry=registry, models=models, settings={"registry.org_id": "o15535059999891"})


@pytest.mark.parametrize("cached", [True, False])
def test_printed_call_gets_the_printed_answer(enos_hub: Callable[..., Hub], cached: bool) -> None:
    """A command that is cached for a device that is offline, as printed, and the same as an instant one."""
    hub = start_for_commands(enos_hub)
    path = CALL if cached else CALL.replace("&pendingTtl=1000", "")
    with contextlib.ExitStack() as connected:
        received: list[ReceivedCommand] = []
        if not cached:
            connected.enter_context(hub.connect("6Bt59ySj/zBAofs6D4s")).on_command(received.append)
        request = urllib.request.Request(  # noqa: S310 - http and nothing else
            hub.http_url + path,
            (SAMPLES / "set-measurepoint.json").read_bytes(),
            {"Authorization": "Bearer key of scada"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - likewise
            assert response.status == 200
            command = answered_as_printed(response.read())
        if cached:
            device = connected.enter_context(hub.connect("6Bt59ySj/zBAofs6D4s"))
            received.append(device.next_command())
    assert [(each.id, each.topic, each.params) for each in received] == [
        (command, "/sys/6Bt59ySj/zBAofs6D4s/thing/service/measurepoint/set", {"measurepoint1": 1.0})
    ]


@pytest.mark.needs("curl")
def test_curl_sends_the_printed_call(enos_hub: Callable[..., Hub]) -> None:
    """As a person would: the URL and the body as they are printed."""
    hub = start_for_commands(enos_hub)
    body = (SAMPLES / "set-measurepoint.json").read_text()
    command = ["curl", "-sS", "-H", "Authorization: Bearer key of scada", "-d", body, hub.http_url + CALL]
    answered_as_printed(subprocess.run(command, check=True, timeout=30, stdout=subprocess.PIPE).stdout)
