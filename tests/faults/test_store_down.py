"""The database of a running hub fails: nothing is answered or acknowledged, the hub says why, and goes on by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import orjson
import pytest

from enos_ingest.endpoint.packets import PacketType, encode_publish
from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader
from tests.endpoint.raw import RawClient, connect_packet
from tests.faults.client import device, raw_client
from tests.faults.load import DEVICES, PRODUCT, REGISTRY, SECRET
from tests.faults.test_storage_faults import fill, small_disk
from tests.process import COMMAND, PATIENCE, HubProcess, eventually, running, sign_in, write_config

SAMPLES = Path(__file__).parents[2] / "schemas" / "models"
DEVICE, OTHER = (f"{PRODUCT}/{key}" for key in DEVICES[:2])
REQUEST = f"/sys/{DEVICE}/thing/measurepoint/resume"

Fault: TypeAlias = Callable[[HubProcess, Path], AbstractContextManager[None]]
"""Breaks the database at a path, which a hub has open, until the end of the block."""


@contextlib.contextmanager
def locked(hub: HubProcess, path: Path) -> Iterator[None]:
    """Another program holds the database in a transaction of its own."""
    assert hub
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def over_quota(hub: HubProcess, path: Path) -> Iterator[None]:
    """The system lets both processes write to no file any more; Python ignores the signal that comes with it."""
    assert path
    processes = (hub.pid, hub.store_pid)
    hard = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)[1]
    for each in processes:
        resource.prlimit(each, resource.RLIMIT_FSIZE, (0, hard))
    yield
    for each in processes:
        resource.prlimit(each, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def read_only(hub: HubProcess, path: Path) -> Iterator[None]:
    """The files are made immutable, which holds for those who have them open; an over-full quota where we may not."""
    files = [str(path), f"{path}-wal"]
    chattr = shutil.which("chattr")
    if chattr is None:
        with over_quota(hub, path):
            yield
        return
    done = subprocess.run([chattr, "+i", *files], check=False, capture_output=True)
    try:
        with contextlib.nullcontext() if done.returncode == 0 else over_quota(hub, path):
            yield
    finally:
        subprocess.run([chattr, "-i", *files], check=done.returncode == 0, capture_output=True)


@contextlib.contextmanager
def full_disk(hub: HubProcess, path: Path) -> Iterator[None]:
    """The disk, which holds nothing else, is filled to its last byte."""
    assert hub
    filler = path.parent / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        fill(file)
    yield
    filler.unlink()


_LOCKED = "database {path} is locked by another program: end that program, or wait until it is done"
_FULL = "database or disk is full: free space on the disk that holds {path}"
_IO_ERROR = "disk I/O error (SQLITE_IOERR_WRITE) on database {path}: check the disk, its free space and its quotas"

FAULTS: dict[str, tuple[Fault, str]] = {"locked": (locked, _LOCKED)}
if sys.platform == "linux":  # elsewhere nobody can take such rights from a process that runs
    FAULTS |= {"over quota": (over_quota, _IO_ERROR), "read-only": (read_only, _IO_ERROR)}


def sees_no_answer_until_it_is_over(folder: Path, fault: Fault, sentence: str) -> None:
    """A device reports before, during and after a fault, and is answered before and after."""
    config = write_config(folder, REGISTRY)
    path = folder / "data" / "hub.db"
    with running(config) as hub, device(hub, DEVICE, SECRET) as client:
        client.send(report(1))
        assert is_answered(client, 1)
        with fault(hub, path):
            seen = len(hub.lines)
            client.send(report(2))
            line = hub.wait_for("the store cannot commit", level="error", after=seen)
            assert line["reason"] == sentence.format(path=path)
            client.send(report(3))
            failed = value(hub, "enos_ingest_commits_failed_total")
            eventually(lambda: value(hub, "enos_ingest_commits_failed_total") >= failed + 2)
            assert value(hub, "enos_ingest_in_flight") == 1, "it must not read on"
            assert value(hub, "enos_ingest_store_up") == 0
            status, body = hub.get("/readyz")
            assert (status, orjson.loads(body)) == (503, {"ready": False, "reasons": [line["reason"]]})
            assert hub.get("/healthz")[0] == 200
            with raw_client(hub) as newcomer:
                assert newcomer.connect(connect_packet(sign_in(OTHER, SECRET))) == 3
                assert newcomer.rest() == []
            assert client.receives_nothing()
        hub.wait_for("the store commits again", level="info", after=seen)
        client.send(report(4))
        for number in (2, 3, 4):
            assert is_answered(client, number)
        assert hub.get("/readyz")[0] == 200
        device(hub, OTHER, SECRET).socket.close()
        said = [each for each in hub.lines if each["event"].startswith("the store cannot commit")]
        assert len(said) == 1, "a fault that lasts is said once"
    with SqliteReader(path) as reader:
        found = list(reader.points(PRODUCT, DEVICES[0]))
    assert found == [Point(PRODUCT, DEVICES[0], "temp", number, number, None, "resume") for number in (1, 2, 3, 4)]


def report(number: int) -> bytes:
    """A report of QoS 1."""
    params = {"measurepoints": {"temp": number}, "time": number}
    message = {"id": str(number), "version": "1.0", "method": "thing.measurepoint.resume", "params": params}
    return encode_publish(REQUEST, orjson.dumps(message), qos=1, packet_id=number)


def is_answered(client: RawClient, number: int) -> bool:
    """Whether what comes next is code 200 to a report, then its PUBACK."""
    reply = client.message()
    assert (reply.topic, orjson.loads(reply.payload)) == (
        f"{REQUEST}_reply",
        {"id": str(number), "code": 200, "data": {}},
    )
    return client.expect(PacketType.PUBACK).body == number.to_bytes(2)


def value(hub: HubProcess, name: str) -> float:
    """A metric."""
    lines = hub.get("/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).removeprefix(name))


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_acknowledged_while_the_store_is_down(tmp_path: Path, name: str) -> None:
    """Locked, over quota, read-only: neither reply nor PUBACK, no further reading, CONNACK 3 for those who come.

    /readyz and the log say why; when it is over everything is answered, in order.
    """
    sees_no_answer_until_it_is_over(tmp_path, *FAULTS[name])


def test_nothing_is_acknowledged_while_the_disk_is_full(tmp_path: Path) -> None:
    """The same on a disk without space; without the right to mount one, a quota stands in."""
    with small_disk() as disk:
        if disk is None:
            sees_no_answer_until_it_is_over(tmp_path, *FAULTS.get("over quota", FAULTS["locked"]))
        else:
            sees_no_answer_until_it_is_over(disk, full_disk, _FULL)


def as_others() -> list[str]:
    """What makes root subject to the modes of files, as everybody else is; nothing where this user is not root."""
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        (0o444, "database {path} is read-only: let this user write the file and its folder"),
        (0o000, "database {path} cannot be opened: let this user read and write the file and its folder"),
    ],
    ids=["read-only", "closed"],
)
def test_a_database_that_may_not_be_written_keeps_the_hub_from_starting(mode: int, sentence: str) -> None:
    """A file that this user may not write, or not even read, ends the start with what to do."""
    folder = Path(tempfile.mkdtemp()).resolve()
    try:
        shutil.copytree(SAMPLES, folder / "models")
        config = write_config(folder)
        with running(config):
            pass
        path = folder / "data" / "hub.db"
        for suffix in ("-wal", "-shm"):
            path.with_name(f"hub.db{suffix}").unlink(missing_ok=True)
        path.chmod(mode)
        done = subprocess.run(
            [*as_others(), *COMMAND, "serve", "-c", config],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert said == [f"enos-ingest: {sentence.format(path=path)}"]
    finally:
        shutil.rmtree(folder)
