"""The marker `needs`: a test that needs programs of the machine is skipped where one is missing.

    @pytest.mark.needs("mosquitto_pub", "mosquitto_sub")

The end of the run says in one line what was not run and which packages to install. With ENOS_INGEST_TESTS_NO_SKIP=1
in the environment any skip, whatever its reason, is a failure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.programs import PACKAGES, closing_line, install_hint, missing

_NO_SKIP = "ENOS_INGEST_TESTS_NO_SKIP"
_NOT_RUN = pytest.StashKey[dict[str, list[str]]]()
"""The missing programs of each test that was skipped for want of them, by its node id."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; let property tests take their time, on a busy machine the first example is slow."""
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")
    config.addinivalue_line("markers", "needs(*programs): skip where one of these programs is not installed")
    config.stash[_NOT_RUN] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a program that nobody would know how to install."""
    for item in items:
        unknown = [program for program in _needed(item) if program not in PACKAGES]
        if unknown:
            raise pytest.UsageError(f"{item.nodeid} needs {', '.join(unknown)}: name its package in tests/programs.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are missing."""
    gone = missing(_needed(item))
    if gone:
        item.config.stash[_NOT_RUN][item.nodeid] = gone
        pytest.skip(f"needs {', '.join(gone)} ({install_hint(gone)})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where skips are forbidden; an expected failure is no skip."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    _forbid_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was not run."""
    not_run = config.stash[_NOT_RUN]
    if not_run:
        gone = [program for programs in not_run.values() for program in programs]
        terminalreporter.write_line(closing_line(len(not_run), gone), yellow=True)
    others = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if report.nodeid not in not_run and isinstance(report.longrepr, tuple)
    )
    for reason, count in others.items():
        terminalreporter.write_line(f"not run: {count} {'test' if count == 1 else 'tests'}: {reason}", yellow=True)


def _needed(item: pytest.Item) -> list[str]:
    return [program for mark in item.iter_markers("needs") for program in mark.args]


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get(_NO_SKIP) == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}; {_NO_SKIP}=1 allows no skip"
