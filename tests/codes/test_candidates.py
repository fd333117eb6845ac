# SPDX-License-Identifier: Apache-2.0
"""Test which codes are tried, and that what is left out is named with the reason."""

from __future__ import annotations

import pytest

from lightning_monocon.codes.candidates import Family, candidates, named
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


@pytest.mark.parametrize("code", ["opq-4", "opq-8", "residual-8", "lsq-2", "pq-32"])
def test_a_code_that_is_not_tried_because_it_takes_long_is_made_where_it_is_asked_for(code: str) -> None:
    pytest.importorskip("faiss")
    assert (named(code, 1536).name, named(code, 1536).bytes) == (code, int(code.partition("-")[2]))


@pytest.mark.parametrize(
    ("code", "dim", "words"),
    [
        ("opq-5", 16, "must have 1, 2, 4, 8 or 16 bytes for opq codes of 16 numbers; got opq-5"),
        ("lsq-17", 16, "must have 1 to 16 bytes for lsq codes of 16 numbers; got lsq-17"),
        ("lsq", 16, "must be given with its bytes, 1 to 16, for lsq codes of 16 numbers; got lsq"),
        ("opq", 1024, "must be given with its bytes, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512 or 1024, for opq codes"),
        ("half-3", 16, "must have 2, 4, ... or 32 bytes for half codes of 16 numbers; got half-3"),
        ("pq-4", 2, "must have 1 or 2 bytes for pq codes of 2 numbers; got pq-4"),
        ("product-1", 3, "must have no bytes for product codes of 3 numbers; got product-1"),
    ],
)
def test_bytes_that_a_code_does_not_have_are_refused_with_those_that_it_has(code: str, dim: int, words: str) -> None:
    pytest.importorskip("faiss")
    with pytest.raises(ValueError, match=f"`code` {words}"):
        named(code, dim)
