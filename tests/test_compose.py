"""The container's files: checked against a schema, and each of their commands run by hand.

No container engine is needed: what an engine would be told is read from Dockerfile and compose.yaml.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from enos_ingest.config import load_settings
from enos_ingest.settings import LimitsSettings

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((Path(__file__).parent / "compose.schema.json").read_text())
MOUNT = "/etc/enos-ingest"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def service(compose: dict[str, Any]) -> dict[str, Any]:
    services = compose["services"]
    assert list(services) == ["enos-ingest"]
    only = services["enos-ingest"]
    assert isinstance(only, dict)
    return only


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, in order: (word, rest), continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in text.splitlines() if line.strip()]


def image_environment(dockerfile: list[tuple[str, str]]) -> dict[str, str]:
    """The ENV of the Dockerfile that is ours to read."""
    pairs = [pair.partition("=") for word, rest in dockerfile if word == "ENV" for pair in shlex.split(rest)]
    return {name: value for name, _, value in pairs if name.startswith("ENOS_INGEST__")}


def last(dockerfile: list[tuple[str, str]], word: str) -> str:
    return [rest for each, rest in dockerfile if each == word][-1]


def test_compose_follows_the_schema(compose: dict[str, Any]) -> None:
    """Every key that is used is one of Compose, in its form."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(compose)


def test_every_named_volume_is_declared_and_every_folder_is_there(
    compose: dict[str, Any], service: dict[str, Any]
) -> None:
    """What is mounted exists; the configuration is mounted read-only where the command looks for it."""
    mounts = {target: (source, mode) for source, target, *mode in (each.split(":") for each in service["volumes"])}
    assert mounts[MOUNT] == ("./deploy", ["ro"])
    for source, _ in mounts.values():
        assert (ROOT / source).is_dir() if source.startswith(".") else source in compose["volumes"]


def test_the_service_is_reachable_from_this_machine_only(service: dict[str, Any]) -> None:
    """All addresses inside, 127.0.0.1 outside, and the ports inside are the ones that are published."""
    inside = {address.rpartition(":")[2] for address in service["environment"].values()}
    assert all(address.startswith("0.0.0.0:") for address in service["environment"].values())
    published = [each.split(":") for each in service["ports"]]
    assert {host for host, _, _ in published} == {"127.0.0.1"}
    assert {port for _, _, port in published} == inside == {"1883", "8080"}


def test_the_container_has_no_more_rights_than_it_needs(
    service: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """No root, no capabilities, nothing to write but the data and /tmp; and time enough to drain."""
    assert last(dockerfile, "USER") == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - in a container of its own
    assert int(service["stop_grace_period"].removesuffix("s")) > LimitsSettings().drain_seconds
    configured = load_settings(ROOT / "deploy" / "enos-ingest.toml", {})
    assert int(service["stop_grace_period"].removesuffix("s")) > configured.limits.drain_seconds


def test_data_and_configuration_are_where_the_image_says(
    service: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """The database lies in the volume, and the command's file is also in an image without a mount."""
    (volume,) = json.loads(last(dockerfile, "VOLUME"))
    url = image_environment(dockerfile)["ENOS_INGEST__STORAGE__URL"]
    assert url.removeprefix("sqlite:///").startswith(f"{volume}/")
    assert volume in [each.split(":")[1] for each in service["volumes"]]
    assert f"deploy {MOUNT}" in [rest for word, rest in dockerfile if word == "COPY"]
    assert json.loads(last(dockerfile, "CMD")) == ["enos-ingest", "serve", "-c", f"{MOUNT}/enos-ingest.toml"]


def test_everything_that_is_copied_gets_to_the_builder(dockerfile: list[tuple[str, str]]) -> None:
    """It exists, and .dockerignore, which lets nothing through but what it names, names it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [
        source
        for word, rest in dockerfile
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert "*" in lines
    assert let_through == set(copied)
    assert all((ROOT / source).exists() for source in copied)


def test_the_settings_of_the_container_are_valid_together(
    service: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """The file, the image's environment and compose's."""
    environ = {**image_environment(dockerfile), **service["environment"]}
    settings = load_settings(ROOT / "deploy" / "enos-ingest.toml", environ)
    assert str(settings.mqtt.bind) == "0.0.0.0:1883"
    assert str(settings.http.bind) == "0.0.0.0:8080"
    assert not settings.security.anonymous
    assert settings.registry_file() == ROOT / "deploy" / "registry.toml"
    assert settings.models_folder()[1], "the packaged samples serve until there is a folder of models"


def test_no_secret_comes_with_the_registry_example() -> None:
    """It is empty as it is; uncommented, each secret is still to be filled in."""
    text = (ROOT / "deploy" / "registry.toml").read_text()
    assert tomllib.loads(text) == {}
    example = tomllib.loads(re.sub(r"(?m)^#(?=\[\[|\w+ = )", "", text))
    assert set(example) == {"products", "devices", "operators", "applications"}
    secrets = [row.get(key) for rows in example.values() for row in rows for key in ("secret", "password", "api_key")]
    assert [each for each in secrets if each is not None] == [""] * 5


def test_the_wheel_of_the_image_holds_the_schemas(tmp_path: Path, dockerfile: list[tuple[str, str]]) -> None:
    """The build stage's command, from nothing but the copied files; without a network, so with our own hatchling."""
    for word, rest in dockerfile:
        if word == "COPY" and not rest.startswith("--from") and "deploy" not in rest:
            subprocess.run(["/bin/cp", "-a", *rest.split()[:-1], str(tmp_path)], cwd=ROOT, check=True)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("enos_ingest-*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    assert "enos_ingest/http/app.py" in listing
    assert "enos_ingest/schemas/models/" in listing
    assert "tests/" not in listing


@contextmanager
def running(arguments: list[str], environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The service in a process of its own, with the line that says where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "enos_ingest", *arguments], env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        seen: list[str] = []
        for text in process.stderr:
            seen.append(text)
            line = json.loads(text)
            if line["event"] == "listening":
                yield process, line
                return
        pytest.fail("it ended before it listened:\n" + "".join(seen))
    finally:
        process.kill()
        process.communicate()


def test_the_containers_command_starts_and_drains(
    tmp_path: Path, service: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """CMD with the container's settings on free ports: its health check passes, SIGTERM ends it with 0."""
    program, *arguments = json.loads(last(dockerfile, "CMD"))
    assert program == "enos-ingest"
    arguments = [each.replace(MOUNT, str(ROOT / "deploy")) for each in arguments]
    environ = {name: re.sub(r":\d+$", ":0", bind) for name, bind in service["environment"].items()}
    environ |= {
        "ENOS_INGEST__STORAGE__URL": f"sqlite:///{tmp_path}/data/enos-ingest.db",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert set(image_environment(dockerfile)) <= set(environ)
    with running(arguments, environ) as (process, line):
        port = line["http"].rpartition(":")[2]
        health = json.loads(re.sub(r"^.*?CMD ", "", last(dockerfile, "HEALTHCHECK")))
        assert health[:2] == ["python", "-c"]
        assert "127.0.0.1:8080/healthz" in health[2]
        check = health[2].replace("8080", port)
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            assert json.load(answer)["ready"] is True
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30)
        assert (tmp_path / "data" / "enos-ingest.db").exists()
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0, rest
    # Nothing answers there any more: the check fails, as an engine's would.
    failed = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False)
    assert failed.returncode != 0
