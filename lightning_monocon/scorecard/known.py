# SPDX-License-Identifier: Apache-2.0
"""See to it that all arms of a scorecard are judged by the same truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.truths import NeighbourTruth


def with_truths(data: EmbeddingSet, reference: EmbeddingSet) -> EmbeddingSet:
    """Return a set of which something is known: if nothing is, the neighbours in the reference."""
    return data if data.judges() else replace(data, truths=(NeighbourTruth.of(reference),))


def with_truths_of(data: EmbeddingSet, other: EmbeddingSet) -> EmbeddingSet:
    """Return a set that is judged as another set of the same rows is, if nothing is known of it."""
    if data.judges():
        return data
    return replace(data, gallery_labels=other.gallery_labels, query_labels=other.query_labels, truths=other.truths)


def all_known(sets: Mapping[str, Sequence[EmbeddingSet]], baseline: str) -> dict[str, list[EmbeddingSet]]:
    """Return the sets of all arms, seeds ascending, each with something to be judged by.

    If nothing is known of any of them, they are judged by the neighbours in the baseline of their seed.

    Raises:
        ValueError: If arms differ in what they are judged by.
    """
    runs = {name: sorted(group, key=lambda data: data.seed) for name, group in sets.items()}
    if not any(data.judges() for group in runs.values() for data in group):
        known = {data.seed: NeighbourTruth.of(replace(data, arm=baseline)) for data in runs[baseline]}
        first = next(iter(known.values()))
        runs = {
            name: [replace(data, truths=(known.get(data.seed, first),)) for data in group]
            for name, group in runs.items()
        }
    names = {name: {tuple(truth.name for truth in data.judges()) for data in group} for name, group in runs.items()}
    for name, found in names.items():
        if found != names[baseline] or len(found) > 1:
            raise ValueError(
                f"`sets` must be judged by the same truths in all arms and seeds; {baseline} has "
                f"{_listed(names[baseline])}, {name} has {_listed(found)}."
            )
    return runs


def _listed(found: set[tuple[str, ...]]) -> str:
    return " or ".join(", ".join(names) or "none" for names in sorted(found))
