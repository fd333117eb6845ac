# SPDX-License-Identifier: Apache-2.0
"""Write what a reader must know of the truths that arms are judged by."""

from __future__ import annotations

from dataclasses import replace

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.sentences import LEGEND, Sentence
from lightning_monocon.scorecard.render.words import KINDS, noun
from lightning_monocon.scorecard.truths import NeighbourTruth
from lightning_monocon.scorecard.truths.truth import Kind

_CHANGE = (
    "This measures change, not quality: it asks whether a search still finds the rows that the whole vectors of {} "
    "find. Nothing outside says that those are right."
)

_MEASURES: dict[Kind, Sentence] = {
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


def truth_lines(card: Scorecard) -> list[Sentence]:
    """Say by what else than labels the arms are judged; first of all, where that measures change and not quality."""
    truths = [card.truth, *(other.truth for other in card.others)]
    change = [_CHANGE.format(truth.reference) for truth in truths if isinstance(truth, NeighbourTruth)]
    several = [f"{KINDS[truth.kind]} ({truth.name}), by {noun(truth.measures[0])}" for truth in truths]
    told = [f"The arms are judged by {'; '.join(several)}."] if len(truths) > 1 else []
    doubts = [
        f"Beware: {doubt}, so keeping its neighbours proves nothing." for truth in truths for doubt in truth.warnings
    ]
    if len(truths) > 1:
        change = [f"Of {KINDS['neighbours']}: {text}" for text in change]
    return [Sentence("", text) for text in (*change, *doubts, *told)]


def legend(card: Scorecard) -> list[Sentence]:
    """Explain the words of a report, and the measures of its truths."""
    kinds = dict.fromkeys(judged.truth.kind for judged in (card, *card.others))
    entries = [replace(entry, text=entry.text.replace("{}", noun(card.truth.measures[0]))) for entry in LEGEND]
    return [*entries, *(_MEASURES[kind] for kind in kinds if kind in _MEASURES)]
