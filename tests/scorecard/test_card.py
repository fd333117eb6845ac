# SPDX-License-Identifier: Apache-2.0
"""The scorecard as a whole: in words, in tables, as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.nulls import NULL_MODELS
from lightning_monocon.scorecard.render.sentences import null_lines, verdict_lines

Planted = Callable[..., EmbeddingSet]


def test_the_baseline_comes_first_and_seeds_ascend(card: Scorecard) -> None:
    assert [arm.name for arm in card.arms] == ["encoder", "twin", "narrow", "flat"]
    assert all(arm.seeds == (0, 1, 2) for arm in card.arms)
    assert card.dims == (1, 2, 3, 4, 6, 8, 12, 16)
    assert card.arm("narrow").width == 4
    with pytest.raises(KeyError, match=r"`name` must be that of an arm, encoder, twin, narrow, flat; got 'none'"):
        card.arm("none")


def test_means_and_deviations_are_over_seeds(card: Scorecard) -> None:
    arm = card.arm("twin")
    values = torch.tensor([score.rmse for score in arm.scores], dtype=torch.float64)
    assert arm.spread("rmse") == (pytest.approx(float(values.mean())), pytest.approx(float(values.std())))
    shares = torch.tensor([score.knn_accuracy_at(8) for score in arm.scores], dtype=torch.float64)
    assert arm.accuracy(8) == (pytest.approx(float(shares.mean())), pytest.approx(float(shares.std())))


def test_every_arm_is_measured_at_every_n99(card: Scorecard) -> None:
    wanted = {score.n99 for arm in card.arms for score in arm.scores if score.n99}
    for arm in card.arms[:2]:
        assert all(wanted <= set(score.frontier.dims) for score in arm.scores)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: {"twin": s["twin"]}, r"`sets` must hold the baseline 'encoder', without .*; got twin"),
        (lambda s: {**s, "twin": []}, r"`sets` must hold one set of embeddings per seed; twin has seeds \[\]"),
        (lambda s: {**s, "twin": s["twin"][:1] * 2}, r"one set of embeddings per seed; twin has seeds \[2, 2\]"),
        (lambda s: {**s, "twin": [replace(s["twin"][0], seed=9)]}, r"must share a seed .*; twin has \[9\]"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(
    change: Callable[[dict[str, list[EmbeddingSet]]], dict[str, list[EmbeddingSet]]],
    sentence: str,
    sets: dict[str, list[EmbeddingSet]],
) -> None:
    with pytest.raises(ValueError, match=sentence):
        build(change(sets))


def test_the_example_of_the_documentation_runs(
    root: Path, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    code, *_ = re.findall(
        r"```python\n(.*?)```", (root / "docs" / "scorecard.md").read_text(encoding="utf-8"), re.DOTALL
    )
    before, after = planted(noise=1.2), planted(draw=1, rank=6, noise=0.3)
    names = {"gallery": after.gallery, "query": after.query, "gallery_labels": after.gallery_labels}
    names |= {"query_labels": after.query_labels, "gallery_before": before.gallery, "query_before": before.query}
    exec(compile(code, "docs/scorecard.md", "exec"), names)
    assert capsys.readouterr().out.startswith("compact 6 ")


def test_a_null_model_that_passes_takes_the_word_from_every_arm(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sham is the compact arm itself, so that both get the word."""
    sets = {"encoder": [planted(noise=1.2)], "narrow": [planted(arm="narrow", noise=0.2, rank=4, dim=4, draw=2)]}
    assert build(sets, with_nulls=False).arm("narrow").verdict.word == "compact"
    assert build(sets).arm("narrow").verdict.word == "compact"

    monkeypatch.setitem(NULL_MODELS, "sham", lambda data: replace(sets["narrow"][0], arm="sham"))
    card = build(sets)
    assert card.nulls[-1].verdict.word == "compact"
    assert card.arm("narrow").verdict.word == "compact, but so is a null model"
    line = str(verdict_lines(card)[1])
    assert line.startswith("narrow: compact, but so is a null model. In 4 dimensions it is ahead of encoder cut by PCA")
    assert "The rule: so is sham, a null model that is no better than the baseline" in line
    assert str(null_lines(card)[-1]) == (
        "Beware: sham passes for compact here, so the word is withdrawn from every arm."
    )
