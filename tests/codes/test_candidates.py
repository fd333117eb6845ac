# SPDX-License-Identifier: Apache-2.0
"""Test which codes are tried, and that what is left out is named with the reason."""

from __future__ import annotations

import pytest

from lightning_monocon.codes.candidates import Family, candidates
from lightning_monocon.codes.families import fit_transform


def _family(name: str, package: str = "", rows: int = 2, costly: str = "") -> Family:
    return Family(name, fit_transform, lambda dim, size: size <= 8 and dim % size == 0, package, rows, costly)


def test_codes_run_from_few_bytes_to_many() -> None:
    found, left_out = candidates(12, 100, [_family("first"), _family("second")])
    assert [each.name for each in found] == ["first-2", "second-2", "first-4", "second-4"]  # 8 does not divide 12
    assert not left_out


def test_what_is_left_out_is_named_with_the_reason() -> None:
    families = [
        _family("absent", package="no_such_package", costly="not said"),
        _family("hungry", rows=256, costly="not said"),
        _family("slow", costly="slow codes of more than 8 bytes, which take long to fit"),
    ]
    found, left_out = candidates(16, 255, families)
    assert {each.name for each in found} == {"slow-2", "slow-4", "slow-8"}
    assert left_out == [
        "absent codes, which need the package no_such_package",
        "hungry codes, which need 256 rows to be fitted",
        "slow codes of more than 8 bytes, which take long to fit",
    ]


def test_codes_of_faiss_need_a_row_for_each_centroid() -> None:
    few, many = ({each.name.split("-")[0] for each in candidates(384, rows)[0]} for rows in (255, 256))
    assert many - few == {"pq", "opq", "residual"}
    assert "rabit1" in few


def test_rotations_of_wide_vectors_are_not_learnt_and_that_is_said() -> None:
    names = {dim: {each.name for each in candidates(dim, 1000)[0]} for dim in (768, 1536)}
    assert {"opq-2", "opq-4"} <= names[768] and "pq-4" in names[1536]
    assert not {"opq-2", "opq-4"} & names[1536]
    assert "opq codes of more than 4 bytes or 768 numbers, which take long to fit" in candidates(1536, 1000)[1]


def test_vectors_of_one_number_are_refused() -> None:
    with pytest.raises(ValueError, match="`VECTORS` must have at least 2 numbers a row, or no code is smaller; got 1"):
        candidates(1, 1000)
