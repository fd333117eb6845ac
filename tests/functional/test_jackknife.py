# SPDX-License-Identifier: Apache-2.0
"""Intervals: the jackknife against a textbook one, the corrected dimension against known populations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, t
from torch import Tensor

from lightning_monocon.functional import (
    RefusedEstimateWarning,
    corrected_effective_dimension,
    effective_dimension,
    jackknife,
    reconstruction_error,
    total_variance,
)
from lightning_monocon.functional.jackknife import group_numbers
from lightning_monocon.functional.total_variance import total_variance_from_moments
from lightning_monocon.metrics import (
    CorrectedEffectiveDimension,
    EffectiveDimension,
    MeanCosine,
    ReconstructionError,
    TotalVariance,
)

SPECTRA = {
    "power law": np.arange(1, 33) ** -2.0,
    "spiked": np.concatenate([[20.0, 15.0, 10.0], np.full(29, 0.05)]),
    "low rank": np.concatenate([np.ones(5), np.zeros(27)]),
}


def gaussian(spectrum: np.ndarray, rows: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
    return torch.from_numpy(rng.standard_normal((rows, len(spectrum))) * np.sqrt(spectrum) @ mix)


def test_the_interval_is_the_textbook_delete_group_jackknife() -> None:
    x = gaussian(SPECTRA["power law"], 103, seed=0)
    found = jackknife(x, total_variance_from_moments, groups=7, confidence=0.9, normalize=False)
    without = [x[group_numbers(x, 7, normalize=False) != g].numpy().var(0, ddof=1).sum() for g in range(7)]
    half = t.ppf(0.95, 6) * np.sqrt(6 / 7 * np.square(np.array(without) - np.mean(without)).sum())
    value = total_variance(x, normalize=False)
    np.testing.assert_allclose([found.low, found.value, found.high], [value - half, value, value + half], rtol=1e-10)
    assert (found.rows, found.features, found.confidence, found.normalized, found.centred) == (
        103,
        32,
        0.9,
        False,
        True,
    )


def test_groups_are_even_and_follow_their_rows() -> None:
    x = gaussian(SPECTRA["power law"], 5000, seed=3).float()
    number = group_numbers(x, 10, normalize=False)
    counts = np.bincount(number, minlength=10)
    assert counts.sum() == 5000 and chisquare(counts).pvalue > 1e-3
    turn = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    assert group_numbers(x[turn].double(), 10, normalize=False).equal(number[turn])  # nor does the number format count
    assert torch.cat([group_numbers(part, 10, normalize=False) for part in x.split(777)]).equal(number)
    lengths = torch.rand(5000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    assert group_numbers(x.double() * lengths, 10, True).equal(group_numbers(x, 10, True))


def test_the_order_of_the_rows_changes_no_interval() -> None:
    """Classes in turn, ten or a hundred of them, made groups of classes when rows were dealt by position."""
    rng = np.random.default_rng(0)
    for classes in (10, 100):
        centres = rng.standard_normal((classes, 16)) / np.arange(1, 17)
        x = torch.from_numpy(centres[np.arange(1000) % classes] + 0.05 * rng.standard_normal((1000, 16)))
        number = torch.arange(1000)
        orders = [number, (number % classes).argsort(stable=True), torch.from_numpy(rng.permutation(1000))]
        for estimate in (corrected_effective_dimension, lambda rows: jackknife(rows, total_variance_from_moments)):
            first, *others = (torch.stack(estimate(x[order])[:3]) for order in orders)
            for other in others:
                torch.testing.assert_close(other, first, rtol=1e-9, atol=0)


def test_copies_of_rows_do_not_narrow_the_interval() -> None:
    x = gaussian(SPECTRA["power law"], 200, seed=0)
    once, often = (jackknife(rows, total_variance_from_moments) for rows in (x, x.repeat(10, 1)))
    assert float(often.high - often.low) == pytest.approx(float(once.high - once.low), rel=0.2)


def test_the_interval_covers_as_often_as_it_says() -> None:
    truth = SPECTRA["power law"].sum()
    rows = [gaussian(SPECTRA["power law"], 200, seed) for seed in range(200)]
    found = [jackknife(x, total_variance_from_moments, groups=10, normalize=False) for x in rows]
    covered = sum(bool(one.low <= truth <= one.high) for one in found)
    assert 180 <= covered <= 199  # 95 % of 200, within three standard errors; never all


@pytest.mark.parametrize("rows", [8, 32, 128, 640])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_corrected_interval_covers_the_population_or_is_refused(name: str, rows: int) -> None:
    spectrum = SPECTRA[name]
    truth = int(np.argmax(np.cumsum(spectrum) / spectrum.sum() >= 0.99 - 1e-12)) + 1
    covered = answered = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RefusedEstimateWarning)
        for seed in range(20):
            found = corrected_effective_dimension(gaussian(spectrum, rows, seed), normalize=False)
            assert found.low <= truth
            if not found.value.isnan():
                answered += 1
                assert found.low <= found.value <= found.high
                covered += bool(found.low <= truth <= found.high)
    assert covered >= 0.95 * answered
    assert answered == 20 or rows < 3 * truth  # refused only where the tail is out of reach


def test_the_correction_takes_bias_away() -> None:
    spectrum = SPECTRA["power law"]
    truth = int(np.argmax(np.cumsum(spectrum) / spectrum.sum() >= 0.99)) + 1
    rows = [gaussian(spectrum, 96, seed) for seed in range(30)]
    plain = np.mean([float(effective_dimension(x, normalize=False)) for x in rows])
    corrected = np.mean([float(corrected_effective_dimension(x, normalize=False).value) for x in rows])
    assert truth - plain >= 1.5
    assert abs(corrected - truth) < 0.4 * (truth - plain)


def test_a_refusal_says_why_and_keeps_the_lower_end() -> None:
    x = gaussian(np.ones(64), 20, seed=0)
    with pytest.warns(RefusedEstimateWarning, match="No bias-corrected effective dimension at 0.99 from 20 rows in 64"):
        found = corrected_effective_dimension(x, normalize=False)
    assert found.value.isnan()
    assert found.high.isnan()
    assert found.low >= 10


def test_all_components_always_suffice() -> None:
    found = corrected_effective_dimension(gaussian(np.ones(8), 400, seed=0), variance=1.0, normalize=False)
    assert (found.low, found.value, found.high) == (8, 8, 8)


def test_classes_give_the_same_estimates_from_batches() -> None:
    x = gaussian(SPECTRA["power law"], 330, seed=1)
    metrics = [TotalVariance(groups=10), CorrectedEffectiveDimension(groups=10)]
    for metric in metrics:
        for part in x.flip(0).split(37):  # rows are dealt to the groups by their numbers, whatever order and batches
            metric.update(part)
    whole = [jackknife(x, total_variance_from_moments), corrected_effective_dimension(x)]
    for metric, expected in zip(metrics, whole, strict=True):
        found = metric.estimate()
        torch.testing.assert_close(found[:3], expected[:3])
        assert found[4:] == (330, 32, True, True, "gallery")
    values = list(metrics[1].compute().values())
    torch.testing.assert_close(torch.stack(values).double(), torch.stack(whole[1][:3]))
    assert values[0] == metrics[1].estimate().value.float()


def test_reconstruction_leaves_the_groups_of_both_sides_out_together() -> None:
    gallery, query = gaussian(SPECTRA["power law"], 340, seed=1), gaussian(SPECTRA["power law"], 90, seed=1)
    metric = ReconstructionError(0.9, groups=5)
    for rows, role in ((gallery, "gallery"), (query, "query")):
        for part in rows.split(33):
            metric.update(part, role=role)
    found = metric.estimate(0.9)
    without = [
        reconstruction_error(*(rows[group_numbers(rows, 5, normalize=True) != g] for rows in (gallery, query)), 0.9)
        for g in range(5)
    ]
    whole = reconstruction_error(gallery, query, 0.9)
    for name in ("rmse", "fvu", "dimension"):
        values = np.array([float(getattr(one, name)) for one in without])
        half = t.ppf(0.95, 4) * np.sqrt(4 / 5 * np.square(values - values.mean()).sum())
        value = float(getattr(whole, name))
        np.testing.assert_allclose(found[name][:3], [value, value - half, value + half], rtol=1e-9)
    assert found["fvu"][3:] == (0.9, 340, 32, True, True, "")
    assert metric.compute()["rmse"] == whole.rmse.float()


def test_what_the_value_is_of_is_carried() -> None:
    metric = MeanCosine(groups=4, role="query")
    metric.update(gaussian(SPECTRA["low rank"], 50, seed=0), role="query")
    found = metric.estimate(0.5)
    assert found[3:] == (0.5, 50, 32, True, False, "query")


def test_wrong_input_is_named() -> None:
    x = gaussian(SPECTRA["low rank"], 50, seed=0)
    with pytest.raises(ValueError, match="`groups` must be at least 2, better 10; got 1"):
        jackknife(x, total_variance_from_moments, groups=1)
    with pytest.raises(ValueError, match="`confidence` must lie strictly between 0 and 1; got 95"):
        corrected_effective_dimension(x, confidence=95)
    metric = EffectiveDimension()
    metric.update(x)
    with pytest.raises(ValueError, match="`groups` must be at least 2, better 10; got 1"):
        metric.estimate()
