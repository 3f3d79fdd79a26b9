"""Devices that report in bytes: a whole hub, MQTT, the worker process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.hub import run_hub
from tests.codecs.raw_site import MODEL, RAW, RESUME, SAMPLE, ask, frame, hub_with, packets, registry, resume, times
from tests.codecs.site import PLAIN, write, write_method
from tests.codecs.test_sample import documented
from tests.endpoint.raw import RawClient

CHANNEL_CODEC = """
    import json

    class Text:
        def encode(self, message):
            return json.dumps(message).encode()

        def decode(self, data):
            key, value = data.decode().split("=")
            params = [{"deviceKey": key, "measurepoints": {"temp": float(value)}, "time": 7}]
            return {"id": "7", "version": "1.0", "method": "integration.measurepoint.post", "params": params}

    codec = Text()
"""


def test_the_bytes_of_the_documents(tmp_path: Path) -> None:
    """Points now and of the past: stored with their origin, answered in bytes, acknowledged."""
    frames = [
        bytes.fromhex(re.sub(r"#.*", "", digits))
        for text, digits in documented()
        if json.loads(text).get("method", "").startswith("thing.measurepoint.")
    ]
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect("P/d") as device:
        replies = [ask(device, RAW, data) for data in frames]
        points = hub.points("P/d")
    assert replies == [{"id": number, "code": 200, "data": {}, "message": ""} for number in ("4", "5")]
    assert {(stored.value, stored.origin) for stored in points} == {(-7, "post"), (21.3, "resume")}
    assert [stored.time for stored in points if stored.origin == "resume"] == [1_700_000_000_000]


def test_a_refusal_is_answered_in_bytes_and_quarantine_has_what_was_sent(tmp_path: Path) -> None:
    """Not the JSON that it stands for."""
    sent = frame(name="nope")
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect("P/d") as device:
        reply = ask(device, RAW, sent)
        (entry,) = hub.quarantine()
    assert (reply["id"], reply["code"], reply["message"]) == ("5", 1204, "params.measurepoints.nope: unknown")
    assert (entry.topic, entry.publisher, entry.code, entry.payload) == (RAW, "P/d", 1204, sent)
    assert entry.size == len(sent)


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ("raise ValueError('x')", 1220, "cannot be decoded: codec bad:codec raised ValueError in decode: x"),
        ("os._exit(3)", 1220, "cannot be decoded: codec bad:codec ended its worker process (exit code 3)"),
        ("time.sleep(60)", 1220, "cannot be decoded: codec bad:codec took longer than 0.5 s"),
        ("return b''", 1220, "cannot be decoded: codec bad:codec returned a value of type bytes from decode, not a"),
        ("return {'id': '1', 'code': 200}", 1220, "decoded, it is no request: no method"),
        ("return {'method': 3}", 1220, "decoded, it is no request: no method"),
        ("return {'method': 'thing.service.x'}", 1260, "decoded, it is no request: method thing.service.x"),
        ("return {'method': 'integration.measurepoint.post'}", 1260, "decoded, it is no request: method integration"),
        ("return {'method': 'thing.no.such'}", 1009, "no such topic for devices: thing/no/such"),
        ("return {'method': 'thing.measurepoint.resume'}", 1206, "version: missing"),
    ],
)
def test_what_cannot_be_carried_is_acknowledged_and_kept(tmp_path: Path, body: str, code: int, reason: str) -> None:
    """Without a reply, where the codec cannot encode one; the hub serves on."""
    codec = write_method(tmp_path, "bad", body).codec
    settings: dict[str, object] = {"codecs.seconds": 0.5} if "sleep" in body else {}
    with hub_with(codec, tmp_path, settings=settings) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.publish(RAW, b"bytes")
        device.ping()  # nothing but the acknowledgement came
        device.publish(RESUME, resume(9))
        (entry,) = hub.quarantine()
        assert times(hub) == [9]
    assert (entry.topic, entry.code, entry.payload) == (RAW, code, b"bytes")
    assert entry.reason.startswith(reason)


def test_a_refusal_that_the_codec_can_encode_is_sent(tmp_path: Path) -> None:
    """With the id, where one was decoded."""
    codec = write(
        tmp_path,
        "shy",
        """
        import json

        class Shy:
            def encode(self, message):
                return json.dumps(message).encode()

            def decode(self, data):
                return json.loads(data)

        codec = Shy()
        """,
    ).codec
    with hub_with(codec, tmp_path) as hub, hub.connect("P/d") as device:
        missing = device.request(RAW, b'{"id": "12"}')
        broken = device.request(RAW, b"{")
        empty = device.request(RAW, b"")
        long = device.request(RAW, b" " * 524_289)
    assert missing == {"id": "12", "code": 1220, "data": {}, "message": "decoded, it is no request: no method"}
    assert (broken["id"], broken["code"]) == ("", 1220)
    assert empty == {"id": "", "code": 1251, "data": {}, "message": "payload is empty"}
    assert long["message"] == "payload of 524289 bytes is over the limit of 524288"
    assert long["code"] == 1220


def test_a_product_without_a_codec_has_no_such_topic(tmp_path: Path) -> None:
    """Its format is JSON, and in that it is told so."""
    with hub_with("", tmp_path) as hub, hub.connect("P/d") as device:
        replies = [device.request(RAW, payload) for payload in (frame(), b'{"id": "12"}', b"")]
        entries = hub.quarantine()
    assert [reply["id"] for reply in replies] == ["", "12", ""]
    for reply in replies:
        assert (reply["code"], reply["data"], reply["message"]) == (1009, {}, "product P has no codec")
    assert [(entry.code, entry.reason) for entry in entries] == [(1009, "product P has no codec")] * 3


def test_the_topic_of_another_is_not_decoded(tmp_path: Path) -> None:
    """A device may not make another product's codec work, nor read its format."""
    codec = write_method(tmp_path, "other", f"open({str(tmp_path / 'called')!r}, 'w')").codec
    with hub_with(SAMPLE, tmp_path, Q=codec) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.publish("/sys/Q/d/thing/model/up_raw", frame())
        device.ping()
        (entry,) = hub.quarantine()
    assert (entry.code, entry.publisher, entry.reason) == (1009, "P/d", "not a topic of its publisher")
    assert not (tmp_path / "called").exists()


def test_a_gateway_reports_for_its_sub_device_in_the_sub_devices_format(tmp_path: Path) -> None:
    """By the rules of the JSON topic: only while it is logged in."""
    topic = "/sys/P/sub/thing/model/up_raw"
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect("G/gw") as gateway:
        assert ask(gateway, topic, frame())["code"] == 1212
        assert gateway.login("P/sub", "s")["code"] == 200
        assert ask(gateway, topic, frame())["code"] == 200
        assert times(hub, "P/sub") == [5]


@pytest.mark.parametrize("name", ["/sys/P/integration/model/up_raw", "/sys/P/integration/up_raw"])
def test_an_integration_channel_reports_in_bytes(tmp_path: Path, name: str) -> None:
    """Under the documents' old topic, too; the reply goes to the topic that was used."""
    codec = write(tmp_path, "text", CHANNEL_CODEC).codec
    with hub_with(codec, tmp_path) as hub, hub.connect("P/%channel%") as channel:
        good, bad = channel.request(name, b"e=2.5"), channel.request(name, b"who=1")
        (stored,) = hub.points("P/e")
        (entry,) = hub.quarantine()
    assert (good["code"], bad["code"]) == (200, 1257)
    assert (stored.value, stored.time, stored.origin) == (2.5, 7, "integration")
    assert (entry.topic, entry.publisher, entry.payload) == (name, "%channel%&P", b"who=1")


def test_an_operator_reports_in_bytes(tmp_path: Path) -> None:
    """As `mosquitto_pub -f` does: in the name of the topic's device."""
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect_operator("alice", "alice-password") as alice:
        assert ask(alice, RAW, frame())["code"] == 200
        assert ask(alice, "sys/P/d/thing/model/up_raw", frame(name="nope"))["code"] == 1204
        assert times(hub) == [5]


def test_an_operator_watches_what_goes_over_the_wire(tmp_path: Path) -> None:
    """The bytes of both ways."""
    with (
        hub_with(SAMPLE, tmp_path) as hub,
        hub.connect_operator("alice", "alice-password") as alice,
        hub.connect("P/d") as device,
    ):
        alice.subscribe("/sys/P/#")
        device.publish(RAW, frame())
        assert alice.next_message("/sys/P/#") == frame()
        assert sample.decode(alice.next_message("/sys/P/#"))["code"] == 200


def test_who_watches_sees_no_secret(tmp_path: Path) -> None:
    """A gateway that registers devices is told their secrets in its own format, and nobody else is."""
    declared = registry(write(tmp_path, "plain", PLAIN).codec)
    declared["products"][1]["register"] = True
    request = {"id": "1", "version": "1.0", "method": "thing.device.register", "params": [{"productKey": "P"}]}
    settings: dict[str, object] = {"codecs.path": str(tmp_path), "codecs.seconds": 20.0}
    with (
        run_hub(registry=declared, models=[MODEL], settings=settings) as hub,
        hub.connect_operator("alice", "alice-password") as alice,
        hub.connect("P/d") as device,
    ):
        alice.subscribe("/sys/P/#")
        reply = device.request(RAW, request)
        device.publish(RAW, b"{}")
        seen = [alice.next_message("/sys/P/#") for _ in range(3)]
    assert reply["code"] == 200
    assert reply["data"][0]["deviceSecret"]
    assert json.loads(seen[0]) == request
    assert seen[1] == b"{}"
    assert json.loads(seen[2])["code"] == 1220


@pytest.mark.parametrize("fault", ["raise CodecError(repr(message))", "return float(repr(message))"])
def test_a_codec_that_cannot_encode_a_secret_does_not_have_it_logged(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its words may quote the reply, whether it refuses it or fails."""
    source = f"""
        import json
        from enos_ingest.codecs import CodecError

        class Quoting:
            def encode(self, message):
                {fault}

            def decode(self, data):
                return json.loads(data)

        codec = Quoting()
    """
    declared = registry(write(tmp_path, "quoting", source).codec)
    declared["products"][1]["register"] = True
    params = [{"productKey": "P", "deviceKey": "made"}]
    request = {"id": "1", "version": "1.0", "method": "thing.device.register", "params": params}
    caplog.set_level("DEBUG")
    settings: dict[str, object] = {"codecs.path": str(tmp_path), "codecs.seconds": 20.0}
    with run_hub(registry=declared, models=[MODEL], settings=settings) as hub, hub.connect("P/d") as device:
        device.publish(RAW, json.dumps(request).encode())
        secret = hub.directory.devices[DeviceId("P", "made")].secret
    assert "a reply cannot be encoded" in caplog.text
    assert secret
    assert secret not in caplog.text


def test_commands_go_out_and_come_back_beside_reports(tmp_path: Path) -> None:
    """A device that waits for a codec hears a command, and answers it once it is read again."""
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect("P/d") as device:
        device.on_command(lambda command: sample.encode({"id": sample.decode(command.payload)["id"], "code": 200}))
        for number in range(20):
            device.publish(RAW, frame(time=number), qos=0)
        assert hub.application("").set_measurepoint("P/d", "temp", 2.5)["code"] == 0
        assert ask(device, RAW, frame(time=20))["code"] == 200
        assert times(hub) == list(range(21))
