"""A folder of thing models: loading it, and following its changes."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.errors import ModelError
from enos_ingest.models.catalogue import MAX_FILE_BYTES, Catalogue, load_model_file
from tests.models.documents import point, thing_model

_clock = itertools.count(1_700_000_000)


def write(path: Path, document: Any) -> Path:
    """Write a file, as JSON unless it is a text, one second after the last that was written."""
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    second = next(_clock)
    os.utime(path, (second, second))
    return path


def model(model_id: str, data_type: str = "INT") -> dict[str, Any]:
    """A model of one point `p`."""
    return thing_model(model_id, p=point(data_type))


def accepts(catalogue: Catalogue, model_id: str, value: object) -> bool:
    """Whether the model in force takes the value for `p`."""
    compiled = catalogue.get(model_id)
    assert compiled is not None
    return compiled.is_valid({"p": value})


def told(catalogue: Catalogue) -> list[tuple[str, str, str]]:
    """What a refresh reports: kind, file and model."""
    return [(event.kind, Path(event.source).name, event.model_id) for event in catalogue.refresh()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the model `a` in a.json."""
    write(tmp_path / "a.json", model("a"))
    return tmp_path


def test_load_reads_the_json_files_of_a_folder(folder: Path) -> None:
    """Other files, hidden files and folders below are none of its business."""
    write(folder / "b.json", model("b"))
    write(folder / "readme.txt", "not a model")
    write(folder / ".b.json", "an editor's")
    (folder / "old").mkdir()
    write(folder / "old" / "c.json", model("c"))
    catalogue = Catalogue.load(folder)
    assert [compiled.model.model_id for compiled in catalogue.models()] == ["a", "b"]
    assert catalogue.get("a") is catalogue.models()[0]
    assert catalogue.get("c") is None
    assert catalogue.refresh() == []


def test_load_needs_a_folder(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(ModelError) as caught:
        Catalogue.load(tmp_path / "none")
    assert str(caught.value) == f"models: the folder {tmp_path / 'none'} cannot be read: No such file or directory"


def test_load_needs_a_model(tmp_path: Path) -> None:
    """An empty folder is told what belongs there."""
    with pytest.raises(ModelError) as caught:
        Catalogue.load(tmp_path)
    assert str(caught.value) == f"models: no thing model in {tmp_path}: put ThingModel JSON files (*.json) there"


def test_load_refuses_two_files_of_one_model(folder: Path) -> None:
    """Both files are named."""
    write(folder / "b.json", model("a"))
    with pytest.raises(ModelError) as caught:
        Catalogue.load(folder)
    assert caught.value.source == str(folder / "b.json")
    assert str(caught.value) == f"{folder / 'b.json'}: modelId: the modelId a is also that of {folder / 'a.json'}"


def test_load_refuses_the_folder_for_one_broken_file(folder: Path) -> None:
    """The start fails with the file's fault."""
    path = write(folder / "b.json", model("b", "LONG"))
    with pytest.raises(ModelError, match="unknown type LONG") as caught:
        Catalogue.load(folder)
    assert caught.value.source == str(path)


def not_json(path: Path) -> None:
    """A file that breaks off."""
    path.write_text('{"modelId": ', encoding="utf-8")


def not_utf8(path: Path) -> None:
    """A file in another encoding."""
    path.write_bytes(b'{"modelId": "\xff"}')


def oversized(path: Path) -> None:
    """A file one byte too big."""
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))


def dangling(path: Path) -> None:
    """A link to nowhere."""
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    """A named pipe, which would block a reader."""
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (not_json, "not JSON: unexpected end of data: line 1 column 13 (char 12)"),
        (not_utf8, "not JSON: str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)"),
        (oversized, "larger than 4 MiB"),
        (dangling, "cannot be read: No such file or directory"),
        (pipe, "not a file"),
        (Path.mkdir, "not a file"),
    ],
)
def test_file_that_holds_no_model_is_refused(tmp_path: Path, make: Callable[[Path], None], text: str) -> None:
    """One sentence names the file and the reason."""
    path = tmp_path / "m.json"
    make(path)
    with pytest.raises(ModelError) as caught:
        load_model_file(path)
    assert str(caught.value) == f"{path}: {text}"


def test_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    """The limit itself is allowed."""
    path = write(tmp_path / "m.json", json.dumps(model("m")).ljust(MAX_FILE_BYTES))
    assert load_model_file(path).model.model_id == "m"


def test_new_file_is_loaded(folder: Path) -> None:
    """A model that appears is in force from the next look on, and told once."""
    catalogue = Catalogue.load(folder)
    path = write(folder / "b.json", model("b"))
    events = catalogue.refresh()
    assert [(event.kind, event.source, event.model_id) for event in events] == [("loaded", str(path), "b")]
    assert events[0].message == f"{path}: thing model b loaded"
    assert accepts(catalogue, "b", 1)
    assert told(catalogue) == []


def test_changed_file_replaces_its_model(folder: Path) -> None:
    """A new version decides from the next look on; who holds the old one may finish with it."""
    catalogue = Catalogue.load(folder)
    before = catalogue.get("a")
    write(folder / "a.json", model("a", "STRING"))
    assert told(catalogue) == [("replaced", "a.json", "a")]
    assert accepts(catalogue, "a", "x")
    assert before is not None
    assert before.is_valid({"p": 1})
    assert told(catalogue) == []


def test_file_that_is_swapped_in_place_is_noticed(folder: Path) -> None:
    """Another file under the same name, of the same size and time, is another version."""
    path = write(folder / "a.json", model("a", "STRING"))
    catalogue = Catalogue.load(folder)
    before = path.stat()
    other = write(folder / "a.new", model("a", "DOUBLE"))
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert told(catalogue) == [("replaced", "a.json", "a")]
    assert accepts(catalogue, "a", 1.5)


def test_file_that_cannot_be_read_is_refused_once(folder: Path) -> None:
    """A link to nowhere has no version to compare, and is still told only once."""
    catalogue = Catalogue.load(folder)
    dangling(folder / "b.json")
    assert told(catalogue) == [("refused", "b.json", "")]
    assert told(catalogue) == []
    write(folder / "nowhere", model("b"))
    assert told(catalogue) == [("loaded", "b.json", "b")]


def test_broken_version_is_refused_and_the_old_one_stays(folder: Path) -> None:
    """It is told once, and mended by the next good version."""
    catalogue = Catalogue.load(folder)
    path = write(folder / "a.json", "{")
    events = catalogue.refresh()
    assert [event.kind for event in events] == ["refused"]
    assert events[0].model_id == "a"
    assert events[0].message.startswith(f"{path}: not JSON: ")
    assert events[0].message.endswith("; thing model a stays as it was")
    assert accepts(catalogue, "a", 1)
    assert told(catalogue) == []
    write(folder / "a.json", model("a", "STRING"))
    assert told(catalogue) == [("replaced", "a.json", "a")]
    assert accepts(catalogue, "a", "x")


def test_broken_new_file_is_refused(folder: Path) -> None:
    """A file that never held a model is told once, with its fault only."""
    catalogue = Catalogue.load(folder)
    path = write(folder / "b.json", model("b", "LONG"))
    (event,) = catalogue.refresh()
    assert (event.kind, event.source, event.model_id) == ("refused", str(path), "")
    assert event.message.startswith(f"{path}: measurepoints.p.dataType: unknown type LONG: expected one of ")
    assert event.message.endswith("TIMESTAMP")
    assert catalogue.get("b") is None
    assert told(catalogue) == []


def test_file_that_disappears_keeps_its_model(folder: Path) -> None:
    """Its devices are served until the service restarts; coming back, the file counts as a new version."""
    catalogue = Catalogue.load(folder)
    (folder / "a.json").unlink()
    (event,) = catalogue.refresh()
    assert (event.kind, event.source, event.model_id) == ("missing", str(folder / "a.json"), "a")
    assert event.message == f"{folder / 'a.json'}: is gone; thing model a stays in force until the service restarts"
    assert accepts(catalogue, "a", 1)
    assert told(catalogue) == []
    write(folder / "a.json", model("a", "STRING"))
    assert told(catalogue) == [("replaced", "a.json", "a")]


def test_folder_that_disappears_keeps_its_models(folder: Path) -> None:
    """A share that is unmounted for a while is told once and does no harm."""
    catalogue = Catalogue.load(folder)
    folder.rename(folder.with_name("elsewhere"))
    assert told(catalogue) == [("missing", "a.json", "a")]
    assert told(catalogue) == []
    assert accepts(catalogue, "a", 1)
    folder.with_name("elsewhere").rename(folder)
    assert told(catalogue) == [("replaced", "a.json", "a")]


def test_refused_file_that_disappears_is_forgotten(folder: Path) -> None:
    """Nothing was in force from it, so nothing is missing."""
    catalogue = Catalogue.load(folder)
    write(folder / "b.json", "{")
    assert told(catalogue) == [("refused", "b.json", "")]
    (folder / "b.json").unlink()
    assert told(catalogue) == []


def test_renamed_file_is_a_new_version(folder: Path) -> None:
    """A model that moves to another file between two looks is not missing."""
    catalogue = Catalogue.load(folder)
    (folder / "a.json").rename(folder / "z.json")
    assert told(catalogue) == [("replaced", "z.json", "a")]
    write(folder / "z.json", model("a", "STRING"))
    assert told(catalogue) == [("replaced", "z.json", "a")]


def test_second_file_of_a_model_waits_for_the_first_to_give_way(folder: Path) -> None:
    """It is refused once, and takes over when the other file is gone."""
    catalogue = Catalogue.load(folder)
    path = write(folder / "b.json", model("a", "STRING"))
    (event,) = catalogue.refresh()
    assert (event.kind, event.source, event.model_id) == ("refused", str(path), "")
    assert event.message == f"{path}: the modelId a is also that of {folder / 'a.json'}"
    assert accepts(catalogue, "a", 1)
    assert told(catalogue) == []
    (folder / "a.json").unlink()
    assert told(catalogue) == [("replaced", "b.json", "a")]
    assert accepts(catalogue, "a", "x")


def test_second_file_takes_over_when_the_first_holds_another_model(folder: Path) -> None:
    """Giving up a modelId frees it, too; what is no longer in any file is told as missing."""
    catalogue = Catalogue.load(folder)
    write(folder / "b.json", model("a", "STRING"))
    catalogue.refresh()
    write(folder / "a.json", model("c"))
    assert told(catalogue) == [("loaded", "a.json", "c"), ("missing", "a.json", "a")]
    assert accepts(catalogue, "a", 1)
    assert told(catalogue) == [("replaced", "b.json", "a")]
    assert accepts(catalogue, "a", "x")


def test_files_may_swap_their_models(folder: Path) -> None:
    """Between two looks every file may take another modelId, if they end up different."""
    write(folder / "b.json", model("b"))
    catalogue = Catalogue.load(folder)
    write(folder / "a.json", model("b", "STRING"))
    write(folder / "b.json", model("a", "STRING"))
    assert told(catalogue) == [("replaced", "a.json", "b"), ("replaced", "b.json", "a")]
    assert accepts(catalogue, "a", "x")
    assert accepts(catalogue, "b", "x")
    assert told(catalogue) == []


def test_file_that_takes_the_id_of_another_keeps_its_old_model_in_force(folder: Path) -> None:
    """The refusal leaves both models as they were, and both files their owners."""
    write(folder / "b.json", model("b"))
    catalogue = Catalogue.load(folder)
    write(folder / "b.json", model("a", "STRING"))
    (event,) = catalogue.refresh()
    assert (event.kind, event.model_id) == ("refused", "b")
    assert event.message.endswith("; thing model b stays as it was")
    assert accepts(catalogue, "a", 1)
    assert accepts(catalogue, "b", 1)
    (folder / "b.json").unlink()
    assert told(catalogue) == [("missing", "b.json", "b")]


def test_models_can_be_used_while_the_folder_is_looked_at(folder: Path) -> None:
    """A reader in another thread always sees the old or the new version of a model that is there."""
    catalogue = Catalogue.load(folder)
    done = threading.Event()

    def read() -> set[tuple[bool, bool]]:
        seen: set[tuple[bool, bool]] = set()
        while not (seen and done.is_set()):
            compiled = catalogue.get("a")
            assert compiled is not None
            assert len(catalogue.models()) == 1
            seen.add((compiled.is_valid({"p": 1}), compiled.is_valid({"p": "x"})))
        return seen

    with ThreadPoolExecutor(1) as executor:
        reader = executor.submit(read)
        try:
            for data_type in ["STRING", "INT"] * 10:
                write(folder / "a.json", model("a", data_type))
                assert told(catalogue) == [("replaced", "a.json", "a")]
        finally:
            done.set()
        assert reader.result() <= {(True, False), (False, True)}
