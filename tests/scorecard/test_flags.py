# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch

from lightning_monocon.metrics import EmbeddingReport
from lightning_monocon.runs.record import History
from lightning_monocon.scorecard import EmbeddingSet, build, measure
from lightning_monocon.scorecard.flags import ACCURACY, flags, training_flags
from lightning_monocon.scorecard.nulls import shifted_cone

Planted = Callable[..., EmbeddingSet]


def test_repeated_rows_leaks_and_small_samples_are_flagged(planted: Planted) -> None:
    data = planted(rows=(300, 100))
    assert flags(measure(data)) == ()
    doubled = replace(
        data,
        gallery=data.gallery.repeat(2, 1),
        gallery_labels=data.gallery_labels.repeat(2),
        query=torch.cat([data.query, data.gallery[:50]]),
        query_labels=torch.cat([data.query_labels, data.gallery_labels[:50]]),
    )
    repeated, leak = flags(measure(doubled))
    assert repeated == (
        "repeated rows (300 of 600 in the gallery): the 5 nearest hold about 2 different, so recall@k is that of fewer"
    )
    assert leak == "leak (50 of 150 queries are rows of the gallery, and find themselves)"
    (small,) = flags(measure(planted(rows=(159, 100))))
    assert small.startswith("small sample (159 rows, fewer than 10 x 16)")
    (cone,) = flags(measure(shifted_cone(data)))
    assert cone.startswith("narrow cone (mean cosine 0.99")


@pytest.mark.parametrize(("repeated", "found"), [(9, set()), (24, {"repeated_rows"})], ids=["3 %", "8 %"])
def test_the_scorecard_and_the_metrics_raise_the_same_flags(repeated: int, found: set[str], planted: Planted) -> None:
    data = planted(rows=(300, 100))
    gallery = torch.cat([data.gallery[repeated:], data.gallery[-repeated:]])
    labels = torch.cat([data.gallery_labels[repeated:], data.gallery_labels[-repeated:]])
    report = EmbeddingReport()
    report.update(embeddings=gallery, role="gallery")
    report.update(embeddings=data.query, role="query")
    assert {flag.name for flag in report.report().flags} == found
    said = flags(measure(replace(data, gallery=gallery, gallery_labels=labels)))
    assert {text.split(" (")[0].replace(" ", "_") for text in said} == found


@pytest.mark.parametrize("factor", [2.0, 0.3, 7e5], ids=str)
def test_a_leak_is_found_whatever_the_length_of_its_rows(factor: float, planted: Planted) -> None:
    data = planted(rows=(300, 100))
    taken = factor * data.gallery[:50]
    taken[:, 3] = -0.0
    rows = data.gallery.clone()
    rows[:50, 3] = 0.0
    leaking = replace(data, gallery=rows, query=torch.cat([taken, data.query[50:]]))
    assert measure(leaking).leaked == 50
    assert flags(measure(leaking)) == ("leak (50 of 100 queries are rows of the gallery, and find themselves)",)


def test_queries_that_are_asked_twenty_times_are_flagged(planted: Planted) -> None:
    data = planted(rows=(300, 100))
    often = replace(data, query=data.query.repeat(20, 1), query_labels=data.query_labels.repeat(20))
    (said,) = flags(measure(often, dims=(16,)))
    assert said == "repeated queries (1900 of 2000): intervals over all queries are too narrow"


def test_codes_that_coincide_are_not_called_copies(planted: Planted) -> None:
    """Of 10 single bits there are 1024: 600 rows must share some, and queries must meet them."""
    data = planted(dim=10, rank=10, noise=1.5)
    coded = replace(data, gallery=data.gallery.sign(), query=data.query.sign())
    score = measure(coded)
    assert score.coded and score.distinct < 500 and score.leaked > 100
    (said,) = flags(score)
    assert said.startswith("coarse codes (") and said.endswith("too coarse to tell copies and leaks")


def test_half_precision_is_no_leak_and_no_smaller_sample(planted: Planted) -> None:
    data = planted(dim=2, rank=2, noise=1.5, rows=(3000, 600))
    half = replace(data, gallery=data.gallery.half(), query=data.query.half())
    score = measure(half, dims=(2,))
    assert flags(score) == () or flags(score)[0].startswith("coarse codes")


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_classes_that_cannot_win_the_vote_are_flagged(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    centres, labels = torch.randn(40, 8, generator=generator), torch.arange(40).repeat(rows)
    gallery = centres[labels] + 0.01 * torch.randn(len(labels), 8, generator=generator)
    asked = torch.arange(200) % 40
    query = centres[asked] + 0.01 * torch.randn(200, 8, generator=generator)
    found = [text for text in flags(measure(EmbeddingSet(gallery, labels, query, asked))) if "class" in text]
    expected = "small classes (200 of 200 queries have fewer than 3 gallery rows of their class): the tie rule decides "
    assert [text.startswith(expected) for text in found] == [True] * (rows < 3)


def _history(values: Mapping[int, float]) -> History:
    return History({ACCURACY: values})


def test_a_short_baseline_is_flagged_on_both_sides(planted: Planted) -> None:
    rise = _history({0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 0.95})
    flat = _history(dict.fromkeys(range(40), 0.97))
    sets = {name: [planted(arm=name, draw=draw)] for draw, name in enumerate(("encoder", "head"))}
    card = build(sets, "encoder", {"encoder": [rise], "head": [flat]}, brief=True)
    (still,), (unequal,) = (arm.flags for arm in card.arms)
    assert still == f"still learning ({ACCURACY} rose 15.0 points in the last quarter of the run): train longer"
    assert unequal == "unequal training (40 epochs, the baseline 5): the longer run may owe its lead to it"


@pytest.mark.parametrize(
    ("ours", "theirs", "told"), [(40, 40, False), (40, 21, False), (40, 20, True), (5, 40, True), (40, 0, False)]
)
def test_runs_of_unequal_length_are_flagged(ours: int, theirs: int, told: bool) -> None:
    runs = [[_history(dict.fromkeys(range(count), 0.5))] if count else [] for count in (ours, theirs)]
    assert bool(training_flags(*runs)) is told
