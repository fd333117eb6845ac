# SPDX-License-Identifier: Apache-2.0
"""Make a search of held-out pairs: the first sentence of a pair asks, and its second sentence is the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.text.identity import sentence_ids
from lightning_monocon.data.text.pair_files import SentencePair


class PairSearch(NamedTuple):
    """Hold distinct sentences that are searched and that search, and the answers.

    Attributes:
        gallery: N sentences.
        query: Q sentences.
        answers: ``(P, 2)`` a query and a gallery sentence that is its partner in a pair.
        same: ``(E, 2)`` a query and the gallery sentence that is the query itself.
    """

    gallery: list[str]
    query: list[str]
    answers: NDArray[np.int64]
    same: NDArray[np.int64]


def pair_search(asked: SentencePair, others: SentencePair) -> PairSearch:
    """Return the search of ``asked`` for second sentences among the sentences of both.

    Sentences that are the same once `normalized` are one row. The gallery holds every sentence but those that only ask,
    so that a query finds itself, and is to be left out there, only where it is the second sentence of a pair too. All
    pairs of a query count, those of ``others`` included; a pair of a sentence with itself does not.

    Args:
        asked: The pairs whose first sentences ask.
        others: Further pairs; they make the gallery larger.
    """
    texts = [*asked.first, *others.first, *asked.second, *others.second]
    ids, count = sentence_ids(texts), len(asked) + len(others)
    first, second = ids[:count], ids[count:]
    query = np.unique(ids[: len(asked)])
    gallery = np.union1d(second, np.setdiff1d(first, query))
    _, place = np.unique(ids, return_index=True)  # numbers run from 0, so the i-th is where number i is first

    pairs = np.unique(np.stack([first, second], 1)[np.isin(first, query) & (first != second)], axis=0)
    twice = np.intersect1d(query, gallery)
    return PairSearch(
        [texts[place[number]] for number in gallery],
        [texts[place[number]] for number in query],
        np.stack([np.searchsorted(query, pairs[:, 0]), np.searchsorted(gallery, pairs[:, 1])], 1),
        np.stack([np.searchsorted(query, twice), np.searchsorted(gallery, twice)], 1),
    )
