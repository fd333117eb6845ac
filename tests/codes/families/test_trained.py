# SPDX-License-Identifier: Apache-2.0
"""Test the codes that faiss trains against its own quantisers, and that they work without it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_monocon.codes import Codec, FittingRows, load, save
from lightning_monocon.codes.additive import AdditiveQuantiser
from lightning_monocon.codes.error import squared_error
from lightning_monocon.codes.families import fit_lsq, fit_opq, fit_pq, fit_residual
from lightning_monocon.codes.product import ProductQuantiser

faiss: Any = pytest.importorskip("faiss", reason="needs the extra search")

Fit = Callable[[FittingRows, int], Codec]
FITS: dict[str, Fit] = {"pq": fit_pq, "opq": fit_opq, "residual": fit_residual, "lsq": fit_lsq}


def _rows(count: int, seed: int) -> torch.Tensor:
    spread = torch.diag(torch.linspace(2.0, 0.05, 8))
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)) @ spread + 0.3


def _faiss_of(quantiser: ProductQuantiser | AdditiveQuantiser) -> Any:
    """Return faiss' own quantiser with the same centroids."""
    if isinstance(quantiser, AdditiveQuantiser):
        own, tables = faiss.LocalSearchQuantizer(8, quantiser.bytes, 8), quantiser.centroids
        own.nperts = quantiser.bytes  # faiss refuses its own default, 4, for fewer stages
        faiss.copy_array_to_vector(tables.numpy().ravel(), own.codebooks)
    elif len(quantiser.centroids) == 1:
        own, tables = faiss.ResidualQuantizer(8, quantiser.stages, 8), quantiser.centroids[0]
        own.max_beam_size = quantiser.beam
        faiss.copy_array_to_vector(tables.numpy().ravel(), own.codebooks)
    else:
        own = faiss.ProductQuantizer(8, quantiser.bytes, 8)
        faiss.copy_array_to_vector(torch.stack(list(quantiser.centroids)).numpy().ravel(), own.centroids)
    own.is_trained = True
    return own


@pytest.fixture(scope="module", params=FITS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return FITS[request.param](FittingRows.of(_rows(600, 0)), 2)


def test_codes_are_at_least_as_near_as_those_of_faiss_and_decode_the_same(codec: Codec) -> None:
    quantiser, rows = codec.quantiser, _rows(300, 1)
    assert isinstance(quantiser, ProductQuantiser | AdditiveQuantiser)
    own, wanted = _faiss_of(quantiser), codec.space.coordinates(rows).float()
    codes = codec.encode(rows)
    np.testing.assert_allclose(quantiser.decode(codes), own.decode(codes.numpy()), atol=1e-6)
    theirs = own.compute_codes(wanted.numpy())
    if codec.family != "lsq":  # the search of LSQ is random
        np.testing.assert_array_equal(codes.numpy(), theirs)
    errors = [(quantiser.decode(each) - wanted).square().sum(1).mean() for each in (codes, torch.from_numpy(theirs))]
    assert errors[0] <= errors[1] * 1.001


def test_a_loaded_codec_works_without_faiss(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(50, 1)
    codes = codec.encode(rows)
    save(codec, tmp_path)
    monkeypatch.setitem(sys.modules, "faiss", None)
    again = load(tmp_path)
    assert torch.equal(again.encode(rows), codes)
    assert torch.equal(again.score(rows[:5], codes), codec.score(rows[:5], codes))
    with pytest.raises(ImportError, match=r"faiss is needed to fit .*; pip install .*Fitted codecs work without it\."):
        FITS[codec.family](FittingRows.of(_rows(600, 0)), 2)


@pytest.mark.parametrize("family", FITS)
def test_a_seed_decides_the_code_whatever_the_threads(family: str) -> None:
    rows, threads = _rows(300, 0), faiss.omp_get_max_threads()
    try:
        tables = []
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            tables.append(FITS[family](FittingRows.of(rows, seed=3), 1).tensors())
            assert faiss.omp_get_max_threads() == count
    finally:
        faiss.omp_set_num_threads(threads)
    assert all(torch.equal(table, tables[1][name]) for name, table in tables[0].items())
    other = FITS[family](FittingRows.of(rows, seed=4), 1).tensors()
    assert not all(torch.equal(table, other[name]) for name, table in tables[0].items())


def test_a_learnt_rotation_helps_where_groups_carry_unequal_shares() -> None:
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(1000, 8, generator=draw) * 0.5 ** torch.arange(8)
    rows[:, 1::2] += 0.5 * rows[:, ::2]  # correlated within the groups, which have 94 % of the variance in the first
    collected = FittingRows.of(rows, "dot")
    pq, opq = (fit(collected, 2) for fit in (fit_pq, fit_opq))
    errors = [
        (codec.quantiser.decode(codec.encode(rows)).double() - codec.space.coordinates(rows)).square().mean()
        for codec in (pq, opq)
    ]
    assert errors[1] < 0.7 * errors[0]
    matrix = opq.space.matrix.double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("family", "trained"), [("opq", "OPQMatrix"), ("residual", "ResidualQuantizer")])
def test_fewer_rows_than_numbers_are_enough(family: str, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss 1.15 wants as many rows as numbers; rows given as often as one another are the same rows."""
    train, seen = getattr(faiss, trained).train, list[np.ndarray]()

    def checked(self: Any, rows: np.ndarray) -> None:
        assert len(rows) >= rows.shape[1]
        seen.append(rows)
        train(self, rows)

    monkeypatch.setattr(getattr(faiss, trained), "train", checked)
    rows = torch.randn(280, 300, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.05, 300)
    found = FittingRows.of(rows, "dot")
    codec = FITS[family](found, 2)
    np.testing.assert_array_equal(*np.split(seen[0], 2))
    np.testing.assert_allclose(seen[0][:280], rows - rows.mean(0), atol=1e-5)
    assert squared_error(codec, rows) < 0.1 * float(rows.var(0).sum())  # 256 centroids, twice, for 280 rows


@pytest.mark.parametrize("family", FITS)
def test_impossible_fits_are_refused(family: str) -> None:
    fit = FITS[family]
    with pytest.raises(ValueError, match=r"`rows` must hold 256 rows at least, one for each centroid; got 255\."):
        fit(FittingRows.of(_rows(255, 0)), 2)
    with pytest.raises(ValueError, match=r"`rows` must hold two different rows"):
        fit(FittingRows.of(torch.ones(300, 8), "dot"), 2)
    with pytest.raises(ValueError, match=r"`size` must be at least 1 byte; got 0\."):
        fit(FittingRows.of(_rows(300, 0)), 0)


@pytest.mark.parametrize("fit", [fit_pq, fit_opq])
def test_groups_must_be_equal(fit: Fit) -> None:
    with pytest.raises(ValueError, match=r"`size` must divide the 8 numbers of a row into equal groups; got 3\."):
        fit(FittingRows.of(_rows(300, 0)), 3)
