"""What becomes of tests that need a program which the machine lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import closing_line

_HERE = Path(__file__).parent

_SUITE = """
import pytest

@pytest.mark.needs("mosquitto_pub", "mosquitto_sub")
def test_watches(): raise AssertionError

@pytest.mark.needs("mosquitto_pub")
@pytest.mark.parametrize("qos", [0, 1])
def test_publishes(qos): raise AssertionError

def test_runs(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_is_known_to_fail(): raise AssertionError
"""


def run_suite(folder: Path, modules: dict[str, str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run modules beside our conftest on a machine that has no programs."""
    tests, nothing = folder / "tests", folder / "nothing"
    nothing.mkdir(parents=True)
    tests.mkdir()
    (tests / "__init__.py").touch()
    for name in ("conftest.py", "programs.py"):
        shutil.copy(_HERE / name, tests)
    for name, text in modules.items():
        (tests / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "ENOS_INGEST_TESTS_NO_SKIP"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--strict-markers", "tests"],
        cwd=folder,
        env={**environment, "PATH": str(nothing), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_programs_are_listed_in_one_line(tmp_path: Path) -> None:
    """Tests without their programs are skipped, counted before pytest's last line, and the run passes."""
    done = run_suite(tmp_path, {"test_it.py": _SUITE})
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    said = "not run: 3 tests that need mosquitto_pub, mosquitto_sub (apt install mosquitto-clients)"
    assert lines[-2:] == [said, lines[-1]]
    assert lines[-1].startswith("1 passed, 3 skipped, 1 xfailed in ")


def test_no_line_is_printed_when_everything_ran(tmp_path: Path) -> None:
    """A run that has all it needs says nothing more."""
    done = run_suite(tmp_path, {"test_it.py": "def test_runs(): pass\n"})
    assert done.returncode == 0
    assert "not run" not in done.stdout


def test_a_skip_fails_where_none_is_allowed(tmp_path: Path) -> None:
    """With ENOS_INGEST_TESTS_NO_SKIP=1 each skip fails and says why; expected failures stay what they are."""
    skips = "import pytest\ndef test_gives_up(): pytest.skip('too slow')\n"
    done = run_suite(tmp_path, {"test_it.py": _SUITE, "test_skips.py": skips}, ENOS_INGEST_TESTS_NO_SKIP="1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("1 failed, 1 passed, 1 xfailed, 3 errors in "), done.stdout
    assert "too slow; ENOS_INGEST_TESTS_NO_SKIP=1 allows no skip" in done.stdout
    hint = "needs mosquitto_pub (apt install mosquitto-clients); ENOS_INGEST_TESTS_NO_SKIP=1 allows no skip"
    assert hint in done.stdout


def test_a_module_that_skips_itself_fails_where_none_is_allowed(tmp_path: Path) -> None:
    """The same for a whole module, which pytest reports at collection."""
    skips = "import pytest\npytest.skip('not today', allow_module_level=True)\n"
    assert run_suite(tmp_path / "allowed", {"test_it.py": skips}).returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    done = run_suite(tmp_path / "forbidden", {"test_it.py": skips}, ENOS_INGEST_TESTS_NO_SKIP="1")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "not today; ENOS_INGEST_TESTS_NO_SKIP=1 allows no skip" in done.stdout


def test_a_program_of_no_known_package_is_refused(tmp_path: Path) -> None:
    """A marker that names a program without a package is a mistake of the suite."""
    done = run_suite(tmp_path, {"test_it.py": "import pytest\n@pytest.mark.needs('zzz')\ndef test_runs(): pass\n"})
    assert done.returncode == 4
    assert "needs zzz: name its package in tests/programs.py" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("count", "programs", "line"),
    [
        (1, ["bash"], "not run: 1 test that needs bash (apt install bash)"),
        (
            2,
            ["mosquitto_sub", "bash"],
            "not run: 2 tests that need bash, mosquitto_sub (apt install bash mosquitto-clients)",
        ),
    ],
)
def test_the_closing_line(count: int, programs: list[str], line: str) -> None:
    """Programs and packages stand once each, in order."""
    assert closing_line(count, programs) == line
