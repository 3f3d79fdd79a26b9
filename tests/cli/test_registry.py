"""`enos-ingest registry`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from enos_ingest.devices.passwords import verify_password
from tests.cli.conftest import REGISTRY, SECRETS, Command


def test_apply_prints_what_it_changes(run: Command, folder: Path) -> None:
    """The first time everything is new, the second time nothing is."""
    file = folder / "registry.toml"
    file.write_text(REGISTRY)
    done = run("registry", "apply", file)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "add    product EbxGvUrE",
        "add    product Sb7PkXyZ",
        "add    device EbxGvUrE/gw-1",
        "add    device Sb7PkXyZ/sub001",
        "add    application scada",
        "add    operator alice",
        "add    sub-device Sb7PkXyZ/sub001 of EbxGvUrE/gw-1",
    ]
    assert run("registry", "apply", file) == (0, "nothing to change\n", "")


def test_the_database_is_private(folder: Path, declared: Path) -> None:
    """The folder is made, and nobody else may read it or what is in it."""
    assert declared
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    for file in (folder / "data").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_apply_names_changed_fields_and_no_value(run: Command, declared: Path) -> None:
    """A changed secret is a change of `secret`; what it was or is stays unsaid."""
    declared.write_text(REGISTRY.replace("device-secret-1", "rotated").replace("operator-password-1", "rotated"))
    assert run("registry", "apply", declared).out.splitlines() == [
        "change device EbxGvUrE/gw-1 (secret)",
        "change operator alice (password)",
    ]


def test_prune_removes_what_the_file_does_not_name(run: Command, declared: Path) -> None:
    """Without `--prune` nothing is removed; with it each removal is printed."""
    declared.write_text('[[products]]\nkey = "Sb7PkXyZ"\n')
    assert run("registry", "apply", declared).out == "nothing to change\n"
    assert run("registry", "apply", declared, "--prune").out.splitlines() == [
        "remove product EbxGvUrE",
        "remove device EbxGvUrE/gw-1",
        "remove device Sb7PkXyZ/sub001",
        "remove application scada",
        "remove operator alice",
        "remove sub-device Sb7PkXyZ/sub001 of EbxGvUrE/gw-1",
    ]
    assert run("registry", "show").out == "product      Sb7PkXyZ  model -\n"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[[devices", ["not TOML: Expected ']]' at the end of an array declaration (at line 3, the end of the file)"]),
        (
            '[[devices]]\nproduct = "nope"\nkey = "a"\nsecret = "s-1"\n[[devices]]\nproduct = "New"\nkey = "b"\n',
            ["devices[0] nope/a: unknown product nope", "devices[1] New/b: secret missing"],
        ),
        (
            '[[gateways]]\ndevice = "EbxGvUrE/gw-1"\nsub_devices = ["EbxGvUrE/gw-1"]\n',
            ["gateways[0] EbxGvUrE/gw-1: a gateway cannot be its own sub-device"],
        ),
        ('[[products]]\nkey = "p"\nsecert = "x"\n', ["products[1] p: secert unknown; did you mean secret?"]),
    ],
    ids=["syntax", "devices", "gateway", "unknown key"],
)
def test_a_faulty_file_changes_nothing(run: Command, declared: Path, text: str, faults: list[str]) -> None:
    """Every fault is named, a line each, and what was declared stays."""
    before = run("registry", "show", "--json").out
    file = declared.with_name("faulty.toml")
    file.write_text('[[products]]\nkey = "New"\n' + text)
    done = run("registry", "apply", file)
    assert (done.code, done.out) == (1, "")
    assert done.err.removeprefix("enos-ingest: ").splitlines() == [f"{file}: {fault}" for fault in faults]
    assert run("registry", "show", "--json").out == before


def test_a_file_that_cannot_be_read_is_said(run: Command, folder: Path) -> None:
    """A missing file, and one that is no text, end with one sentence each."""
    done = run("registry", "apply", "nothing.toml")
    assert (done.code, done.out) == (1, "")
    assert done.err == "enos-ingest: nothing.toml: cannot be read: No such file or directory\n"
    (folder / "bytes.toml").write_bytes(b"# \xff\xfe")
    said = "enos-ingest: bytes.toml: not UTF-8 text (at byte 2)\n"
    assert run("registry", "apply", "bytes.toml") == (1, "", said)


@pytest.mark.usefixtures("declared")
def test_show_for_people(run: Command) -> None:
    """A line for each thing that is declared."""
    lines = run("registry", "show").out.splitlines()
    assert lines[:2] == ["product      EbxGvUrE  model inverter", "product      Sb7PkXyZ  model -"]
    assert lines[2].startswith("device       EbxGvUrE/gw-1  asset ")
    assert lines[2].endswith("  never logged in")
    assert lines[3].endswith("  disabled")
    assert lines[4:] == [
        "gateway      EbxGvUrE/gw-1  sub-devices Sb7PkXyZ/sub001",
        "application  scada  scopes control, read",
        "operator     alice  scopes read, write",
    ]


@pytest.mark.usefixtures("declared")
def test_show_as_json(run: Command) -> None:
    """The registry in the words of its file, secrets and hashes left out."""
    document = json.loads(run("registry", "show", "--json").out)
    assert list(document) == ["products", "devices", "gateways", "applications", "operators"]
    assert document["products"][0] == {
        "key": "EbxGvUrE",
        "model": "inverter",
        "has_secret": True,
        "dynamic_activation": False,
        "allow_reactivation": False,
        "register": False,
        "require_tls": False,
        "codec": None,
    }
    assert document["products"][1]["has_secret"] is False
    assert [(row["product"], row["key"], row["enabled"], row["activated"]) for row in document["devices"]] == [
        ("EbxGvUrE", "gw-1", True, None),
        ("Sb7PkXyZ", "sub001", False, None),
    ]
    assert [row["origin"] for row in document["devices"]] == ["file", "file"]
    assert document["gateways"] == [
        {"device": "EbxGvUrE/gw-1", "sub_devices": ["Sb7PkXyZ/sub001"], "from_wire": [], "let_go": {}}
    ]
    assert document["applications"] == [{"name": "scada", "key": "app-1", "scopes": ["control", "read"]}]
    assert document["operators"] == [{"name": "alice", "scopes": ["read", "write"]}]


def test_show_of_nothing_says_what_to_do(run: Command, folder: Path) -> None:
    """Without a database, or without anything in it, the way on is said."""
    done = run("registry", "show")
    assert done.code == 3
    assert "start the service once, or run `registry apply`" in done.err
    (folder / "empty.toml").touch()
    assert run("registry", "apply", "empty.toml").code == 0
    said = "nothing is declared: write a registry file, then `enos-ingest registry apply FILE.toml`\n"
    assert run("registry", "show") == (0, said, "")


def test_hash_password_makes_what_the_registry_takes(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed hash matches the password, differs each time, and is accepted as password_hash."""
    hashes = []
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.StringIO("operator-password-1\r\nmore\n"))
        hashes.append(run("registry", "hash-password").out.strip())
    assert hashes[0] != hashes[1]
    assert all(verify_password("operator-password-1", each) for each in hashes)
    file = folder / "operators.toml"
    file.write_text(f'[[operators]]\nname = "alice"\npassword_hash = "{hashes[0]}"\nscopes = ["read"]\n')
    assert run("registry", "apply", file) == (0, "add    operator alice\n", "")


def test_an_empty_password_is_refused(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on standard input is no password."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("registry", "hash-password") == (1, "", "enos-ingest: the password is empty\n")


def test_no_command_prints_a_secret(run: Command, declared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what commands print nor what they complain about holds a secret of the registry."""
    wrong = declared.with_name("wrong.toml")
    wrong.write_text(REGISTRY.replace("device-secret-1", "device-secret-1\\u0000") + '\nsecret = "app-secret-1"\n')
    broken = declared.with_name("broken.toml")
    broken.write_text(REGISTRY + 'secret "product-secret-1"')
    monkeypatch.setattr("sys.stdin", io.StringIO("operator-password-1\n"))
    texts = []
    for arguments in (
        ["registry", "show"],
        ["registry", "show", "--json"],
        ["registry", "apply", declared],
        ["registry", "apply", declared, "--prune"],
        ["registry", "apply", wrong],
        ["registry", "apply", broken],
        ["registry", "hash-password"],
        ["credentials", "EbxGvUrE/gw-1"],
        ["credentials", "EbxGvUrE/gw-1", "--options"],
        ["credentials", "EbxGvUrE/%channel%"],
        ["points", "EbxGvUrE/gw-1"],
        ["models", "ls"],
        ["models", "check", declared],
        ["quarantine", "ls"],
        ["serve", "-c", declared],
    ):
        done = run(*arguments)
        texts.append(done.out + done.err)
        assert texts[-1] or arguments == ["quarantine", "ls"]
    for secret in SECRETS:
        assert [text for text in texts if secret in text] == []
