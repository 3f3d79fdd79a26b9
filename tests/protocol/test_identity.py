"""Names of those who speak, as logs and the quarantine print them."""

from __future__ import annotations

from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Identity, Operator


def test_everybody_has_a_name_for_people() -> None:
    """The one that people write in commands and see in user names."""
    named: dict[Identity, str] = {
        DeviceId("EbxGvUrE", "gw-1"): "EbxGvUrE/gw-1",
        Channel("EbxGvUrE"): "%channel%&EbxGvUrE",
        Operator("alice", frozenset({"read"})): "alice",
        Hub(): "%hub%",
    }
    assert {str(identity): name for identity, name in named.items()} == {name: name for name in named.values()}
