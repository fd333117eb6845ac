# SPDX-License-Identifier: Apache-2.0
"""Label sentences by identity, so that a sentence that occurs twice in a batch is not a false negative."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def normalized(text: str) -> str:
    """Return the text with one form of each character, one case and single spaces, to compare texts."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def sentence_ids(texts: Iterable[str]) -> NDArray[np.int64]:
    """Return a number for each text, the same for texts that are the same once `normalized`; ``(N,)``.

    Numbers run from 0 in the order of first appearance.
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normalized(text), len(numbers)) for text in texts], dtype=np.int64)


def pair_labels(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one label per pair, ``(B,)``, the same for pairs that are connected by sentences they share.

    The pairs are the edges of a graph of sentences; a label is the smallest sentence number of a connected component.
    Labels of different batches therefore never clash, and the loss may gather them over ranks.
    """
    numbers, nodes = np.unique(np.concatenate([first, second]), return_inverse=True)
    ends = nodes.reshape(2, -1)
    graph = coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(len(numbers), len(numbers)))
    _, component = connected_components(graph, directed=False)
    # numbers ascend, so the first node of each component has its smallest one
    _, smallest = np.unique(component, return_index=True)
    labels: NDArray[np.int64] = numbers[smallest[component[ends[0]]]]
    return labels
