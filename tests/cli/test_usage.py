"""What all commands have in common: help, version, exit codes, the configuration file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from enos_ingest import __version__
from tests.cli.conftest import REGISTRY, Command
from tests.process import COMMAND, PATIENCE, environment

COMMANDS = [
    ["serve"],
    ["registry"],
    ["registry", "apply"],
    ["registry", "show"],
    ["registry", "hash-password"],
    ["models"],
    ["models", "ls"],
    ["models", "check"],
    ["models", "schema"],
    ["points"],
    ["attributes"],
    ["events"],
    ["tags"],
    ["command"],
    ["command", "set"],
    ["command", "call"],
    ["command", "get"],
    ["command", "ls"],
    ["command", "cancel"],
    ["quarantine"],
    ["quarantine", "ls"],
    ["quarantine", "show"],
    ["credentials"],
]


@pytest.mark.parametrize("words", [[], *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(run: Command, words: list[str]) -> None:
    """`--help` prints what a command does and takes, to standard output."""
    done = run(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: {' '.join(['enos-ingest', *words])} ")
    assert len(done.out.splitlines()) > 4


@pytest.mark.parametrize("words", [["-V"], ["dance"], [], ["--config", "x"], ["registry", "dance"]], ids=" ".join)
def test_wrong_usage_ends_with_2(run: Command, words: list[str]) -> None:
    """Unknown words and options end with the usage and exit code 2."""
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: enos-ingest")


def test_the_version_is_the_packages(run: Command) -> None:
    """`--version` prints one line."""
    assert run("--version") == (0, f"enos-ingest {__version__}\n", "")


def test_the_module_and_the_script_are_the_same_command() -> None:
    """`python -m enos_ingest` and the installed `enos-ingest` print the same."""
    script = Path(sys.executable).with_name("enos-ingest")
    for command in ([*COMMAND], [str(script)]):
        done = subprocess.run(
            [*command, "--version"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert done.stdout == f"enos-ingest {__version__}\n"


def test_relative_paths_start_at_the_configuration_file(run: Command, folder: Path) -> None:
    """Wherever a command is run, `-c` decides where database, models and registry file are."""
    site = folder / "etc" / "site"
    site.mkdir(parents=True)
    (site / "hub.toml").write_text('[storage]\nurl = "sqlite:///../var/hub.db"\n[models]\npath = "things"\n')
    (site / "registry.toml").write_text(REGISTRY.replace('model = "inverter"', ""))
    (site / "things").mkdir()
    sample = Path(__file__).parents[2] / "schemas" / "models" / "gateway.json"
    (site / "things" / "gateway.json").write_bytes(sample.read_bytes())
    config = ["-c", "etc/site/hub.toml"]
    assert run("registry", "apply", "etc/site/registry.toml", *config).code == 0
    assert (folder / "etc" / "var" / "hub.db").is_file()
    assert not (folder / "data").exists()
    assert run("models", "ls", *config).out.startswith("gateway ")
    assert run("registry", "show", *config).out.startswith("product      EbxGvUrE  model -")
    assert run("points", "EbxGvUrE/gw-1", *config).code == 0
    assert run("quarantine", "ls", *config) == (0, "", "")
    assert run("credentials", "EbxGvUrE/gw-1", *config).code == 0


def test_the_configuration_of_the_working_folder_is_the_default(run: Command, folder: Path) -> None:
    """`enos-ingest.toml` is read where it stands; `-c` names another in its place."""
    (folder / "enos-ingest.toml").write_text('[storage]\nurl = "sqlite:///here.db"\n')
    (folder / "registry.toml").write_text(REGISTRY)
    assert run("registry", "apply", "registry.toml").code == 0
    assert (folder / "here.db").is_file()
    (folder / "other.toml").write_text('[storage]\nurl = "sqlite:///there.db"\n')
    assert "there.db: start the service once" in run("registry", "show", "-c", "other.toml").err


@pytest.mark.parametrize(
    "words",
    [
        ["registry", "show"],
        ["models", "ls"],
        ["points", "a/b"],
        ["quarantine", "ls"],
        ["credentials", "a/b"],
        ["command", "ls"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_bad_configuration_ends_every_command_with_3(run: Command, folder: Path, words: list[str]) -> None:
    """One sentence names the file and the setting."""
    (folder / "enos-ingest.toml").write_text("[limits]\nin_flght = 1\n")
    said = "enos-ingest: enos-ingest.toml: unknown setting limits.in_flght; did you mean limits.in_flight?\n"
    assert run(*words) == (3, "", said)
    assert run(*words, "-c", "gone.toml") == (
        3,
        "",
        "enos-ingest: gone.toml: there is no such configuration file\n",
    )


@pytest.mark.parametrize(
    "words", [["registry", "show"], ["points", "a/b"], ["quarantine", "ls"], ["credentials", "a/b"]], ids=" ".join
)
def test_a_database_that_is_none_ends_every_command_with_3(run: Command, folder: Path, words: list[str]) -> None:
    """One sentence names the file."""
    (folder / "data").mkdir()
    (folder / "data" / "enos-ingest.db").write_text("a letter " * 1000)
    done = run(*words)
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        f"enos-ingest: {folder}/data/enos-ingest.db is not a SQLite database: "
        "name another file, or move this one away\n"
    )
