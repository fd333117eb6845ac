# SPDX-License-Identifier: Apache-2.0
"""The sentences of the scorecard: what each figure means, with its uncertainty in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from lightning_monocon.scorecard.byte_ranking import ByteWinner
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.causes import Effect
from lightning_monocon.scorecard.ranking import Comparison, Winner
from lightning_monocon.scorecard.render.tables import nothing_left_out, signed
from lightning_monocon.scorecard.scores import Score
from lightning_monocon.scorecard.smallest import Smallest, has_skill
from lightning_monocon.scorecard.verdict import Facts

LEGEND = (
    "n99: fewest principal components with 99 % of the variance (gallery, L2-normalised rows, centred). "
    "Alone it is won by collapse: read it with the two columns beside it. Of one seed, its 95 % interval over rows.",
    "at n99: 5-NN accuracy when only that many dimensions are kept (the most over the seeds); PCA rival: the baseline "
    "cut to as many by PCA.",
    "RMSE shrinks when all rows move together (total variance falls); FVU, the unexplained fraction, does not. "
    "Both are 0 by definition where n99 is the whole width; the table then says (0).",
    "Kept dimensions: the gallery's top-k principal components, then cosine; at full width nothing is cut. An arm "
    "marked (prefix) was trained with nested prefixes and keeps its first k numbers. k = 1 is only a sign. Beyond its "
    "own width an arm competes with all it has.",
    "Bytes: each arm in the storage that serves it best at that size (float32, int8 or single bits), chosen on the "
    "same queries: that flatters every arm by a little.",
    "Noise: 95 % intervals, paired by seed and query (bootstrap over queries, t over seeds; the wider end of each "
    "counts). Each size is judged alone: of 20 comparisons of equal arms one looks distinguishable.",
)

_NAMED = 2
"""Beaten arms that are named; more are "the rest", and the table marks who is not among them."""

_TITLED = 4
"""Arms that fit into the heading of a report."""

STAGES = {"last": "last epoch", "best": "best by validation"}
"""Checkpoint rules in words."""


def title(card: Scorecard) -> str:
    """The heading of a report: the recipe, or the arms where there is none."""
    names = [arm.name for arm in card.arms]
    arms = ", ".join(names) if len(names) <= _TITLED else f"{len(names)} arms"
    return f"Scorecard: {card.origin.recipe if card.origin and card.origin.recipe else arms}"


def bottom_line(card: Scorecard) -> str:
    """Say what is the smallest embedding within the noise of the whole baseline, and at how many bytes."""
    scores = card.arm(card.baseline).scores
    if not has_skill(scores):
        return f"Bottom line: the whole {card.baseline} finds no more than chance, so nothing can be held against it."
    small = card.smallest
    if small is None:
        return f"Bottom line: nothing smaller than the whole {card.baseline} was measured."
    width, size, accuracy = small.whole
    whole = f"the whole {card.baseline} ({width} float32 numbers, {size} bytes, {100 * accuracy:.1f} %)"
    form = f"{_form(card, small)}, {small.bytes} {_counted(small.bytes, 'byte')}, {100 * small.accuracy:.1f} %"
    if not small.within:
        return (
            f"Bottom line: no embedding smaller than {whole} is within the noise of it. The nearest is {form}: "
            f"{points(small.margin)}. Measured as {_listed(small.storages)}."
        )
    return (
        f"Bottom line: the smallest embedding within the noise of {whole} is {form}: {points(small.margin)}. "
        f"{_unproven(small.margin)} Chosen among the measured sizes as {_listed(small.storages)}, on the queries "
        "that judge it, which flatters it."
    )


def _form(card: Scorecard, small: Smallest) -> str:
    name = f"{small.arm} itself" if small.arm == card.baseline else small.arm
    return f"{name} as {small.storage} in {small.k} {_counted(small.k, 'dimension')}"


def _unproven(margin: Comparison) -> str:
    """What an interval that holds zero leaves open."""
    if margin.low >= 0:
        said = "It loses nothing."
    else:
        said = f"A loss of up to {-100 * margin.low:.1f} points is not ruled out"
        said += "; one seed does not show what another training would give." if margin.seeds == 1 else "."
    return said


def _counted(number: int, unit: str) -> str:
    return unit if number == 1 else f"{unit}s"


def best_lines(card: Scorecard) -> list[str]:
    """Say for each size which arm wins, and where the win is not more than noise; equal sizes in one line."""
    groups = groupby(card.winners, key=lambda best: (best.arm, best.ties))
    return [_best(list(group)) for _, group in groups]


def verdict_lines(card: Scorecard) -> list[str]:
    """The word for each arm with the figures behind it, and what to know before believing them."""
    return [f"{arm.name}: {_verdict(arm, card)}{_warnings(arm)}" for arm in card.arms]


def null_lines(card: Scorecard) -> list[str]:
    """What the scorecard says of embeddings that are known to be no better than the baseline."""
    lines = []
    for null in card.nulls:
        (score,) = null.scores
        kept, whole = (100 * score.knn_accuracy_at(k) for k in (max(1, score.n99), score.dim))
        lines.append(
            f"{null.name}: {null.verdict.word} (n99 {score.n99}, {_error(score)}, "
            f"5-NN at n99 {kept:.1f} %, whole {whole:.1f} %)"
        )
    if any(null.verdict.word == "compact" for null in card.nulls):
        lines.append("A null model passes for compact here, so the word means nothing for these rows.")
    return lines


def headline(card: Scorecard) -> str:
    """What was compared: arms, seeds, rows, classes, chance."""
    first = card.arm(card.baseline).scores[0]
    seeds = sorted({seed for arm in card.arms for seed in arm.seeds})
    rows = (
        f"Gallery {first.n} rows, queries {first.n_query}, {first.classes} classes (chance {100 * first.chance:.1f} %)."
    )
    if len(card.arms) == 1:
        return f"{card.baseline}, alone. {rows}"
    single = "; one seed says nothing about training noise" if len(seeds) == 1 else ", mean ± standard deviation"
    checkpoints = f" Checkpoints: {STAGES[card.stage]}." if card.stage in STAGES else ""
    arms = f"{len(card.arms)} arms, {_counted(len(seeds), 'seed')} {_listed(seeds)}{single}."
    return f"{arms} {rows} Baseline: {card.baseline}.{checkpoints}"


def byte_lines(card: Scorecard) -> list[str]:
    """Say for each number of bytes which arm wins and how it is stored; equal sizes in one line."""
    groups = groupby(card.byte_winners, key=lambda best: (best.arm, best.storage, best.ties))
    return [_best_bytes(list(group)) for _, group in groups]


def effect_lines(card: Scorecard) -> list[str]:
    """Say what the constraint does and what the start does, where arms that differ in nothing else are at hand."""
    return [_effect(effect) for effect in card.effects]


def rule_lines(card: Scorecard) -> list[str]:
    """Say whether the other checkpoint rule changes who is best, and the n99 of each arm under both."""
    other = card.alternative
    if other is None:
        return []
    ours, theirs = STAGES.get(card.stage, card.stage), STAGES.get(other.stage, other.stage)
    pairs = [(best, other.winners[card.dims.index(best.k)]) for best in card.winners]
    same = [best.k for best, twin in pairs if best.arm == twin.arm]
    lines = [f"The same arm is best under both rules at k = {_listed(same)}."] if same else []
    lines += [
        f"k = {best.k}: {ours} {best.arm} ({100 * best.accuracy:.1f} %), {theirs} {twin.arm} "
        f"({100 * twin.accuracy:.1f} %){_settled(best, twin)}."
        for best, twin in pairs
        if best.arm != twin.arm
    ]
    sizes = [f"{arm.name} {arm.spread('n99')[0]:.1f} / {other.arm(arm.name).spread('n99')[0]:.1f}" for arm in card.arms]
    return [*lines, f"n99, {ours} / {theirs}: {_listed(sizes)}."]


def _settled(best: Winner, twin: Winner) -> str:
    """Whether two rules that disagree do so by more than noise."""
    contradicted = twin.arm not in best.ties and best.arm not in twin.ties
    return "; the rules disagree by more than the noise" if contradicted else ", not settled: within the noise"


def _effect(effect: Effect) -> str:
    low, high = effect.n99_interval
    ours, theirs = effect.n99
    seeds = f"95 % {signed(low)} to {signed(high)} over {effect.seeds} seeds" if effect.seeds > 1 else "one seed"
    return (
        f"{effect.cause}, {effect.arm} against {effect.twin}: n99 {ours:.1f} against {theirs:.1f} "
        f"({signed(ours - theirs)}, {seeds}); 5-NN in {effect.kept.k} dimensions {points(effect.kept)}; "
        f"at full width {points(effect.whole)}. {_conclusion(effect)}"
    )


def _conclusion(effect: Effect) -> str:
    if effect.seeds == 1:
        return "One seed cannot tell them apart."
    if effect.compacts:
        return f"The {effect.cause} makes the embedding more compact by more than the noise."
    if effect.n99_interval[0] > 0:
        return f"The {effect.cause} makes the embedding less compact by more than the noise."
    return f"These seeds show no effect of the {effect.cause} on n99."


def _best(group: Sequence[Winner]) -> str:
    best = group[-1]
    head = f"k = {_listed([winner.k for winner in group])}: {best.arm} ({_shares(group)} %)"
    return head + _lead(best, f" at k = {best.k}" if len(group) > 1 else "")


def _best_bytes(group: Sequence[ByteWinner]) -> str:
    best = group[-1]
    sizes, kept = _listed([winner.bytes for winner in group]), dict.fromkeys(winner.k for winner in group)
    size = f"{sizes} {_counted(best.bytes, 'byte')}"
    head = f"{size}: {best.arm} as {best.storage} in {_listed([*kept])} dimensions ({_shares(group)} %)"
    return head + _lead(best, f" at {best.bytes} bytes" if len(group) > 1 else "")


def _shares(group: Sequence[Winner]) -> str:
    return " to ".join(dict.fromkeys(f"{100 * winner.accuracy:.1f}" for winner in (group[0], group[-1])))


def _lead(best: Winner, at: str) -> str:
    """How sure the lead is, in words."""
    if not best.margins:
        return ", the only arm"
    if best.distinguishable:
        wins = "wins" if best.margins[0].seeds > 1 else "wins on this one seed"
        return f" {wins}, ahead of {_margin(best.margins[0], at)}"
    beaten = [margin.other for margin in best.margins if margin.distinguishable]
    tail = f"; ahead of {_listed(beaten) if len(beaten) <= _NAMED else 'the rest'}" if beaten else ""
    tied = next(margin for margin in best.margins if not margin.distinguishable)
    others = f" and of {_listed(best.ties[1:])}" if best.ties[1:] else ""
    return f" leads, but within the noise of {_margin(tied, at)}{others}{tail}"


def _margin(margin: Comparison, at: str) -> str:
    return f"{margin.other} ({points(margin)}{at})"


def points(comparison: Comparison) -> str:
    """A difference of accuracies in points, with its interval."""
    low, middle, high = (100 * value for value in (comparison.low, comparison.difference, comparison.high))
    return f"{middle:+.1f} points, 95 % {low:+.1f} to {high:+.1f}"


def _verdict(arm: Arm, card: Scorecard) -> str:
    verdict, facts = arm.verdict, arm.verdict.facts
    if facts is None:
        return f"{verdict.word}: {verdict.reason}."
    rival = facts.rival
    versus = "ahead of" if rival.low > 0 else "behind" if rival.high < 0 else "within the noise of"
    return (
        f"{verdict.word}; {versus} {card.baseline} + PCA-{rival.k} ({points(rival)}). Against the whole baseline: "
        f"n99 {_times(facts.dimension_ratio)}, {_error_ratio(arm, card, facts)}, "
        f"total variance {_times(facts.variance_ratio)}, "
        f"5-NN in {facts.kept.k} dimensions {points(facts.kept)}. Rule: {verdict.reason}."
    )


def _error(score: Score) -> str:
    """The error outside the leading components; of an arm that has no others it says nothing."""
    if nothing_left_out([score]):
        return "RMSE and FVU 0 by definition"
    return f"RMSE {score.rmse:.2g}, FVU {100 * score.fvu:.2f} %"


def _error_ratio(arm: Arm, card: Scorecard, facts: Facts) -> str:
    if nothing_left_out(arm.scores):
        return "RMSE 0 by definition (n99 is the whole width)"
    if nothing_left_out(card.arm(card.baseline).scores):
        return "RMSE not comparable (the baseline's is 0 by definition: its n99 is its whole width)"
    return f"RMSE {_times(facts.rmse_ratio)}"


def _times(ratio: float) -> str:
    """A ratio to the baseline's figure, two digits after the point or, of a smaller one, a digit that is not 0.

    Example:
        >>> _times(0.4), _times(0.00321), _times(float("inf"))
        ('0.40 times', '0.003 times', 'not comparable (the baseline has none)')
    """
    if math.isinf(ratio):
        return "not comparable (the baseline has none)"
    return f"{ratio:.2f} times" if ratio >= 0.01 else f"{ratio:.1g} times"


def _warnings(arm: Arm) -> str:
    return f" Beware: {'; '.join(arm.flags)}." if arm.flags else ""


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
