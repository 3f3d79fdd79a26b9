"""The thing models of a folder, and their changes while the service runs."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import orjson

from enos_ingest.errors import ModelError
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel

__all__ = ["MAX_FILE_BYTES", "Catalogue", "ReloadEvent", "load_model_file"]

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""A thing model of 5000 points has about 2 MiB; what is bigger is another file that strayed here."""

_Stamp: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReloadEvent:
    """One change that `Catalogue.refresh` found.

    `loaded`: a new model. `replaced`: a new version of a model. `refused`: a file that cannot be used, what was in
    force stays so. `missing`: the file of a model is gone, or now holds another; the model stays in force until the
    service restarts. `message` is one sentence for the log; `model_id` is the model in question, for
    `refused` the one that the file held before, "" where it held none.
    """

    kind: Literal["loaded", "replaced", "refused", "missing"]
    source: str
    model_id: str
    message: str


class _File(NamedTuple):
    """What was found at the last look; `rival` is the file that already had the same modelId."""

    stamp: _Stamp | None
    model_id: str = ""
    rival: str | None = None


def load_model_file(path: Path) -> CompiledModel:
    """Read, check and compile one thing model; raises ModelError."""
    source = str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(source, "not a file")
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(source, f"cannot be read: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise ModelError(source, f"larger than {MAX_FILE_BYTES // 1024**2} MiB")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ModelError(source, f"not JSON: {error}") from None
    return CompiledModel(parse_thing_model(document, source))


class Catalogue:
    """The thing models in force, by modelId.

    `get` and `models` may be called in the event loop while `refresh` runs in a thread: the table is replaced as a
    whole. `refresh` itself is for one thread at a time.
    """

    def __init__(self, folder: Path) -> None:
        """An empty catalogue of a folder; `Catalogue.load` makes one that is filled."""
        self.folder = folder
        self._models: dict[str, CompiledModel] = {}
        self._files: dict[str, _File] = {}
        self._owners: dict[str, str] = {}

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Read every `*.json` of a folder; raises ModelError unless all of them can be used, and there is one."""
        catalogue = cls(folder)
        try:
            present = catalogue._look()
        except OSError as error:
            raise ModelError("models", f"the folder {folder} cannot be read: {error.strerror}") from None
        for name, stamp in present.items():
            model = load_model_file(folder / name)
            model_id = model.model.model_id
            owner = catalogue._owners.get(model_id)
            if owner is not None:
                raise ModelError(str(folder / name), catalogue._duplicate(model_id, owner), ("modelId",))
            catalogue._models[model_id] = model
            catalogue._owners[model_id] = name
            catalogue._files[name] = _File(stamp)
        if not catalogue._models:
            raise ModelError("models", f"no thing model in {folder}: put ThingModel JSON files (*.json) there")
        return catalogue

    def get(self, model_id: str) -> CompiledModel | None:
        """The model in force under this modelId."""
        return self._models.get(model_id)

    def models(self) -> list[CompiledModel]:
        """All models in force, by modelId."""
        return [model for _, model in sorted(self._models.items())]

    def refresh(self) -> list[ReloadEvent]:
        """Look at the folder, take what is new or changed, and tell each change once."""
        try:
            present = self._look()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            present = {}  # the folder is gone or shut: so are its files, and that is told for each
        events = [event for name in [*self._files] if name not in present for event in self._forget(name)]
        loaded: dict[str, CompiledModel] = {}
        for name, stamp in present.items():
            if not self._is_due(name, stamp):
                continue
            self._files[name] = _File(stamp)
            try:
                loaded[name] = load_model_file(self.folder / name)
            except ModelError as error:
                events.append(self._refused(name, str(error)))
        if loaded:
            events += self._take(loaded)
        return [event for event in events if event.kind != "missing" or event.model_id not in self._owners]

    def _look(self) -> dict[str, _Stamp | None]:
        """The files by name, with what tells their versions apart; hidden ones belong to editors."""
        names = sorted(path.name for path in self.folder.iterdir() if path.suffix == ".json")
        return {name: _stamp(self.folder / name) for name in names if not name.startswith(".")}

    def _is_due(self, name: str, stamp: _Stamp | None) -> bool:
        """Whether a file is new or changed, or was refused for the sake of another that has since given way."""
        known = self._files.get(name)
        if known is None or known.stamp != stamp:
            return True
        return known.rival is not None and known.rival != self._owners.get(known.model_id)

    def _forget(self, name: str) -> list[ReloadEvent]:
        """Strike a file that is gone off the list; its model stays in force."""
        del self._files[name]
        held = [model_id for model_id, owner in self._owners.items() if owner == name]
        for model_id in held:
            del self._owners[model_id]
        return [self._missing(name, model_id, "is gone") for model_id in held]

    def _take(self, loaded: dict[str, CompiledModel]) -> list[ReloadEvent]:
        """Put new versions in force, all at once, so that files may swap their modelIds."""
        events: list[ReloadEvent] = []
        models = dict(self._models)
        held = {model_id: name for model_id, name in self._owners.items() if name in loaded}
        owners = {model_id: name for model_id, name in self._owners.items() if name not in loaded}
        for name, model in loaded.items():
            model_id = model.model.model_id
            source = str(self.folder / name)
            rival = owners.get(model_id)
            if rival is not None:
                self._files[name] = self._files[name]._replace(model_id=model_id, rival=rival)
                events.append(self._refused(name, f"{source}: {self._duplicate(model_id, rival)}"))
                continue
            verb: Literal["loaded", "replaced"] = "replaced" if model_id in models else "loaded"
            models[model_id] = model
            owners[model_id] = name
            events.append(ReloadEvent(verb, source, model_id, f"{source}: thing model {model_id} {verb}"))
        for model_id, name in held.items():
            if model_id in owners:
                continue
            if self._files[name].rival is None:
                events.append(self._missing(name, model_id, "holds another model now"))
            else:
                owners[model_id] = name
        self._models = models
        self._owners = owners
        return events

    def _refused(self, name: str, reason: str) -> ReloadEvent:
        model_id = next((model_id for model_id, owner in self._owners.items() if owner == name), "")
        message = f"{reason}; thing model {model_id} stays as it was" if model_id else reason
        return ReloadEvent("refused", str(self.folder / name), model_id, message)

    def _missing(self, name: str, model_id: str, what: str) -> ReloadEvent:
        source = str(self.folder / name)
        message = f"{source}: {what}; thing model {model_id} stays in force until the service restarts"
        return ReloadEvent("missing", source, model_id, message)

    def _duplicate(self, model_id: str, owner: str) -> str:
        return f"the modelId {model_id} is also that of {self.folder / owner}"


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
