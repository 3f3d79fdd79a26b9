"""What an apply changes: the differences between two directories, in words without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from enos_ingest.devices.directory import Device, Directory, Link

__all__ = ["Difference", "differences", "kept", "pairs"]

_FROM_WIRE = ("origin wire",)
"""Of what is removed and did not come from a file: nobody would find it there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that an apply makes: `action` is `add`, `change`, `remove` or `forget`.

    One with `keep` is none that it makes: a sub-device that its gateway has let go stays away.
    """

    action: str
    kind: str
    name: str
    details: tuple[str, ...] = ()

    @property
    def is_made(self) -> bool:
        """Whether the apply changes anything here."""
        return self.action != "keep"

    def __str__(self) -> str:
        if not self.is_made:
            return (
                f"kept removed {self.kind} {self.name}: the gateway {self.details[0]}; "
                "`registry apply --restore` adds it again"
            )
        details = f" ({', '.join(self.details)})" if self.details else ""
        return f"{self.action:<6} {self.kind} {self.name}{details}"


def differences(old: Directory, new: Directory) -> Iterator[Difference]:
    """All of them, table by table."""
    tables: list[tuple[str, Mapping[Any, Any], Mapping[Any, Any]]] = [
        ("product", old.products, new.products),
        ("device", old.devices, new.devices),
        ("application", old.applications, new.applications),
        ("operator", old.operators, new.operators),
    ]
    for kind, before, after in tables:
        for key in after:
            if key not in before:
                yield Difference("add", kind, str(key))
            elif before[key] != after[key]:
                yield Difference("change", kind, str(key), _differing(before[key], after[key]))
        for key in before:
            if key not in after:
                is_wired = isinstance(before[key], Device) and before[key].origin == "wire"
                yield Difference("remove", kind, str(key), _FROM_WIRE if is_wired else ())
    before_links, after_links = pairs(old), pairs(new)
    for gateway, sub_device in sorted(before_links | after_links):
        link, name = (gateway, sub_device), f"{sub_device} of {gateway}"
        if link not in before_links:
            yield Difference("add", "sub-device", name)
        elif link not in after_links:
            yield Difference("remove", "sub-device", name, _FROM_WIRE if link in old.wired else ())
        elif (link in old.wired) != (link in new.wired):
            yield Difference("change", "sub-device", name, ("origin",))
    for gateway, sub_device in sorted(old.released.keys() - new.released.keys() - after_links):
        yield Difference(
            "forget", "sub-device", f"{sub_device} of {gateway}", (_let_go(old.released[gateway, sub_device]),)
        )


def kept(absent: Mapping[Link, int]) -> Iterator[Difference]:
    """Of what an apply leaves as it is: the sub-devices that stay away, with when they were let go."""
    for (gateway, sub_device), time in sorted(absent.items()):
        yield Difference("keep", "sub-device", f"{sub_device} of {gateway}", (_let_go(time),))


def pairs(directory: Directory) -> set[Link]:
    """The pairs of gateway and sub-device that there are."""
    return {(gateway, sub_device) for gateway, found in directory.topology.items() for sub_device in found}


def _let_go(time: int) -> str:
    return f"let it go at {datetime.fromtimestamp(time // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _differing(before: Any, after: Any) -> tuple[str, ...]:
    """The fields that differ: by name only, as values may be secrets, but switches as they stand in the file now.

    The name alone would say `enabled` of a device that has just been disabled.
    """
    named = []
    for field in fields(before):
        value = getattr(after, field.name)
        if value == getattr(before, field.name):
            continue
        is_switch = isinstance(value, bool)
        named.append(f"{field.name} = {str(value).lower()}" if is_switch else field.name.removesuffix("_hash"))
    return tuple(named)
