# SPDX-License-Identifier: Apache-2.0
"""Write the sentences of the scorecard: what each figure means, with its uncertainty in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from lightning_monocon.scorecard.byte_ranking import ByteWinner
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.causes import Effect
from lightning_monocon.scorecard.facts import Facts
from lightning_monocon.scorecard.kept import Kept
from lightning_monocon.scorecard.ranking import Comparison, Winner
from lightning_monocon.scorecard.render.tables import BEST, TIED, nothing_left_out, signed
from lightning_monocon.scorecard.render.words import amount, asked, noun
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.smallest import Smallest, has_skill
from lightning_monocon.scorecard.verdict import passed


@dataclass(frozen=True)
class Sentence:
    """Hold an entry of the report with the parts that a printer may emphasise.

    Attributes:
        about: What the entry is about, such as an arm; empty if it needs no label.
        text: What is said.
        word: A verdict that comes before the text; empty if there is none.
    """

    about: str
    text: str
    word: str = ""

    def __str__(self) -> str:
        label = f"{self.about}: " if self.about else ""
        return f"{label}{self.word}{self.text}"

    def __contains__(self, words: str) -> bool:
        return words in str(self)  # entries were plain strings once, and are searched as such


MARKS = f"In the table, {BEST} marks the best arm at each size, and {TIED} marks arms within the noise of it."
CROSSED = "Each half of the queries is answered in the code that the other half found best, so none chose its own code."
CAUSES = "Each entry compares two arms that differ in one thing only."
NULLS = (
    "These embeddings are made from the baseline and are no better than it, so none of them may be called compact or "
    "more accurate; where one is, the arms lose that word."
)

_NAMED = 2
"""Beaten arms that are named; more are "the rest", and the table marks who is not among them."""

_ALIKE = 0.05
"""An interval that leaves a larger difference open, five points, cannot tell whether two arms are alike."""

_CENTRED = (
    " All of them are centred on the gallery's mean, which alone moves neighbours: codes of vectors that are not "
    "centred were not measured, and may keep more."
)
"""What the protocol of all cuts and codes leaves open about neighbours."""

_TITLED = 4
"""Arms that fit into the heading of a report."""

STAGES = {"last": "last epoch", "best": "best by validation"}
"""Checkpoint rules in words."""


def title(card: Scorecard) -> str:
    """Return the heading of a report: the recipe, or the arms where there is none."""
    names = [arm.name for arm in card.arms]
    arms = ", ".join(names) if len(names) <= _TITLED else f"{len(names)} arms"
    return f"Scorecard: {card.origin.recipe if card.origin and card.origin.recipe else arms}"


def bottom_line(card: Scorecard) -> Sentence:
    """Name the smallest embedding that keeps the accuracy of the whole baseline, and its bytes."""
    return Sentence("Bottom line", _bottom_line(card))


def _bottom_line(card: Scorecard) -> str:
    small = card.smallest
    if not has_skill(card.arm(card.baseline).scores):
        return f"The whole {card.baseline} finds no more than chance, so nothing can be compared with it."
    if small is None:
        return f"Nothing smaller than the whole {card.baseline} was measured."

    width, size, accuracy = small.whole
    measure = card.truth.measures[0]
    told = f"{noun(measure)} {amount(measure, accuracy)}"
    whole = f"the whole {card.baseline} ({width} float32 numbers, {size} bytes, {told})"
    held = ["codes" if each == "code" else each for each in small.storages]
    tried = f"all measured sizes ({_listed(held)})"
    form = f"{_form(card, small)}. The difference in {_bare(measure)} is {points(small.margin)}."
    if small.loss.outcome == "kept":
        return (
            f"The smallest embedding that is shown to lose less than {_margin_points(small.loss)} against {whole} is "
            f"{form}{_unproven(small)} It was chosen among {tried} by the same {_units(card)} that judge it, so its "
            f"{_bare(measure)} is slightly optimistic."
        )
    if small.within:
        return (
            f"{_enough(small.loss, card, f'an embedding smaller than {whole}')} The smallest of {tried} without a "
            f"shown loss is {form}{_unproven(small)}"
        )
    centred = _CENTRED if card.truth.kind == "neighbours" else ""
    nearest = f"The nearest of {tried} is {form}{centred}"
    return f"No form that was measured, smaller than {whole}, keeps its {_bare(measure)}. {nearest}"


def _enough(loss: Kept, card: Scorecard, what: str) -> str:
    """Say that the queries are too few, and how many would do."""
    unit, units = card.truth.unit, _units(card)
    return (
        f"{_counted(loss.queries, f'different {unit}', f'different {units}')} cannot tell whether {what} loses less "
        f"than {_margin_points(loss)}; if nothing is lost, about {loss.needed} would show it in four of five cases."
    )


def _margin_points(loss: Kept) -> str:
    return _counted(round(100 * loss.margin), "point")


def _form(card: Scorecard, small: Smallest) -> str:
    name = f"{small.arm} itself" if small.arm == card.baseline else small.arm
    size = f"{_counted(small.bytes, 'byte')}, {amount(card.truth.measures[0], small.accuracy)}"
    held = small.code or f"{small.storage} in {_counted(small.k, 'dimension')}"
    return f"{name} as {held} ({size})"


def _unproven(small: Smallest) -> str:
    """Say what the interval leaves open, over other queries and over other trainings."""
    low = min(small.margin.low, small.loss.low)
    seed = "a single seed does not show what another training would give" if small.margin.seeds == 1 else ""
    if low > -small.loss.margin:
        return f" But {seed}." if seed else ""
    return f" A loss of up to {-100 * low:.1f} points is not ruled out{seed and f'; {seed}'}."


def headline(card: Scorecard) -> Sentence:
    """Say what was compared: arms, seeds, rows, classes and chance."""
    first = card.arm(card.baseline).scores[0]
    seeds = sorted({seed for arm in card.arms for seed in arm.seeds})
    chance = f"chance {amount(first.measure, first.chance)}"
    if card.truth.kind == "labels":
        chance += f", the best constant answer {amount(first.measure, first.constant)}"
    rows = f"The gallery has {first.n} rows, and there are {asked(first)} ({chance})."
    if len(card.arms) == 1:
        return Sentence("", f"This scorecard describes {card.baseline} alone. {rows}")
    single = f"on seed {seeds[0]}; a single seed does not show the noise of training"
    over = single if len(seeds) == 1 else f"over seeds {_listed(seeds)} (mean ± standard deviation)"
    checkpoints = f" The checkpoint rule is: {STAGES[card.stage]}." if card.stage in STAGES else ""
    arms = f"This scorecard compares {len(card.arms)} arms {over}."
    return Sentence("", f"{arms} {rows} The baseline is {card.baseline}.{checkpoints}")


def verdict_lines(card: Scorecard) -> list[Sentence]:
    """Give the word for each arm with the figures behind it, and what to know before believing them."""
    return [Sentence(arm.name, _verdict(arm, card) + _warnings(arm), arm.verdict.word) for arm in card.arms]


def _verdict(arm: Arm, card: Scorecard) -> str:
    facts = arm.verdict.facts
    if facts is None:
        return f" ({arm.verdict.reason})."
    rival = facts.rival
    return (
        f". In {_counted(rival.k, 'dimension')} it is {versus(rival)} {card.baseline} cut by PCA to as many "
        f"({points(rival)}). Against the whole baseline, n99 is {_times(facts.dimension_ratio)}, RMSE is "
        f"{_error_ratio(arm, card, facts.rmse_ratio)}, total variance is {_times(facts.variance_ratio)}, and "
        f"{noun(card.truth.measures[0])} in {_counted(facts.kept.k, 'dimension')} differs by {points(facts.kept)}. "
        f"The rule: {arm.verdict.reason}.{_open(facts, card)}"
    )


def _open(facts: Facts, card: Scorecard) -> str:
    is_asked = facts.fewer and facts.kept_loss.outcome == "open"
    return f" {_enough(facts.kept_loss, card, 'it')}" if is_asked else ""


def _error_ratio(arm: Arm, card: Scorecard, ratio: float) -> str:
    if nothing_left_out(arm.scores):
        return "0 by definition (n99 is the whole width)"
    if nothing_left_out(card.arm(card.baseline).scores):
        return "not comparable (the baseline's is 0 by definition: its n99 is its whole width)"
    return _times(ratio)


def _times(ratio: float) -> str:
    """Write a ratio with two digits after the point, or with one digit that is not 0 if it is smaller.

    Example:
        >>> _times(0.4), _times(0.00321), _times(float("inf"))
        ('0.40 times as large', '0.003 times as large', 'not comparable (the baseline has none)')
    """
    if not math.isfinite(ratio):
        return "not comparable (the baseline has none)"
    return f"{ratio:.2f} times as large" if ratio >= 0.01 else f"{ratio:.1g} times as large"


def _warnings(arm: Arm) -> str:
    return f" Beware: {'; '.join(arm.flags)}." if arm.flags else ""


def best_lines(card: Scorecard) -> list[Sentence]:
    """Say for each size which arm wins, and whether by more than noise; sizes with the same outcome share an entry."""
    groups = groupby(card.winners, key=lambda best: (best.arm, best.ties))
    return [*_seed_lines(card), *(_best(list(group), card) for _, group in groups)]


def _seed_lines(card: Scorecard) -> Iterator[Sentence]:
    """Say which seeds and arms are compared where they differ, and that two seeds tell next to nothing."""
    shared = sorted(set.intersection(*(set(arm.seeds) for arm in card.arms)))
    others = [
        f"{arm.name} also has {_listed(sorted(more))}" for arm in card.arms if (more := set(arm.seeds) - set(shared))
    ]
    if others:
        yield Sentence(
            "Seeds",
            f"Arms are compared on the seeds that all of them have ({_listed(shared)}). {'; '.join(others)}, which "
            "only the tables include.",
        )
    if unlike := [arm.name for arm in card.arms if arm.scores[0].n != card.arm(card.baseline).scores[0].n]:
        yield Sentence(
            "Other rows",
            f"{_listed(unlike)} has a gallery of another size than {card.baseline}, which is easier or harder to "
            "search, so it is not compared here.",
        )
    if len(shared) == 2 and len(card.arms) > 1:
        yield Sentence(
            "Two seeds",
            "An interval over two seeds reaches nine standard deviations to either side, so they hardly ever show a "
            "lead, and no lead here does not mean that the arms are equal. Train at least three seeds.",
        )


def _best(group: Sequence[Winner], card: Scorecard) -> Sentence:
    best = group[-1]
    at = f" at k = {best.k}" if len(group) > 1 else ""
    return Sentence(
        f"k = {_listed([winner.k for winner in group])}", f"{best.arm} ({_ends(group, card)}) {_lead(best, at)}."
    )


def byte_lines(card: Scorecard) -> list[Sentence]:
    """Say for each number of bytes which arm wins in which code; sizes with the same outcome share an entry."""
    groups = groupby(card.byte_winners, key=lambda best: (best.arm, best.code, best.ties))
    return [_best_bytes(list(group), card) for _, group in groups]


def _best_bytes(group: Sequence[ByteWinner], card: Scorecard) -> Sentence:
    best = group[-1]
    form = f"{best.arm} as {best.code} ({_ends(group, card)})"
    at = f" at {best.bytes} bytes" if len(group) > 1 else ""
    sizes = _listed([winner.bytes for winner in group])
    return Sentence(f"{sizes} {'byte' if sizes == '1' else 'bytes'}", f"{form} {_lead(best, at)}.")


def _ends(group: Sequence[Winner], card: Scorecard) -> str:
    """Write what the winner reaches at the first and at the last size of a group."""
    return amount(card.truth.measures[0], *(winner.accuracy for winner in (group[0], group[-1])))


def _lead(best: Winner, at: str) -> str:
    """Say how sure the lead is."""
    if not best.margins:
        return "is the only arm"
    if best.distinguishable:
        wins = "wins" if best.margins[0].seeds > 1 else "wins on this one seed"
        return f"{wins}, ahead of {_margin(best.margins[0], at)}"
    beaten = [margin.other for margin in best.margins if margin.ahead]
    tail = f"; it is ahead of {_listed(beaten) if len(beaten) <= _NAMED else 'the rest'}" if beaten else ""
    tied = next(margin for margin in best.margins if not margin.ahead)
    word = versus(tied).rpartition(" ")[2]  # "the noise of" or "distinguishable from"
    others = f" and {word} {_listed(best.ties[1:])}" if best.ties[1:] else ""
    return f"leads, but is {versus(tied)} {_margin(tied, at)}{others}{tail}"


def _margin(margin: Comparison, at: str) -> str:
    return f"{margin.other} ({points(margin)}{at})"


def versus(comparison: Comparison) -> str:
    """Say how an arm stands to another, and where the interval is too wide to say that they are alike."""
    if comparison.ahead:
        return "ahead of"
    if comparison.behind:
        return "behind"
    open_to = max(-comparison.low, comparison.high)
    return "within the noise of" if open_to <= _ALIKE else "not distinguishable on these queries and seeds from"


def effect_lines(card: Scorecard) -> list[Sentence]:
    """Say what the constraint does and what the start does, where arms that differ in nothing else are present."""
    return [_effect(effect, noun(card.truth.measures[0])) for effect in card.effects]


def _effect(effect: Effect, measured: str) -> Sentence:
    low, high = effect.n99_interval
    ours, theirs = effect.n99
    interval = f"95 % interval {signed(low)} to {signed(high)} over {effect.seeds} seeds"
    return Sentence(
        f"The {effect.cause} ({effect.arm} against {effect.twin})",
        f"n99 is {ours:.1f} against {theirs:.1f} (difference {signed(ours - theirs)}, "
        f"{interval if effect.seeds > 1 else 'one seed'}). {measured} differs in "
        f"{_counted(effect.kept.k, 'dimension')} by {points(effect.kept)}, and at full width by "
        f"{points(effect.whole)}. {_conclusion(effect)}",
    )


def _conclusion(effect: Effect) -> str:
    if effect.seeds == 1:
        return "One seed cannot tell them apart."
    if effect.compacts:
        return f"The {effect.cause} makes the embedding more compact by more than the noise."
    if effect.n99_interval[0] > 0:
        return f"The {effect.cause} makes the embedding less compact by more than the noise."
    return f"These seeds show no effect of the {effect.cause} on n99."


def rule_lines(card: Scorecard) -> list[Sentence]:
    """Say whether the other checkpoint rule changes which arm is best, and give the n99 of each arm under both."""
    other = card.alternative
    if other is None:
        return []
    ours, theirs = STAGES.get(card.stage, card.stage), STAGES.get(other.stage, other.stage)
    pairs = [(best, other.winners[card.dims.index(best.k)]) for best in card.winners]
    same = [best.k for best, twin in pairs if best.arm == twin.arm]
    measure = card.truth.measures[0]
    sizes = [f"{arm.name} {arm.spread('n99')[0]:.1f} / {other.arm(arm.name).spread('n99')[0]:.1f}" for arm in card.arms]
    return [
        *([Sentence("", f"The same arm is best under both rules at k = {_listed(same)}.")] if same else []),
        *(
            Sentence(
                f"k = {best.k}",
                f'Under "{ours}", {best.arm} is best ({amount(measure, best.accuracy)}); under "{theirs}", {twin.arm} '
                f"is ({amount(measure, twin.accuracy)}). {_settled(best, twin)}",
            )
            for best, twin in pairs
            if best.arm != twin.arm
        ),
        Sentence(f"n99, {ours} / {theirs}", f"{_listed(sizes)}."),
    ]


def _settled(best: Winner, twin: Winner) -> str:
    """Say whether two rules that disagree do so by more than noise."""
    is_tied = twin.arm in best.ties or best.arm in twin.ties
    return f"The rules disagree by {'no more' if is_tied else 'more'} than the noise."


def null_lines(card: Scorecard) -> list[Sentence]:
    """Give the word for each embedding that is known to be no better than the baseline."""
    lines = [Sentence(null.name, _null(*null.scores), null.verdict.word) for null in card.nulls]
    names = ", ".join(card.left_out)
    left = Sentence("Left out", f"{names}, because {card.truth.name} names more rows than such a gallery has.")
    passing = passed((null.name, null.verdict) for null in card.nulls)
    words = dict.fromkeys(null.verdict.word for null in card.nulls if null.name in passing)
    warning = f"{_listed(passing)} passes for {_listed([*words])} here, so the word is withdrawn from every arm."
    return [*lines, *([Sentence("Beware", warning)] if passing else []), *([left] if names else [])]


def _null(score: Score) -> str:
    kept, whole = (amount(score.measure, score.value_at(k)) for k in (max(1, score.n99), score.dim))
    error = f"its RMSE is {score.rmse:.2g} (FVU {100 * score.fvu:.2f} %)"
    if nothing_left_out([score]):
        error = "its RMSE and FVU are 0 by definition"
    return (
        f". Its n99 is {score.n99}, and {error}. Its {noun(score.measure)} is {kept} in n99 dimensions and "
        f"{whole} at full width."
    )


def points(comparison: Comparison) -> str:
    """Write a difference of accuracies in points, with its interval; and that of the card, if only it holds zero."""
    low, middle, high = (100 * value for value in (comparison.low, comparison.difference, comparison.high))
    told = f"{middle:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
    is_noise_together = low * high > 0 and not comparison.distinguishable
    low, high = (100 * end for end in comparison.simultaneous)
    return f"{told}, {low:+.1f} to {high:+.1f} with all comparisons of this card" if is_noise_together else told


def _bare(measure: str) -> str:
    return noun(measure).removeprefix("5-NN ")


def _units(card: Scorecard) -> str:
    return "queries" if card.truth.unit == "query" else "pairs"


def _counted(number: int, unit: str, units: str = "") -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {units or f'{unit}s'}"


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
