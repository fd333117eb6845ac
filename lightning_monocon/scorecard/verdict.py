# SPDX-License-Identifier: Apache-2.0
"""Judge an arm in words, by the first of the rules that applies to the facts about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_monocon.functional.red_flags import ALL_EQUAL, COLLAPSED, COLLAPSED_SHARE
from lightning_monocon.scorecard.facts import Facts, gather
from lightning_monocon.scorecard.ranking import Family
from lightning_monocon.scorecard.rules import DOUBTFUL, PRAISE, RULES, THIN_SHARE
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.smallest import has_skill

ONE_DIRECTION = "one direction holds 99 % of the variance, so its own neighbours mean nothing"

NO_BASELINE = (
    "no fault was found, and the figures stand on their own; only whether it is compact is a comparison: give a "
    "baseline, another model's embeddings of the same rows"
)


@dataclass(frozen=True)
class Verdict:
    """Hold the word for an arm, the reason for the rule, and the facts behind it (None for the baseline)."""

    word: str
    reason: str
    facts: Facts | None = None


def judge(arm: Sequence[Score], baseline: Sequence[Score], card: Family | None = None) -> Verdict:
    """Return the verdict of the first rule that applies to an arm.

    Args:
        arm: Scores of the arm, one per seed.
        baseline: Scores of the baseline, measured at the arm's n99 as well, on the same queries.
        card: All comparisons of the card, among which a lead must stand out; None for an arm that is judged alone.
    """
    if any(score.n99 == 0 for score in arm):
        return Verdict("collapsed", ALL_EQUAL)
    facts = gather(arm, baseline, card)
    rule = next(rule for rule in RULES if facts.kind in rule.kinds and rule.applies(facts))
    return Verdict(rule.word, rule.reason, facts)


def judge_alone(score: Score) -> Verdict:
    """Return the verdict on an embedding that has no baseline: only a collapse shows without one."""
    if score.n99 == 0:
        return Verdict("collapsed", ALL_EQUAL)
    if score.thin > THIN_SHARE * score.n_query:
        return Verdict("not judged", next(rule.reason for rule in RULES if rule.word == "not judged"))
    if score.truth.kind == "neighbours" and score.truth.warnings:
        collapsed = score.dim > 1 and score.n99 <= 1
        return Verdict("collapsed", ONE_DIRECTION) if collapsed else Verdict("doubtful reference", DOUBTFUL)
    if not has_skill([score]):
        return Verdict("collapsed", "it finds no more than the best answer without skill would")
    if score.value_at(score.n99) - score.constant < COLLAPSED_SHARE * (score.value - score.constant):
        return Verdict("collapsed", COLLAPSED)
    return Verdict("not judged", NO_BASELINE)


def withdrawn(verdict: Verdict, nulls: Mapping[str, Verdict]) -> Verdict:
    """Return the verdict as it stands beside those of the null models: praise that one of them gets too is withdrawn.

    Args:
        verdict: On an arm.
        nulls: Verdicts on embeddings that are no better than the baseline, by name.
    """
    passing = passed(nulls.items(), verdict.word)
    if not passing:
        return verdict
    reason = f"so is {passing[0]}, a null model that is no better than the baseline, so the word says nothing here"
    return Verdict(f"{verdict.word}, but so is a null model", reason, verdict.facts)


def passed(nulls: Iterable[tuple[str, Verdict]], *words: str) -> tuple[str, ...]:
    """Return the names of the null models that get one of the words of praise; of any of them by default."""
    return tuple(name for name, verdict in nulls if verdict.word in PRAISE and verdict.word in (words or PRAISE))
