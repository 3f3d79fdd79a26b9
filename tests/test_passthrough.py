"""Messages through a codec and back, with a codec that does as it is told: exactly one answer, and nothing lost."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.devices.directory import Product
from enos_ingest.errors import CodecError, PayloadError
from enos_ingest.logs import FewLines
from enos_ingest.pipeline import Message
from enos_ingest.protocol.codes import Code
from tests.codecs.test_sample import frame as with_crc
from tests.codecs.test_sample import header, messages
from tests.passthrough_stage import DEVICE, RAW, Gated, Sample, rejections, report, run, stage, stored


@pytest.mark.parametrize(
    "name",
    ["/sys/P/d/thing/measurepoint/resume", "/sys/P/d/other/up_raw", "/up_raw", "other"],
)
def test_what_is_not_raw_is_left_to_others(tmp_path: Path, name: str) -> None:
    """Nothing is done with it."""

    async def main() -> None:
        async with stage(tmp_path, Sample()) as site:
            assert not site.passthrough.take(Message(name, report(), 1, DEVICE), site.answers.append)
            assert not site.passthrough.is_full(name)
        assert site.answers == []

    run(main())


def test_an_answer_comes_after_the_commit_in_the_format_of_the_product(tmp_path: Path) -> None:
    """On the reply topic of the message that came, with the outcome of the request that it stood for."""

    async def main() -> None:
        async with stage(tmp_path, Sample()) as site:
            site.take(report())
            assert site.passthrough.in_flight == 1
            (outcome,) = await site.answered(1)
            assert outcome is not None
            assert [row.time for row in stored(site.path)] == [5]
        assert (outcome.operation, outcome.code) == ("thing/measurepoint/resume", 200)
        assert outcome.reply_topic == f"{RAW}_reply"
        assert sample.decode(outcome.reply) == {"id": "5", "code": 200, "data": {}, "message": ""}

    run(main())


@pytest.mark.parametrize(("length", "size", "fits"), [(1000, None, True), (1001, None, False), (10, 1001, False)])
def test_a_message_over_the_limit_is_not_decoded(tmp_path: Path, length: int, size: int | None, fits: bool) -> None:
    """Nor is one of which only the beginning is there."""

    async def main() -> None:
        async with stage(tmp_path, Sample()) as site:
            site.take(b"x" * length, size=size)
            await site.answered(1)
        (rejection,) = rejections(site.path)
        assert rejection.reason.startswith("cannot be decoded: " if fits else "payload of 1001 bytes is over the limit")
        assert rejection.size == (size or length)

    run(main())


def test_what_could_not_be_decompressed_is_not_decoded(tmp_path: Path) -> None:
    """It is refused for that."""

    async def main() -> None:
        async with stage(tmp_path, Sample()) as site:
            message = Message(RAW, report(), 1000, DEVICE, unreadable=PayloadError("payload is no GZIP stream"))
            assert site.passthrough.take(message, site.answers.append)
            await site.answered(1)
        (rejection,) = rejections(site.path)
        assert (rejection.code, rejection.reason) == (1220, "payload is no GZIP stream")
        assert rejection.payload == report()

    run(main())


def test_only_so_many_are_with_a_codec_at_once(tmp_path: Path) -> None:
    """The rest waits in its order, so that a command finds few calls before its own; another codec is not concerned."""

    async def main() -> None:
        gated = Gated()
        async with stage(tmp_path, gated) as site:
            for number in range(100):
                site.take(report(number))
            site.take(report(), "/sys/Q/d/thing/model/up_raw")
            while gated.begun < 65:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            assert gated.begun == 64 + 1
            gated.release.set()
            answers = await site.answered(101)
            assert all(outcome is not None and outcome.code == 200 for outcome in answers)
        assert [row.time for row in stored(site.path)] == list(range(100))

    run(main())


@pytest.mark.parametrize("bounds", [{"in_flight": 2}, {"in_flight_bytes": 2 * len(report())}])
def test_more_than_may_wait_for_a_codec_are_refused(tmp_path: Path, bounds: dict[str, int]) -> None:
    """Counted by messages and by bytes, for each codec; there is room again once they are answered."""

    async def main() -> None:
        gated = Gated()
        async with stage(tmp_path, gated, **bounds) as site:
            site.take(report(1))
            assert not site.passthrough.is_full(RAW)
            site.take(report(2))
            assert site.passthrough.is_full(RAW)
            assert not site.passthrough.is_full("/sys/Q/d/thing/model/up_raw")
            assert not site.passthrough.is_full("/sys/unknown/d/thing/model/up_raw")
            site.take(report(3))
            while not site.answers:
                await asyncio.sleep(0.002)
            (refused,) = site.answers
            assert refused is not None
            assert (refused.code, refused.reply) == (Code.TOO_MANY_REQUESTS, b"")
            gated.release.set()
            await site.answered(3)
            assert not site.passthrough.is_full(RAW)
            site.take(report(4))
            await site.answered(4)
        assert [row.time for row in stored(site.path)] == [1, 2, 4]
        assert [rejection.payload for rejection in rejections(site.path)] == [report(3)]

    run(main())


def test_a_fault_of_the_hub_leaves_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, the message comes again, and the next one is carried."""

    class Broken(Sample):
        async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]:
            if data == b"bug":
                raise RuntimeError("a bug")
            return await super().decode(product, data, patient=patient)

    async def main() -> None:
        async with stage(tmp_path, Broken()) as site:
            site.take(b"bug")
            site.take(report())
            first, second = await site.answered(2)
            assert first is None
            assert second is not None

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "a message could not be carried" in caplog.text


def test_a_reply_that_cannot_be_encoded_is_not_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is acknowledged all the same, and a line says so: a few a second."""
    monkeypatch.setattr("enos_ingest.passthrough.FewLines", lambda: FewLines(1))

    class Mute(Sample):
        async def encode(self, *_: object, **__: object) -> bytes:
            raise CodecError("no replies in this format")

    async def main() -> None:
        async with stage(tmp_path, Mute()) as site:
            for number in range(200):
                site.take(report(number))
            answers = await site.answered(200)
            assert all(outcome is not None and outcome.reply == b"" for outcome in answers)
        assert len(stored(site.path)) == 200

    with caplog.at_level(logging.INFO):
        run(main())
    lines = [record for record in caplog.records if record.getMessage().startswith("a reply cannot be encoded")]
    assert 0 < len(lines) < 200
    assert 'reason="no replies in this format"' in lines[0].getMessage()


def test_what_is_with_a_codec_at_a_stop_is_not_answered(tmp_path: Path) -> None:
    """Nor stored: its sender has it still."""

    async def main() -> None:
        gated = Gated()
        async with stage(tmp_path, gated) as site:
            site.take(report())
            while not gated.begun:
                await asyncio.sleep(0)
            await site.passthrough.close()
            assert site.passthrough.in_flight == 0
            assert site.answers == []
            site.take(report())
        assert site.answers == [None]
        assert stored(site.path) == []
        assert rejections(site.path) == []

    run(main())


def test_a_stop_while_a_message_is_being_committed(tmp_path: Path) -> None:
    """The store's word comes too late for an answer, and does no harm."""

    async def main() -> None:
        async with stage(tmp_path, Sample()) as site:
            site.take(report())
            while not site.passthrough._intake.in_flight:  # noqa: SLF001
                await asyncio.sleep(0)
            await site.passthrough.close()
        assert site.answers == []
        assert [row.time for row in stored(site.path)] == [5]

    run(main())


frames = (
    st.binary(max_size=60)
    | messages().map(sample.encode)
    | st.builds(lambda kind, body: with_crc(header(kind) + body), st.integers(0, 6), st.binary(max_size=40))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(frames, min_size=1, max_size=10))
def test_any_bytes_get_one_outcome(payloads: list[bytes]) -> None:
    """Each is acknowledged; what is not stored is in quarantine as it was sent; what is answered is a frame."""

    async def main(folder: Path) -> None:
        async with stage(folder, Sample()) as site:
            for payload in payloads:
                site.take(payload)
            outcomes = await site.answered(len(payloads))
        refused = 0
        for outcome in outcomes:
            assert outcome is not None
            refused += outcome.code != Code.SUCCESS
            if outcome.reply:
                assert sample.decode(outcome.reply)["code"] == outcome.code
        kept = [rejection.payload for rejection in rejections(site.path)]
        assert len(kept) == refused
        assert all(payload in payloads for payload in kept)

    with tempfile.TemporaryDirectory() as folder:
        run(main(Path(folder)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
methods = st.text(max_size=30) | st.sampled_from(
    ["thing.measurepoint.resume", "thing.measurepoint.post", "thing.event.e.post", "thing.service.x", "combine.login"]
)
documents = st.fixed_dictionaries(
    {}, optional={"id": json_values, "version": json_values, "method": methods | json_values, "params": json_values}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents, min_size=1, max_size=10))
def test_whatever_a_codec_makes_of_bytes_gets_one_outcome(decoded: list[dict[str, Any]]) -> None:
    """The codec is code of a site: its results are no better than what a device sends."""

    class Json(Sample):
        async def encode(
            self,
            product: Product,  # noqa: ARG002
            message: dict[str, Any],
            *,
            patient: bool = False,  # noqa: ARG002
            secret: bool = False,  # noqa: ARG002
        ) -> bytes:
            return orjson.dumps(message)

        async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]:  # noqa: ARG002
            found: dict[str, Any] = orjson.loads(data)
            return found

    async def main(folder: Path) -> None:
        async with stage(folder, Json(), message_bytes=100_000) as site:
            for document in decoded:
                site.take(orjson.dumps(document))
            for outcome in await site.answered(len(decoded)):
                assert outcome is not None
                reply = orjson.loads(outcome.reply)
                assert isinstance(reply["id"], str)
                assert reply["code"] == outcome.code
                assert reply.keys() == {"id", "code", "data", "message"}

    with tempfile.TemporaryDirectory() as folder:
        run(main(Path(folder)))
