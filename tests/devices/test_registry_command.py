"""`enos-ingest registry apply` and `show`, from a file to a running hub."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enos_ingest.cli import main
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.client import ConnectionRefusedByHubError, TestClient
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.waiting import eventually
from tests.models.documents import point, thing_model

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory

SITE = """
[[products]]
key = "EbxGvUrE"
secret = "ProdSecret789"
model = "gateway"
[[devices]]
product = "EbxGvUrE"
key = "gw-1"
secret = "GwSecret123"
[[devices]]
product = "EbxGvUrE"
key = "sub-1"
secret = "SubSecret456"
[[gateways]]
device = "EbxGvUrE/gw-1"
sub_devices = ["EbxGvUrE/sub-1"]
[[applications]]
name = "scada"
api_key = "ApiKey42"
scopes = ["read"]
[[operators]]
name = "alice"
password = "PassWord7"
scopes = ["read"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration, a model and a registry file."""
    (tmp_path / "enos-ingest.toml").write_text('[storage]\nurl = "sqlite:///enos-ingest.db"\n', "utf-8")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gateway.json").write_text(json.dumps(thing_model("gateway", temp=point("DOUBLE"))), "utf-8")
    (tmp_path / "site.toml").write_text(SITE, "utf-8")
    return tmp_path


def registry(folder: Path, action: str, *arguments: str) -> int:
    """Run a command with the configuration of the folder, and return its exit code."""
    return main(["registry", action, "-c", str(folder / "enos-ingest.toml"), *arguments])


def apply(folder: Path, *arguments: str) -> int:
    """Apply the registry file of the folder."""
    return registry(folder, "apply", str(folder / "site.toml"), *arguments)


def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `show --json` prints."""
    capsys.readouterr()
    assert registry(folder, "show", "--json") == 0
    return capsys.readouterr().out


def test_apply_prints_what_it_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the second time that there is nothing."""
    assert apply(folder) == 0
    assert capsys.readouterr().out.splitlines() == [
        "add    product EbxGvUrE",
        "add    device EbxGvUrE/gw-1",
        "add    device EbxGvUrE/sub-1",
        "add    application scada",
        "add    operator alice",
        "add    sub-device EbxGvUrE/sub-1 of EbxGvUrE/gw-1",
    ]
    assert apply(folder) == 0
    assert capsys.readouterr().out == "nothing to change\n"
    assert apply(folder, "--prune") == 0
    assert capsys.readouterr().out == "nothing to change\n"


def test_prune_prints_what_it_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only with the flag is anything removed."""
    apply(folder)
    rest = SITE[: SITE.index("[[gateways]]")]
    (folder / "site.toml").write_text(rest.replace("GwSecret123", "GwSecret124"), "utf-8")
    capsys.readouterr()
    assert apply(folder) == 0
    assert capsys.readouterr().out == "change device EbxGvUrE/gw-1 (secret)\n"
    assert apply(folder, "--prune") == 0
    assert capsys.readouterr().out.splitlines() == [
        "remove application scada",
        "remove operator alice",
        "remove sub-device EbxGvUrE/sub-1 of EbxGvUrE/gw-1",
    ]
    assert json.loads(shown(folder, capsys))["gateways"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SITE.replace('secret = "SubSecret456"\n', ""), "devices[1] EbxGvUrE/sub-1: secret missing"),
        (SITE.replace('model = "gateway"', 'model = "turbine"'), "unknown model turbine (known: gateway)"),
        (SITE.replace('["EbxGvUrE/sub-1"]', '["EbxGvUrE/gw-1"]'), "a gateway cannot be its own sub-device"),
        (SITE + '[[devices]]\nproduct = "EbxGvUrE"\nkey = "gw-1"\nsecret = "x"\n', "declared twice"),
        (SITE + "oops\n", "(at line 25, column 5)"),
        (SITE + "[[device]]\n", "device: unknown"),
    ],
    ids=["no secret", "unknown model", "own sub-device", "duplicate", "syntax", "unknown table"],
)
def test_a_faulty_file_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    """However good its other rows are; the file and the fault are named."""
    apply(folder)
    before = shown(folder, capsys)
    (folder / "site.toml").write_text(text.replace("GwSecret123", "other").replace("scada", "mes"), "utf-8")
    assert apply(folder, "--prune") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"enos-ingest: {folder / 'site.toml'}: ")
    assert said in line
    assert shown(folder, capsys) == before
    (folder / "site.toml").write_text(SITE, "utf-8")
    assert apply(folder) == 0
    assert capsys.readouterr().out == "nothing to change\n"


def test_a_file_that_cannot_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there, one that is no text."""
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    for name, said in (("missing.toml", "cannot be read: "), ("binary.toml", "not UTF-8 text")):
        assert registry(folder, "apply", str(folder / name)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"enos-ingest: {folder / name}: {said}")


def test_show_prints_no_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither for people nor as JSON, nor a hash of one; the database is its owner's alone."""
    apply(folder)
    out = shown(folder, capsys)
    assert registry(folder, "show") == 0
    out += capsys.readouterr().out
    assert "gw-1" in out
    secrets = ("ProdSecret789", "GwSecret123", "SubSecret456", "ApiKey42", "PassWord7", "scrypt")
    assert not any(secret in out for secret in secrets)
    assert stat.S_IMODE((folder / "enos-ingest.db").stat().st_mode) == 0o600


def test_a_running_hub_sees_an_apply(folder: Path, enos_hub: HubFactory) -> None:
    """A new device may connect, a disabled one is disconnected, a removed one is no longer known."""
    apply(folder)
    hub = enos_hub(folder=folder, models=folder / "models")
    with RawClient(hub) as connected:
        assert connected.connect(connect_packet(hub.credentials("EbxGvUrE/gw-1"))) == 0
        text = SITE + '[[devices]]\nproduct = "EbxGvUrE"\nkey = "new"\nsecret = "n"\n'
        text = text.replace('secret = "GwSecret123"', 'secret = "GwSecret123"\nenabled = false')
        (folder / "site.toml").write_text(text, "utf-8")
        assert apply(folder) == 0
        new = DeviceId("EbxGvUrE", "new")
        eventually(lambda: new in hub.directory.devices)
        assert [packet.publish.topic for packet in connected.rest()] == ["/sys/EbxGvUrE/gw-1/thing/disable"]
    with hub.connect("EbxGvUrE/new") as device:
        assert device.resume({"temp": 1.5}, time=1)["code"] == 200
    with pytest.raises(ConnectionRefusedByHubError) as caught:
        hub.connect("EbxGvUrE/gw-1")
    assert caught.value.code == 5
    credentials = hub.credentials("EbxGvUrE/new")
    (folder / "site.toml").write_text(SITE, "utf-8")
    assert apply(folder, "--prune") == 0
    eventually(lambda: new not in hub.directory.devices)
    with pytest.raises(ConnectionRefusedByHubError) as caught:
        TestClient(hub.host, hub.port, credentials, "EbxGvUrE/new")
    assert caught.value.code == 4
