# SPDX-License-Identifier: Apache-2.0
"""List the rules of the verdicts in the order in which they are asked; the first that applies gives the word.

A low n99 and a low reconstruction error are both won by collapse, so no rule looks at them alone: each asks what is
still found when only those dimensions are kept, against the baseline on the same rows. A rule says for which kinds of
truth it makes sense, and every threshold is a named constant with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from lightning_monocon.functional.red_flags import COLLAPSED, COLLAPSED_SHARE, LESS_ACCURATE, NO_SKILL, OUTSIDE_SHARE
from lightning_monocon.scorecard.facts import Facts
from lightning_monocon.scorecard.truths.truth import Kind

CONE_VARIANCE = 0.5
"""Total variance below this share of the baseline's moves the RMSE by more than any change of shape."""

SAME_SAMPLE = 0.01
"""Share of different rows that a gallery may lack against the other one's; n99 grows with them."""

THIN_SHARE = 0.5
"""Share of queries whose class cannot win the vote above which the accuracy is that of the tie rule, not of the arm."""

OUTSIDE_RATIO = 2.0
"""Ratio to the baseline's FVU that a small gallery does not explain: that leaves queries of both outside alike."""

EVERY: tuple[Kind, ...] = get_args(Kind)
ANSWERED: tuple[Kind, ...] = ("labels", "qrels", "graded")
"""Kinds whose answers come from outside; neighbours measure change, and nothing can be nearer to the baseline than it
is to itself."""

OPEN = "fewer dimensions, but there is too little evidence that as much is found in them"
DOUBTFUL = "the reference repeats rows or ties its own neighbours, so finding them again proves nothing"
COMPACT = "compact"
NOT_AHEAD = "compact, but not ahead of PCA"
MORE_ACCURATE = "more accurate"
PRAISE = (COMPACT, MORE_ACCURATE)
"""Words that a null model must not get."""


@dataclass(frozen=True)
class Rule:
    """Hold a word, when it applies, why, and for which kinds of truth."""

    word: str
    applies: Callable[[Facts], bool]
    reason: str
    kinds: tuple[Kind, ...] = EVERY


def _shrunk(facts: Facts) -> bool:
    return facts.distinct_ratio < 1 - SAME_SAMPLE


def _other_rows(facts: Facts) -> bool:
    return facts.row_ratio != 1 or facts.distinct_ratio > 1 / (1 - SAME_SAMPLE)


def _collapsed(facts: Facts) -> bool:
    return facts.skill < NO_SKILL or facts.own_share < COLLAPSED_SHARE


def _narrower_cone(facts: Facts) -> bool:
    return facts.variance_ratio < CONE_VARIANCE and facts.rmse_ratio < 1 and not facts.fewer


def _outside(facts: Facts) -> bool:
    return facts.fewer and facts.fvu > max(OUTSIDE_SHARE, OUTSIDE_RATIO * facts.baseline_fvu)


def _open(facts: Facts) -> bool:
    return facts.fewer and facts.kept_loss.outcome == "open"


def _ahead(facts: Facts) -> bool:
    return facts.whole.ahead and facts.whole_loss.low > 0


RULES: tuple[Rule, ...] = (
    Rule(
        "smaller sample",
        _shrunk,
        "n99 grows with the number of different rows, and fewer rows are easier to search, so neither says anything "
        "between galleries that differ in it",
    ),
    Rule(
        "another sample",
        _other_rows,
        "the galleries differ in the number of rows, or the baseline's holds repeated rows, so their n99 cannot be "
        "compared",
    ),
    Rule(
        "not judged",
        lambda f: f.thin > THIN_SHARE,
        "most classes have one or two rows in the gallery, so the tie rule decides the 5-NN vote: read Recall@1",
        ("labels",),
    ),
    Rule(
        "collapsed reference",
        lambda f: f.baseline_dimension <= 1,
        "the baseline holds 99 % of its variance in one direction, so its neighbours mean nothing",
        ("neighbours",),
    ),
    Rule("collapsed", _collapsed, COLLAPSED),
    Rule("doubtful reference", lambda f: bool(f.doubts), DOUBTFUL, ("neighbours",)),
    Rule(
        "baseline without skill",
        lambda f: not f.skilled and not _ahead(f),
        "the baseline finds no more than the best constant answer, so nothing can be compared with it",
        ANSWERED,
    ),
    Rule(
        "narrower cone only",
        _narrower_cone,
        "all rows moved together: the error shrank with the total variance, the number of dimensions did not",
    ),
    Rule(
        "queries outside",
        _outside,
        "the dimensions that hold the gallery leave much of the queries out, so n99 does not describe them",
    ),
    Rule(
        "compact, but less accurate",
        lambda f: f.fewer and f.kept_loss.outcome == "lost",
        LESS_ACCURATE,
        ANSWERED,
    ),
    Rule(
        "compact, but other neighbours",
        lambda f: f.fewer and f.kept_loss.outcome == "lost",
        "fewer dimensions, but other rows are nearest: a change, which may be for the better or for the worse",
        ("neighbours",),
    ),
    Rule("not enough queries to tell", _open, OPEN, tuple(kind for kind in EVERY if kind != "graded")),
    Rule("not enough pairs to tell", _open, OPEN, ("graded",)),
    Rule(
        NOT_AHEAD,
        lambda f: f.fewer and not f.rival.ahead,
        "fewer dimensions find as much, but the baseline cut by PCA to as many is not behind by more than the "
        "noise, and needs no training",
    ),
    Rule(
        COMPACT,
        lambda f: f.fewer,
        "fewer dimensions hold 99 % of the variance, they find as much, and the baseline cut by PCA to as many "
        "does not",
    ),
    Rule(
        "less accurate",
        lambda f: f.whole_loss.outcome == "lost" and f.whole.behind,
        "no fewer dimensions, and less is found",
        ANSWERED,
    ),
    # the winners at each size are named by the noise of the whole card, so this word must not contradict them
    Rule(
        "less accurate, but within the noise",
        lambda f: f.whole_loss.outcome == "lost",
        "no fewer dimensions, and less is found on these queries, but not by more than the seeds and the many "
        "comparisons of a card explain",
        ANSWERED,
    ),
    Rule(
        "other neighbours",
        lambda f: f.whole_loss.outcome == "lost" and f.whole.behind,
        "no fewer dimensions, and other rows are nearest: a change, which may be for the better or for the worse",
        ("neighbours",),
    ),
    Rule(
        "other neighbours, but within the noise",
        lambda f: f.whole_loss.outcome == "lost",
        "no fewer dimensions, and other rows are nearest for these queries, but not by more than the seeds and the "
        "many comparisons of a card explain",
        ("neighbours",),
    ),
    Rule(MORE_ACCURATE, _ahead, "no fewer dimensions, but more is found", ANSWERED),
    Rule(
        "not distinguishable from the baseline",
        lambda f: True,
        "neither the number of dimensions nor what is found differs by more than the noise",
    ),
)
"""Rules in the order in which they are asked; the last always applies."""
