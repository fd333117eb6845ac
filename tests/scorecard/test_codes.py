# SPDX-License-Identifier: Apache-2.0
"""The best code for each number of bytes, fitted on the gallery and judged by queries that did not choose it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.candidates import named
from lightning_monocon.scorecard import EmbeddingSet, GradedTruth, measure_all
from lightning_monocon.scorecard.codes import Tried, best_codes, check_codes
from lightning_monocon.scorecard.render.schema import as_json
from lightning_monocon.scorecard.scoring import scorecard_of

Planted = Callable[..., EmbeddingSet]


def tried(name: str, size: int, values: list[float]) -> Tried:
    return Tried(name, size, {"knn_accuracy": torch.tensor(values, dtype=torch.float64)})


def test_a_code_that_fits_the_judging_half_alone_gains_nothing() -> None:
    lucky = tried("lucky", 1, [0, 1] * 10)  # of no use to the even half
    other = tried("other", 1, [1, 0] * 10)
    plain = tried("plain", 1, [0.4, 0.4] * 10)
    found = best_codes([lucky, other, plain], [1])
    assert found.means() == (0.0,)  # each half chooses what the other has nothing of
    assert found.bytes == (1,)
    honest = best_codes([plain, tried("better", 2, [0.5] * 20)], [1, 2, 4])
    assert (honest.names, honest.means()) == (("plain", "better", "better"), pytest.approx((0.4, 0.5, 0.5)))


def test_chance_is_not_rewarded() -> None:
    random = np.random.default_rng(0)
    lots = [tried(str(i), 1, random.integers(0, 2, 400).tolist()) for i in range(200)]
    assert max(float(each.values["knn_accuracy"].mean()) for each in lots) > 0.55  # what the best of 200 coins shows
    assert best_codes(lots, [1]).means()[0] == pytest.approx(0.5, abs=0.04)


def test_codes_are_those_that_an_export_would_ship(planted: Planted) -> None:
    data = planted(rows=(1100, 200), noise=1.2)
    (score,) = measure_all(data, rounded=True)
    assert score.codes is not None and score.codes.fitted
    assert score.codes.names[1] in ("transform-2", "scalar1-2", "scalar2-2", "scalar4-2")
    width = data.gallery.shape[1]
    codec = named(score.codes.names[1], width).fitted(FittingRows.of(data.gallery, sample_rows=8192))[0]
    near = codec.score(data.query, codec.encode(data.gallery)).topk(5).indices
    votes = torch.nn.functional.one_hot(data.gallery_labels[near]).sum(1).argmax(1)
    right = float((votes == data.query_labels).double().mean())
    assert score.codes.means()[1] == pytest.approx(right, abs=0.05)  # ties, and a half may choose another
    plain = [line.means()[line.index(k)] for line, k in ((score.line("int8"), 2), (score.line("binary"), 16))]
    assert score.codes.means()[1] > max(plain) - 0.02


def test_few_rows_have_plain_numbers_alone(planted: Planted) -> None:
    (score,) = measure_all(planted(rows=(300, 60)), rounded=True)
    assert score.codes is not None and not score.codes.fitted
    assert all(" in " in name for name in score.codes.names)


def test_pairs_are_compared_code_by_code(planted: Planted) -> None:
    data = planted(rows=(1100, 200))
    left = torch.arange(0, 200, 2)
    scores = (data.query[left] * data.query[left + 1]).sum(1)
    pairs = GradedTruth("pairs", left, left + 1, scores)
    found = measure_all(EmbeddingSet(data.gallery, None, data.query, truths=(pairs,)), rounded=True)[0]
    assert found.codes is not None and found.codes.fitted
    assert found.codes.means()[-1] > 0.9 and found.codes.means()[0] < found.codes.means()[-1]


def clustered(seed: int, rows: tuple[int, int] = (1200, 200), centres: int = 150, dim: int = 8) -> EmbeddingSet:
    """Rows about centres in all directions alike: 256 centroids tell them apart, 8 bits of components do not."""
    source = torch.Generator().manual_seed(seed)
    places = torch.nn.functional.normalize(torch.randn(centres, dim, generator=source))
    labels = torch.arange(sum(rows)) % centres
    x = places[labels] + 0.02 * torch.randn(sum(rows), dim, generator=source)
    n = rows[0]
    return EmbeddingSet(x[:n], labels[:n], x[n:], labels[n:], arm="clustered")


def own_votes(codec: Codec, data: EmbeddingSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the fewest and most of the 5 nearest codes that have a query's label, whatever is first of equally near.

    Float queries search among decoded codes, in float64 NumPy.
    """
    stored = codec.decode(codec.encode(data.gallery)).double().numpy()
    asked = codec.space.queries(data.query).double().numpy()
    cosines = (asked @ stored.T) / np.linalg.norm(stored, axis=1) / np.linalg.norm(asked, axis=1)[:, None]
    assert data.gallery_labels is not None and data.query_labels is not None
    own = data.gallery_labels.numpy() == data.query_labels.numpy()[:, None]
    fifth = np.sort(cosines, axis=1)[:, -5, None]
    nearer, level = cosines > fifth + 1e-6, abs(cosines - fifth) <= 1e-6
    left, sure = 5 - nearer.sum(1), (nearer & own).sum(1)
    return sure + np.maximum(0, left - (level & ~own).sum(1)), sure + np.minimum(left, (level & own).sum(1))


def test_all_families_compete_where_they_are_asked_for() -> None:
    pytest.importorskip("faiss")
    data = clustered(0)
    (fast,), card = measure_all(data, rounded=True), scorecard_of(data, codes="all")
    found = card.arms[0].scores[0]
    assert fast.codes is not None and found.codes is not None
    name = found.codes.names[0]
    assert name in ("product-1", "pq-1", "opq-1", "residual-1")
    assert fast.codes.names[0].partition("-")[0] in ("transform", "scalar1", "scalar2", "scalar4")
    candidate = named(name, data.dim)
    codec = candidate.fit(FittingRows.of(data.gallery), candidate.bytes)
    fewest, most = own_votes(codec, data)
    right = found.codes.values["knn_accuracy"][0].numpy() > 0
    assert right[fewest >= 3].all() and not right[most == 0].any()
    assert ((fewest >= 3) | (most == 0)).mean() > 0.9
    assert found.codes.means()[0] > fast.codes.means()[0] + 0.1
    assert as_json(card)["arms"][0]["runs"][0]["codes"]["names"][0] == name
    assert all(after >= before - 0.02 for before, after in zip(fast.codes.means(), found.codes.means(), strict=True))


def test_fast_codes_are_the_default() -> None:
    data = clustered(1)
    (default,), (fast,) = measure_all(data, rounded=True), measure_all(data, rounded=True, codes="fast")
    assert default.codes is not None and fast.codes is not None
    assert default.codes.names == fast.codes.names
    assert all(torch.equal(default.codes.values[name], fast.codes.values[name]) for name in fast.codes.values)


def test_all_families_need_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ModuleNotFoundError, match=r"`--codes` all needs the package faiss.*monocon\[search\].*fast"):
        check_codes("all", "--codes")
    check_codes("fast")
    with pytest.raises(ValueError, match="`codes` must be one of 'fast', 'all'; got 'some'"):
        measure_all(clustered(2), rounded=True, codes="some")  # type: ignore[arg-type]


def test_larger_codes_are_tried_where_answers_need_them() -> None:
    draw = torch.Generator().manual_seed(0)
    gallery, query = torch.randn(1100, 96, generator=draw), torch.randn(300, 96, generator=draw)
    (score,) = measure_all(EmbeddingSet(gallery, None, query), rounded=True)  # without structure every bit counts
    assert score.codes is not None
    by_size = dict(zip(score.codes.bytes, score.codes.names, strict=True))
    assert by_size[256] == "half-192" and score.codes.means()[score.codes.bytes.index(256)] > 0.99
    assert score.codes.means()[score.codes.bytes.index(64)] < 0.95


def test_a_vote_of_labels_needs_no_larger_codes(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a larger code was fitted")

    monkeypatch.setattr("lightning_monocon.scorecard.codes._Contest.large", refuse)
    (score,) = measure_all(planted(rows=(1100, 200), noise=0.1), rounded=True)
    assert score.codes is not None and score.codes.fitted
