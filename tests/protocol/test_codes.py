"""Return codes."""

from __future__ import annotations

from enos_ingest.protocol.codes import Code


def test_the_five_codes_of_the_seed_uplinks() -> None:
    """The numbers are the contract."""
    assert [int(code) for code in (Code.SUCCESS, Code.MODEL_VALIDATE_FAILED, Code.DATA_FORMAT_ERROR)] == [
        200,
        1204,
        1206,
    ]
    assert (int(Code.NO_SUB_DEVICE_PERMISSION), int(Code.DEVICE_NOT_FOUND)) == (1212, 1257)
