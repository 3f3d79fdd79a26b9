"""The hub dies, or is asked to stop, while devices report: what was promised is stored, whatever happens."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader
from tests.endpoint.raw import RawClient
from tests.faults.client import device
from tests.faults.load import DEVICES, PRODUCT, REGISTRY, SECRET, expected_points, load, request
from tests.faults.stream import SENDERS, STREAMERS, Streams, kept, streaming
from tests.process import HubProcess, eventually, running, write_config

MOMENTS = {"early": (2, 1, 50), "held up": (2, 1, 50), "folding": (1, 260, 420)}
"""How often the hub is killed, and after how many acknowledgements of each sender, from and to. A fold begins after 250
of two gateways each, and goes on as long as they send."""

ANSWERS = 300


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with devices and gateways, and a minute for the drain."""
    return write_config(tmp_path, REGISTRY + STREAMERS, limits="drain_seconds = 60")


def database(config: Path) -> Path:
    return config.parent / "data" / "hub.db"


def stored(config: Path, device_key: str) -> set[Point]:
    """Every point of a device."""
    with SqliteReader(database(config)) as reader:
        return set(reader.points(PRODUCT, device_key))


def acknowledged_is_stored(config: Path, streams: Streams) -> None:
    """What had its PUBACK, PUBREC or 200 is stored, and came in order."""
    assert streams.faults == []
    for each in streams.streams:
        assert len(each.promised) <= kept(database(config), each) <= each.sent, each.key


@contextlib.contextmanager
def locked(config: Path) -> Iterator[None]:
    """Another program holds the database: nothing can be committed."""
    with contextlib.closing(sqlite3.connect(database(config), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_was_acknowledged_survives_kill_9(config: Path, moment: str) -> None:
    """Killed again and again at a random moment, the hub has kept every message that had a PUBACK, a PUBREC or a 200.

    Devices and gateways send all the while, with QoS 1 and 2, and wait for nothing. Where the disk is held up first,
    an answer that did not wait for the commit would be found out.
    """
    rounds, least, most = MOMENTS[moment]
    first = dict.fromkeys(SENDERS, 1)
    for _ in range(rounds):
        with running(config) as hub, streaming(hub, first) as senders:
            senders.wait_until_acknowledged(random.randint(least, most))
            with locked(config) if moment == "held up" else contextlib.nullcontext():
                if moment == "held up":
                    hub.wait_for("the store cannot commit")
                hub.kill()
            senders.wait_until_ended()
        assert senders.acknowledged < sum(each.sent for each in senders.streams), (
            "nothing was on its way: shows nothing"
        )
        with running(config):
            acknowledged_is_stored(config, senders)
        first = {each.key: each.first + each.sent for each in senders.streams}


def test_a_hub_without_its_store_ends(config: Path) -> None:
    """Its process is killed amid reports: the hub says so and ends with 1; what it had acknowledged is there."""
    with running(config) as hub, streaming(hub, dict.fromkeys(SENDERS, 1)) as senders:
        senders.wait_until_acknowledged(20)
        os.kill(hub.store_pid, signal.SIGKILL)
        line = hub.wait_for("the store cannot commit")
        assert "the store has ended (SIGKILL)" in line["reason"]
        assert hub.wait() == 1
        senders.wait_until_ended()
    with running(config):
        acknowledged_is_stored(config, senders)


def rows(config: Path) -> int:
    """How many points are stored of the devices that wait for replies."""
    return sum(len(stored(config, key)) for key in DEVICES)


def test_what_was_answered_may_be_sent_again(config: Path) -> None:
    """After a kill devices repeat everything, as they do where they cannot know: nothing is stored twice."""
    with running(config) as hub, load(hub, lambda _: itertools.count(1)) as devices:
        devices.wait_until(lambda: devices.answered >= ANSWERS)
        hub.kill()
        devices.wait_until_ended()
    sent = {each.device_key: each.sent for each in devices.reporters}
    assert sent != {each.device_key: each.answered for each in devices.reporters}, (
        "nothing was on its way: shows nothing"
    )
    with running(config) as hub:
        for each in devices.reporters:
            assert each.refused == []
            assert each.acknowledged <= each.answered, "PUBACK comes after the reply"
            found = stored(config, each.device_key)
            assert expected_points(each.device_key, each.answered) <= found
            assert found <= expected_points(each.device_key, each.sent)
        for _ in range(2):
            with load(hub, lambda key: sorted(sent[key])) as again:
                again.wait_until_done()
            for key in DEVICES:
                assert stored(config, key) == expected_points(key, sent[key])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_under_load_drains(config: Path, number: signal.Signals) -> None:
    """Asked to stop under load, the hub exits with 0; all that had its PUBACK, so all answered, is stored.

    What a device had sent and the hub had not read has neither; the device sends it again.
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
            assert each.refused == []
            assert each.acknowledged == each.answered
            assert expected_points(each.device_key, each.answered) == stored(config, each.device_key)


NUMBERS = range(1, 11)


@contextlib.contextmanager
def held_back(hub: HubProcess, lock: contextlib.ExitStack, config: Path) -> Iterator[Mapping[str, RawClient]]:
    """Devices that have sent messages of which none is answered: the database is locked until `lock` is closed."""
    with contextlib.ExitStack() as stack:
        clients = {key: stack.enter_context(device(hub, f"{PRODUCT}/{key}", SECRET)) for key in DEVICES}
        # With a first login that waits the hub would read nothing more.
        eventually(lambda: "\nenos_ingest_in_flight 0.0\n" in hub.get("/metrics")[1])
        lock.enter_context(locked(config))
        for key, client in clients.items():
            topic = f"/sys/{PRODUCT}/{key}/thing/measurepoint/resume"
            client.send(*(encode_publish(topic, request(each), qos=1, packet_id=each) for each in NUMBERS))
        hub.wait_for("the store cannot commit")
        eventually(lambda: "\nenos_ingest_in_flight 0.0\n" not in hub.get("/metrics")[1])
        assert all(client.receives_nothing() for client in clients.values())
        yield clients


def is_refused(address: tuple[str, int]) -> bool:
    """Whether nobody listens at an address."""
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_drain_commits_and_answers_what_was_read(config: Path) -> None:
    """While it drains the hub takes no new connection and says so; what was read is committed and then answered.

    With the store down it had stopped reading: what it had not read by then it never stores nor answers.
    """
    with (
        running(config) as hub,
        contextlib.ExitStack() as lock,
        held_back(hub, lock, config) as devices,
    ):
        hub.signal(signal.SIGTERM)
        draining = hub.wait_for("draining", connections=len(DEVICES))
        eventually(lambda: is_refused(hub.endpoint))
        status, body = hub.get("/readyz")
        assert status == 503
        assert "the hub is draining" in orjson.loads(body)["reasons"]
        assert rows(config) == 0
        lock.close()
        assert hub.wait() == 0, hub.log()
        answered = 0
        for key, client in devices.items():
            packets = client.rest()
            replies = [orjson.loads(packet.publish.payload) for packet in packets if packet.kind is PacketType.PUBLISH]
            numbers = [int(reply["id"]) for reply in replies if reply["code"] == 200]
            acknowledged = [int.from_bytes(packet.body) for packet in packets if packet.kind is PacketType.PUBACK]
            assert numbers == acknowledged == list(NUMBERS[: len(numbers)])
            assert stored(config, key) == expected_points(key, numbers)
            answered += len(numbers)
        assert 0 < answered == draining["in_flight"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_forces_the_end(config: Path, number: signal.Signals) -> None:
    """A drain that waits for the database is cut short by a second signal: exit code 1, and nobody was answered."""
    with running(config) as hub, contextlib.ExitStack() as lock, held_back(hub, lock, config) as devices:
        hub.signal(number)
        hub.wait_for("draining")
        hub.signal(number)
        assert hub.wait() == 1, hub.log()
        assert hub.wait_for("forced to stop by a second signal", level="error", signal=number.name)
        assert [client.rest() for client in devices.values()] == [[]] * len(DEVICES)
    assert rows(config) == 0


def test_a_drain_that_takes_too_long_ends(tmp_path: Path) -> None:
    """When the time is up the hub gives up what it cannot commit, says why, answers nobody, and exits with 0."""
    config = write_config(tmp_path, REGISTRY, limits="drain_seconds = 0.2")
    with running(config) as hub, contextlib.ExitStack() as lock, held_back(hub, lock, config) as devices:
        hub.signal(signal.SIGTERM)
        assert hub.wait() == 0, hub.log()
        line = hub.wait_for("not everything that was read could be committed", level="error")
        assert any("is locked by another program" in reason for reason in line["reasons"])
        assert [client.rest() for client in devices.values()] == [[]] * len(DEVICES)
    assert rows(config) == 0
    with running(config) as hub:
        assert hub.get("/readyz")[0] == 200
