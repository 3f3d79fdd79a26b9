"""Calls of codecs: in order, bounded, each fault one sentence; a real worker process on either event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from enos_ingest.codecs import codecs as codecs_module
from enos_ingest.codecs import lane as module
from enos_ingest.codecs.codecs import Codecs
from enos_ingest.config import load_settings
from enos_ingest.devices.directory import Product
from tests.codecs.conftest import Run
from tests.codecs.site import BOUND, MESSAGE, PLAIN, codecs_of, fault, until, write, write_method

SAMPLE = Product("S", codec="enos_ingest.codecs.sample:codec")

GATED = """
    open("{0}/begun", "w").close()
    while not os.path.exists("{0}/release"):
        time.sleep(0.005)  # a process of its own, which nobody can wake
    return b"done"
"""
"""A call that says that it was begun, and ends when it is told to."""


def faults_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error: one text a line."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_message_comes_back_as_it_was(run: Run, tmp_path: Path) -> None:
    """Through the sample codec, in the worker."""

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            data = await codecs.encode(SAMPLE, MESSAGE)
            assert data.startswith(b"EN")
            assert await codecs.decode(SAMPLE, data) == MESSAGE

    run(main())


def test_each_codec_has_a_process_of_its_own(run: Run, tmp_path: Path) -> None:
    """It is started by the first call, and ends with the codecs; beyond the bound codecs share them evenly."""
    products = [write(tmp_path, f"plain{number}", PLAIN) for number in range(5)]

    async def main() -> None:
        async with codecs_of(tmp_path, workers=2) as codecs:
            counts = [len(codecs.pids)]
            for product in products:
                assert json.loads(await codecs.encode(product, MESSAGE)) == MESSAGE
                counts.append(len(codecs.pids))
            assert counts == [0, 1, 2, 2, 2, 2]
            pids = codecs.pids
            for product in products:
                assert json.loads(await codecs.encode(product, MESSAGE)) == MESSAGE
            assert codecs.pids == pids
            lanes = [codecs._lane(product) for product in products]  # noqa: SLF001
            assert sorted(map(lanes.count, set(lanes))) == [2, 3]
        assert codecs.pids == []

    run(main())


def test_a_codec_that_hangs_holds_up_no_other(run: Run, tmp_path: Path) -> None:
    """Nor does its end."""
    gated = write_method(tmp_path, "gated", GATED.format(tmp_path))

    async def main() -> None:
        async with codecs_of(tmp_path, seconds=30.0) as codecs:
            begun = asyncio.create_task(codecs.encode(gated, MESSAGE))
            await until((tmp_path / "begun").exists)
            assert await codecs.decode(SAMPLE, await codecs.encode(SAMPLE, MESSAGE)) == MESSAGE
            assert not begun.done()
            (tmp_path / "release").touch()
            assert await begun == b"done"

    run(main())


def test_which_process_a_codec_has_is_remembered_within_bounds(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond them codecs are dealt out anew, to the processes that there are."""
    monkeypatch.setattr(codecs_module, "REMEMBERED", 2)
    products = [write(tmp_path, f"plain{number}", PLAIN) for number in range(5)]

    async def main() -> None:
        async with codecs_of(tmp_path, workers=1) as codecs:
            for product in [*products, *products]:
                assert json.loads(await codecs.encode(product, MESSAGE)) == MESSAGE
            assert len(codecs.pids) == 1

    run(main())


def test_calls_are_served_in_their_order(run: Run, tmp_path: Path) -> None:
    """However many come at once, and each gets its own answer."""
    source = """
        class Counting:
            calls = 0
            def encode(self, message):
                self.calls += 1
                return b"%d %d" % (message["n"], self.calls)
            decode = encode
        codec = Counting()
    """
    product = write(tmp_path, "counting", source)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            results = await asyncio.gather(*(codecs.encode(product, {"n": n}) for n in range(100)))
            assert results == [b"%d %d" % (n, n + 1) for n in range(100)]

    run(main())


def test_a_product_without_a_codec_is_refused(run: Run, tmp_path: Path) -> None:
    """And one whose codec, from an older database, is no entry point; no process is started for them."""

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            assert await fault(codecs.encode(Product("P"), MESSAGE)) == "product P has no codec"
            said = await fault(codecs.decode(Product("P", codec="zip"), b""))
            assert said == "expected package.module:attribute as a product's codec"
            assert await fault(codecs.encode(SAMPLE, {"a": object()})) == (
                "the message is no JSON: Type is not JSON serializable: object"
            )
            assert codecs.pids == []

    run(main())


def test_a_refusal_is_the_callers_business(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the codec's words, and nothing is logged."""
    silent = write_method(tmp_path, "silent", "from enos_ingest.codecs import CodecError\nraise CodecError")

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            message = {**MESSAGE, "params": {"limit": [1]}}
            assert (await fault(codecs.encode(SAMPLE, message))).startswith("params.limit: the frame holds numbers")
            assert await fault(codecs.encode(silent, MESSAGE)) == "codec silent:codec refused it without a word"
            assert (await fault(codecs.decode(SAMPLE, b"EN"))).startswith("a frame has at least 16 bytes")
            assert len(codecs.pids) == 2

    run(main())
    assert faults_in(caplog) == []


def test_a_fault_of_a_codec_is_logged_once(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of each codec; the caller is told each time."""
    body = "if value.get('x'):\n    return 'x'\nraise ValueError('y')"
    first, second = write_method(tmp_path, "first", body), write_method(tmp_path, "second", body)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            for _ in range(3):
                for product, name in ((first, "first"), (second, "second")):
                    said = await fault(codecs.encode(product, {"x": 1}))
                    assert said == f"codec {name}:codec returned a value of type str from encode, not bytes"
                    said = await fault(codecs.encode(product, {}))
                    assert said == f"codec {name}:codec raised ValueError in encode: y"

    run(main())
    logged = faults_in(caplog)
    assert len(logged) == 4
    assert logged[1] == (
        "a codec failed; the same fault is not logged again codec=first:codec"
        ' error="codec first:codec raised ValueError in encode: y" product=P-first at=first.py:6'
    )


def test_what_was_logged_is_remembered_within_bounds(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond them all is forgotten, so that a registry that changes for ever fills no memory."""
    monkeypatch.setattr(module, "REMEMBERED", 2)
    products = [Product("P", codec=f"missing{number}:codec") for number in range(3)]

    async def main() -> None:
        async with codecs_of(tmp_path, workers=1) as codecs:
            for product in [*products, products[2], products[0]]:
                await fault(codecs.encode(product, MESSAGE))

    run(main())
    assert [re.findall(r"missing\d", line)[0][-1] for line in faults_in(caplog)] == ["0", "1", "2", "0"]


def test_a_codec_that_cannot_be_loaded_is_left_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while its calls fail at once; then the module is looked for again, and found when it was mended."""
    product = write(
        tmp_path, "late", f"open({str(tmp_path / 'tries')!r}, 'a').write('x')\nraise RuntimeError('not yet')"
    )
    said = "codec late:codec cannot be imported: RuntimeError: not yet"

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            assert await asyncio.gather(*(fault(codecs.encode(product, MESSAGE)) for _ in range(5))) == [said] * 5
            assert await fault(codecs.encode(product, MESSAGE)) == said
            assert (tmp_path / "tries").read_text() == "x"
            codecs._lanes[0]._unusable.clear()  # noqa: SLF001 - the time that it is left alone is over
            write(tmp_path, "late", PLAIN)
            assert json.loads(await codecs.encode(product, MESSAGE)) == MESSAGE

    monkeypatch.setattr(module, "_RETRY_SECONDS", 1000.0)
    run(main())


def test_a_codec_is_tried_again_after_its_time(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is no time here."""
    product = write(tmp_path, "late", f"open({str(tmp_path / 'tries')!r}, 'a').write('x')\nraise RuntimeError")
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            for _ in range(3):
                await fault(codecs.encode(product, MESSAGE))

    run(main())
    assert (tmp_path / "tries").read_text() == "xxx"


def test_another_codec_of_a_product_is_in_force_at_once(run: Run, tmp_path: Path) -> None:
    """A changed module, however, is not read again."""
    first = write_method(tmp_path, "first", "return b'one'")
    second = write_method(tmp_path, "second", "return b'two'")

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            assert await codecs.encode(first, MESSAGE) == b"one"
            assert await codecs.encode(replace(first, codec=second.codec), MESSAGE) == b"two"
            write_method(tmp_path, "first", "return b'another'")
            assert await codecs.encode(first, MESSAGE) == b"one"

    run(main())


def test_one_call_more_than_may_wait_is_refused(run: Run, tmp_path: Path) -> None:
    """At once; those before it are served."""
    product = write_method(tmp_path, "gated", GATED.format(tmp_path))

    async def main() -> None:
        async with codecs_of(tmp_path, waiting=2, seconds=30.0) as codecs:
            begun = asyncio.create_task(codecs.encode(product, MESSAGE))
            await until((tmp_path / "begun").exists)
            waiting = [asyncio.create_task(codecs.encode(product, MESSAGE)) for _ in range(2)]
            await until(lambda: codecs.waiting == 2)
            assert await fault(codecs.encode(product, MESSAGE)) == "2 calls of codecs are waiting already"
            waiting.append(asyncio.create_task(codecs.encode(product, MESSAGE, patient=True)))
            (tmp_path / "release").touch()
            assert await asyncio.gather(begun, *waiting) == [b"done"] * 4
            assert await codecs.encode(product, MESSAGE) == b"done"

    run(main())


def test_who_gives_up_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    """Neither a place among those that wait, nor an answer that another would get."""
    product = write_method(tmp_path, "gated", GATED.format(tmp_path))

    async def main() -> None:
        async with codecs_of(tmp_path, waiting=1, seconds=30.0, workers=1) as codecs:
            data = await codecs.encode(SAMPLE, MESSAGE)
            begun = asyncio.create_task(codecs.encode(product, MESSAGE))
            await until((tmp_path / "begun").exists)
            for _ in range(3):
                waiting = asyncio.create_task(codecs.encode(product, MESSAGE))
                await until(lambda: codecs.waiting == 1)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                assert codecs.waiting == 0
            begun.cancel()
            last = asyncio.create_task(codecs.decode(SAMPLE, data))
            await until(lambda: codecs.waiting == 1)
            (tmp_path / "release").touch()
            assert await last == MESSAGE
            assert begun.cancelled()

    run(main())


def test_a_stop_waits_for_no_codec(run: Run, tmp_path: Path) -> None:
    """The call that hangs and those that wait are told why; later ones too."""
    product = write_method(tmp_path, "gated", GATED.format(tmp_path))

    async def main() -> None:
        codecs = Codecs(
            load_settings(None, {"ENOS_INGEST__CODECS__SECONDS": "60"}).codecs, folder=tmp_path, message_bytes=BOUND
        )
        calls = [asyncio.create_task(fault(codecs.encode(product, MESSAGE))) for _ in range(3)]
        await until((tmp_path / "begun").exists)
        await codecs.close()
        assert await asyncio.gather(*calls) == ["the hub is stopping"] * 3
        assert await fault(codecs.encode(product, MESSAGE)) == "the hub is stopping"
        await codecs.close()
        assert codecs.pids == []

    run(main())


@pytest.mark.parametrize("passes", range(6))
def test_a_stop_while_the_process_starts(run: Run, tmp_path: Path, passes: int) -> None:
    """At any moment of it."""

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            call = asyncio.create_task(fault(codecs.encode(SAMPLE, MESSAGE)))
            for _ in range(passes):
                await asyncio.sleep(0)
        assert await call == "the hub is stopping"
        assert codecs.pids == []

    run(main())


def test_codecs_that_were_never_called_close(run: Run, tmp_path: Path) -> None:
    """There is nothing to end."""

    async def main() -> None:
        async with codecs_of(tmp_path):
            pass

    run(main())


def test_modules_are_in_a_folder_beside_the_configuration_file(run: Run, tmp_path: Path) -> None:
    """The folder `codecs`, or the one that is set."""
    config = tmp_path / "enos-ingest.toml"
    for text, name in (("", "codecs"), ('[codecs]\npath = "formats"\n', "formats")):
        config.write_text(text)
        settings = load_settings(config, {})
        assert settings.codecs_folder() == tmp_path / name
        product = write_method(tmp_path / name, f"of_{name}", f"return b'{name}'")

        async def main(product: Product = product, name: str = name, settings: object = settings) -> None:
            codecs = Codecs(settings.codecs, folder=settings.codecs_folder(), message_bytes=BOUND)  # type: ignore[attr-defined]
            assert await codecs.encode(product, MESSAGE) == name.encode()
            await codecs.close()

        run(main())
