"""Signatures captured from the official SDKs, and the documents' own example; the secrets are throw-aways."""

from __future__ import annotations

from typing import NamedTuple

from enos_ingest.protocol.identity import DeviceId

__all__ = ["CONNECTS", "VECTORS", "Vector"]


class Vector(NamedTuple):
    """Who signed what, and the digest that came out."""

    case: str
    client_id: str
    device_key: str
    product_key: str
    timestamp: str
    secret: str
    digest: str

    @property
    def device(self) -> DeviceId:
        """The device that signed; for an integration channel its device key is `%channel%`."""
        return DeviceId(self.product_key, self.device_key)


VECTORS = (
    Vector(
        "documents",
        "123456",
        "test",
        "654321",
        "1548753362502",
        "abcdefg",
        "B99032D49C706F7B27B22AB5CD2DD3C56A31E1BCBBC83BA0A2A6BB3272FBB166",
    ),
    Vector(
        "Python CONNECT",
        "gw-py",
        "gw-py",
        "EbxGvUrE",
        "1795221824968.3962",
        "GwSecret123",
        "e5059b56161611f80516433a4e63642f9413c0bd5719529fecc4fb04904660ec",
    ),
    Vector(
        "Java CONNECT",
        "gw-java{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress=DEFAULT}",
        "gw-java",
        "EbxGvUrE",
        "1795221829607",
        "GwSecret123",
        "ce151850c71bc4d97c8d439976ac6be1871acc29aca0d08d2edbef5d0c3efff2",
    ),
    Vector(
        "Node.js CONNECT",
        "gw-node",
        "gw-node",
        "EbxGvUrE",
        "1795221828027",
        "GwSecret123",
        "542420CEC6BA5F1CB6DF888F4CCE6C188FEE2BCFEE3E681434DF483E64134355",
    ),
    Vector(
        "C CONNECT",
        "EbxGvUrE.gw-c",
        "gw-c",
        "EbxGvUrE",
        "2524608000000",
        "GwSecret123",
        "79E1F0A5EA51ADF6F5B54A82269D55E0483C11C07443C4264BC3B36E343A40F8",
    ),
    Vector(
        "Python integration channel",
        "EbxGvUrE",
        "%channel%",
        "EbxGvUrE",
        "1795221825549.5378",
        "ProdSecret789",
        "75cf54b95b9a085557200e87ac06627d96a563a6e43d16ed4291a77aac9ddcde",
    ),
    Vector(
        "Python combine.login",
        "Sb7PkXyZsub0011795221824982",
        "sub001",
        "Sb7PkXyZ",
        "1795221824982",
        "SubSecret456",
        "609f972c800b4bd2c474a440be91d2c8f60160794726f86a913af505f56b1368",
    ),
    Vector(
        "Python combine.login.batch",
        "login.batch",
        "sub001",
        "Sb7PkXyZ",
        "1795221825.5055053",
        "SubSecret456",
        "b636fb5ec9de9780cb6b4a356f676c34142db72ce1e59671dbcfaab225e757f0",
    ),
    Vector(
        "Node.js combine.login",
        "sub001",
        "sub001",
        "Sb7PkXyZ",
        "1795221828072",
        "SubSecret456",
        "BA90E46F21A16A3AD91E68653F220250291ED6C697D454EFA27571D7A57F8026",
    ),
    Vector(
        "Node.js batch item",
        "EbxGvUrE",
        "sub001",
        "Sb7PkXyZ",
        "1795221828598",
        "SubSecret456",
        "52DBE131564B2F9800E7C9EFE519933C2F41296B9E88DE54ADF0795045FD9518",
    ),
)

CONNECTS = {
    "Python": ("gw-py|securemode=2,signmethod=hmacsha256,timestamp=1795221824968.3962|", VECTORS[1]),
    "Java": (
        (
            "gw-java{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress=DEFAULT}"
            "|securemode=2,signmethod=sha256,timestamp=1795221829607|"
        ),
        VECTORS[2],
    ),
    "Node.js": ("gw-node|securemode=2,signmethod=sha256,timestamp=1795221828027|", VECTORS[3]),
    "C": ("EbxGvUrE.gw-c|securemode=2,signmethod=sha256,timestamp=2524608000000|", VECTORS[4]),
    "Python channel": ("EbxGvUrE|securemode=4,signmethod=hmacsha256,timestamp=1795221825549.5378|", VECTORS[5]),
}
"""The MQTT client id that each SDK sends, and what it signed."""
