# SPDX-License-Identifier: Apache-2.0
"""Planted upgrades: a turned space, a better model, a worse one, and what the report says of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, LabelTruth, QrelsTruth, Upgrade, upgrade, upgrade_text
from lightning_monocon.scorecard.render.upgrade import advice
from lightning_monocon.scorecard.upgrade import Way

OLD, AS_THEY_ARE, MAPPED, AGAIN = range(4)


def rows(count: int, seed: int, noise: float, width: int = 8) -> tuple[Tensor, Tensor]:
    """Return classes in Gaussian noise; less noise is a better model of the same rows."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    centres = torch.randn(10, width, generator=torch.Generator().manual_seed(9))
    return centres[labels] + noise * torch.randn(count, width, generator=generator), labels


def embedded(noise: float, turn: Tensor | None = None) -> EmbeddingSet:
    (gallery, one), (query, other) = rows(400, 1, noise), rows(500, 2, noise)
    turn = torch.eye(8) if turn is None else turn
    return EmbeddingSet(gallery @ turn, one, query @ turn, other)


def turned(width: int = 8) -> Tensor:
    torch.manual_seed(3)
    return torch.linalg.qr(torch.randn(max(width, 8), max(width, 8)))[0][:8, :width]


def test_a_turned_space_is_mapped_back_without_loss() -> None:
    old = embedded(1.2)
    (found,) = upgrade(old, embedded(1.2, turned(12)))
    values = [way.values["knn_accuracy"] for way in found.ways]
    assert values[MAPPED].equal(values[OLD])
    assert values[AGAIN].mean() == pytest.approx(float(values[OLD].mean()), abs=0.01)
    assert values[AS_THEY_ARE].mean() < 0.3, "the first numbers of a turned space say nothing"
    assert found.fitted == 400
    assert advice(found) == "Keep the old model: nothing new is ahead of it by more than noise."


def test_figures_are_those_of_scikit_learn() -> None:
    old, new = embedded(1.2), embedded(0.8)
    (found,) = upgrade(old, new)
    for way, gallery, query in ((OLD, old, old), (AS_THEY_ARE, old, new), (AGAIN, new, new)):
        judge = KNeighborsClassifier(5, metric="cosine").fit(gallery.gallery, gallery.gallery_labels)
        right = judge.predict(query.query) == query.query_labels.numpy()
        assert found.ways[way].mean("knn_accuracy") == pytest.approx(right.mean(), abs=0.005)


def test_a_compatible_and_better_model_is_taken_as_it_is() -> None:
    old = embedded(1.2)
    new = embedded(0.6)  # the same centres: its space is the old one
    (found,) = upgrade(old, new, embedded(1.2, turned()))
    assert [way.keeps for way in found.ways] == [True, True, True, False, False]
    assert found.best is found.ways[AS_THEY_ARE]
    assert advice(found).startswith("Take new queries as they are, old gallery: ")
    assert "If you can, embed the gallery again" in advice(found)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ((50, 50, 52, 51), "Keep the old model: nothing new"),
        ((50, 20, 52, 80), "Embed the gallery again (d): 30.0 points"),
        ((50, 70, 20, 71), "Take b: 20.0 points (8.5 to 31.5) ahead of the old model, and embedding"),
        ((50, 70, 69, 71), "Take b, level with c: 20.0 points"),
        ((50, 70, 20, 95), "Take b: 20.0 points (8.5 to 31.5) ahead of the old model. If you can, embed the gallery"),
    ],
    ids=["keep", "again", "queries", "level", "both"],
)
def test_the_advice_follows_the_leads(right: tuple[int, ...], said: str) -> None:
    values = [{"knn_accuracy": (torch.arange(100) < count).double()} for count in right]
    ways = [Way(name, name != "d", each) for name, each in zip("abcd", values, strict=True)]
    labels = torch.arange(100) % 5
    assert advice(Upgrade(LabelTruth(labels, labels), tuple(ways), 100)).startswith(said)


def test_a_worse_model_is_not_taken() -> None:
    (found,) = upgrade(embedded(0.8), embedded(2.5))
    assert advice(found).startswith("Keep the old model")
    assert found.lead(found.again, found.old).high < 0


def test_intervals_are_those_of_queries_in_pairs_and_wider_for_all_of_them() -> None:
    (found,) = upgrade(embedded(1.2), embedded(0.8))
    way = found.ways[AS_THEY_ARE]
    lead = found.lead(way, found.old)
    differences = way.values["knn_accuracy"] - found.old.values["knn_accuracy"]
    error = float(((differences.var() * 499 + 2) / 499 / 500).sqrt())  # one query won and one lost are added
    assert lead.difference == pytest.approx(float(differences.mean()))
    # Bonferroni over the six pairs of four ways: 2.65 deviations of Student's t
    assert lead.high - lead.difference == pytest.approx(2.65 * error, rel=0.01)


def test_qrels_judge_beside_labels() -> None:
    old, new = embedded(1.2), embedded(0.8)
    query, row = torch.arange(500), torch.arange(500) % 400
    truth = QrelsTruth(query, row, torch.ones_like(row), 500, 400)
    found = upgrade(replace(old, truths=(truth,)), new)
    assert [each.truth.kind for each in found] == ["labels", "qrels"]
    text = upgrade_text(found)
    assert "nDCG@10 %" in text and "MAP@100 %" in text and "5-NN %" in text
    assert "fitted on the 400 rows of the gallery" in text


def test_a_narrower_model_has_no_first_numbers_to_ask_with() -> None:
    (found,) = upgrade(embedded(1.2), embedded(0.8, turned(5)))
    assert [way.name.partition(",")[0] for way in found.ways] == ["old model", "new queries through a map", "new model"]


def test_other_rows_are_refused() -> None:
    old, new = embedded(1.2), embedded(0.8)
    shorter = replace(new, query=new.query[1:], query_labels=new.query_labels[1:])
    with pytest.raises(ValueError, match="`new` must embed the rows of `old` in their order; its query has 499 rows"):
        upgrade(old, shorter)
    other = replace(new, query_labels=new.query_labels.flip(0))
    with pytest.raises(ValueError, match=r"`free` must embed the rows of `old` .*; the labels of its query differ"):
        upgrade(old, new, other)
    with pytest.raises(ValueError, match="`old` must have labels or qrels"):
        upgrade(replace(old, gallery_labels=None, query_labels=None), new)
