# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.metrics import EmbeddingReport
from lightning_monocon.scorecard import EmbeddingSet, Score, measure, score
from lightning_monocon.scorecard.nulls import NULL_MODELS, repeated_rows, shifted_cone, subsample, untrained_head
from lightning_monocon.scorecard.verdict import RULES, flags, judge, judge_alone

Planted = Callable[..., EmbeddingSet]
Digits = tuple[Tensor, Tensor, Tensor, Tensor]
SEEDS = range(3)


def arm(make: Callable[[int], EmbeddingSet], extra: tuple[int, ...] = ()) -> list[Score]:
    return [measure(make(seed), extra=(*extra, *range(1, 17))) for seed in SEEDS]


@pytest.fixture(scope="module")
def pixels(digits: Digits) -> EmbeddingSet:
    return EmbeddingSet(*digits, arm="encoder")


def test_the_baseline_against_itself_is_not_distinguishable(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed))
    verdict = judge(baseline, baseline)
    assert verdict.word == "not distinguishable from the baseline"
    assert verdict.facts is not None and verdict.facts.dimension_ratio == 1
    noisy = arm(lambda seed: planted(seed=seed, draw=1))
    assert judge(noisy, baseline).word == "not distinguishable from the baseline"


def test_a_true_low_rank_that_holds_the_classes_is_compact(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed, noise=0.8))
    compact = arm(lambda seed: planted(seed=seed, draw=1, rank=6, noise=0.3, arm="head"))
    verdict = judge(compact, baseline)
    assert verdict.word == "compact"
    assert verdict.facts is not None and verdict.facts.kept.k == 6 and verdict.facts.kept.other_k == 16


def test_few_dimensions_with_less_accuracy_are_not_called_compact(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed))
    lossy = arm(lambda seed: planted(seed=seed, draw=1, rank=4, noise=0.5, arm="head"))
    assert judge(lossy, baseline).word == "under-trained"


def test_a_short_run_is_called_under_trained(digits: Digits, pixels: EmbeddingSet) -> None:
    """Two epochs of a squared-weight head on the pixels, by cross-entropy to class means."""
    generator = torch.Generator().manual_seed(0)
    gallery, labels, query, _ = digits
    weight = torch.empty(64, 64).normal_(0, 0.125, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.01)
    for part in torch.arange(len(gallery)).split(200) * 2:
        rows = normalize(gallery[part] @ weight.square().T)
        means = torch.stack([rows[labels[part] == c].mean(0) for c in range(10)])
        loss = torch.nn.functional.cross_entropy(10 * rows @ normalize(means).T, labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    short = [(x @ weight.square().T).detach() for x in (gallery, query)]
    found = score(
        gallery=short[0],
        gallery_labels=labels,
        query=short[1],
        query_labels=digits[3],
        baseline=pixels,
    )
    assert found.verdict is not None and found.verdict.word in ("under-trained", "collapsed")


def test_random_rows_collapsed(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed))

    def blind(seed: int) -> EmbeddingSet:
        data, generator = planted(seed=seed), torch.Generator().manual_seed(seed)
        rows = [torch.randn(x.shape, generator=generator) for x in (data.gallery, data.query)]
        return replace(data, gallery=rows[0], query=rows[1], arm="blind")

    assert judge(arm(blind), baseline).word == "collapsed"
    assert judge_alone(arm(blind)[0]).word == "collapsed"


def test_equal_rows_collapsed(planted: Planted) -> None:
    data = planted()
    flat = measure(replace(data, gallery=torch.ones_like(data.gallery), query=torch.ones_like(data.query)))
    assert judge([flat], [measure(data)]).reason == judge_alone(flat).reason == "all rows of the gallery are equal"


@pytest.mark.parametrize(
    ("null", "word"),
    [
        (untrained_head, "collapsed or under-trained"),
        (shifted_cone, "narrower cone only"),
        (subsample, "smaller sample"),
        (repeated_rows, "smaller sample"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("source", ["planted", "digits"])
def test_every_null_model_is_called_what_it_is(
    null: Callable[[EmbeddingSet], EmbeddingSet], word: str, source: str, planted: Planted, pixels: EmbeddingSet
) -> None:
    data = pixels if source == "digits" else planted(dim=32, rank=32)
    assert judge([measure(null(data))], [measure(data)]).word in word


def test_null_models_win_the_headline_figures_that_they_are_there_to_expose(pixels: EmbeddingSet) -> None:
    nulls = [make(pixels) for make in NULL_MODELS.values()]
    honest, head, cone, few, repeated = (measure(data) for data in (pixels, *nulls))
    assert head.n99 < honest.n99 and head.rmse < honest.rmse / 4
    assert cone.rmse < honest.rmse / 4 and cone.fvu == pytest.approx(honest.fvu, rel=0.2)
    assert few.n99 < honest.n99 and few.classes == honest.classes
    assert repeated.n99 < honest.n99 and repeated.n == honest.n and repeated.distinct == few.n


def test_null_models_are_the_same_every_time(pixels: EmbeddingSet) -> None:
    before = torch.random.get_rng_state()
    for make in NULL_MODELS.values():
        torch.testing.assert_close(make(pixels).gallery, make(pixels).gallery, rtol=0, atol=0)
    torch.testing.assert_close(torch.random.get_rng_state(), before, rtol=0, atol=0)


def test_more_and_less_accuracy_without_fewer_dimensions_have_their_words(planted: Planted) -> None:
    sharp, dull = (arm(lambda seed, n=n: planted(seed=seed, noise=n)) for n in (0.4, 1.2))
    assert judge(sharp, dull).word == "more accurate"
    assert judge(dull, sharp).word == "less accurate"


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
    assert repeated == "repeated rows (300 of 600 in the gallery)"
    assert leak == "leak (50 of 150 queries are rows of the gallery)"
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


def test_every_rule_has_its_own_word_and_a_reason_and_the_last_always_applies() -> None:
    assert len({rule.word for rule in RULES}) == len(RULES)
    assert all(rule.reason for rule in RULES)


def test_score_judges_against_a_baseline_of_the_same_rows(planted: Planted) -> None:
    data, low = planted(noise=0.8), planted(draw=1, rank=6, noise=0.3)
    parts = {name: getattr(low, name) for name in ("gallery", "gallery_labels", "query", "query_labels")}
    judged = score(**parts, baseline=data)
    assert judged.verdict is not None and judged.verdict.word == "compact"
    alone = score(**parts)
    assert alone.verdict is not None and alone.verdict.word == "not judged"


def test_a_baseline_of_other_rows_is_refused(planted: Planted) -> None:
    data = planted()
    parts = {name: getattr(data, name) for name in ("gallery", "gallery_labels", "query", "query_labels")}
    with pytest.raises(ValueError, match=r"`baseline` must hold the same rows .*; its gallery_labels are 120, not 600"):
        score(**parts, baseline=subsample(data))
    other = replace(data, query_labels=data.query_labels.roll(1))
    with pytest.raises(
        ValueError, match=r"`baseline` must hold the same rows .*; its query_labels differ in \d+ of 300"
    ):
        score(**parts, baseline=other)


def test_two_seeds_that_disagree_do_not_excuse_a_loss(planted: Planted) -> None:
    """Student's t on two seeds is so wide that any loss lies within; the queries know better."""
    baseline = arm(lambda seed: planted(seed=seed, noise=0.6))[:2]
    lossy = arm(lambda seed: planted(seed=seed, draw=1, rank=4, noise=0.3 + 0.2 * seed, arm="head"))[:2]
    verdict = judge(lossy, baseline)
    assert verdict.facts is not None
    kept = verdict.facts.kept
    assert kept.low < 0 < kept.high and kept.query_interval[1] < 0 and kept.difference < -0.01
    assert verdict.word == "under-trained"


def test_a_narrow_model_that_holds_some_classes_has_not_collapsed(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed, noise=0.3))
    narrow = arm(lambda seed: planted(seed=seed, draw=1, rank=2, dim=2, noise=0.9, arm="narrow"))
    verdict = judge(narrow, baseline)
    assert verdict.facts is not None and verdict.facts.skill < 0.5
    assert verdict.word == "under-trained"
