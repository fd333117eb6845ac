# SPDX-License-Identifier: Apache-2.0
"""From run folders to a scorecard on disk: read what the trainings left, score it, write everything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_monocon.runs.files import whole
from lightning_monocon.runs.record import RECORD, read_history
from lightning_monocon.scorecard.card import Scorecard, build
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.origin import origin_of
from lightning_monocon.scorecard.render.figures import (
    correlation_figure,
    dynamics_figure,
    frontier_figure,
    recall_figure,
    save,
    spectrum_figure,
    storage_figure,
    training_figure,
)
from lightning_monocon.scorecard.render.page import as_html
from lightning_monocon.scorecard.render.schema import as_json
from lightning_monocon.scorecard.render.text import as_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EMBEDDINGS = {"last": "embeddings.safetensors", "best": "embeddings-best.safetensors"}
"""Files of a run by checkpoint: after the last epoch, and of the best epoch by validation."""

CAPTIONS = {
    "frontier.png": "5-NN accuracy against kept dimensions (every arm is cut by PCA, or to a prefix where it says so); "
    "bands span the seeds, rings mark each arm's n99.",
    "storage.png": "5-NN accuracy against bytes per vector: kept coordinates as float32, int8 or single bits.",
    "recall.png": "Share of queries with their label among the r nearest neighbours.",
    "spectrum.png": "Variance left unexplained by the first k principal components (the grey line is the 1 % that "
    "defines n99), and the variance along each.",
    "correlation.png": "Absolute correlation between features, clustered; first seed of each arm.",
    "training.png": "Validation accuracy and training loss by epoch, as the runs recorded them: a run whose curves "
    "still move at its end stopped too early. Losses of different kinds have no common scale. Bands span the seeds.",
    "dynamics.png": "Effective dimension by epoch at the output of the encoder below each head, and at the embedding; "
    "an arm without a head has only the latter. Bands span the seeds.",
}
"""Figures of a scorecard by file name, with what they show."""


def report(out: Path, arms: Sequence[str], baseline: str = "encoder") -> Scorecard:
    """Score finished runs under both checkpoint rules; write ``scorecard.json``, ``.md``, ``.html`` and the figures.

    Each run is a folder ``<out>/runs/<arm>-seed<seed>/`` with ``embeddings.safetensors``
    (:meth:`EmbeddingSet.save`), those of the best checkpoint by validation in ``embeddings-best.safetensors``, and, if
    it was trained, ``record.jsonl`` (:func:`~lightning_monocon.runs.record.read_history`). The other checkpoint
    rule is left out unless every run has the second file.

    Args:
        out: folder of the comparison.
        arms: names of the arms, in the order of tables and figures; the baseline comes first anyway.
        baseline: the arm that the others are judged against.

    Returns:
        The scorecard; print its ``table()``.

    Raises:
        FileNotFoundError: if an arm has no run, or a run has no embeddings.
        ValueError: if the baseline is not among the arms, or embeddings do not fit together.
    """
    card, drawn = score_runs(Path(out), arms, baseline)
    write(Path(out), card, drawn)
    return card


def score_runs(out: Path, arms: Sequence[str], baseline: str = "encoder") -> tuple[Scorecard, dict[str, Figure]]:
    """The scorecard of finished runs and its figures, as :func:`report` writes them."""
    folders = {arm: run_folders(out, arm) for arm in arms}
    sets = {arm: [_embeddings(folder, arm, seed) for seed, folder in found] for arm, found in folders.items()}
    histories = {arm: [read_history(folder / RECORD) for _, folder in found] for arm, found in folders.items()}
    origin = origin_of(folder for found in folders.values() for _, folder in found)
    card = replace(build(sets, baseline, histories), origin=origin)
    if all((folder / EMBEDDINGS["best"]).is_file() for found in folders.values() for _, folder in found):
        best = {a: [_embeddings(folder, a, seed, "best") for seed, folder in found] for a, found in folders.items()}
        card = replace(card, alternative=build(best, baseline, brief=True))
    return card, draw(card, [sets[arm.name][0] for arm in card.arms])


def write(out: Path, card: Scorecard, drawn: Mapping[str, Figure]) -> None:
    """Write ``scorecard.json``, ``.md``, ``.html`` and the figures into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    card = card if card.origin else replace(card, origin=origin_of())
    for name, figure in drawn.items():
        save(figure, out / name)
    _write(out / "scorecard.json", json.dumps(as_json(card), indent=1, allow_nan=False) + "\n")
    _write(out / "scorecard.html", as_html(card, drawn, CAPTIONS))
    _write(out / "scorecard.md", as_markdown(card, [(name, CAPTIONS[name]) for name in drawn]))


def draw(card: Scorecard, sets: Iterable[EmbeddingSet]) -> dict[str, Figure]:
    """All figures by file name, for files and for loggers.

    Args:
        card: the scorecard.
        sets: one set of embeddings per arm, in the order of the card.
    """
    named = dict(zip((arm.name for arm in card.arms), sets, strict=True))
    drawn = {
        "frontier.png": frontier_figure(card),
        "storage.png": storage_figure(card),
        "recall.png": recall_figure(card),
        "spectrum.png": spectrum_figure(card),
        "correlation.png": correlation_figure(named),
        "training.png": training_figure({arm.name: arm.histories for arm in card.arms}),
        "dynamics.png": dynamics_figure(card),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def run_folders(out: Path, arm: str) -> list[tuple[int, Path]]:
    """Seeds and folders of the runs of one arm, seeds ascending.

    Raises:
        FileNotFoundError: naming the runs there are.
    """
    runs = Path(out) / "runs"
    pattern = re.compile(re.escape(arm) + r"-seed(\d+)")
    there = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    found = sorted((int(match[1]), runs / name) for name in there if (match := pattern.fullmatch(name)))
    if not found:
        raise FileNotFoundError(
            f"`arms` must name runs under {runs}, each a folder <arm>-seed<seed>; there is none of {arm!r}, only "
            f"{', '.join(there) or 'nothing'}."
        )
    return found


def _embeddings(folder: Path, arm: str, seed: int, stage: str = "last") -> EmbeddingSet:
    path = folder / EMBEDDINGS[stage]
    if not path.is_file():
        raise FileNotFoundError(f"`out` must hold finished runs; {folder.name} has no {path.name}: train it again.")
    data = EmbeddingSet.load(path)
    if (data.arm, data.seed) != (arm, seed):
        raise ValueError(
            f"`out` must hold runs in their own folders; {folder.name} holds embeddings of {data.arm}, seed "
            f"{data.seed}: never mix runs."
        )
    return data


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole(path) as file:
        file.write_text(text, encoding="utf-8")
