# SPDX-License-Identifier: Apache-2.0
"""Tests of the rule for far rows, on planted subspaces and against a loop in NumPy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.domain import FILE, Domain, load, save
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.codes.fitting import Similarity

DIM, KEPT = 64, 8
CODES = {
    "half": ScalarOptions(16, centre=False),
    "int8": ScalarOptions(8, centre=False, step="common", levels="uniform"),
    "bit": ScalarOptions(1, rotation="random"),
}
BYTES = {"half": 16, "int8": 8, "bit": 1}
"""Eight numbers of each."""


def planted(rows: int, seed: int, centre: float = 0.0) -> Tensor:
    """Return rows near a plane of eight directions, about a centre within it."""
    generator = torch.Generator().manual_seed(seed)
    found = 0.05 * torch.randn(rows, DIM, generator=generator)
    found[:, :KEPT] += torch.randn(rows, KEPT, generator=generator) + centre
    return found


def codec_of(kind: str, similarity: Similarity = "cosine") -> Codec:
    return fit_scalar(FittingRows.of(planted(3000, 0), similarity), BYTES[kind], CODES[kind])


@pytest.mark.parametrize("kind", CODES)
def test_rows_of_the_plane_are_near_and_random_directions_are_far(kind: str) -> None:
    codec = codec_of(kind)
    domain = Domain.of(codec, planted(2000, 1))
    assert domain.rows == 2000
    assert domain.far(codec, planted(4000, 2)).double().mean() < 0.004
    other = torch.randn(500, DIM, generator=torch.Generator().manual_seed(3))
    assert domain.far(codec, other).double().mean() > 0.97
    if kind in ("half", "int8"):  # another place in the same plane is no worse for a code of numbers
        assert domain.far(codec, planted(4000, 4, centre=3.0)).double().mean() < 0.004
        assert domain.far(codec, other).all()


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("kind", ["int8", "bit"])
def test_losses_are_those_of_the_formula(kind: str, similarity: Similarity, learnt: bool) -> None:
    codec = codec_of(kind, similarity)
    if learnt:  # whose rows are not orthonormal
        mixing = torch.randn(KEPT, KEPT, generator=torch.Generator().manual_seed(6))
        codec = replace(codec, space=replace(codec.space, matrix=mixing @ codec.space.matrix))
    domain = Domain.of(codec, planted(300, 1))
    space, matrix = codec.space, np.linalg.pinv(codec.space.matrix.double().numpy()).T

    def parts(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        code = codec.encode(row[None].astype(np.float32))
        decoded = codec.quantiser.decode(torch.from_numpy(code)).double().numpy()[0] @ matrix
        scaled = row / np.linalg.norm(row) if similarity == "cosine" else row
        return scaled - space.mean.double().numpy(), decoded

    def lost(row: np.ndarray, factor: float) -> float:
        target, decoded = parts(row)
        return float(((target - factor * decoded) ** 2).sum() / (target**2).sum())

    own = [parts(row) for row in planted(300, 1).double().numpy()]
    factor = sum(x @ y for x, y in own) / sum(y @ y for _, y in own)
    assert domain.factor == pytest.approx(factor, rel=1e-9)
    rows = planted(20, 5)
    expected = [lost(row, factor) for row in rows.double().numpy()]
    assert np.allclose(domain.losses(codec, rows), expected, rtol=1e-9)
    assert domain.limit == pytest.approx(max(lost(row, factor) for row in planted(300, 1).double().numpy()), rel=1e-9)


def test_the_limit_is_the_999th_of_1000() -> None:
    codec = codec_of("half")
    rows = planted(2000, 1)
    domain = Domain.of(codec, rows)
    assert int((domain.losses(codec, rows) > domain.limit).sum()) == 1  # ceil(2001 * 0.999) = 1999


def test_a_row_of_zeros_is_far() -> None:
    codec = codec_of("half")
    domain = Domain.of(codec, planted(300, 1))
    assert domain.far(codec, torch.zeros(1, DIM)).tolist() == [True]


def test_a_domain_is_read_as_it_was_written(tmp_path: Path) -> None:
    domain = Domain(0.1 + 0.2, 1 / 3, 77)
    assert load(tmp_path, "a") is None
    save(domain, "a", tmp_path)
    assert load(tmp_path, "a") == domain
    with pytest.raises(ValueError, match=r"`folder` must hold the domain.json of its own codec"):
        load(tmp_path, "b")
    for text in ("{", "[]", json.dumps({"stamp": "a", "limit": None})):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ValueError, match=r"`folder` must hold a whole domain.json"):
            load(tmp_path, "a")


def test_no_rows_and_other_widths_are_refused() -> None:
    codec = codec_of("half")
    with pytest.raises(ValueError, match=r"`rows` must hold at least one row to measure a domain; got 0"):
        Domain.of(codec, torch.empty(0, DIM))
    with pytest.raises(ValueError, match="`rows`"):
        Domain.of(codec, torch.ones(3, DIM - 1))
