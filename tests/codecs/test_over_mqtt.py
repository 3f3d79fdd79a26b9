"""Commands to a device that speaks bytes: a whole hub, the REST API, MQTT, the worker process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.commands import ReceivedCommand
from enos_ingest.testing.hub import Hub, run_hub
from tests.codecs.site import PLAIN, write, write_method
from tests.models.documents import point, thing_model

DEVICE = "P/d"
RAW = "/sys/P/d/thing/model/down_raw"

MEMBER = {"identifier": "percent", **point("DOUBLE")}
MODEL = {
    **thing_model("m", limit=point("DOUBLE"), days=point("ARRAY", {"itemType": "INT"})),
    "services": {
        "boost": {
            "identifier": "boost",
            "name": {"defaultValue": "Boost", "i18nValue": {}},
            "callType": "SYNC",
            "inputData": [MEMBER],
            "outputData": [MEMBER],
        }
    },
}


@contextmanager
def hub_with(codec: str, folder: Path) -> Iterator[tuple[Hub, TestClient]]:
    """A hub, and a device whose product has this codec; a busy machine does not overrun it."""
    settings: dict[str, object] = {"codecs.path": str(folder), "codecs.seconds": 20.0}
    with (
        run_hub(registry=registry_with(codec), models=[MODEL], settings=settings) as hub,
        hub.connect(DEVICE) as device,
    ):
        yield hub, device


def registry_with(codec: str) -> dict[str, Any]:
    """One device of a product with this codec."""
    return {
        "products": [{"key": "P", "model": "m", "codec": codec}],
        "devices": [{"product": "P", "key": "d", "secret": "s"}],
    }


def test_a_value_goes_out_as_bytes_and_is_answered_in_bytes(tmp_path: Path) -> None:
    """The device knows nothing but its frames."""
    received: list[dict[str, Any]] = []

    def handle(command: ReceivedCommand) -> bytes:
        assert command.topic == RAW
        received.append(sample.decode(command.payload))
        return sample.encode({"id": received[-1]["id"], "code": 200})

    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        device.on_command(handle)
        reply = hub.application().set_measurepoint(DEVICE, "limit", 12.5)
    assert (reply["code"], reply["msg"]) == (0, "Success")
    (message,) = received
    assert message == {
        "id": reply["data"]["commandId"],
        "version": "1.0",
        "method": "thing.service.measurepoint.set",
        "params": {"limit": 12.5},
    }


def test_a_service_returns_what_the_bytes_hold(tmp_path: Path) -> None:
    """Its inputs go out, its outputs come back."""

    def handle(command: ReceivedCommand) -> bytes:
        message = sample.decode(command.payload)
        assert message["method"] == "thing.service.boost"
        return sample.encode({"id": message["id"], "code": 200, "data": {"percent": message["params"]["percent"] + 1}})

    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        device.on_command(handle)
        reply = hub.application().invoke_service(DEVICE, "boost", {"percent": 41.0})
    assert (reply["code"], reply["data"]["outputData"]) == (0, {"percent": 42.0})


def test_an_error_of_the_device_comes_back(tmp_path: Path) -> None:
    """Its code and its words."""

    def handle(command: ReceivedCommand) -> bytes:
        request_id = sample.decode(command.payload)["id"]
        return sample.encode({"id": request_id, "code": 2001, "message": "locked"})

    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        device.on_command(handle)
        reply = hub.application().set_measurepoint(DEVICE, "limit", 12.5)
    assert reply["code"] == 11999
    assert (reply["data"]["deviceCode"], reply["data"]["deviceMessage"]) == (2001, "locked")


def test_what_the_codec_refuses_is_11810_and_is_not_sent(tmp_path: Path) -> None:
    """In the codec's words; the next command is the first that the device gets."""
    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        application = hub.application()
        refused = application.set_measurepoint(DEVICE, "days", [1, 2])
        cached = application.set_measurepoint(DEVICE, "days", [1, 2], pending_ttl=60)
        sent = application.set_measurepoint(DEVICE, "limit", 1.5, pending_ttl=60)
        assert sample.decode(device.next_command().payload)["id"] == sent["data"]["commandId"]
    for reply in (refused, cached):
        assert reply["code"] == 11810
        assert reply["msg"].endswith("params.days: the frame holds numbers, texts, true and false, no other values")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('x')", "codec broken:codec raised ValueError in encode: x"),
        ("os._exit(1)", "codec broken:codec ended its worker process (exit code 1)"),
        ("return 'x'", "codec broken:codec returned a value of type str from encode, not bytes"),
    ],
)
def test_a_codec_that_is_broken_is_11810(tmp_path: Path, body: str, said: str) -> None:
    """The hub itself serves on."""
    codec = write_method(tmp_path, "broken", body).codec
    with hub_with(codec, tmp_path) as (hub, _):
        reply = hub.application().set_measurepoint(DEVICE, "limit", 12.5)
        assert (reply["code"], said in reply["msg"]) == (11810, True)


def test_bytes_that_hold_no_answer_have_no_effect(tmp_path: Path) -> None:
    """The answer that comes after them counts."""
    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        reply = hub.application().set_measurepoint(DEVICE, "limit", 1.5, pending_ttl=60)
        command = device.next_command()
        good = sample.encode({"id": sample.decode(command.payload)["id"], "code": 200})
        for payload in (b"\xff\x00", good[:-1], good):
            device.publish(f"{RAW}_reply", payload)
        command_id = reply["data"]["commandId"]
        state = hub.application().command(command_id)["data"]["state"]
        while state == 4:  # released: the answer is being decoded
            state = hub.application().command(command_id)["data"]["state"]
    assert state == 5


def test_another_codec_in_the_registry_is_in_force_at_once(tmp_path: Path) -> None:
    """The device gets the next command in the other format, on the same connection."""
    codec = write(tmp_path, "plain", PLAIN).codec
    with hub_with("enos_ingest.codecs.sample:codec", tmp_path) as (hub, device):
        application = hub.application()
        starts = []
        for name in (None, codec, ""):
            if name is not None:
                hub.apply(registry_with(name))
            application.set_measurepoint(DEVICE, "limit", 1.5, pending_ttl=60)
            command = device.next_command()
            starts.append((command.topic, command.payload[:2]))
            if command.topic == RAW and command.payload.startswith(b"EN"):
                device.answer(command, sample.encode({"id": sample.decode(command.payload)["id"], "code": 0}))
            else:
                device.answer(command, None)
        assert starts == [(RAW, b"EN"), (RAW, b'{"'), ("/sys/P/d/thing/service/measurepoint/set", b'{"')]
