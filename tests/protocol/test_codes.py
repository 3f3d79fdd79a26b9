"""Return codes and their documented wording."""

from __future__ import annotations

import pytest

from enos_ingest.protocol.codes import Code


@pytest.mark.parametrize("code", Code)
def test_every_code_has_a_text(code: Code) -> None:
    """Only success has nothing to say."""
    assert bool(code.text) == (code is not Code.SUCCESS)


def test_the_five_codes_of_the_seed_uplinks() -> None:
    """The numbers are the contract."""
    assert [int(code) for code in (Code.SUCCESS, Code.MODEL_VALIDATE_FAILED, Code.DATA_FORMAT_ERROR)] == [
        200,
        1204,
        1206,
    ]
    assert (int(Code.NO_SUB_DEVICE_PERMISSION), int(Code.DEVICE_NOT_FOUND)) == (1212, 1257)
    assert Code.MODEL_VALIDATE_FAILED.text == "Model validate failed"
