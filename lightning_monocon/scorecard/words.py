# SPDX-License-Identifier: Apache-2.0
"""The scorecard in words, as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from textwrap import fill

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.ranking import Comparison, Winner
from lightning_monocon.scorecard.tables import BEST, TIED, accuracy_table, frontier_table, shape_table

LEGEND = (
    "n99: fewest principal components with 99 % of the variance (gallery, L2-normalised rows, centred). "
    "Alone it is won by collapse: read it with the two columns beside it. Of one seed, its 95 % interval over rows.",
    "at n99: 5-NN accuracy when only that many dimensions are kept (the most over the seeds); PCA rival: the baseline "
    "cut to as many by PCA.",
    "RMSE shrinks when all rows move together (total variance falls); FVU, the unexplained fraction, does not. "
    "Both are 0 by definition where n99 is the whole width or rank.",
    "Kept dimensions: the gallery's top-k principal components, then cosine; at full width nothing is cut. "
    "k = 1 is only a sign. Beyond its own width an arm competes with all it has.",
    "Noise: 95 % intervals, paired by seed and query (bootstrap over queries, t over seeds; the wider end of each "
    "counts). Each size is judged alone: of 20 comparisons of equal arms one looks distinguishable.",
)

_NAMED = 2
"""Beaten arms that are named; more are "the rest", and the table marks who is not among them."""

_COLUMNS = 110
"""Characters at which the words wrap in a terminal."""


def as_text(card: Scorecard) -> str:
    """The whole scorecard for a terminal."""
    mark = f"{BEST} best at this size   {TIED} within the noise of the best"
    parts = [
        headline(card),
        accuracy_table(card).as_text(),
        shape_table(card).as_text(),
        frontier_table(card).as_text() + f"\n{mark}",
        _section("Best at each size", best_lines(card)),
        _section("Verdicts", verdict_lines(card)),
        _section("Null models, made from the baseline: none of them may be called compact", null_lines(card)),
        _section("How to read this", LEGEND),
    ]
    return "\n\n".join(parts) + "\n"


def as_markdown(card: Scorecard, figures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole scorecard as Markdown, with the figures ``(file name, caption)`` at the end."""
    parts = [
        "# Scorecard",
        headline(card),
        accuracy_table(card).as_markdown(),
        shape_table(card).as_markdown(),
        "## Best at each size",
        _bullets(best_lines(card)),
        frontier_table(card).as_markdown(),
        f"`{BEST}` best at this size, `{TIED}` within the noise of the best.",
        "## Verdicts",
        _bullets(verdict_lines(card)),
        "## Null models",
        "Made from the baseline; none of them may be called compact.",
        _bullets(null_lines(card)),
        "## How to read this",
        _bullets(LEGEND),
    ]
    if figures:
        parts += ["## Figures", *(f"![{caption}]({name})\n\n*{caption}*" for name, caption in figures)]
    return "\n\n".join(parts) + "\n"


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
            f"{null.name}: {null.verdict.word} (n99 {score.n99}, RMSE {score.rmse:.2g}, FVU {100 * score.fvu:.2f} %, "
            f"5-NN at n99 {kept:.1f} %, whole {whole:.1f} %)"
        )
    if any(null.verdict.word == "compact" for null in card.nulls):
        lines.append("A null model passes for compact here, so the word means nothing for these rows.")
    return lines


def headline(card: Scorecard) -> str:
    """What was compared: arms, seeds, rows, classes, chance."""
    first = card.arm(card.baseline).scores[0]
    seeds = sorted({seed for arm in card.arms for seed in arm.seeds})
    single = "; one seed says nothing about training noise" if len(seeds) == 1 else ", mean ± standard deviation"
    return (
        f"{len(card.arms)} arms, seeds {_listed(seeds)}{single}. Gallery {first.n} rows, queries {first.n_query}, "
        f"{first.classes} classes (chance {100 * first.chance:.1f} %). Baseline: {card.baseline}."
    )


def _best(group: Sequence[Winner]) -> str:
    best = group[-1]
    shares = dict.fromkeys(f"{100 * winner.accuracy:.1f}" for winner in (group[0], best))
    head = f"k = {_listed([winner.k for winner in group])}: {best.arm} ({' to '.join(shares)} %)"
    at = f" at k = {best.k}" if len(group) > 1 else ""
    if not best.margins:
        return f"{head}, the only arm"
    if best.distinguishable:
        wins = "wins" if best.margins[0].seeds > 1 else "wins on this one seed"
        return f"{head} {wins}, ahead of {_margin(best.margins[0], at)}"
    beaten = [margin.other for margin in best.margins if margin.distinguishable]
    tail = f"; ahead of {_listed(beaten) if len(beaten) <= _NAMED else 'the rest'}" if beaten else ""
    tied = next(margin for margin in best.margins if not margin.distinguishable)
    others = f" and of {_listed(best.ties[1:])}" if best.ties[1:] else ""
    return f"{head} leads, but within the noise of {_margin(tied, at)}{others}{tail}"


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
        f"n99 {facts.dimension_ratio:.2f} times, RMSE {facts.rmse_ratio:.2f} times, total variance "
        f"{facts.variance_ratio:.2f} times, 5-NN in {facts.kept.k} dimensions {points(facts.kept)}. "
        f"Rule: {verdict.reason}."
    )


def _warnings(arm: Arm) -> str:
    return f" Beware: {'; '.join(arm.flags)}." if arm.flags else ""


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))


def _section(title: str, lines: Iterable[str]) -> str:
    wrapped = (fill(line, _COLUMNS, initial_indent="  ", subsequent_indent="    ") for line in lines)
    return "\n".join([title, *wrapped])


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
