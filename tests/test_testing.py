"""The pytest plugin, as a stranger uses it, and that it leaves nothing behind."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from enos_ingest.errors import ConfigError, RegistryError
from enos_ingest.protocol.credentials import Credentials
from enos_ingest.testing.client import ConnectionRefusedByHubError, TestClient
from enos_ingest.testing.commands import ReceivedCommand, answer_to, read_command
from enos_ingest.testing.hub import Hub, run_hub
from tests.process import PATIENCE, environment

MODEL: dict[str, Any] = {
    "modelId": "boiler",
    "measurepoints": {"heat": {"identifier": "heat", "dataType": "DOUBLE", "hasQuality": False}},
}
REGISTRY: dict[str, Any] = {
    "products": [{"key": "Boil", "secret": "product", "model": "boiler"}],
    "devices": [{"product": "Boil", "key": "b-1", "secret": "one"}],
}

STRANGER = '''
import pytest

MODEL = {"modelId": "boiler", "measurepoints": {"heat": {"identifier": "heat", "dataType": "DOUBLE"}}}
REGISTRY = """
[[products]]
key = "Boil"
model = "boiler"
[[devices]]
product = "Boil"
key = "b-1"
secret = "one"
"""
RESUME = "/sys/Boil/b-1/thing/measurepoint/resume"


def test_a_boiler_reports(enos_hub):
    hub = enos_hub(registry=REGISTRY, models=[MODEL])
    with hub.connect("Boil/b-1") as device:
        assert device.resume({"heat": 80}, time=1)["code"] == 200
        assert device.request(RESUME, b"")["code"] == 1206
    assert [(point.measurepoint, point.value) for point in hub.points("Boil/b-1")] == [("heat", 80)]
    assert [entry.code for entry in hub.quarantine()] == [1206]


def test_the_next_test_starts_from_nothing(enos_hub):
    hub = enos_hub(registry=REGISTRY, models=[MODEL], settings={"limits.message_bytes": "1024"})
    assert hub.points("Boil/b-1") == []
    with hub.connect("Boil/b-1") as device:
        assert device.request(RESUME, b" " * 1025)["code"] == 1206


def test_two_hubs_side_by_side(enos_hub):
    first = enos_hub(registry=REGISTRY, models=[MODEL])
    second = enos_hub(registry=REGISTRY, models=[MODEL])
    with first.connect("Boil/b-1") as device:
        assert device.resume({"heat": 80}, time=1)["code"] == 200
    assert second.points("Boil/b-1") == []


def test_without_the_hub():
    assert True
'''


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder that has nothing of ours."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--color=no", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_strangers_tests_pass(tmp_path: Path) -> None:
    """A file with nothing but the fixture's name in it runs whole hubs, with warnings as errors."""
    (tmp_path / "test_boiler.py").write_text(STRANGER)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].strip("= ").startswith("4 passed in ")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["test_boiler.py"]


def test_the_fixture_is_listed(tmp_path: Path) -> None:
    """`pytest --fixtures` explains it."""
    done = run_pytest(tmp_path, "--fixtures")
    assert "enos_hub -- " in done.stdout
    assert "Start hubs: `enos_hub(registry=..., models=..., settings=...)`" in done.stdout


def test_who_does_not_use_it_does_not_load_it() -> None:
    """Every pytest run of the environment imports the plugin, which imports none of its parts."""
    script = "import enos_ingest.testing, sys; print([m for m in ('amqtt', 'paho', 'starlette') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that nobody else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def traces() -> dict[str, object]:
    """What a hub could leave behind in this process and on its disk."""
    process = psutil.Process()
    return {
        "threads": set(threading.enumerate()),
        "descriptors": process.num_fds(),
        "files": sorted(each.path for each in process.open_files()),
        "sockets": sorted(str(each.laddr) for each in process.net_connections()),
        "children": process.children(),
        "folders": sorted(Path(tempfile.gettempdir()).iterdir()),
        "handlers": list(logging.getLogger().handlers),
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
        "switch interval": sys.getswitchinterval(),
    }


def use(hub: Hub) -> None:
    """A connection that ends, one that does not, one that is refused, points and a rejected message."""
    with hub.connect("Boil/b-1") as device:
        assert device.resume({"heat": 80}, time=1)["code"] == 200
        assert device.resume({"heat": "hot"}, time=2)["code"] == 1204
    with pytest.raises(ConnectionRefusedByHubError) as refusal:
        hub.connect_operator("alice", "guessed")
    assert refusal.value.code == 4
    assert len(hub.points("Boil/b-1")) == len(hub.points("Boil/b-1", latest=True)) == 1
    assert len(hub.quarantine()) == 1
    with hub.connect("Boil/b-1") as device:
        device.on_command(lambda _: None)
        assert hub.application().set_measurepoint("Boil/b-1", "heat", 80)["code"] == 0


@pytest.mark.usefixtures("temporary")
def test_a_hub_is_gone_without_a_trace() -> None:
    """After the block there is no thread, no descriptor, no socket, no file, and nothing of the process is changed."""
    with run_hub(registry=REGISTRY, models=[MODEL]) as hub:
        use(hub)  # what is loaded on first use stays loaded
    before = traces()
    with run_hub(registry=REGISTRY, models=[MODEL]) as hub, socket.create_connection((hub.host, hub.port)):
        use(hub)
        address, folder = (hub.host, hub.port), hub.database.parent
        assert folder.is_dir()
    assert traces() == before
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@pytest.mark.usefixtures("temporary")
def test_a_hub_that_does_not_start_is_gone_too() -> None:
    """What keeps it from starting is raised where it was asked for."""
    before = traces()
    faulty = {**REGISTRY, "devices": [{"product": "Boil", "key": "b-1"}]}
    with pytest.raises(RegistryError, match="secret missing"), run_hub(registry=faulty, models=[MODEL]):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Exception, match="address already in use"),
            run_hub(registry=REGISTRY, models=[MODEL], settings={"mqtt.bind": f"127.0.0.1:{port}"}),
        ):
            pass
    assert traces() == before


def test_a_second_hub_in_the_folder_finds_what_the_first_stored(tmp_path: Path) -> None:
    """With a folder of one's own the database outlives the hub."""
    with run_hub(registry=REGISTRY, models=[MODEL], folder=tmp_path) as hub, hub.connect("Boil/b-1") as device:
        assert device.resume({"heat": 80}, time=1)["code"] == 200
    with run_hub(models=[MODEL], folder=tmp_path) as hub:
        assert [point.value for point in hub.points("Boil/b-1")] == [80]
        hub.stop()
        hub.start()
        with hub.connect("Boil/b-1") as device:
            assert device.resume({"heat": 81}, time=2)["code"] == 200
    with run_hub(models=[{**MODEL, "modelId": "kettle"}], folder=tmp_path) as hub, hub.connect("Boil/b-1") as device:
        reply = device.resume({"heat": 82}, time=3)
        assert (reply["code"], reply["message"]) == (1204, "params: product Boil: thing model boiler is not loaded")


def test_models_and_registry_come_as_files_too(tmp_path: Path, enos_hub: Callable[..., Hub]) -> None:
    """A folder, a path and a text do as well as dicts."""
    samples = Path(__file__).parent.parent / "schemas" / "models"
    text = '[[products]]\nkey = "P"\nmodel = "inverter"\n[[devices]]\nproduct = "P"\nkey = "d"\nsecret = "s"\n'
    file = tmp_path / "registry.toml"
    file.write_text(text)
    for registry, models in ((text, samples), (file, [samples / "inverter.json"]), (text, None)):
        with enos_hub(registry=registry, models=models).connect("P/d") as device:
            assert device.resume({"temp": 1})["code"] == 200


def test_a_changed_registry_is_in_force_when_apply_returns(enos_hub: Callable[..., Hub]) -> None:
    """A device that a test declares while the hub runs can connect at once; applying it again changes nothing."""
    hub = enos_hub(registry=REGISTRY, models=[MODEL])
    more = {"devices": [{"product": "Boil", "key": "b-2", "secret": "two"}]}
    hub.apply(more)
    hub.connect("Boil/b-2").disconnect()
    hub.apply(more)
    hub.apply(REGISTRY, prune=True)
    assert [str(device) for device in hub.directory.devices] == ["Boil/b-1"]


def test_who_is_not_declared_is_named(enos_hub: Callable[..., Hub]) -> None:
    """A misspelt device is told with those that there are; a channel without a secret with the reason."""
    hub = enos_hub(registry=REGISTRY, models=[MODEL])
    with pytest.raises(LookupError, match=r"Boil/b-9 is not declared; there are Boil/b-1, Boil/%channel%"):
        hub.connect("Boil/b-9")
    with pytest.raises(LookupError, match=r"Oven/%channel% is not declared; there are Boil/b-1"):
        hub.connect("Oven/%channel%")
    with pytest.raises(LookupError, match=r"P/d is not declared; nothing is"):
        enos_hub().connect("P/d")
    many = [{"product": "P", "key": f"d{number}", "secret": "s"} for number in range(12)]
    hub = enos_hub(registry={"products": [{"key": "P", "model": "inverter"}], "devices": many})
    with pytest.raises(LookupError, match=r"there are P/d0, P/d1, P/d10, .*, P/d7 and 2 more"):
        hub.connect("P/x")
    with pytest.raises(LookupError, match="P/%channel% cannot sign in: product P has no secret"):
        hub.connect("P/%channel%")


def test_a_setting_that_is_none_is_said_to_be_of_the_call() -> None:
    """What a test hands over was typed on no command line."""
    with pytest.raises(ConfigError, match=r"settings: unknown setting limits\.x"), run_hub(settings={"limits.x": 1}):
        pass


SERVED: dict[str, Any] = {
    **MODEL,
    "services": {
        "drain": {
            "identifier": "drain",
            "inputData": [{"identifier": "litres", "dataType": "DOUBLE"}],
            "outputData": [{"identifier": "drained", "dataType": "DOUBLE"}],
        }
    },
}


def test_a_device_answers_commands_as_its_handler_says(enos_hub: Callable[..., Hub]) -> None:
    """None is done, a dict what a service puts out, a number the device's own code; the caller sees each."""
    hub = enos_hub(registry=REGISTRY, models=[SERVED])
    business = hub.application()
    answers: list[dict[str, Any] | int | None] = [None, {"drained": 4.5}, 2001]
    seen: list[ReceivedCommand] = []

    def handler(command: ReceivedCommand) -> dict[str, Any] | int | None:
        seen.append(command)
        return answers[len(seen) - 1]

    with hub.connect("Boil/b-1") as device:
        device.on_command(handler)
        done = business.set_measurepoint("Boil/b-1", "heat", 80)
        assert (done["code"], list(done["data"])) == (0, ["commandId"])
        assert business.invoke_service("Boil/b-1", "drain", {"litres": 5})["data"]["outputData"] == {"drained": 4.5}
        refused = business.set_measurepoint("Boil/b-1", "heat", 81)
        assert (refused["code"], refused["data"]["deviceCode"]) == (11999, 2001)
    assert [(command.method, command.params) for command in seen] == [
        ("thing.service.measurepoint.set", {"heat": 80}),
        ("thing.service.drain", {"litres": 5}),
        ("thing.service.measurepoint.set", {"heat": 81}),
    ]
    assert seen[0].id == done["data"]["commandId"]
    assert business.set_measurepoint("Boil/b-1", "heat", 82)["code"] == 11900


def test_a_test_answers_commands_itself(enos_hub: Callable[..., Hub]) -> None:
    """Without a handler commands wait for the test: here cached ones, one of them canceled before it goes out."""
    hub = enos_hub(registry=REGISTRY, models=[SERVED])
    business = hub.application()
    first, second = (
        business.set_measurepoint("Boil/b-1", "heat", value, pending_ttl=60)["data"]["commandId"] for value in (80, 81)
    )
    assert [each["state"] for each in business.cancel("Boil/b-1", second)["data"]] == [2]
    with hub.connect("Boil/b-1") as device:
        command = device.next_command()
        assert (command.id, command.params) == (first, {"heat": 80})
        device.answer(command, 405, "stuck")
        with pytest.raises(TimeoutError, match="no command arrived for Boil/b-1"):
            device.next_command(timeout=0)
    stored = business.command(first)["data"]
    assert (stored["state"], stored["deviceCode"], stored["deviceMessage"]) == (6, 405, "stuck")
    found = business.commands("Boil/b-1")["data"]
    assert {each["commandId"]: each["state"] for each in found} == {first: 6, second: 2}


def test_a_handler_that_raises_fails_the_test_and_the_command(enos_hub: Callable[..., Hub]) -> None:
    """The caller is told at once; the exception comes up where the connection ends, unless the test fails already."""
    hub = enos_hub(registry=REGISTRY, models=[SERVED])
    business = hub.application()

    def handler(_: ReceivedCommand) -> None:
        raise ZeroDivisionError("no heat")

    def send() -> None:
        with hub.connect("Boil/b-1") as device:
            device.on_command(handler)
            refused = business.set_measurepoint("Boil/b-1", "heat", 80)
            assert refused["data"]["deviceMessage"] == "ZeroDivisionError: no heat"
            assert refused["code"] == 0

    with pytest.raises(AssertionError):
        send()
    device = hub.connect("Boil/b-1")
    device.on_command(handler)
    assert business.set_measurepoint("Boil/b-1", "heat", 80)["code"] == 11999
    with pytest.raises(ZeroDivisionError, match="no heat"):
        device.disconnect()


def test_an_application_is_the_one_that_was_declared(enos_hub: Callable[..., Hub]) -> None:
    """By name, or the first; only where there is none one is made. What a test has pruned is unknown."""
    applications = [
        {"name": "signed", "key": "k", "secret": "s", "scopes": ["control"]},
        {"name": "reader", "api_key": "r", "scopes": ["read"]},
        {"name": "scada", "api_key": "c", "scopes": ["control"]},
    ]
    hub = enos_hub(registry={**REGISTRY, "applications": applications}, models=[SERVED])
    assert hub.application().set_measurepoint("Boil/b-1", "heat", 80)["code"] == 99403
    assert hub.application("scada").set_measurepoint("Boil/b-1", "heat", 80)["code"] == 11888
    with pytest.raises(LookupError, match="no application signed is declared with an api_key; there are reader, scada"):
        hub.application("signed")
    hub.apply(REGISTRY, prune=True)
    with pytest.raises(LookupError, match="there are none"):
        hub.application("scada")
    assert hub.application().commands()["code"] == 0
    assert list(hub.directory.applications) == ["tests"]


def test_an_answer_in_a_format_of_its_own_is_bytes() -> None:
    """What is no JSON object is handed over as it came, and answered with the bytes that are given."""
    for payload in (b"\x01\x02", b"[1]"):
        command = read_command("/sys/Boil/b-1/thing/model/down_raw", payload)
        assert command == ReceivedCommand("/sys/Boil/b-1/thing/model/down_raw", payload, "", "", None)
        assert answer_to(command, b"\x03") == b"\x03"
    for topic in ("/sys/Boil/b-1/thing/measurepoint/resume_reply", "/sys/Boil/b-1/thing/measurepoint/resume", "x"):
        assert read_command(topic, b"{}") is None


def test_a_client_that_is_not_answered_says_so(enos_hub: Callable[..., Hub]) -> None:
    """A connection that the hub ends without CONNACK, and a message that does not come, are errors, not a hang."""
    hub = enos_hub(registry=REGISTRY, models=[MODEL], settings={"limits.connect_bytes": "256"})
    too_long = Credentials("x" * 300, "alice", "guessed")
    with pytest.raises(ConnectionError, match="without CONNACK"):
        TestClient(hub.host, hub.port, too_long, "")
    with hub.connect("Boil/b-1") as device:
        device.subscribe("/sys/Boil/b-1/thing/measurepoint/resume_reply")
        with pytest.raises(TimeoutError, match="nothing arrived on /sys/Boil/b-1"):
            device.next_message("/sys/Boil/b-1/thing/measurepoint/resume_reply", timeout=0)
