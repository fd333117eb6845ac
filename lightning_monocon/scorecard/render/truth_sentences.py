# SPDX-License-Identifier: Apache-2.0
"""Write what a reader must know of the truths that arms are judged by."""

from __future__ import annotations

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.words import KINDS, noun
from lightning_monocon.scorecard.truths import NeighbourTruth

_CHANGE = (
    "This measures change, not quality: it asks whether a search still finds the rows that the whole vectors of {} "
    "find. Nothing outside says that those are right."
)


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
        change = [text.replace("This", f"Judging by {KINDS['neighbours']}", 1) for text in change]
    return [Sentence("", text) for text in (*change, *doubts, *told)]
