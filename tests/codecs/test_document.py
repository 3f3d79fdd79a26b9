"""The page about codecs: the codec that it shows how to write works as it says."""

from __future__ import annotations

import re
from pathlib import Path

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.settings import CodecsSettings
from tests.codecs.conftest import Run
from tests.codecs.site import MESSAGE, codecs_of, fault, write
from tests.codecs.test_sample import DOCUMENT

TEXT = DOCUMENT.read_text("utf-8")


def test_the_meter_of_the_document_works(run: Run, tmp_path: Path) -> None:
    """As a file in a folder: what it takes, what it refuses, what it answers."""
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    meter = write(tmp_path, "meter", source)
    assert f'codec = "{meter.codec}"' in TEXT

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            data = await codecs.encode(meter, {**MESSAGE, "params": {"limit": 12.5}})
            assert data.hex() == "01" + "01b69b4ba630f34e" + "007d"
            answer = await codecs.decode(meter, bytes.fromhex("02" + "01b69b4ba630f34e" + "00c8"))
            assert answer == {"id": "123456789012345678", "code": 200, "data": {}}
            for params, said in (
                ({"limit": 80.1}, "params.limit: the meter takes 0 to 80 A"),
                ({"other": 1}, "the meter knows nothing but its limit"),
            ):
                assert await fault(codecs.encode(meter, {**MESSAGE, "params": params})) == said
            assert await fault(codecs.decode(meter, data)) == "not an answer of a meter"
            assert (await fault(codecs.decode(meter, b""))).startswith(
                "codec meter:codec raised error in decode: unpack"
            )

    run(main())


def test_the_document_names_every_setting() -> None:
    """And the sample by its entry point."""
    assert [name for name in CodecsSettings.__slots__ if not re.search(rf"\b{name}\b", TEXT)] == []
    assert f"{type(sample).__module__}:codec" in TEXT
