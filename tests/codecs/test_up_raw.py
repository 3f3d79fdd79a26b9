"""Devices that report in bytes: a whole hub, MQTT, the worker process."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.codecs.site import PLAIN, write, write_method
from tests.codecs.test_sample import documented
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, RawClient, connect_packet, subscribe_packet
from tests.endpoint.site import metric, operator
from tests.endpoint.waiting import eventually
from tests.models.documents import point, thing_model

SAMPLE = "enos_ingest.codecs.sample:codec"
MODEL = thing_model("m", temp=point("DOUBLE"))
RAW = "/sys/P/d/thing/model/up_raw"
RESUME = "/sys/P/d/thing/measurepoint/resume"

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

GATED_RESUME = """
    import os, time
    from enos_ingest.codecs.sample import codec as sample

    class Gated:
        encode = sample.encode

        def decode(self, data):
            open("{0}/begun", "w").close()
            while not os.path.exists("{0}/release"):
                time.sleep(0.005)  # a process of its own, which nobody can wake
            return sample.decode(data)

    codec = Gated()
"""
"""Decodes a frame once it is told to."""


def registry(codec: str, **others: str) -> dict[str, Any]:
    """Devices `d` and `e` of product P with this codec, a device `d` of each other product, a gateway without any."""
    products = {"P": codec, **others}
    return {
        "products": [
            {"key": "G", "model": "m"},
            *({"key": key, "secret": "ps", "model": "m", "codec": name} for key, name in products.items()),
        ],
        "devices": [
            {"product": "G", "key": "gw", "secret": "s"},
            {"product": "P", "key": "e", "secret": "s"},
            *({"product": key, "key": "d", "secret": "s"} for key in products),
            {"product": "P", "key": "sub", "secret": "s"},
        ],
        "gateways": [{"device": "G/gw", "sub_devices": ["P/sub"]}],
        "operators": [{"name": "alice", "password": "alice-password", "scopes": ["read", "write"]}],
    }


@contextmanager
def hub_with(codec: str, folder: Path, *, settings: dict[str, object] | None = None, **others: str) -> Iterator[Hub]:
    """A hub with these codecs; a busy machine does not overrun them."""
    known = {"codecs.path": str(folder), "codecs.seconds": 20.0, **(settings or {})}
    with run_hub(registry=registry(codec, **others), models=[MODEL], settings=known) as hub:
        yield hub


def frame(value: object = 1.5, time: int = 5, identifier: str = "5", name: str = "temp") -> bytes:
    """A report of one point of the past."""
    params = {"measurepoints": {name: value}, "time": time}
    return sample.encode({"id": identifier, "version": "1.0", "method": "thing.measurepoint.resume", "params": params})


def resume(time: int) -> bytes:
    """The same as JSON."""
    return (
        b'{"id":"%d","version":"1.0","method":"thing.measurepoint.resume",'
        b'"params":{"measurepoints":{"temp":1.5},"time":%d}}' % (time, time)
    )


def ask(device: TestClient, topic: str, payload: bytes) -> dict[str, Any]:
    """Publish a frame, and return the message of the frame that answers it."""
    device.subscribe(f"{topic}_reply")
    device.publish(topic, payload)
    return sample.decode(device.next_message(f"{topic}_reply"))


def packets(hub: Hub, name: str = "P/d") -> bytes:
    """The CONNECT of a device."""
    return connect_packet(hub.credentials(name))


def times(hub: Hub, device: str = "P/d") -> list[int]:
    """Of its stored points."""
    return [stored.time for stored in hub.points(device)]


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


def test_acknowledgements_keep_the_order_of_the_messages(tmp_path: Path) -> None:
    """However long a codec takes for one among them [MQTT-4.6.0-2]; also where nothing is read in between."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(
            encode_publish(RESUME, resume(1), qos=1, packet_id=1),
            encode_publish(RAW, frame(time=2), qos=1, packet_id=2),
            encode_publish(RESUME, resume(3), qos=1, packet_id=3),
            encode_publish(RAW, frame(time=4), qos=2, packet_id=4),
            encode_publish(RAW, frame(time=5), qos=0, packet_id=0),
        )
        assert device.acknowledged(1) == [1]
        eventually((tmp_path / "begun").exists)
        assert times(hub) == [1]
        assert device.receives_nothing()
        (tmp_path / "release").touch()
        assert device.acknowledged(2) == [2, 3]
        assert sample.decode(device.message().payload)["code"] == 200
        assert device.expect(PacketType.PUBREC).body == (4).to_bytes(2)
        assert sample.decode(device.message().payload)["code"] == 200
        device.acknowledge(PacketType.PUBREL, 4)
        device.expect(PacketType.PUBCOMP)
        assert times(hub) == [1, 2, 3, 4, 5]


def test_pings_are_answered_while_a_codec_is_slow(tmp_path: Path) -> None:
    """Also behind messages that wait for it: a client that hears nothing gives its connection up."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(encode_publish(RAW, frame(time=1), qos=1, packet_id=1))
        device.send(encode_publish(RESUME, resume(2), qos=1, packet_id=2))
        eventually((tmp_path / "begun").exists)
        for _ in range(3):
            device.ping()
        (tmp_path / "release").touch()
        assert device.acknowledged(2) == [1, 2]
        assert times(hub) == [1, 2]


def test_so_much_waits_for_a_slow_codec_and_no_more(tmp_path: Path) -> None:
    """Then nothing is read, and TCP holds the device up; all of it is answered in the end, in order."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(*(encode_publish(RAW, frame(time=each), qos=1, packet_id=each) for each in range(1, 4)))
        eventually((tmp_path / "begun").exists)
        device.send(*(encode_publish(RESUME, resume(each), qos=1, packet_id=each) for each in range(4, 201)))
        eventually(lambda: metric(hub, "enos_ingest_reading_paused_total") == 1)
        assert inside.behind_bytes(hub) > 0
        assert device.receives_nothing()
        (tmp_path / "release").touch()
        assert device.acknowledged(200) == list(range(1, 201))
        device.ping()
        assert times(hub) == list(range(1, 201))
        assert inside.behind_bytes(hub) == 0


@pytest.mark.parametrize("last", [DISCONNECT, subscribe_packet(*["a"] * 3000)], ids=["DISCONNECT", "malformed"])
def test_what_waits_has_its_turn_before_the_end(tmp_path: Path, last: bytes) -> None:
    """A last packet ends the connection in its place, not before those that came first."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(*(encode_publish(RAW, frame(time=each)) for each in range(1, 4)), last)
        eventually((tmp_path / "begun").exists)
        (tmp_path / "release").touch()
        device.rest()
        eventually(lambda: times(hub) == [1, 2, 3])
        assert inside.behind_bytes(hub) == 0


def test_all_that_waits_has_a_bound(tmp_path: Path) -> None:
    """Whose packet is one too many loses its connection, unacknowledged."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path, settings={"limits.in_flight_bytes": 2000}) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(encode_publish(RAW, frame(time=1), qos=1, packet_id=1))
        eventually((tmp_path / "begun").exists)
        device.send(encode_publish(RESUME, resume(2) + b" " * 3000, qos=1, packet_id=2))
        assert device.rest() == []
        assert inside.behind_bytes(hub) == 0
        (tmp_path / "release").touch()
        eventually(lambda: times(hub) == [1])


def test_a_slow_codec_holds_up_nobody_elses_devices(tmp_path: Path) -> None:
    """Each has a worker process of its own."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path, Q=SAMPLE) as hub, RawClient(hub) as slow, hub.connect("Q/d") as quick:
        assert slow.connect(packets(hub)) == 0
        slow.send(encode_publish(RAW, frame(), qos=1, packet_id=1))
        eventually((tmp_path / "begun").exists)
        assert ask(quick, "/sys/Q/d/thing/model/up_raw", frame())["code"] == 200
        assert times(hub) == []
        (tmp_path / "release").touch()
        assert slow.acknowledged(1) == [1]


def test_who_has_gone_meanwhile_has_been_heard(tmp_path: Path) -> None:
    """What was received is stored."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub:
        with RawClient(hub) as device:
            assert device.connect(packets(hub)) == 0
            device.send(encode_publish(RAW, frame(), qos=0, packet_id=0), DISCONNECT)
            eventually((tmp_path / "begun").exists)
        (tmp_path / "release").touch()
        eventually(lambda: times(hub) == [5] and not inside.connections(hub))


def test_more_than_may_wait_are_not_taken(tmp_path: Path) -> None:
    """Their connection ends unacknowledged, so that they come again; an operator's message would not, and is kept."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with (
        hub_with(codec, tmp_path, settings={"limits.in_flight": 1}, Q=SAMPLE) as hub,
        RawClient(hub) as first,
        RawClient(hub) as second,
        RawClient(hub) as bench,
        hub.connect("Q/d") as other,
    ):
        assert first.connect(packets(hub)) == 0
        assert second.connect(packets(hub, "P/e")) == 0
        assert bench.connect(connect_packet(operator("alice"))) == 0
        first.send(encode_publish(RAW, frame(), qos=1, packet_id=1))
        eventually((tmp_path / "begun").exists)
        second.send(encode_publish("/sys/P/e/thing/model/up_raw", frame(), qos=1, packet_id=1))
        assert second.rest() == []
        bench.publish(RAW, frame(time=6))
        eventually(hub.quarantine)
        assert ask(other, "/sys/Q/d/thing/model/up_raw", frame())["code"] == 200
        (tmp_path / "release").touch()
        assert first.acknowledged(1) == [1]
        with hub.connect("P/e") as again:
            assert ask(again, "/sys/P/e/thing/model/up_raw", frame())["code"] == 200
        (entry,) = hub.quarantine()
        assert times(hub) == [5]
    assert (entry.code, entry.reason) == (429, f"too many messages wait for codec {codec}")


def test_a_stop_waits_for_what_a_codec_has(tmp_path: Path) -> None:
    """It is stored and answered, as everything that was read."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with hub_with(codec, tmp_path) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(encode_publish(RAW, frame(), qos=1, packet_id=1))
        eventually((tmp_path / "begun").exists)
        stop = threading.Thread(target=hub.stop)
        stop.start()
        eventually(lambda: "the hub is draining" in inside.reasons(hub))
        (tmp_path / "release").touch()
        kinds = [packet.kind for packet in device.rest()]
        stop.join()
        assert times(hub) == [5]
    assert kinds == [PacketType.PUBLISH, PacketType.PUBACK]


def test_a_stop_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    """What a codec does not give back is not acknowledged: its sender has it still."""
    codec = write(tmp_path, "gated", GATED_RESUME.format(tmp_path)).codec
    with (
        hub_with(codec, tmp_path, settings={"limits.drain_seconds": 0.2}) as hub,
        RawClient(hub) as device,
        RawClient(hub) as bench,
    ):
        assert device.connect(packets(hub)) == 0
        device.send(encode_publish(RAW, frame(), qos=1, packet_id=1))
        eventually((tmp_path / "begun").exists)
        assert bench.connect(packets(hub, "P/e")) == 0
        hub.stop()
        assert device.rest() == []
        assert times(hub) == []
        assert hub.quarantine() == []


def test_commands_go_out_and_come_back_beside_reports(tmp_path: Path) -> None:
    """A device that waits for a codec hears a command, and answers it once it is read again."""
    with hub_with(SAMPLE, tmp_path) as hub, hub.connect("P/d") as device:
        device.on_command(lambda command: sample.encode({"id": sample.decode(command.payload)["id"], "code": 200}))
        for number in range(20):
            device.publish(RAW, frame(time=number), qos=0)
        assert hub.application("").set_measurepoint("P/d", "temp", 2.5)["code"] == 0
        assert ask(device, RAW, frame(time=20))["code"] == 200
        assert times(hub) == list(range(21))


GATED_PLAIN = """
    import json, os, time

    class Gated:
        def encode(self, message):
            return json.dumps(message).encode()

        def decode(self, data):
            open("{0}/begun", "w").close()
            while not os.path.exists("{0}/release"):
                time.sleep(0.005)  # a process of its own, which nobody can wake
            return json.loads(data)

    codec = Gated()
"""
"""JSON, decoded once it is told to."""


@contextmanager
def login_with_a_codec(folder: Path) -> Iterator[tuple[Hub, RawClient]]:
    """A hub, and a gateway whose login of a sub-device is with a codec."""
    declared = registry(write(folder, "gated", GATED_PLAIN.format(folder)).codec)
    declared["gateways"] = [{"device": "P/d", "sub_devices": ["P/sub"]}]
    params = {"productKey": "P", "deviceKey": "sub", "clientId": "c", "timestamp": "1"}
    params["sign"] = sign("s", "clientIdcdeviceKeysubproductKeyPtimestamp1")
    login = {"id": "1", "version": "1.0", "method": "combine.login", "params": params}
    settings: dict[str, object] = {"codecs.path": str(folder), "codecs.seconds": 20.0}
    with run_hub(registry=declared, models=[MODEL], settings=settings) as hub, RawClient(hub) as gateway:
        assert gateway.connect(packets(hub)) == 0
        gateway.send(encode_publish(RAW, json.dumps(login).encode(), qos=0, packet_id=0))
        eventually((folder / "begun").exists)
        yield hub, gateway


def test_a_gateway_that_has_gone_meanwhile_leaves_nobody_online(tmp_path: Path) -> None:
    """Its login of a sub-device was received, and is over with its connection: nothing else would ever end it."""
    with login_with_a_codec(tmp_path) as (hub, gateway):
        gateway.socket.close()
        eventually(lambda: inside.online(hub) == 0)
        (tmp_path / "release").touch()
        with SqliteFacts(hub.database) as facts:
            eventually(lambda: len(facts.presence(DeviceId("P", "sub"))) == 2)
            gone, came = facts.presence(DeviceId("P", "sub"))
        assert (came.online, came.why) == (True, "login")
        assert (gone.online, gone.why, gone.gateway) == (False, "gateway", DeviceId("P", "d"))
        assert inside.online(hub) == 0


def test_a_gateway_that_is_disabled_meanwhile_logs_nobody_in(tmp_path: Path) -> None:
    """Though its request came before."""
    with login_with_a_codec(tmp_path) as (hub, gateway):
        hub.apply({"devices": [{"product": "P", "key": "d", "secret": "s", "enabled": False}]})
        gateway.rest()
        (tmp_path / "release").touch()
        refused = [(723, "gateway P/d is disabled")]
        eventually(lambda: [(entry.code, entry.reason) for entry in hub.quarantine()] == refused)
        with SqliteFacts(hub.database) as facts:
            assert list(facts.presence(DeviceId("P", "sub"))) == []


@contextmanager
def reports_behind_one_with_a_codec(folder: Path) -> Iterator[tuple[Hub, RawClient]]:
    """A hub, and a device that has sent reports of times 1 to 5 while a codec has the first; that of 4 has QoS 1."""
    codec = write(folder, "gated", GATED_RESUME.format(folder)).codec
    with hub_with(codec, folder) as hub, RawClient(hub) as device:
        assert device.connect(packets(hub)) == 0
        device.send(
            *(encode_publish(RAW, frame(time=each)) for each in (1, 2)),
            encode_publish(RESUME, resume(3)),
            encode_publish(RESUME, resume(4), qos=1, packet_id=1),
            encode_publish("x" * 2000, b""),
            encode_publish(RAW, frame(time=5)),
        )
        eventually((folder / "begun").exists)
        eventually(lambda: inside.behind_bytes(hub) > 2000)
        yield hub, device


@pytest.mark.parametrize("end", ["DISCONNECT", "broken", "taken over"])
def test_what_nobody_can_send_again_is_stored_after_the_end(tmp_path: Path, end: str) -> None:
    """As a device that sends all with QoS 0 does, and goes; of QoS 1 it knows what was not acknowledged."""
    with reports_behind_one_with_a_codec(tmp_path) as (hub, device):
        if end == "DISCONNECT":
            device.send(DISCONNECT)
        if end == "taken over":
            with RawClient(hub) as newer:
                assert newer.connect(packets(hub)) == 0
                device.rest()
        device.socket.close()
        (tmp_path / "release").touch()
        eventually(lambda: times(hub) == [1, 2, 3, 5])
        eventually(lambda: inside.behind_bytes(hub) == 0 and not inside.connections(hub))
        assert times(hub) == [1, 2, 3, 5]


def test_who_is_not_let_in_any_more_is_not_heard_after_the_end(tmp_path: Path) -> None:
    """Of a device that was disabled, only what a codec had before."""
    with reports_behind_one_with_a_codec(tmp_path) as (hub, device):
        device.socket.close()
        eventually(lambda: not inside.connections(hub))
        hub.apply({"devices": [{"product": "P", "key": "d", "secret": "s", "enabled": False}]})
        (tmp_path / "release").touch()
        eventually(lambda: inside.behind_bytes(hub) == 0)
        assert times(hub) == [1]
