# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lightning_monocon.scorecard import (
    EmbeddingSet,
    GradedTruth,
    NeighbourTruth,
    Scorecard,
    as_json,
    as_text,
    build,
    draw,
)
from lightning_monocon.scorecard.render.figures import caption
from lightning_monocon.scorecard.render.logged import logged_summary, logged_table
from lightning_monocon.scorecard.render.text import as_markdown

Planted = Callable[..., EmbeddingSet]


@pytest.fixture(scope="module")
def sets(planted: Planted) -> dict[str, list[EmbeddingSet]]:
    def known(data: EmbeddingSet, reference: EmbeddingSet) -> EmbeddingSet:
        graded = GradedTruth("stsb", torch.arange(60), torch.arange(60, 120), torch.arange(60.0))
        truths = (NeighbourTruth.of(reference), graded)
        return replace(data, gallery_labels=None, query_labels=None, truths=truths)

    full = planted(rows=(200, 120))
    return {"encoder": [known(full, full)], "cut": [known(planted(arm="cut", rows=(200, 120), rank=4, dim=4), full)]}


@pytest.fixture(scope="module")
def judged(sets: dict[str, list[EmbeddingSet]]) -> Scorecard:
    return build(sets)


def test_a_report_on_neighbours_says_first_that_it_measures_change(judged: Scorecard) -> None:
    alone = replace(judged, others=())
    for text in (as_text(alone), as_markdown(alone)):
        first = text.split("\n\n")[1]
        assert first.startswith("This measures change, not quality") and "encoder" in first


def test_every_truth_has_its_name_and_its_measures(judged: Scorecard) -> None:
    text = as_text(judged)
    for part in (
        "overlap@10 % at k =",
        "Judged by stsb: best at each size",
        "Spearman x 100 at k =",
        "stsb: Spearman x 100",
        "60 graded pairs in stsb (chance 0.000)",
        "Of the nearest rows in the reference, overlap@k",
    ):
        assert part in " ".join(text.split()), part
    assert "5-NN" not in text and "Recall@1 " not in text


def test_figures_of_further_truths_have_a_number(judged: Scorecard, sets: dict[str, list[EmbeddingSet]]) -> None:
    drawn = draw(judged, [runs[0] for runs in sets.values()])
    assert {"frontier.png", "frontier-2.png", "storage-2.png"} <= {*drawn} and "recall-2.png" not in drawn
    assert drawn["frontier-2.png"].axes[0].get_ylabel() == "Spearman's correlation (x 100)"
    assert caption("frontier-2.png", judged).startswith("Spearman's correlation against kept dimensions")
    assert caption("frontier-2.png", judged).endswith("Judged by stsb.")
    with pytest.raises(ValueError, match=r"`name` must be that of a figure, .* got 'x.png'"):
        caption("x.png", judged)


def test_loggers_take_the_measures_of_every_truth(judged: Scorecard) -> None:
    columns, rows = logged_table(judged)
    assert {"overlap@10", "rbo", "stsb/spearman", "stsb/pearson"} <= {*columns} and "knn_accuracy" not in columns
    assert all(len(row) == len(columns) for row in rows)
    assert logged_summary(judged)["scorecard/encoder/overlap@10"] == 1.0


def test_json_holds_every_truth(judged: Scorecard) -> None:
    plain = json.loads(json.dumps(as_json(judged), allow_nan=False))
    assert plain["truth"]["kind"] == "neighbours" and plain["truth"]["measures"][0] == "overlap@10"
    (other,) = plain["others"]
    assert other["truth"] == {
        "kind": "graded",
        "name": "stsb",
        "measures": ["spearman", "pearson"],
        "unit": "pair",
        "units": 60,
        "warnings": [],
    }
    run = other["arms"][1]["runs"][0]
    assert run["values"]["spearman"] == run["frontier"]["values"]["spearman"][-1] and "knn_accuracy" not in run
