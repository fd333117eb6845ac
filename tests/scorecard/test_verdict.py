# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_monocon.functional.spectrum import principal_components
from lightning_monocon.functional.truncation_curve import projected
from lightning_monocon.scorecard import EmbeddingSet, Score, measure, score
from lightning_monocon.scorecard.nulls import (
    NULL_MODELS,
    pca_cut,
    repeated_rows,
    shifted_cone,
    subsample,
    untrained_head,
)
from lightning_monocon.scorecard.verdict import Verdict, judge, judge_alone, withdrawn

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
    baseline = arm(lambda seed: planted(seed=seed, noise=1.2))
    compact = arm(lambda seed: planted(seed=seed, draw=1, rank=6, noise=0.3, arm="head"))
    verdict = judge(compact, baseline)
    assert verdict.word == "compact"
    assert verdict.facts is not None and verdict.facts.kept.k == 6 and verdict.facts.kept.other_k == 16


def test_few_dimensions_with_less_accuracy_are_not_called_compact(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed))
    lossy = arm(lambda seed: planted(seed=seed, draw=1, rank=4, noise=0.5, arm="head"))
    assert judge(lossy, baseline).word == "compact, but less accurate"


def test_a_short_run_is_called_less_accurate(digits: Digits, pixels: EmbeddingSet) -> None:
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
    assert found.verdict is not None and found.verdict.word in ("compact, but less accurate", "collapsed")


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
        (untrained_head, "collapsed or compact, but less accurate"),
        (shifted_cone, "narrower cone only"),
        (subsample, "smaller sample"),
        (repeated_rows, "smaller sample"),
        (pca_cut, "compact, but not ahead of PCA or not enough queries to tell"),
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
    honest, head, cone, few, repeated, cut = (measure(data) for data in (pixels, *nulls))
    assert head.n99 < honest.n99 and head.rmse < honest.rmse / 4
    assert cone.rmse < honest.rmse / 4 and cone.fvu == pytest.approx(honest.fvu, rel=0.2)
    assert few.n99 < honest.n99 and few.classes == honest.classes
    assert repeated.n99 < honest.n99 and repeated.n == honest.n and repeated.distinct == few.n
    assert cut.n99 <= 0.8 * honest.n99 and cut.dim == int(0.8 * honest.n99)


def test_null_models_are_the_same_every_time(pixels: EmbeddingSet) -> None:
    before = torch.random.get_rng_state()
    for make in NULL_MODELS.values():
        torch.testing.assert_close(make(pixels).gallery, make(pixels).gallery, rtol=0, atol=0)
    torch.testing.assert_close(torch.random.get_rng_state(), before, rtol=0, atol=0)


def test_more_and_less_accuracy_without_fewer_dimensions_have_their_words(planted: Planted) -> None:
    sharp, dull = (arm(lambda seed, n=n: planted(seed=seed, noise=n)) for n in (0.4, 1.2))
    assert judge(sharp, dull).word == "more accurate"
    assert judge(dull, sharp).word == "less accurate"


def test_score_judges_against_a_baseline_of_the_same_rows(planted: Planted) -> None:
    data, low = planted(noise=1.2), planted(draw=1, rank=6, noise=0.3)
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
    assert verdict.word == "compact, but less accurate"


def test_a_narrow_model_that_holds_some_classes_has_not_collapsed(planted: Planted) -> None:
    baseline = arm(lambda seed: planted(seed=seed, noise=0.3))
    narrow = arm(lambda seed: planted(seed=seed, draw=1, rank=2, dim=2, noise=0.9, arm="narrow"))
    verdict = judge(narrow, baseline)
    assert verdict.facts is not None and verdict.facts.skill < 0.5
    assert verdict.word == "compact, but less accurate"


def test_a_few_queries_that_show_no_loss_do_not_make_an_arm_compact(pixels: EmbeddingSet) -> None:
    """Three principal components of the digits lose a third; twenty queries leave it open, all of them show it."""
    few, cut = replace(pixels, query=pixels.query[:20], query_labels=pixels.query_labels[:20]), _cut(pixels, 3)
    small = replace(cut, query=cut.query[:20], query_labels=cut.query_labels[:20])
    verdict = judge([measure(small)], [measure(few, extra=(3,))])
    assert verdict.word == "not enough queries to tell"
    assert verdict.facts is not None and verdict.facts.kept.high >= 0 and verdict.facts.kept_loss.needed > 1000
    assert judge([measure(cut)], [measure(pixels, extra=(3,))]).word == "compact, but less accurate"


def test_a_cut_by_pca_is_not_ahead_of_pca(planted: Planted) -> None:
    """With enough queries the baseline cut to its eight directions of signal passes all but the last question."""
    data = _spread(planted(dim=32, rank=8, noise=0.2, rows=(600, 1500)))
    verdict = judge([measure(_cut(data, 8))], [measure(data, extra=(8,))])
    assert verdict.facts is not None and verdict.facts.fewer and verdict.facts.kept_loss.outcome == "kept"
    assert verdict.word == "compact, but not ahead of PCA"


def test_a_constant_answer_is_judged_against_the_best_one_on_the_queries(pixels: EmbeddingSet) -> None:
    """Queries of one class, but for five: the arm sends all of them there and looks at none."""
    threes = pixels.query_labels == 3
    kept = torch.cat([threes.nonzero()[:, 0], (~threes).nonzero()[:5, 0]])
    base = replace(pixels, query=pixels.query[kept], query_labels=pixels.query_labels[kept])
    generator = torch.Generator().manual_seed(0)
    sign = torch.where(base.gallery_labels == 3, 1.0, -1.0)[:, None] * torch.tensor([1.0, 0.0])
    gallery = sign + 0.05 * torch.randn(len(sign), 2, generator=generator)
    query = torch.tensor([1.0, 0.0]) + 0.05 * torch.randn(len(kept), 2, generator=generator)
    blind = measure(replace(base, gallery=gallery, query=query, arm="blind"))
    assert blind.chance < 0.1 and blind.knn_accuracy == blind.constant == pytest.approx(
        float((len(kept) - 5) / len(kept))
    )
    classes = len(base.query_labels.unique())
    assert blind.balanced_accuracy == pytest.approx(1 / classes)
    assert judge([blind], [measure(base, extra=(1,))]).word == judge_alone(blind).word == "collapsed"


def test_balanced_accuracy_is_that_of_scikit_learn(planted: Planted) -> None:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier

    data = planted(noise=1.2)
    unit = [normalize(rows.double()) for rows in (data.gallery, data.query)]
    votes = KNeighborsClassifier(1).fit(unit[0], data.gallery_labels).predict(unit[1])
    score = measure(data)
    hits = torch.from_numpy(votes) == data.query_labels
    line = replace(score.frontier, dims=(16,), values={"knn_accuracy": hits[None].double()})
    found = replace(score, frontier=line).balanced_accuracy
    assert found == pytest.approx(balanced_accuracy_score(data.query_labels, votes))


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_step_of_n99_between_equal_arms_is_not_compact(seeds: int) -> None:
    """The 99th percent falls between the fourth and the fifth direction, so that equal arms differ by one."""
    spread = torch.tensor([40.0, 30.0, 20.0, 9.0, 3.0] + [0.02] * 11).sqrt()
    generator = torch.Generator().manual_seed(3)
    centres = torch.zeros(4, 16)
    centres[:, :2] = 13 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])

    def draw(seed: int) -> EmbeddingSet:
        labels = torch.arange(600) % 4
        rows = centres[labels] + spread * torch.randn(600, 16, generator=generator)
        return EmbeddingSet(rows[:400], labels[:400], rows[400:], labels[400:], seed=seed)

    found, steps = [], 0
    for _ in range(30 // seeds):
        scores = [[measure(draw(seed), dims=(1,), extra=(4, 5)) for seed in range(seeds)] for _ in range(2)]
        found.append(judge(*scores).word)
        steps += sum(a.n99 != b.n99 for a, b in zip(*scores, strict=True))
    assert steps > 3, "else this says nothing of steps"
    assert not any(word.startswith("compact") for word in found)


def test_queries_outside_the_dimensions_of_the_gallery_are_not_described_by_them(pixels: EmbeddingSet) -> None:
    cut, generator = _cut(pixels, 12), torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.pad(cut.gallery, (0, 64))
    query = torch.cat([cut.query, 0.1 * torch.randn(len(cut.query), 64, generator=generator)], 1)
    outside = measure(replace(cut, gallery=gallery, query=query))
    verdict = judge([outside], [measure(pixels, extra=(12,))])
    assert outside.fvu > 0.5 and verdict.word == "queries outside"


def test_repeated_queries_do_not_change_the_word(pixels: EmbeddingSet) -> None:
    def twenty(data: EmbeddingSet) -> EmbeddingSet:
        factors = torch.arange(1, 21, dtype=torch.float32).repeat_interleave(len(data.query))[:, None]
        return replace(data, query=data.query.repeat(20, 1) * factors, query_labels=data.query_labels.repeat(20))

    cut = _cut(pixels, 16)
    sides = [(cut, pixels), (twenty(cut), twenty(pixels))]
    once, often = (judge([measure(arm, dims=(1,))], [measure(base, dims=(1,), extra=(12,))]) for arm, base in sides)
    assert once.word == often.word == "not enough queries to tell"
    assert once.facts is not None and often.facts is not None
    assert often.facts.kept.query_interval[1] < 0 <= once.facts.kept.query_interval[1]
    assert often.facts.kept_loss.low == pytest.approx(once.facts.kept_loss.low, abs=0.003)


@pytest.mark.parametrize("factor", [1.0, 3.0], ids=["copies", "scaled copies"])
@pytest.mark.parametrize("repeated", ["arm", "baseline"])
def test_repeated_rows_on_either_side_make_another_sample(repeated: str, factor: float, planted: Planted) -> None:
    data = planted(dim=32, rank=32)
    few = repeated_rows(data)
    scale = torch.where(torch.arange(len(few.gallery)) % 2 == 0, 1.0, factor)[:, None]
    few, whole = (
        measure(replace(few, gallery=few.gallery * scale), extra=range(1, 33)),
        measure(data, extra=range(1, 33)),
    )
    verdict = judge([few], [whole]) if repeated == "arm" else judge([whole], [few])
    assert verdict.word == ("smaller sample" if repeated == "arm" else "another sample")


@pytest.mark.parametrize("flipped", [3, 30, 100, 600])
def test_a_cone_with_rows_that_point_the_other_way_is_not_compact(flipped: int, pixels: EmbeddingSet) -> None:
    """Outlier rows hold the variance, and n99 falls."""
    cone = shifted_cone(pixels)
    gallery = torch.cat([-cone.gallery[:flipped], cone.gallery[flipped:]])
    twisted = measure(replace(cone, gallery=gallery), dims=(1,))
    assert twisted.n99 < measure(cone, dims=(1,)).n99
    verdict = judge([twisted], [measure(pixels, extra=(twisted.n99,))])
    assert verdict.word in ("narrower cone only", "not enough queries to tell", "queries outside", "collapsed")


@pytest.mark.parametrize("factor", [1e-13, 1e-30, 1e30])
def test_rows_of_any_length_are_judged_by_their_directions(factor: float, planted: Planted) -> None:
    data = planted()
    tiny = measure(replace(data, gallery=factor * data.gallery, query=factor * data.query))
    assert judge_alone(tiny).word == "not judged"
    assert judge([tiny], [measure(data)]).word == "not distinguishable from the baseline"
    assert (tiny.n99, tiny.distinct) == (16, 600)


def test_one_gallery_row_per_class_is_not_judged_by_a_vote() -> None:
    """Five votes for five labels: the tie rule decides, however good the embedding is."""
    angles, labels = torch.linspace(0, 3, 100), torch.arange(100)
    arc = torch.stack([angles.cos(), angles.sin()], 1)
    asked = torch.arange(500) % 100
    thin = measure(EmbeddingSet(arc, labels, 2 * arc[asked] + 1e-4, asked))
    assert thin.recall_at_1 == 1 and thin.knn_accuracy < 0.1 and thin.thin == 500
    assert judge_alone(thin).word == judge([thin], [thin]).word == "not judged"


def test_praise_that_a_null_model_gets_is_withdrawn() -> None:
    compact, other = Verdict("compact", "r"), Verdict("collapsed", "r")
    assert withdrawn(compact, {"sham": other}) == compact and withdrawn(other, {"sham": other}) == other
    beside = withdrawn(compact, {"fair": other, "sham": compact})
    assert beside.word == "compact, but so is a null model" and beside.reason.startswith("so is sham, a null model")
    assert withdrawn(Verdict("more accurate", "r"), {"sham": compact}).word == "more accurate"


def _cut(data: EmbeddingSet, k: int) -> EmbeddingSet:
    axes = principal_components(data.gallery)
    gallery, query = (projected(rows, axes, k).float() for rows in (data.gallery, data.query))
    return replace(data, gallery=gallery, query=query, arm=f"PCA-{k}")


def _spread(data: EmbeddingSet) -> EmbeddingSet:
    """Add a little noise in every direction, so that n99 is the whole width."""
    generator = torch.Generator().manual_seed(9)
    rows = [part + 0.04 * torch.randn(part.shape, generator=generator) for part in (data.gallery, data.query)]
    return replace(data, gallery=rows[0], query=rows[1])
