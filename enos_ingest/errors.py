"""Every error that this package raises on purpose.

EnosIngestError
├── ConfigError             a setting is unknown, unreadable or out of range
├── StartError              a port is taken, a file cannot be opened: the service cannot start
├── CredentialError         a client id, user name or signature is malformed
├── PayloadError            a payload is no request, carries the id it could find
├── CodecError              a product's codec could not translate a message
├── SchemaError             a document does not match its schema, carries the path
│   └── ModelError          a thing model cannot be used, carries its file or id
├── CallError               a running hub cannot be called: nobody answers, or somebody else does
│   └── LostCallError       it was called, and went before it answered
├── RegistryError           a registry file cannot be applied, carries table, index and key
└── StorageError            the database cannot be used
    ├── NewerDatabaseError  it was written by a newer version
    └── StoreClosedError    work was handed in after the end
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CallError",
    "CodecError",
    "ConfigError",
    "CredentialError",
    "EnosIngestError",
    "LostCallError",
    "ModelError",
    "NewerDatabaseError",
    "PayloadError",
    "RegistryError",
    "SchemaError",
    "StartError",
    "StorageError",
    "StoreClosedError",
]


class EnosIngestError(Exception):
    """The root: its text is one sentence for people, never a traceback's worth."""


class ConfigError(EnosIngestError):
    """A setting is unknown, unreadable or out of range."""


class StartError(EnosIngestError):
    """The service cannot start: a port is taken, a folder cannot be made."""


class CredentialError(EnosIngestError):
    """A client id or user name does not follow the grammar of the protocol."""


class PayloadError(EnosIngestError):
    """A payload is not a request.

    Attributes:
        request_id: the id that could still be found, else "".
    """

    def __init__(self, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id


class CodecError(EnosIngestError):
    """A product's codec could not translate a message: it refused it, failed, overran, or could not be loaded."""


class SchemaError(EnosIngestError):
    """A document does not match its JSON Schema.

    Attributes:
        path: where in the document, as keys and indexes.
        expectation: what was expected there, in a few words.
    """

    def __init__(self, path: Sequence[str | int], expectation: str, message: str | None = None) -> None:
        self.path = tuple(path)
        self.expectation = expectation
        super().__init__(message or f"{format_path(self.path)}: {expectation}")


class ModelError(SchemaError):
    """A thing model cannot be used.

    Attributes:
        source: the file it was read from, or its modelId.
    """

    def __init__(self, source: str, expectation: str, path: Sequence[str | int] = ()) -> None:
        self.source = source
        where = f"{source}: {format_path(path)}" if path else source
        super().__init__(path, expectation, f"{where}: {expectation}")


class CallError(EnosIngestError):
    """A running hub cannot be called: nobody answers, or somebody who is no hub."""


class LostCallError(CallError):
    """A hub took a call and went, or said nothing, before it answered: it may have done what it was asked for."""


class RegistryError(EnosIngestError):
    """A registry file cannot be applied, and nothing of it was.

    Attributes:
        faults: every fault found, each as `table[index] key: what`, or the line of a syntax error.
    """

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))


class StorageError(EnosIngestError):
    """The database cannot be used."""


class NewerDatabaseError(StorageError):
    """The database was written by a newer version of this program; it is left as it is."""


class StoreClosedError(StorageError):
    """Work was handed to a store that has been closed."""


def format_path(path: Sequence[str | int]) -> str:
    """A path as people write it: `params[1].measurepoints.temp`; `$` is the whole document."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "$"
