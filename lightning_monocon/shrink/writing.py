# SPDX-License-Identifier: Apache-2.0
"""Write a result: the code, the codes of all rows, the report and the figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import Tensor

from lightning_monocon.codes import Codec
from lightning_monocon.codes.domain import Domain
from lightning_monocon.codes.domain import save as save_domain
from lightning_monocon.codes.files import save as save_codec
from lightning_monocon.functional.unit_rows import float32_directions
from lightning_monocon.runs.files import whole, write_text
from lightning_monocon.scorecard.render.figures.style import save
from lightning_monocon.scorecard.render.page import page
from lightning_monocon.scorecard.truths import GradedTruth, NeighbourTruth
from lightning_monocon.shrink.figure import draw
from lightning_monocon.shrink.parts import LAST
from lightning_monocon.shrink.result import Result
from lightning_monocon.shrink.split import unseen_rows
from lightning_monocon.shrink.text import as_markdown, outline

CHECKED = 200
"""Queries that are kept for the check of a store."""


def write(out: Path, result: Result, codec: Codec, codes: Tensor) -> None:
    """Write the code and its domain, the codes, ids and queries, and ``shrink`` as page, Markdown, JSON and figures.

    ``shrink.json`` comes last: a folder that has it is complete.
    """
    stamp = save_codec(codec, out, overwrite=True)  # that of a run that was killed while it wrote
    unseen = result.task.gallery[unseen_rows(result.parts, len(result.task.gallery))]
    save_domain(Domain.of(codec, unseen), stamp, out)
    _save_array(out / "codes.npy", codes.numpy())
    if result.task.ids is not None:
        _save_array(out / "ids.npy", result.task.ids)
    _save_queries(out / "queries.npz", result)
    figures = draw(result)
    for name, figure in figures.items():
        save(figure, out / name)
    write_text(out / "shrink.html", page(outline(result, figures), figures))
    write_text(out / "shrink.md", as_markdown(result, figures))
    write_text(out / LAST, json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")


def _save_array(path: Path, array: np.ndarray) -> None:
    with whole(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _save_queries(path: Path, result: Result) -> None:
    """Write at most 200 certifying queries, which a store is checked with, and the ids of their exact neighbours."""
    task, chosen = result.task, result.parts.certify[:CHECKED]
    if isinstance(task.truth, GradedTruth):
        return  # its units are pairs
    queries = float32_directions(task.query[chosen]).numpy()
    with whole(path) as temporary, temporary.open("wb") as file:
        if isinstance(task.truth, NeighbourTruth):
            nearest = task.truth.nearest[chosen].numpy()
            np.savez(file, queries=queries, nearest=nearest if task.ids is None else task.ids[nearest])
        else:
            np.savez(file, queries=queries)
