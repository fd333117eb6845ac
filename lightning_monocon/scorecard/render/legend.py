# SPDX-License-Identifier: Apache-2.0
"""Explain the words of a report, and the measures of the truths that it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.words import KINDS, noun
from lightning_monocon.scorecard.truths.truth import MARGINS, Kind

LEGEND = (
    Sentence(
        "n99",
        "The fewest principal components with 99 % of the variance of the gallery's L2-normalised, centred rows. A "
        "collapsed embedding has the lowest n99 of all, so read it with the two columns beside it. With a single seed, "
        "the brackets hold its 95 % interval over rows.",
    ),
    Sentence("at n99", "{} when only that many dimensions are kept (the largest n99 over the seeds)."),
    Sentence("PCA rival", "{} of the baseline cut by PCA to as many dimensions."),
    Sentence(
        "RMSE and FVU",
        "What the leading n99 components do not explain of the queries: as an error per entry, and as a fraction of "
        "the variance. RMSE shrinks when all rows move together (total variance falls); FVU does not. Both are 0 by "
        "definition where n99 is the whole width; the table then shows (0).",
    ),
    Sentence(
        "Kept dimensions",
        "Vectors are centred on the gallery's mean, projected on its top k principal components and compared by "
        "cosine, also as int8 and, turned at random, as bits. At full width float32 vectors are taken as they are, not "
        "centred; centring alone moves neighbours, so a curve may jump there. An arm marked (prefix) was trained with "
        "nested prefixes and keeps its first k numbers. With k = 1 a cosine is only a sign. At sizes beyond its own "
        "width, an arm competes with all that it has.",
    ),
    Sentence(
        "Bytes",
        "Each arm is kept in the code that serves it best at that size, such as transform-8 (monocon export --code), "
        "or in plain float32, int8 or binary numbers. Codes are fitted on the gallery; each half of the queries (or "
        "pairs) is judged in the code that the other half found best.",
    ),
    Sentence(
        "Noise",
        "Differences are paired by seed and by query (or pair of rows). The 95 % interval of each covers other "
        "queries and other seeds, and with one seed only other queries. The words ask for more: an arm wins, or is "
        "ahead, only if its lead is also larger than any lead between any two arms at any size or number of bytes "
        "in 95 % of the cards of equal arms. So at most one card of equal arms in twenty claims a winner, although "
        "the best arm is picked on the queries that test it. With one seed this holds for runs that are equally "
        "good: what other runs of the arms would give is unknown. Further checkpoints and truths are cards of their "
        "own, and effects are judged alone.",
    ),
)

_MEASURES: dict[Kind, Sentence] = {
    "labels": Sentence(
        "Balanced",
        "The mean of the classes' 5-NN accuracies, each class counting as much: a constant answer gets one class's "
        "share, however common that class is among the queries.",
    ),
    "qrels": Sentence(
        "Known answers",
        "Recall@k, MRR@10, MAP@100 and nDCG@10 are those of trec_eval, with the grades as gains. Queries without a "
        "relevant row are left out.",
    ),
    "graded": Sentence(
        "Graded pairs",
        "The correlation between the cosines of pairs and the scores that people gave them. Cosines that are equal "
        "but for rounding share a rank. A point is a hundredth.",
    ),
    "neighbours": Sentence(
        "Neighbours",
        "Of the nearest rows in the reference, overlap@k is the share among the k nearest, and recall@100 that among "
        "the 100 nearest, which reranking could still find. RBO weighs the first ranks most (p = 0.9).",
    ),
}


def legend(card: Scorecard) -> list[Sentence]:
    """Explain the words of a report, and the measures of its truths."""
    judged = (card, *card.others)
    kinds: list[Kind] = list(dict.fromkeys(each.truth.kind for each in judged))
    names = " or ".join(dict.fromkeys(noun(each.truth.measures[0]) for each in judged))
    entries = [replace(entry, text=entry.text.replace("{}", names)) for entry in LEGEND]
    return [*entries, _kept(kinds), *(_MEASURES[kind] for kind in kinds)]


def _kept(kinds: Sequence[Kind]) -> Sentence:
    """Say when a loss counts as none."""
    margins = sorted({MARGINS[kind] for kind in kinds})
    several = []
    for margin in margins:
        points = f"minus {100 * margin:.0f} {'point' if margin == 0.01 else 'points'}"
        names = " and ".join(KINDS[kind] for kind in kinds if MARGINS[kind] == margin)
        several.append(f"{points} for {names}" if len(margins) > 1 else points)
    return Sentence(
        "Kept",
        "What an embedding finds counts as kept only if the lower end of the 95 % interval of the difference is above "
        f"{', or '.join(several)}. The interval is over queries, or over pairs where they are judged; few of them "
        "cannot show that, whatever the embedding.",
    )
