"""`enos-ingest command` against a real hub, with a device that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.testing.commands import ReceivedCommand
from enos_ingest.testing.hub import Hub, run_hub
from tests.cli.conftest import Command

REGISTRY: dict[str, Any] = {
    "products": [{"key": "EbxGvUrE", "model": "inverter"}],
    "devices": [{"product": "EbxGvUrE", "key": "inv-1", "secret": "s"}],
    "applications": [
        {"name": "scada", "api_key": "control-key", "scopes": ["control", "read"]},
        {"name": "viewer", "api_key": "read-key", "scopes": ["read"]},
    ],
}


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub whose organisation has a name, its address in the folder's configuration, a key in the environment."""
    monkeypatch.setenv("ENOS_INGEST_KEY", "control-key")
    with run_hub(registry=REGISTRY, settings={"registry.org_id": "o1"}) as hub:
        address = hub.http_url.removeprefix("http://")
        (folder / "enos-ingest.toml").write_text(f'[http]\nbind = "{address}"\n[registry]\norg_id = "o1"\n')
        yield hub


def act(command: ReceivedCommand) -> dict[str, Any] | int:
    """What the device of these tests does."""
    if command.method.endswith("limitPower"):
        return {"applied": command.params["limit"]}
    return 200 if command.params == {"INV.State": 1} else 405


def test_from_the_shell_to_a_device_and_back(run: Command, hub: Hub) -> None:
    """A value and a service call are answered by the device; its refusal, and the model's, end with 1."""
    with hub.connect("EbxGvUrE/inv-1") as device:
        device.on_command(act)
        done = run("command", "set", "EbxGvUrE/inv-1", "INV.State", "1")
        assert (done.code, done.err) == (0, "")
        command_id, state = done.out.split()
        assert state == "success"
        done = run("command", "call", "EbxGvUrE/inv-1", "limitPower", '{"limit": 50.0}')
        assert (done.code, done.out.split()[1:]) == (0, ["success", '{"applied":50.0}'])
        done = run("command", "set", "EbxGvUrE/inv-1", "INV.State", "2")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("enos-ingest: 11999: ")
        assert "405" in done.err
    done = run("command", "set", "EbxGvUrE/inv-1", "INV.State", "77")
    assert (done.code, done.out, done.err[:20]) == (1, "", "enos-ingest: 99400: ")
    shown = run("command", "get", command_id).out
    assert f"command   {command_id}\n" in shown
    assert "asked by  scada\n" in shown
    assert "state     success\n" in shown
    listed = run("command", "ls", "EbxGvUrE/inv-1", "--state", "failed", "--json").out
    assert [json.loads(each)["deviceCode"] for each in listed.splitlines()] == [405]
    assert len(run("command", "ls").out.splitlines()) == 3


def test_cached_commands_wait_and_can_be_canceled(run: Command, hub: Hub) -> None:
    """Who is offline is refused at once without --ttl, waited for with it; what waits can be canceled, once."""
    assert run("command", "set", "EbxGvUrE/inv-1", "temp", "1").err.startswith("enos-ingest: 11888: ")
    first, second = (
        run("command", "set", "EbxGvUrE/inv-1", "temp", value, "--ttl", "60").out.split()[0] for value in ("1", "2")
    )
    assert [each.split()[0] for each in run("command", "ls", "--state", "created").out.splitlines()] == [second, first]
    done = run("command", "cancel", "EbxGvUrE/inv-1", first)
    assert done.out.split()[::2][:2] == [first, "canceled"]
    with hub.connect("EbxGvUrE/inv-1") as device:
        command = device.next_command()
        assert (command.id, command.params) == (second, {"temp": 2})
        device.answer(command)
    assert run("command", "cancel", "EbxGvUrE/inv-1").err == "no command waits for EbxGvUrE/inv-1\n"


def test_who_may_not_is_told(run: Command, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, a wrong one, one that may only read, another organisation: the hub's code and sentence."""
    assert run("command", "ls", "--key", "guessed").err.startswith("enos-ingest: 99401: ")
    done = run("command", "set", "EbxGvUrE/inv-1", "temp", "1", "--key", "read-key")
    assert (done.code, done.err) == (1, "enos-ingest: 99403: the application viewer needs the scope control\n")
    assert run("command", "ls", "--key", "read-key") == (0, "", "")
    assert run("command", "ls", "--org", "o2").err.startswith("enos-ingest: 99404: ")
    assert run("command", "get", "207872468484698931").err.startswith("enos-ingest: 99404: ")
    assert run("command", "ls", "--url", hub.http_url, "--json") == (0, "", "")
    monkeypatch.delenv("ENOS_INGEST_KEY")
    done = run("command", "ls")
    assert (done.code, done.err[:20]) == (1, "enos-ingest: 99401: ")
    assert done.err.endswith("name the file of an application's API key with --key-file, or set ENOS_INGEST_KEY\n")
