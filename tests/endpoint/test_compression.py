"""Sessions of clients that declare a compression in their client id, as the Java SDK does: in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from enos_ingest.commands.downlink import set_measurepoint
from enos_ingest.endpoint.packets import encode_publish
from enos_ingest.protocol.compression import Compression, compress, decompress
from enos_ingest.protocol.credentials import Credentials, sign
from enos_ingest.protocol.identity import DeviceId
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, operator, resume, resume_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enos_ingest.intake import Answer
    from enos_ingest.pipeline import Message
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub

from enos_ingest.testing.hub import run_hub

GZIP, LZ4 = Compression.GZIP, Compression.LZ4
MESSAGE_BYTES = 4096
TOPIC = resume_topic("alone")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that reads short messages only."""
    with run_hub(registry=REGISTRY, models=MODELS, settings={"limits.message_bytes": MESSAGE_BYTES}) as running:
        yield running


def java(key: str, secret: str, compression: str) -> Credentials:
    """What the Java SDK puts into CONNECT; the braces are signed."""
    signed = f"{key}{{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress={compression}}}"
    password = sign(secret, f"clientId{signed}deviceKey{key}productKeyPtimestamp1795221829607")
    client_id = f"{signed}|securemode={4 if key == '%channel%' else 2},signmethod=sha256,timestamp=1795221829607|"
    return Credentials(client_id, f"{key}&P", password)


def connected(hub: Hub, compression: str) -> RawClient:
    """The device `alone`, with a compression."""
    client = RawClient(hub)
    assert client.connect(connect_packet(java("alone", "alone-secret", compression))) == 0
    return client


def answer(client: RawClient, how: Compression) -> dict[str, Any]:
    """What comes, read as the client reads it."""
    received: dict[str, Any] = orjson.loads(decompress(how, client.message().payload, 10_000))
    return received


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_requests_replies_and_commands_are_compressed(hub: Hub, how: Compression) -> None:
    """What is stored is what was meant, and operators see that."""
    with connected(hub, how.value) as client, RawClient(hub) as alice:
        assert alice.connect(connect_packet(operator("alice"))) == 0
        assert alice.subscribe(TOPIC) == [0]
        client.publish(TOPIC, compress(how, resume(7, identifier="4")))
        assert answer(client, how) == {"id": "4", "code": 200, "data": {}}
        assert alice.message().payload == resume(7, identifier="4")
        device = DeviceId("P", "alone")
        topic, payload = set_measurepoint("123456789012345678", device, "n", 1)
        inside.run_inside(hub, lambda: inside.listener(hub).sessions.send_command(device, topic, payload))
        assert decompress(how, client.message().payload, 1000) == payload
    assert [point.value for point in hub.points("P/alone")] == [7]


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_a_channel_may_compress_too(hub: Hub, how: Compression) -> None:
    """Its session is of the same kind."""
    params = [{"deviceKey": "alone", "measurepoints": {"n": 1}, "time": 1}]
    request = {"id": "1", "version": "1.0", "method": "integration.measurepoint.post", "params": params}
    with RawClient(hub) as client:
        assert client.connect(connect_packet(java("%channel%", "PSecret", how.value))) == 0
        client.publish("/sys/P/integration/measurepoint/post", compress(how, orjson.dumps(request)))
        assert answer(client, how)["code"] == 200


@pytest.mark.parametrize("compression", ["DEFAULT", ""])
def test_no_compression_is_none(hub: Hub, compression: str) -> None:
    """As most clients have it."""
    with connected(hub, compression) as client:
        client.publish(TOPIC, resume(7))
        assert answer(client, Compression.NONE)["code"] == 200


@pytest.mark.parametrize("compression", ["LZO", "ZIP"])
def test_what_is_not_served_is_refused(hub: Hub, compression: str, caplog: pytest.LogCaptureFixture) -> None:
    """With a line that says why; a wrong password is told first."""
    with RawClient(hub) as client:
        assert client.connect(connect_packet(java("alone", "alone-secret", compression))) == 5
    assert f"P/alone: compression '{compression}' is not served, only GZIP and LZ4 are" in caplog.text
    with RawClient(hub) as client:
        assert client.connect(connect_packet(java("alone", "guess", compression))) == 4


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_a_product_s_own_format_is_compressed_too(enos_hub: HubFactory, how: Compression) -> None:
    """Its codec sees what was meant, and nothing of what cannot be decompressed."""
    product = {"key": "P", "secret": "PSecret", "model": "m", "codec": "enos_ingest.codecs.sample:codec"}
    registry = {**REGISTRY, "products": [product, *REGISTRY["products"][1:]]}
    hub = enos_hub(registry=registry, models=MODELS, settings={"codecs.seconds": 20.0})
    topic = "/sys/P/alone/thing/model/up_raw"
    with connected(hub, how.value) as client:
        client.publish(topic, b"\x00\x01")
        client.publish(topic, compress(how, b"\x00\x01"))
    kept = hub.quarantine()
    assert ["as the client id declares it" in entry.reason for entry in kept] == [True, False]
    assert [entry.payload for entry in kept] == [b"\x00\x01", b"\x00\x01"]
    assert "cannot be decoded" in kept[1].reason


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_what_grows_is_read_one_a_turn(enos_hub: HubFactory, how: Compression, monkeypatch: Any) -> None:
    """Sixty-four bytes may become half a megabyte: others have their turn between such messages of one packet."""
    hub = enos_hub(registry=REGISTRY, models=MODELS)
    intake, turn, seen = inside.intake(hub), 0, []
    submit = intake.submit

    def note(message: Message, answer: Answer) -> None:
        seen.append(turn)
        submit(message, answer)

    def tick(loop: asyncio.AbstractEventLoop) -> None:
        nonlocal turn
        turn += 1
        if len(seen) < 20:
            loop.call_soon(tick, loop)

    monkeypatch.setattr(intake, "submit", note)
    with connected(hub, how.value) as client:
        inside.run_inside(hub, lambda: tick(asyncio.get_running_loop()))
        large = compress(how, resume(7) + b" " * 100_000)
        client.send(*[encode_publish(TOPIC, large, qos=1, packet_id=number) for number in range(1, 21)])
        assert client.acknowledged(20) == list(range(1, 21))
    assert len(set(seen)) == 20


def padded(size: int) -> bytes:
    """A report of so many bytes."""
    report = resume("x", name="text")
    return resume("x" * (1 + size - len(report)), name="text")


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_the_limit_holds_after_decompression(hub: Hub, how: Compression) -> None:
    """The longest is taken, one byte more is not, and a bomb is not let off."""
    with connected(hub, how.value) as client:
        client.publish(TOPIC, compress(how, padded(MESSAGE_BYTES)))
        assert answer(client, how)["code"] == 200
        for payload in (padded(MESSAGE_BYTES + 1), b'{"id":"1","x":"' + bytes(400_000)):
            compressed = compress(how, payload)
            assert len(compressed) < MESSAGE_BYTES
            client.publish(TOPIC, compressed)
            refused = answer(client, how)
            assert (refused["code"], refused["message"]) == (
                1206,
                f"payload is over the limit of {MESSAGE_BYTES} bytes once decompressed",
            )
        assert refused["id"] == ("1" if how is GZIP else "")
    assert len(hub.points("P/alone")) == 1


@pytest.mark.parametrize("how", [GZIP, LZ4])
def test_a_payload_that_is_not_compressed_is_refused(hub: Hub, how: Compression) -> None:
    """It is kept as it came; an empty one is told from it."""
    with connected(hub, how.value) as client:
        client.publish(TOPIC, resume(1))
        assert "as the client id declares it" in answer(client, how)["message"]
        client.publish(TOPIC, b"")
        assert answer(client, how)["message"] == "payload is empty"
        client.send(encode_publish(TOPIC, b"\x1f\x8b" + bytes(MESSAGE_BYTES)))
        assert f"over the limit of {MESSAGE_BYTES}" in answer(client, how)["message"]
    assert hub.quarantine()[0].payload == resume(1)
