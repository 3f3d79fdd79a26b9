"""The service as a process: how it starts, what keeps it from starting, what it takes up while it runs."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.testing.client import ConnectionRefusedByHubError, TestClient
from enos_ingest.testing.hub import run_hub
from tests.faults.client import device
from tests.faults.load import REGISTRY as PLANT
from tests.faults.stream import SENDERS, STREAMERS, kept, streaming
from tests.process import COMMAND, PATIENCE, HubProcess, environment, eventually, running, serve_once, write_config

DEVICE, SECRET = "EbxGvUrE/inv-1", "a-device-secret"
REGISTRY = f"""
[[products]]
key = "EbxGvUrE"
secret = "a-product-secret"
model = "inverter"
[[devices]]
product = "EbxGvUrE"
key = "inv-1"
secret = "{SECRET}"
"""
SAMPLES = Path(__file__).parent.parent / "schemas" / "models"


def database(config: Path) -> Path:
    return config.parent / "data" / "hub.db"


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


# What keeps it from starting.


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(arguments: list[str | Path], folder: Path) -> str:
    """The one sentence with which the start ends."""
    done = serve_once(arguments, cwd=folder)
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert len(said) == 1, done.stderr
    assert said[0].startswith("enos-ingest: ")
    assert "Traceback" not in done.stderr
    return said[0].removeprefix("enos-ingest: ")


@pytest.mark.parametrize("listener", ["mqtt", "http"])
def test_a_taken_port_is_said(tmp_path: Path, taken_port: int, listener: str) -> None:
    """A port that another program has ends the start with the setting to change."""
    config = write_config(tmp_path, **{listener: f'bind = "127.0.0.1:{taken_port}"'})
    assert refused(["-c", config], tmp_path) == (
        f"cannot listen on 127.0.0.1:{taken_port}: address already in use by another program; "
        f"stop it or choose another port ({listener}.bind)"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[mqtt]\nbnd = "x"\n', "unknown setting mqtt.bnd; did you mean mqtt.bind?"),
        ("[mqtt\n", "not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        ("[limits]\nin_flight = 0\n", "limits.in_flight must be a whole number from 1 to 1000000, not 0"),
        (None, "there is no such configuration file"),
    ],
    ids=["unknown key", "syntax", "range", "missing"],
)
def test_a_bad_configuration_is_said(tmp_path: Path, text: str | None, sentence: str) -> None:
    """The sentence names the file, and the setting or the line."""
    config = tmp_path / "hub.toml"
    if text is not None:
        config.write_text(text)
    assert refused(["-c", config], tmp_path) == f"{config}: {sentence}"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "models: the folder {folder} cannot be read: No such file or directory"),
        ({}, "models: no thing model in {folder}: put ThingModel JSON files (*.json) there"),
        ({"a.json": "{"}, "{folder}/a.json: not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        ({"a.json": "{}"}, "{folder}/a.json: modelId: missing"),
    ],
    ids=["no folder", "empty folder", "no JSON", "no model"],
)
def test_bad_models_are_said(tmp_path: Path, files: dict[str, str] | None, sentence: str) -> None:
    """The sentence names the folder or the file."""
    folder = tmp_path / "things"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    config = write_config(tmp_path, models='path = "things"')
    assert refused(["-c", config], tmp_path) == sentence.format(folder=folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[devices", "not TOML: Expected ']]' at the end of an array declaration (at line 1, the end of the file)"),
        (REGISTRY.replace(f'secret = "{SECRET}"', ""), "devices[0] EbxGvUrE/inv-1: secret missing"),
        (REGISTRY.replace("inverter", "toaster"), "products[0] EbxGvUrE: unknown model toaster (known: {known})"),
    ],
    ids=["syntax", "secret", "model"],
)
def test_a_bad_registry_file_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence names the file, the table, the index and the key."""
    config = write_config(tmp_path, text)
    known = "battery_rack, gateway, inverter"
    assert refused(["-c", config], tmp_path) == f"{tmp_path}/registry.toml: {sentence.format(known=known)}"


def newer(path: Path) -> None:
    path.parent.mkdir()
    with run_hub(settings={"storage.url": f"sqlite:///{path}"}, folder=path.parent):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def letter(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear reader, this is a letter and no database. " * 100)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (newer, r"database \S+ has schema version 99, this program knows up to \d+: use the newer version"),
        (foreign, r"database \S+ belongs to another program: name another file"),
        (letter, r"\S+ is not a SQLite database: name another file, or move this one away"),
    ],
)
def test_a_database_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """What a newer version or another program wrote is not touched."""
    config = write_config(tmp_path)
    make(database(config))
    before = database(config).read_bytes()
    said = refused(["-c", config], tmp_path)
    assert re.match(sentence, said), said
    assert database(config).read_bytes() == before


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
