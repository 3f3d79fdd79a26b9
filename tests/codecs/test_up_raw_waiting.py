"""What waits for a slow codec, and what becomes of it at the end of its connection, or of the hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.testing.hub import Hub, run_hub
from tests.codecs.raw_site import (
    GATED_RESUME,
    MODEL,
    RAW,
    RESUME,
    SAMPLE,
    ask,
    frame,
    hub_with,
    packets,
    registry,
    resume,
    times,
)
from tests.codecs.site import write
from tests.endpoint import inside
from tests.endpoint.raw import DISCONNECT, RawClient, connect_packet, subscribe_packet
from tests.endpoint.site import metric, operator
from tests.endpoint.waiting import eventually


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
