# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch

from lightning_monocon.scorecard import EmbeddingSet, measure
from lightning_monocon.scorecard.facts import Facts, gather
from lightning_monocon.scorecard.flags import flags
from lightning_monocon.scorecard.nulls import repeated_rows, shifted_cone, subsample, untrained_head
from lightning_monocon.scorecard.rules import PRAISE, RULES
from lightning_monocon.scorecard.truths.truth import MARGINS, Kind
from lightning_monocon.scorecard.verdict import judge

Planted = Callable[..., EmbeddingSet]
KINDS: tuple[Kind, ...] = get_args(Kind)


def test_every_rule_has_its_own_word_and_a_reason_and_the_last_always_applies() -> None:
    assert len({rule.word for rule in RULES}) == len(RULES)
    assert all(rule.reason and set(rule.kinds) <= set(KINDS) for rule in RULES)
    assert set(MARGINS) == set(RULES[-1].kinds) == set(KINDS)
    assert set(PRAISE) < {rule.word for rule in RULES}


@pytest.fixture(scope="module")
def facts(planted: Planted) -> Facts:
    """Facts about an arm that equals the baseline in everything that a rule asks."""
    score = measure(planted())
    return gather([score], [score])


def _word(facts: Facts, kind: Kind) -> str:
    return next(rule.word for rule in RULES if kind in rule.kinds and rule.applies(facts))


def test_equal_arms_are_not_distinguishable_for_any_kind(facts: Facts) -> None:
    assert {_word(facts, kind) for kind in KINDS} == {"not distinguishable from the baseline"}


def test_words_that_make_no_sense_for_a_kind_are_not_given(facts: Facts) -> None:
    ahead = replace(
        facts,
        whole=replace(facts.whole, low=0.1, simultaneous=(0.1, 0.2)),
        whole_loss=replace(facts.whole_loss, outcome="kept", low=0.1),
    )
    noisy = replace(facts, whole_loss=replace(facts.whole_loss, outcome="lost"))
    worse = replace(noisy, whole=replace(facts.whole, high=-0.1, simultaneous=(-0.2, -0.1)))
    unskilled, thin = replace(facts, skilled=False), replace(facts, thin=1.0)
    flat = replace(facts, baseline_dimension=1.0)
    quality = ("labels", "qrels", "graded")
    same = "not distinguishable from the baseline"
    assert [_word(ahead, kind) for kind in KINDS] == ["more accurate"] * 3 + [same]
    assert [_word(worse, kind) for kind in KINDS] == ["less accurate"] * 3 + ["other neighbours"]
    # the winners of the card are named by its noise, and the verdict must not contradict them
    unsure = [f"{word}, but within the noise" for word in ["less accurate"] * 3 + ["other neighbours"]]
    assert [_word(noisy, kind) for kind in KINDS] == unsure
    assert [
        _word(replace(worse, whole=replace(worse.whole, simultaneous=(-0.3, 0.1))), kind) for kind in KINDS
    ] == unsure
    assert [_word(unskilled, kind) for kind in KINDS] == ["baseline without skill"] * len(quality) + [same]
    assert [_word(thin, kind) for kind in KINDS] == ["not judged", same, same, same]
    assert [_word(flat, kind) for kind in KINDS] == [same, same, same, "collapsed reference"]


def test_fewer_dimensions_have_a_word_for_every_outcome(facts: Facts) -> None:
    fewer = replace(facts, dimension_ratio=0.4, dimension_interval=(-12.0, -7.0))
    assert fewer.fewer and not replace(fewer, dimension_interval=(-12.0, 0.0)).fewer

    def word(outcome: str, rival: float = -0.1, **others: float) -> str:
        asked = replace(
            fewer,
            kept_loss=replace(facts.kept_loss, outcome=outcome),
            rival=replace(facts.rival, low=rival, simultaneous=(rival, 0.2)),
            **others,
        )
        return _word(asked, "labels")

    assert word("lost") == "compact, but less accurate"
    assert word("open") == "not enough queries to tell"
    assert word("kept") == "compact, but not ahead of PCA"
    assert word("kept", rival=0.01) == "compact"
    assert word("kept", rival=0.01, fvu=0.3) == "queries outside"
    assert word("kept", rival=0.01, fvu=0.3, baseline_fvu=0.25) == "compact"  # a small gallery leaves both outside
    assert word("kept", rival=0.01, skill=0.05) == "collapsed"


def _blind(data: EmbeddingSet) -> EmbeddingSet:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(part.shape, generator=generator) for part in (data.gallery, data.query)]
    return replace(data, gallery=rows[0], query=rows[1])


def _flat(data: EmbeddingSet) -> EmbeddingSet:
    """All rows are equal, so ties decide everything; the gallery lies in class order."""
    order = data.gallery_labels.argsort(stable=True)
    ones = torch.ones_like(data.gallery)
    return replace(data, gallery=ones, gallery_labels=data.gallery_labels[order], query=torch.ones_like(data.query))


def _constant(data: EmbeddingSet) -> EmbeddingSet:
    """Every query lands on one class."""
    centre = data.gallery[data.gallery_labels == data.query_labels.mode().values].mean(0)
    return replace(
        data, query=centre + 0.01 * torch.randn(data.query.shape, generator=torch.Generator().manual_seed(1))
    )


def _coded(data: EmbeddingSet) -> EmbeddingSet:
    """One bit of four numbers is all that is left, ties and all."""
    return replace(data, gallery=data.gallery[:, :4].sign(), query=data.query[:, :4].sign())


def _twisted(data: EmbeddingSet) -> EmbeddingSet:
    cone = shifted_cone(data)
    return replace(cone, gallery=torch.cat([-cone.gallery[:3], cone.gallery[3:]]))


def _scaled_copies(data: EmbeddingSet) -> EmbeddingSet:
    few = repeated_rows(data)
    return replace(few, gallery=few.gallery * (1 + torch.arange(len(few.gallery))[:, None] % 7))


FAKES: dict[str, tuple[Callable[[EmbeddingSet], EmbeddingSet], tuple[str, ...]]] = {
    "random rows": (_blind, ("collapsed",)),
    "equal rows, in the order of the classes": (_flat, ("collapsed",)),
    "a constant answer": (_constant, ("collapsed",)),
    "single bits and ties": (_coded, ("compact, but less accurate",)),
    "untrained head": (untrained_head, ("compact, but less accurate", "collapsed")),
    "cone": (shifted_cone, ("narrower cone only",)),
    "cone with three rows the other way": (_twisted, ("narrower cone only", "queries outside")),
    "subsample": (subsample, ("smaller sample",)),
    "repeated rows": (repeated_rows, ("smaller sample",)),
    "repeated rows, scaled": (_scaled_copies, ("smaller sample",)),
}
"""Embeddings that are no better than the baseline but win one of its figures, and what they are called."""


@pytest.mark.parametrize("name", FAKES)
def test_no_fake_is_praised(name: str, planted: Planted) -> None:
    make, words = FAKES[name]
    data = planted(dim=32, rank=32, noise=0.8)
    fake = measure(make(data), extra=range(1, 33))
    assert judge([fake], [measure(data, extra=range(1, 33))]).word in words


def test_a_leak_does_not_pass_in_silence(planted: Planted) -> None:
    """Queries that are gallery rows, doubled: the accuracy rises, and the flag says why."""
    data = planted(noise=1.2)
    queries = torch.cat([2 * data.gallery[:200], data.query[200:]])
    labels = torch.cat([data.gallery_labels[:200], data.query_labels[200:]])
    leaking, honest = measure(replace(data, query=queries, query_labels=labels)), measure(data)
    assert leaking.recall_at_1 > honest.recall_at_1
    assert flags(honest) == () and [text.split(" (")[0] for text in flags(leaking)] == ["leak"]


def test_a_collapsed_baseline_praises_nobody(planted: Planted) -> None:
    """Nothing is compact against rows that find nothing."""
    data = planted()
    blind = measure(_blind(data), extra=range(1, 17))
    other = measure(_blind(replace(data, gallery=data.gallery * 2)), extra=range(1, 17))
    assert judge([other], [blind]).word in ("collapsed", "baseline without skill")
