"""The shell scripts on machines that lack things: a checkout with nothing but scripts, and stubs on PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.process import PATIENCE

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.needs("bash")

TOOLS = ("sh", "bash", "cat", "cksum", "cp", "dirname", "env", "mkdir", "mktemp", "rm")

PYTHON = """#!/bin/sh
# Stands for an interpreter: notes how it is called, and makes what a virtual environment would be.
case "$*" in
*"version_info[:2]"*) echo VERSION; exit ;;
"-c import sys; sys.exit(sys.version_info < (3, 11))") exit OLD ;;
*"import ensurepip, venv"*) exit NO_VENV ;;
*"import pip"*) exit ;;
esac
echo "$*" >>CALLS
case "$*" in
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*coverage\\ report*) echo "pipeline.py 99%"; exit UNCOVERED ;;
*"FAILS"*) echo "the reason"; exit 1 ;;
esac
"""


class Machine:
    """A checkout without a virtual environment, and a PATH with only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "check out"  # a blank in the path must not matter
        self.path = folder / "bin"
        self.calls_file = folder / "calls"
        self.path.mkdir()
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / ".ci", self.checkout / ".ci")
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.path / tool).symlink_to(found)

    def python(
        self,
        name: str = "python3",
        *,
        version: str = "3.12",
        old: bool = False,
        venv: bool = True,
        fails: str = "nothing",
        covered: bool = True,
    ) -> None:
        """Put an interpreter on PATH; `fails` is a piece of the call that ends with 1."""
        text = PYTHON.replace("VERSION", version).replace("CALLS", f"'{self.calls_file}'").replace("FAILS", fails)
        text = text.replace("OLD", str(int(old))).replace("NO_VENV", str(int(not venv)))
        self.program(name, text.replace("UNCOVERED", str(int(not covered))))

    def program(self, name: str, text: str = "") -> None:
        """Put a program on PATH that notes how it is called."""
        path = self.path / name
        path.write_text(text or f"#!/bin/sh\necho \"{name} $*\" >>'{self.calls_file}'\n")
        path.chmod(0o755)

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout, from somewhere else."""
        return subprocess.run(
            [str(self.checkout / script), *arguments],
            cwd=self.path,
            env={"PATH": str(self.path), "TMPDIR": str(self.path.parent), **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was called since the last time, by its arguments."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without Python."""
    return Machine(tmp_path)


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/check"])
def test_without_venv_the_one_package_is_named(machine: Machine, script: str) -> None:
    """On Debian and Ubuntu, where `venv` is a package of its own, every script names it and ends with 1."""
    machine.python(venv=False)
    machine.program("apt-get")
    done = machine.run(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        f"{script}: python3 lacks the module venv; install one package: sudo apt install python3-venv\n"
    )
    assert not (machine.checkout / ".venv").exists()


def test_the_package_is_that_of_the_interpreter(machine: Machine) -> None:
    """Where only a versioned interpreter is new enough, its own package is named."""
    machine.python(version="3.9", old=True)
    machine.python("python3.13", version="3.13", venv=False)
    machine.program("apt-get")
    assert machine.run("scripts/test").stderr.endswith("install one package: sudo apt install python3.13-venv\n")


def test_without_apt_the_package_is_described(machine: Machine) -> None:
    """Elsewhere the sentence does without apt."""
    machine.python(venv=False)
    done = machine.run("scripts/demo")
    assert done.returncode == 1
    assert done.stderr.endswith("install your system's package with it, often named python3-venv\n")


def test_an_old_python_is_named(machine: Machine) -> None:
    """Interpreters that are too old are listed with their versions."""
    machine.python(version="3.9", old=True)
    machine.python("python", version="2.7", old=True)
    done = machine.run("scripts/demo")
    assert done.returncode == 1
    assert done.stderr.endswith("needs Python 3.11 or newer, and finds python3 is 3.9, python is 2.7\n")


def test_no_python_at_all_is_said(machine: Machine) -> None:
    """A machine without Python gets a sentence too."""
    done = machine.run("scripts/check")
    assert done.returncode == 1
    assert done.stderr.endswith("scripts/check: needs Python 3.11 or newer, and finds no Python at all\n")


def test_it_installs_once_and_again_when_the_project_changed(machine: Machine) -> None:
    """The first run makes .venv and installs; later ones do not, until pyproject.toml is another."""
    machine.python()
    tour = f"-m scripts.tour --from {machine.path} --once"
    assert machine.run("scripts/demo", "--once").returncode == 0
    upgrade = "-m pip install --upgrade pip>=25.1"
    assert machine.calls() == ["-m venv --clear .venv", upgrade, "-m pip install --editable .", tour]
    machine.run("scripts/demo", "--once")
    assert machine.calls() == [tour]
    with (machine.checkout / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    machine.run("scripts/demo", "--once")
    assert machine.calls() == [
        upgrade,
        "-m pip install --editable .",
        tour,
    ]


def test_what_tests_need_is_enough_for_the_demo(machine: Machine) -> None:
    """After scripts/test nothing is left to install for scripts/demo; the other way round there is."""
    machine.python()
    machine.run("scripts/demo")
    machine.calls()
    machine.run("scripts/test", "tests/models")
    assert "-m pip install --editable . --group dev" in machine.calls()
    machine.run("scripts/demo")
    assert not [call for call in machine.calls() if "install" in call]


def test_a_moved_checkout_is_installed_again(machine: Machine) -> None:
    """An editable install points to where the checkout was."""
    machine.python()
    machine.run("scripts/demo")
    machine.calls()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("elsewhere"))
    machine.run("scripts/demo")
    assert "-m pip install --editable ." in machine.calls()


def test_what_pip_says_is_shown_when_it_fails(machine: Machine) -> None:
    """A failed install shows pip's words, then one sentence; the next run tries again."""
    machine.python(fails="install --editable")
    for _ in range(2):
        done = machine.run("scripts/demo")
        assert done.returncode == 1
        assert (
            "the reason\nscripts/demo: pip could not install".replace("scripts", f"{machine.checkout}/scripts")
            in done.stderr
        )
        assert "-m pip install --editable ." in machine.calls()


def test_a_given_interpreter_is_taken_as_it_is(machine: Machine) -> None:
    """With ENOS_INGEST_PYTHON nothing is made or installed."""
    machine.python("mine")
    machine.run("scripts/test", "-k", "enum", ENOS_INGEST_PYTHON=str(machine.path / "mine"))
    assert machine.calls() == ["-m pytest -k enum"]
    assert not (machine.checkout / ".venv").exists()


def test_all_tests_run_with_coverage(machine: Machine) -> None:
    """Coverage starts first, as pytest loads parts of this package by itself, and says nothing when all is well."""
    machine.python("mine")
    done = machine.run("scripts/test", ENOS_INGEST_PYTHON=str(machine.path / "mine"))
    assert (done.returncode, done.stdout) == (0, "")
    half = ["tests/clients", "tests/endpoint", "tests/faults"]
    both = machine.calls()
    assert sorted(both[:2]) == [
        f"-m coverage run --parallel-mode -m pytest {' '.join(f'--ignore={each}' for each in half)}",
        f"-m coverage run --parallel-mode -m pytest {' '.join(half)}",
    ]
    assert both[2:] == ["-m coverage combine --quiet", "-m coverage report"]


@pytest.mark.parametrize("half", ["pytest tests/clients", "pytest --ignore"])
def test_each_half_of_the_tests_can_fail(machine: Machine, half: str) -> None:
    """They run at the same time; what either says is told, and coverage is not looked at."""
    machine.python("mine", fails=half)
    done = machine.run("scripts/test", ENOS_INGEST_PYTHON=str(machine.path / "mine"))
    assert (done.returncode, done.stdout) == (1, "the reason\n")
    assert not any("report" in call for call in machine.calls())


def test_missing_branches_fail_the_tests(machine: Machine) -> None:
    """Branches that no test takes are listed, and the exit code is 1."""
    machine.python("mine", covered=False)
    done = machine.run("scripts/test", ENOS_INGEST_PYTHON=str(machine.path / "mine"))
    assert (done.returncode, done.stdout) == (1, "pipeline.py 99%\n")
    assert "not covered" in done.stderr


@pytest.mark.parametrize("fails", ["ruff check", "ruff format", "mypy"])
def test_each_check_can_fail(machine: Machine, fails: str) -> None:
    """scripts/check ends with what the first failing check says."""
    machine.python("mine", fails=fails)
    assert machine.run("scripts/check", ENOS_INGEST_PYTHON=str(machine.path / "mine")).returncode == 1
    machine.python("mine")
    assert machine.run("scripts/check", ENOS_INGEST_PYTHON=str(machine.path / "mine")).returncode == 0


def test_ci_installs_what_is_missing_and_allows_no_skip(machine: Machine) -> None:
    """.ci/run gets the programs that tests need, then checks, then tests, and ends with the tests' last line."""
    machine.program("apt-get")
    machine.program("sudo", '#!/bin/sh\nexec "$@"\n')
    note = f"#!/bin/sh\necho \"{{}} $ENOS_INGEST_TESTS_NO_SKIP\" >>'{machine.calls_file}'\necho '{{}} passed'\n"
    for script in ("check", "test"):
        (machine.checkout / "scripts" / script).write_text(note.replace("{}", script))
    done = machine.run(".ci/run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "test passed"
    assert machine.calls() == [
        "apt-get update -q",
        "apt-get install -q -y --no-install-recommends mosquitto-clients curl openssl python3 python3-venv",
        "check 1",
        "test 1",
    ]
    for program in ("mosquitto_pub", "mosquitto_sub", "curl", "openssl"):
        machine.program(program)
    machine.python()
    (machine.checkout / "scripts" / "check").write_text("#!/bin/sh\nexit 1\n")
    assert machine.run(".ci/run").returncode == 1
    assert machine.calls() == []


def test_scripts_are_executable() -> None:
    """What people start has its bit set; what is sourced has not."""
    for name in ("scripts/demo", "scripts/test", "scripts/check", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111 == 0o111
    assert not (ROOT / "scripts/environment").stat().st_mode & 0o111
