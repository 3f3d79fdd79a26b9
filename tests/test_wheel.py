"""What is published: the wheel and the source archive, and the wheel at work without anything for development."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from enos_ingest import __version__
from tests.process import PATIENCE, environment

ROOT = Path(__file__).parent.parent
INSTALL_SECONDS = 300
"""Downloading what the wheel depends on takes as long as the package index takes."""


def build(source: Path, target: Path, *kinds: str) -> dict[str, Path]:
    """Build distributions with the backend that is installed here; the files by their suffix."""
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in target.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the source archive of this checkout."""
    return build(ROOT, tmp_path_factory.mktemp("dist"), "--sdist", "--wheel")


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with the wheel, and nothing that it does not ask for."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", str(built[".whl"])]
    subprocess.run(install, check=True, timeout=INSTALL_SECONDS, env=environment())
    return programs


def contents(wheel: Path) -> dict[str, str]:
    """The files of a wheel with their digests; the list of them, which holds times of no meaning, left out."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/RECORD")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


def test_the_wheel_carries_its_schemas(built: dict[str, Path]) -> None:
    """Every schema and sample model is in the wheel, as a file, with the code that reads it, and no test is."""
    found = contents(built[".whl"])
    for path in (ROOT / "schemas").rglob("*.json"):
        name = f"enos_ingest/schemas/{path.relative_to(ROOT / 'schemas').as_posix()}"
        assert found[name] == hashlib.sha256(path.read_bytes()).hexdigest()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "enos_ingest").rglob("*.py")}
    assert modules <= found.keys()
    assert "enos_ingest/py.typed" in found
    assert {name.partition("/")[0] for name in found} == {"enos_ingest", f"enos_ingest-{__version__}.dist-info"}


def test_the_source_archive_gives_the_same_wheel(built: dict[str, Path], tmp_path: Path) -> None:
    """A wheel built from the source archive holds the same files, the same to the byte."""
    with tarfile.open(built[".gz"]) as archive:
        for member in archive:
            # `extractall` with a filter came in 3.11.4, and without one warns from 3.12 on.
            content = archive.extractfile(member)
            assert content is not None
            path = tmp_path / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    source = tmp_path / f"enos_ingest-{__version__}"
    assert {"LICENSE", "README.md", "CHANGELOG.md"} <= {path.name for path in source.iterdir()}
    again = build(source, tmp_path / "dist", "--wheel")
    assert contents(again[".whl"]) == contents(built[".whl"])


def test_the_command_is_there(installed: Path, tmp_path: Path) -> None:
    """The installed command says its version and finds the packaged thing models."""
    for arguments, expected in ((["--version"], f"enos-ingest {__version__}"), (["models", "ls"], "inverter")):
        command = [str(installed / "enos-ingest"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (done.returncode, expected in done.stdout) == (0, True), done.stderr


def test_the_service_starts_and_stops(installed: Path, tmp_path: Path) -> None:
    """Without development dependencies and without a configuration the hub serves, drains and ends with 0."""
    command = [str(installed / "enos-ingest"), "serve", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if '"event":"listening"' in line:
                break
        process.send_signal(signal.SIGTERM)
        log += process.stderr.readlines()
        code = process.wait(PATIENCE)
    assert code == 0, log
    assert any('"event":"stopped"' in line for line in log)
    assert (tmp_path / "data" / "enos-ingest.db").exists()


def test_the_pytest_plugin_needs_no_pytest(installed: Path, tmp_path: Path) -> None:
    """The package imports, all of it but the plugin, where pytest is not installed."""
    script = (
        "import importlib, importlib.util, pkgutil, enos_ingest\n"
        "assert importlib.util.find_spec('pytest') is None\n"
        "for module in pkgutil.walk_packages(enos_ingest.__path__, 'enos_ingest.', onerror=lambda name: None):\n"
        "    if not module.name.startswith('enos_ingest.testing') and not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
    )
    done = subprocess.run(
        [str(installed / "python"), "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
