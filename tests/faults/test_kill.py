"""The hub dies, or is asked to stop, while devices report: what was answered is stored, whatever happens."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader
from tests.faults.load import DEVICES, PRODUCT, REGISTRY, Load, expected_points, load
from tests.process import HubProcess, eventually, running, write_config

ROUNDS = 4
ANSWERS = 300


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with four devices, and a minute for the drain."""
    return write_config(tmp_path, REGISTRY, limits="drain_seconds = 60")


def database(config: Path) -> Path:
    return config.parent / "data" / "hub.db"


def stored(config: Path, device_key: str) -> set[Point]:
    """Every point of a device."""
    with SqliteReader(database(config)) as reader:
        return set(reader.points(PRODUCT, device_key))


def rows(config: Path) -> int:
    """How many points the database holds."""
    with contextlib.closing(sqlite3.connect(database(config))) as connection:
        return int(connection.execute("SELECT count(*) FROM points").fetchone()[0])


@contextlib.contextmanager
def locked(config: Path) -> Iterator[None]:
    """Another program holds the database: nothing can be committed."""
    with contextlib.closing(sqlite3.connect(database(config), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_what_was_answered_survives_kill_9(config: Path) -> None:
    """Killed again and again under load, the hub has kept every message it answered, whole; repeats change nothing.

    In every other round the disk is held up first: a reply that did not wait for the commit would be found out.
    """
    sent: dict[str, set[int]] = {key: set() for key in DEVICES}
    answered: dict[str, set[int]] = {key: set() for key in DEVICES}
    for number in range(ROUNDS):
        first = max(itertools.chain([0], *sent.values())) + 1
        with running(config) as hub, load(hub, lambda _, first=first: itertools.count(first)) as devices:  # type: ignore[misc]
            devices.wait_until(lambda devices=devices: devices.answered >= ANSWERS)  # type: ignore[misc]
            with locked(config) if number % 2 else contextlib.nullcontext():
                if number % 2:
                    hub.wait_for("the store cannot commit")
                hub.kill()
            devices.wait_until_ended()
            for each in devices.reporters:
                sent[each.device_key] |= each.sent
                answered[each.device_key] |= each.answered
                assert each.refused == []
    assert sum(map(len, answered.values())) >= ROUNDS * ANSWERS
    assert sent != answered, "nothing was on its way when the hub was killed: the test shows nothing"

    with running(config) as hub:
        for key in DEVICES:
            found = stored(config, key)
            assert expected_points(key, answered[key]) <= found
            whole = {point.time for point in found if point.measurepoint == "temp"}
            assert whole == {point.time for point in found if point.measurepoint == "Power"}
            assert found <= expected_points(key, sent[key])
        for _ in range(2):
            with load(hub, lambda key: sorted(sent[key])) as devices:
                devices.wait_until_done()
            assert rows(config) == 2 * sum(map(len, sent.values()))
        for key in DEVICES:
            assert stored(config, key) == expected_points(key, sent[key])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_under_load_drains(config: Path, number: signal.Signals) -> None:
    """Asked to stop under load, the hub exits with 0; all that was acknowledged by PUBACK, so all answered, is stored.

    PUBACK is amqtt's word for having read a message. What a device had sent and the hub had not read is in neither
    set; the device has no PUBACK of it and sends it again.
    """
    with running(config) as hub, load(hub, lambda _: itertools.count(1)) as devices:
        devices.wait_until(lambda: devices.answered >= ANSWERS)
        hub.signal(number)
        assert hub.wait() == 0, hub.log()
        devices.wait_until_ended()
        assert hub.wait_for("asked to stop", signal=number.name)
        assert hub.lines[-1]["event"] == "stopped"
        assert [line for line in hub.lines if line["level"] in ("error", "warning")] == []
        for each in devices.reporters:
            found = stored(config, each.device_key)
            assert each.refused == []
            assert each.answered <= each.acknowledged
            assert expected_points(each.device_key, each.acknowledged) <= found
            assert found <= expected_points(each.device_key, each.sent)


def hold_back(hub: HubProcess, devices: Load) -> None:
    """Wait until every message that devices send at once is read and none answered, the database being locked."""
    hub.wait_for("the store cannot commit")
    devices.wait_until(lambda: all(each.acknowledged == each.sent != set() for each in devices.reporters))
    assert devices.answered == 0


def is_refused(address: tuple[str, int]) -> bool:
    """Whether nobody listens at an address."""
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_drain_commits_and_answers_what_was_read(config: Path) -> None:
    """While it drains the hub takes no new connection and says so; what was read is committed and then answered."""
    with running(config) as hub, contextlib.ExitStack() as lock:
        lock.enter_context(locked(config))
        with load(hub, lambda _: range(1, 11)) as devices:
            hold_back(hub, devices)
            hub.signal(signal.SIGTERM)
            hub.wait_for("draining", connections=len(DEVICES))
            eventually(lambda: is_refused(hub.endpoint))
            status, body = hub.get("/readyz")
            assert status == 503
            assert "the hub is draining" in orjson.loads(body)["reasons"]
            lock.close()
            assert hub.wait() == 0, hub.log()
            devices.wait_until_ended()
            for each in devices.reporters:
                assert each.answered == each.sent == set(range(1, 11))
                assert stored(config, each.device_key) == expected_points(each.device_key, each.sent)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_forces_the_end(config: Path, number: signal.Signals) -> None:
    """A drain that waits for the database is cut short by a second signal: exit code 1, and nobody was told 200."""
    with running(config) as hub, locked(config), load(hub, lambda _: range(1, 11)) as devices:
        hold_back(hub, devices)
        hub.signal(number)
        hub.wait_for("draining")
        hub.signal(number)
        assert hub.wait() == 1, hub.log()
        assert hub.wait_for("forced to stop by a second signal", level="error", signal=number.name)
        devices.wait_until_ended()
        assert devices.answered == 0
    assert rows(config) == 0


def test_a_drain_that_takes_too_long_ends(tmp_path: Path) -> None:
    """When the time is up the hub gives up what it cannot commit, says why, answers nobody, and exits with 0."""
    config = write_config(tmp_path, REGISTRY, limits="drain_seconds = 0.2")
    with running(config) as hub, locked(config), load(hub, lambda _: range(1, 11)) as devices:
        hold_back(hub, devices)
        hub.signal(signal.SIGTERM)
        assert hub.wait() == 0, hub.log()
        line = hub.wait_for("not everything that was read could be committed", level="error")
        assert any("is locked by another program" in reason for reason in line["reasons"])
        devices.wait_until_ended()
        assert devices.answered == 0
    assert rows(config) == 0
    with running(config) as hub:
        assert hub.get("/readyz")[0] == 200
