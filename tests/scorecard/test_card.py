# SPDX-License-Identifier: Apache-2.0
"""The scorecard as a whole: in words, in tables, as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, as_json, build
from lightning_monocon.scorecard.nulls import NULL_MODELS
from lightning_monocon.scorecard.render.schema import SCHEMA
from lightning_monocon.scorecard.render.sentences import best_lines, null_lines, verdict_lines
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.scorecard.render.text import as_markdown, as_text

Planted = Callable[..., EmbeddingSet]


@pytest.fixture(scope="module")
def sets(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    """A baseline, its equal twin, a better narrow arm and a flat one; three seeds."""

    def arm(name: str, **how: object) -> list[EmbeddingSet]:
        return [planted(arm=name, seed=seed, **how) for seed in (2, 0, 1)]

    flat = [replace(data, arm="flat", gallery=torch.ones_like(data.gallery)) for data in arm("flat")]
    return {
        "twin": arm("twin", noise=1.2, draw=1),
        "encoder": arm("encoder", noise=1.2),
        "narrow": arm("narrow", noise=0.2, rank=4, dim=4, draw=2),
        "flat": flat,
    }


@pytest.fixture(scope="module")
def card(sets: dict[str, list[EmbeddingSet]]) -> Scorecard:
    return build(sets)


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


def test_the_words_name_the_winner_the_noise_and_the_rival(card: Scorecard) -> None:
    best, words = "\n".join(best_lines(card)), verdict_lines(card)
    assert "narrow (" in best and "wins, ahead of" in best
    assert words[0] == "encoder: baseline: what the others must beat."
    assert words[1].startswith("twin: not distinguishable from the baseline; within the noise of encoder + PCA-")
    assert words[2].startswith("narrow: compact; ahead of encoder + PCA-4 (+")
    assert words[3].startswith("flat: collapsed: all rows of the gallery are equal.")
    assert len(null_lines(card)) == 4


def test_ties_are_said_to_be_within_the_noise(sets: dict[str, list[EmbeddingSet]]) -> None:
    card = build({name: sets[name] for name in ("encoder", "twin")})
    last = best_lines(card)[-1]
    assert "leads, but within the noise of" in last and "points, 95 %" in last
    assert card.winners[-1].ties and not card.winners[-1].distinguishable


def test_a_null_model_that_passes_for_compact_is_denounced(card: Scorecard) -> None:
    verdict = replace(card.arm("narrow").verdict, word="compact")
    fooled = replace(card, nulls=(replace(card.nulls[0], verdict=verdict), *card.nulls[1:]))
    assert null_lines(fooled)[-1] == "A null model passes for compact here, so the word means nothing for these rows."


def test_the_text_holds_every_figure_and_fits_a_terminal(card: Scorecard) -> None:
    text = as_text(card)
    assert text == card.table()
    for word in ("4 arms, seeds 0, 1, 2", "FVU %", "total variance", "PCA rival %", "5-NN % at k =", "±"):
        assert word in text
    assert max(map(len, text.splitlines()[1:])) <= 120


def test_one_seed_is_said_to_say_nothing_about_training(sets: dict[str, list[EmbeddingSet]]) -> None:
    text = as_text(build({name: runs[:1] for name, runs in sets.items()}))
    assert text.startswith("4 arms, seed 2; one seed says nothing about training noise. ")
    assert "±" not in text


def test_markdown_has_tables_and_figures(card: Scorecard) -> None:
    text = as_markdown(card, [("frontier.png", "The frontier.")])
    assert "| arm | D | n99 |" in text and "| --- | ---: |" in text
    assert "![The frontier.](frontier.png)" in text


def test_text_columns_are_aligned() -> None:
    table = Table(("a", "bb"), (("ccc", "d"), ("e", "ffff")))
    assert table.as_text() == "a      bb\n---  ----\nccc     d\ne    ffff"
    assert table.as_markdown() == "| a | bb |\n| --- | ---: |\n| ccc | d |\n| e | ffff |"


def test_json_is_versioned_plain_and_complete(card: Scorecard) -> None:
    plain = json.loads(json.dumps(as_json(card), allow_nan=False))
    assert plain["schema"] == SCHEMA == "lightning-monocon/scorecard/2"
    assert [arm["name"] for arm in plain["arms"]] == ["encoder", "twin", "narrow", "flat"]
    run = plain["arms"][2]["runs"][0]
    assert (run["n99"], run["seed"], run["n"], run["dim"]) == (4, 0, 600, 4)
    assert run["frontier"]["dims"] == [1, 2, 3, 4]
    assert run["frontier"]["knn_accuracy"][-1] == run["knn_accuracy"]
    assert run["recall"]["1"] == run["frontier"]["recall_at_1"][-1]
    assert plain["arms"][3]["runs"][0]["rmse"] is None
    assert plain["arms"][2]["verdict"]["facts"]["rival"]["distinguishable"] is True
    assert [best["k"] for best in plain["winners"]] == plain["dims"]
    assert [null["name"] for null in plain["nulls"]] == list(NULL_MODELS)


def test_the_same_embeddings_give_the_same_scorecard(sets: dict[str, list[EmbeddingSet]], card: Scorecard) -> None:
    assert as_json(build(sets)) == as_json(card)


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


def test_unknown_figures_are_not_invented(card: Scorecard) -> None:
    flat = card.arm("flat")
    assert math.isnan(flat.spread("rmse")[0])
    row = next(line for line in card.table().splitlines() if line.startswith("flat"))
    assert "0.0" in row


def test_the_example_of_the_documentation_runs(
    root: Path, planted: Planted, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (root / "docs" / "scorecard.md").read_text(encoding="utf-8"), re.DOTALL
    )
    before, after = planted(noise=0.8), planted(draw=1, rank=6, noise=0.3)
    names = {"gallery": after.gallery, "query": after.query, "gallery_labels": after.gallery_labels}
    names |= {"query_labels": after.query_labels, "gallery_before": before.gallery, "query_before": before.query}
    exec(compile(code, "docs/scorecard.md", "exec"), names)
    assert capsys.readouterr().out.startswith("compact 6 ")
