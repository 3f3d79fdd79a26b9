"""The service as a process: how it starts, what it takes up while it runs, how it stops."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.testing.client import ConnectionRefusedByHubError, TestClient
from enos_ingest.testing.hub import run_hub
from tests.faults.client import device
from tests.faults.load import REGISTRY as PLANT
from tests.faults.stream import SENDERS, STREAMERS, kept, streaming
from tests.process import COMMAND, PATIENCE, HubProcess, environment, eventually, running, write_config
from tests.service_site import DEVICE, REGISTRY, SECRET, database

SAMPLES = Path(__file__).parent.parent / "schemas" / "models"


def metrics(hub: HubProcess) -> dict[str, float]:
    """What /metrics says, by series."""
    status, text = hub.get("/metrics")
    assert status == 200
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


# Starting.


def test_the_listeners_come_last(tmp_path: Path) -> None:
    """Models and registry are loaded before anybody is served, and who is served then finds the hub ready."""
    with running(write_config(tmp_path, REGISTRY)) as hub:
        hub.wait_for("listening")
        events = [line["event"] for line in hub.lines]
        assert events == [
            "open files are enough for so many connections",
            "no models folder here: the packaged sample models are used",
            "registry changed",
            "registry changed",
            "listening",
        ]
        assert hub.get("/healthz") == (200, "ok\n")
        assert hub.get("/readyz") == (200, '{"ready":true,"reasons":[]}\n')
        with hub.connect(DEVICE, SECRET) as device:
            assert device.resume({"temp": 21.5}, time=1)["code"] == 200


def test_the_hub_in_process_is_ready(record_property: Callable[[str, object], None], tmp_path: Path) -> None:
    """A hub in this process serves as soon as it has started; how long that takes is reported."""
    started = time.perf_counter()
    with run_hub(registry=REGISTRY, folder=tmp_path) as hub, hub.connect(DEVICE) as device:
        record_property("seconds_to_first_connection", round(time.perf_counter() - started, 3))
        assert device.resume({"temp": 21.5}, time=1)["code"] == 200


def test_without_configuration_it_starts_on_defaults(tmp_path: Path) -> None:
    """In an empty folder the service makes its database, uses the sample models and says how to declare a device."""
    environ = environment(mqtt__bind="127.0.0.1:0", http__bind="127.0.0.1:0")
    hub = HubProcess([], cwd=tmp_path, environ=environ)
    try:
        hub.wait_for("listening")
        said = hub.wait_for("no device is declared yet", level="warning")
        assert "enos-ingest registry apply FILE.toml" in said["event"]
        assert hub.get("/readyz")[0] == 200
    finally:
        hub.kill()
    assert (tmp_path / "data" / "enos-ingest.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_flags_go_over_the_environment_and_the_file(tmp_path: Path) -> None:
    """A flag wins over the environment, which wins over the file."""
    config = write_config(tmp_path, mqtt='bind = "127.0.0.1:70"', log='level = "error"\nformat = "json"')
    environ = environment(mqtt__bind="127.0.0.1:71", log__level="error")
    flags = ["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--set", "log.level=info"]
    hub = HubProcess(["-c", config, *flags], cwd=tmp_path, environ=environ)
    try:
        assert hub.endpoint[1] > 1024
    finally:
        hub.kill()


def test_a_start_after_a_start_finds_what_the_first_stored(tmp_path: Path) -> None:
    """The same registry file applies again without a change, and the points are there."""
    config = write_config(tmp_path, REGISTRY)
    with running(config) as hub, hub.connect(DEVICE, SECRET) as device:
        assert device.resume({"temp": 21.5}, time=1)["code"] == 200
    with running(config) as hub:
        assert [line["event"] for line in hub.lines if line["event"] == "registry"] == []
        printed = command("points", "-c", config, DEVICE, "--json")
    assert json.loads(printed)["value"] == 21.5


# While it runs.


def command(*arguments: str | Path) -> str:
    """Run a command beside the service; returns what it printed."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def change_model(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a new version of a thing model."""
    document = orjson.loads(path.read_bytes())
    change(document)
    path.write_bytes(orjson.dumps(document))


def test_a_changed_model_is_taken_up_and_a_broken_one_refused(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A new point is accepted once its model's file has it; a version that cannot be used changes nothing."""
    folder = tmp_path / "things"
    folder.mkdir()
    model = folder / "inverter.json"
    model.write_bytes((SAMPLES / "inverter.json").read_bytes())
    with (
        running(write_config(tmp_path, REGISTRY, models='path = "things"')) as hub,
        hub.connect(DEVICE, SECRET) as device,
    ):
        reply = device.resume({"INV.Humidity": 40}, time=1)
        assert (reply["code"], reply["message"]) == (1204, "params.measurepoints.INV.Humidity: unknown")

        def add_humidity(document: dict[str, Any]) -> None:
            points = document["measurepoints"]
            points["INV.Humidity"] = {**points["temp"], "identifier": "INV.Humidity"}

        change_model(model, add_humidity)
        changed = time.perf_counter()
        eventually(lambda: device.resume({"INV.Humidity": 40}, time=1)["code"] == 200)
        record_property("seconds_to_a_new_model", round(time.perf_counter() - changed, 3))
        hub.wait_for("thing model inverter replaced", level="info", model="inverter", file=str(model))

        change_model(model, lambda document: document["measurepoints"]["temp"].update(dataType="TEMPERATURE"))
        line = hub.wait_for("thing model inverter stays as it was", level="error", model="inverter", file=str(model))
        assert f"{model}: measurepoints.temp.dataType: " in line["event"]
        assert device.resume({"INV.Humidity": 41, "temp": 1.5}, time=2)["code"] == 200
        counted = metrics(hub)
        assert counted['enos_ingest_model_reloads_total{result="loaded"}'] == 1
        assert counted['enos_ingest_model_reloads_total{result="refused"}'] == 1


def connected(hub: HubProcess, device: str, secret: str) -> TestClient | int:
    """A client, or the code of CONNACK that refused it."""
    try:
        return hub.connect(device, secret)
    except ConnectionRefusedByHubError as refusal:
        return refusal.code


def test_a_registry_applied_by_command_is_seen_while_serving(tmp_path: Path) -> None:
    """A device that is declared can connect soon after; one that is disabled is cut off and refused."""
    config = write_config(tmp_path, REGISTRY)
    more = tmp_path / "more.toml"
    with running(config) as hub, hub.connect(DEVICE, SECRET) as first:
        assert connected(hub, "EbxGvUrE/inv-2", "two") == 4
        more.write_text('[[devices]]\nproduct = "EbxGvUrE"\nkey = "inv-2"\nsecret = "two"\n')
        assert command("registry", "apply", "-c", config, more) == "add    device EbxGvUrE/inv-2\n"
        found = next(
            client
            for client in (connected(hub, "EbxGvUrE/inv-2", "two") for _ in itertools.count())
            if isinstance(client, TestClient)
        )
        with found as second:
            assert second.resume({"temp": 1}, time=1)["code"] == 200
            assert first.resume({"temp": 1}, time=1)["code"] == 200

            more.write_text('[[devices]]\nproduct = "EbxGvUrE"\nkey = "inv-2"\nsecret = "two"\nenabled = false\n')
            said = "change device EbxGvUrE/inv-2 (enabled = false)\n"
            assert command("registry", "apply", "-c", config, more) == said
            hub.wait_for("disconnected", client="EbxGvUrE/inv-2", reason="disabled")
        assert connected(hub, "EbxGvUrE/inv-2", "two") == 5
        assert first.resume({"temp": 2}, time=2)["code"] == 200


# Stopping.


def test_the_drain_answers_what_was_read_in_full_flow(tmp_path: Path) -> None:
    """Devices and gateways that go on sending while the hub stops: whatever it stored it has answered, each in turn.

    What came too late is neither stored nor answered; the hub ends with 0, without a complaint.
    """
    config = write_config(tmp_path, PLANT + STREAMERS)
    with running(config) as hub, streaming(hub, dict.fromkeys(SENDERS, 1)) as streams:
        streams.wait_until_acknowledged(20)
        hub.signal(signal.SIGTERM)
        assert hub.wait() == 0, hub.log()
        streams.wait_until_ended()
        assert hub.wait_for("draining", connections=len(SENDERS))["in_flight"] > 0
        assert hub.lines[-1]["event"] == "stopped"
        assert [line for line in hub.lines if line["level"] in ("error", "warning")] == []
    assert streams.faults == []
    for each in streams.streams:
        assert each.answered == each.acknowledged == kept(database(config), each) < each.sent


def test_a_slow_reader_gets_its_answers_before_the_end(tmp_path: Path) -> None:
    """What was answered and not yet read when the hub stops is not lost with it."""
    identifiers = [f"{number:04}" + "x" * 100_000 for number in range(40)]
    topic = f"/sys/{DEVICE}/thing/measurepoint/resume"
    with (
        running(write_config(tmp_path, REGISTRY)) as hub,
        device(hub, DEVICE, SECRET, receive_buffer=4096) as client,
    ):
        for number, identifier in enumerate(identifiers):
            params = {"measurepoints": {"temp": number}, "time": number}
            message = {"id": identifier, "version": "1.0", "method": "thing.measurepoint.resume", "params": params}
            client.send(encode_publish(topic, orjson.dumps(message), qos=1, packet_id=1 + number))
        eventually(lambda: metrics(hub)["enos_ingest_points_stored_total"] == len(identifiers))
        hub.signal(signal.SIGTERM)
        hub.wait_for("disconnected", reason="stopped")
        packets = client.rest()
        assert hub.wait() == 0, hub.log()
    replies = [packet.publish.payload for packet in packets if packet.kind is PacketType.PUBLISH]
    assert [orjson.loads(reply)["id"] for reply in replies] == identifiers
    assert len(packets) == 2 * len(replies)


def test_the_metrics_count_what_happened(tmp_path: Path) -> None:
    """Uplinks by code, points, connections, refusals and the quarantine are counted; no secret is logged."""
    with running(write_config(tmp_path, REGISTRY)) as hub, hub.connect(DEVICE, SECRET) as device:
        assert device.resume({"temp": 1, "Power": {"value": 2, "quality": 0}}, time=1)["code"] == 200
        assert device.resume({"temp": "warm"}, time=2)["code"] == 1204
        items = [{"measurepoints": {"temp": 3, "nonsense": 1}, "time": 3}]
        assert device.resume_batch(items, skipInvalidMeasurepoints=True)["code"] == 200
        assert connected(hub, DEVICE, "wrong") == 4
        topic = "/sys/EbxGvUrE/inv-9/thing/measurepoint/resume"
        assert device.call(topic, "thing.measurepoint.resume", {"measurepoints": {"temp": 1}})["code"] == 1212
        expected = {
            'enos_ingest_uplinks_total{code="200",operation="thing/measurepoint/resume"}': 1,
            'enos_ingest_uplinks_total{code="1204",operation="thing/measurepoint/resume"}': 1,
            'enos_ingest_uplinks_total{code="1212",operation="thing/measurepoint/resume"}': 1,
            'enos_ingest_uplinks_total{code="200",operation="thing/measurepoint/resume/batch"}': 1,
            "enos_ingest_points_stored_total": 3,
            "enos_ingest_points_skipped_total": 1,
            "enos_ingest_reply_seconds_count": 4,
            'enos_ingest_connections_total{kind="device"}': 1,
            'enos_ingest_connections_refused_total{reason="bad_credentials"}': 1,
            "enos_ingest_publishes_denied_total": 1,
            "enos_ingest_connections_open": 1,
            "enos_ingest_devices_online": 1,
            "enos_ingest_quarantine_rows": 3,
            "enos_ingest_in_flight": 0,
            "enos_ingest_store_up": 1,
            "enos_ingest_commits_failed_total": 0,
        }
        counted = metrics(hub)
        assert {name: counted.get(name) for name in expected} == expected
        assert counted["enos_ingest_commits_total"] >= 1
        refusal = hub.wait_for("connection refused", level="warning", connack=4)
        assert refusal["reason"] == f"wrong signature {DEVICE}"
        for secret in (SECRET, "a-product-secret"):
            assert secret not in hub.log()
