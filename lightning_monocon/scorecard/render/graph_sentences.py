# SPDX-License-Identifier: Apache-2.0
"""Write what HNSW graphs find: from how many candidates on, and a table of all that were tried."""

from __future__ import annotations

import math

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.graph_index import BUILD, LINKS, MOST_QUERIES, GraphSearch
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table

ENOUGH = 0.99
"""Share of the exact answer that a sentence asks for."""


def graph_intro(card: Scorecard) -> str:
    """Say what was measured, and how."""
    return (
        "A store with an HNSW index answers approximately: it keeps ef candidates while it searches. Found is the "
        f"share of the {card.graphs[0].nearest} nearest rows of an exact search among the same vectors, over at most "
        f"{MOST_QUERIES} queries; what the cut itself changes is in the sections above. Each graph keeps {LINKS} links "
        f"a row and was built with {BUILD} candidates. The local dimension is estimated by maximum likelihood from 20 "
        "neighbours."
    )


def graph_lines(card: Scorecard) -> list[Sentence]:
    """Say for each arm and size how many candidates a search needs."""
    return [Sentence(f"{search.arm} in {_numbers(search)}", _needed(search)) for search in card.graphs]


def graph_table(card: Scorecard) -> Table:
    """Return one row per arm, size and library, a column per number of candidates."""
    header = ("found % at ef =", "library", "numbers", "local dim.", *map(str, card.graphs[0].ef))
    rows = [
        (search.arm, library, str(search.k), _dimension(search), *(f"{100 * share:.1f}" for share in found))
        for search in card.graphs
        for library, found in search.recall.items()
    ]
    return Table(header, tuple(rows))


def _numbers(search: GraphSearch) -> str:
    return f"{search.k} number" if search.k == 1 else f"{search.k} numbers"


def _dimension(search: GraphSearch) -> str:
    return "-" if math.isnan(search.local_dimension) else f"{search.local_dimension:.1f}"


def _needed(search: GraphSearch) -> str:
    least = {library: _first(search, found) for library, found in search.recall.items()}
    told = [f"from ef = {ef} on in {library}" for library, ef in least.items() if ef is not None]
    never = [library for library, ef in least.items() if ef is None]
    if never:
        told.append(f"not even at ef = {search.ef[-1]} in {' and '.join(never)}")
    share = f"{100 * ENOUGH:.0f} % of the nearest rows are found {', and '.join(told)}."
    return f"{share} The local dimension is {_dimension(search)}." if search.local_dimension > 0 else share


def _first(search: GraphSearch, found: tuple[float, ...]) -> int | None:
    return next((ef for ef, share in zip(search.ef, found, strict=True) if share >= ENOUGH), None)
