# SPDX-License-Identifier: Apache-2.0
"""Find scored pairs that were trained on: those of the same sentences."""

from __future__ import annotations

import numpy as np

from lightning_monocon.data.text.identity import sentence_ids
from lightning_monocon.data.text.pair_files import ScoredPair, SentencePair


def new_pairs(scored: ScoredPair, train: SentencePair) -> ScoredPair:
    """Return the scored pairs that are not train pairs, in either order, up to case, spaces and Unicode form.

    Raises:
        ValueError: If there are none.
    """
    texts = [*train.first, *train.second, *scored.pairs.first, *scored.pairs.second]
    known, asked = np.split(sentence_ids(texts), [2 * len(train)])
    known, asked = (np.sort(numbers.reshape(2, -1), axis=0).T for numbers in (known, asked))
    trained = set(map(tuple, known.tolist()))
    kept = [i for i, pair in enumerate(asked.tolist()) if tuple(pair) not in trained]
    if not kept:
        raise ValueError(
            f"`leave_out_repeats` must leave scored pairs to judge by; all {len(asked)} are train pairs. Give other "
            "files, or set it to False."
        )
    pairs = SentencePair(*([side[i] for i in kept] for side in scored.pairs))
    return ScoredPair(pairs, scored.scores[kept])
