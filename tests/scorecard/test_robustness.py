# SPDX-License-Identifier: Apache-2.0
"""What is left under corruption, and what foretells it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.card import Arm
from lightning_monocon.scorecard.robustness import Robustness, rank_correlation_interval, relations, write


def run(mean: float, clean: float = 0.8) -> Robustness:
    return Robustness("knn_accuracy", clean, {"noise": [mean] * 5, "blur": [mean + 0.1] * 5})


def arms(card: Scorecard, rmse: list[float], fvu: list[float]) -> list[Arm]:
    """One arm for each number, of one seed."""
    score = card.arm("twin").scores[0]
    scores = [replace(score, rmse=a, fvu=b, n99=3) for a, b in zip(rmse, fvu, strict=True)]
    return [replace(card.arm("twin"), name=f"arm{i}", scores=(each,)) for i, each in enumerate(scores)]


def test_a_run_keeps_its_share_and_its_file(tmp_path: Path) -> None:
    found = run(0.3)
    assert found.mean == pytest.approx(0.35) and found.kept == pytest.approx(0.35 / 0.8)
    assert math.isnan(run(0.3, clean=0.0).kept)
    found.save(tmp_path / "robustness.json")
    again = Robustness.load(tmp_path / "robustness.json")
    assert again.corrupted == found.corrupted and again.clean == found.clean


def test_the_interval_of_a_rank_correlation_holds_the_truth_nineteen_times_in_twenty() -> None:
    """Pairs of a bivariate normal of correlation .6, whose rank correlation is 6 / pi asin(.3)."""
    draw, truth, held = np.random.default_rng(0), 6 / np.pi * np.arcsin(0.3), 0
    for _ in range(400):
        x, noise = draw.standard_normal((2, 12))
        value = spearmanr(x, 0.6 * x + 0.8 * noise).statistic
        low, high = rank_correlation_interval(float(value), 12)
        assert -1 <= low <= value <= high <= 1
        held += low <= truth <= high
    assert 0.92 < held / 400 < 0.99
    assert rank_correlation_interval(1.0, 3) == (-1.0, 1.0)


def test_a_correlation_is_scipys_over_the_means_of_arms(card: Scorecard) -> None:
    rmse, left = [0.1, 0.4, 0.2, 0.5, 0.3, 0.6], [0.5, 0.4, 0.3, 0.35, 0.2, 0.1]
    compared = arms(card, rmse, rmse[::-1])
    found = {arm.name: [run(value - 0.05), run(value + 0.05)] for arm, value in zip(compared, left, strict=True)}
    lines = {(each.cause, each.effect): each for each in relations(compared, found)}
    assert lines["rmse", "mean"].value == pytest.approx(spearmanr(rmse, left).statistic)
    assert lines["fvu", "mean"].value == pytest.approx(spearmanr(rmse[::-1], left).statistic)
    assert lines["rmse", "kept"].arms == 6
    widest = replace(compared[0].scores[0], dim=100 * compared[0].width)  # its .1 per entry becomes a row's longest
    lines = {
        (each.cause, each.effect): each
        for each in relations([replace(compared[0], scores=(widest,)), *compared[1:]], found)
    }
    assert lines["rmse", "mean"].value == pytest.approx(spearmanr([9.0, *rmse[1:]], left).statistic)


def test_arms_without_a_remainder_and_few_arms_say_nothing(card: Scorecard) -> None:
    compared = arms(card, [0.1, 0.2, 0.3, 0.4, 0.5], [0.1] * 5)
    found = {arm.name: [run(0.1 * i)] for i, arm in enumerate(compared)}
    assert {each.cause for each in relations(compared, found)} == {"rmse"}  # all FVU are equal
    score = replace(compared[0].scores[0], n99=compared[0].width)
    assert not relations([replace(compared[0], scores=(score,)), *compared[1:]], found)


def test_the_files_hold_table_and_correlation(tmp_path: Path, card: Scorecard) -> None:
    for arm in card.arms:
        run(0.2).save(tmp_path / f"{arm.name}.json")
    told = write(tmp_path, card, lambda name: [tmp_path / f"{name}.json"])
    assert "|" not in told and max(map(len, told.splitlines())) <= 110  # for a terminal
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert rows["twin"][:5] == ["80.0", "20.0", "30.0", "25.0", "31.2"]
    text = (tmp_path / "robustness.md").read_text()
    assert "| arm | clean | noise | blur | mean | kept % | RMSE | FVU |" in text
    assert "| twin | 80.0 | 20.0 | 30.0 | 25.0 | 31.2 |" in text
    assert "5-NN accuracy (%) of whole vectors" in text
    assert "A correlation over arms takes 5 of them" in text
    content = json.loads((tmp_path / "robustness.json").read_text())
    assert list(content["arms"]) == ["encoder", "twin", "narrow", "flat"] and content["relations"] == []
