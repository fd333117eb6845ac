# SPDX-License-Identifier: Apache-2.0
"""Score the runs of a comparison, and write the scorecard and its figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_monocon.runs.files import write_text
from lightning_monocon.runs.record import RECORD, read_history
from lightning_monocon.scorecard.card import Scorecard, build
from lightning_monocon.scorecard.certificates import Certificates, load_certificates
from lightning_monocon.scorecard.codes import CodesTried
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.origin import origin_of
from lightning_monocon.scorecard.render.figures import draw, save
from lightning_monocon.scorecard.render.outline import proved_outline
from lightning_monocon.scorecard.render.page import as_html
from lightning_monocon.scorecard.render.schema import as_json, certificates_as_json
from lightning_monocon.scorecard.render.text import as_markdown, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EMBEDDINGS = {"last": "embeddings.safetensors", "best": "embeddings-best.safetensors"}
"""Files of a run, by checkpoint: that of the last epoch, and that of the best epoch by validation."""


def report(out: Path, arms: Sequence[str], baseline: str = "encoder", codes: CodesTried = "fast") -> Scorecard:
    """Score finished runs under both checkpoint rules; write ``scorecard.json``, ``.md``, ``.html`` and the figures.

    Each run is a folder ``<out>/runs/<arm>-seed<seed>/`` with ``embeddings.safetensors``
    (:meth:`EmbeddingSet.save`), those of the best checkpoint by validation in ``embeddings-best.safetensors``, and, if
    it was trained, ``record.jsonl`` (:func:`~lightning_monocon.runs.record.read_history`). The other checkpoint
    rule is left out unless every run has the second file, and where the best epoch of every run was its last.

    Args:
        out: Folder of the comparison.
        arms: Names of the arms, in the order of tables and figures; the baseline always comes first.
        baseline: The arm that the others are judged against.
        codes: Families of codes that compete at each number of bytes: ``"fast"``, or ``"all"``, which takes minutes.

    Returns:
        The scorecard; :func:`~lightning_monocon.scorecard.as_text` prints it.

    Raises:
        FileNotFoundError: If an arm has no run, or a run has no embeddings.
        ModuleNotFoundError: If all codes are asked for, and faiss is not installed.
        ValueError: If the baseline is not among the arms, or embeddings do not fit together.
    """
    card, drawn = score_runs(Path(out), arms, baseline, codes)
    write(Path(out), card, drawn)
    return card


def score_runs(
    out: Path, arms: Sequence[str], baseline: str = "encoder", codes: CodesTried = "fast", certificates: str = ""
) -> tuple[Scorecard, dict[str, Figure]]:
    """Return the scorecard of finished runs and its figures, as :func:`report` writes them.

    Args:
        out: Folder of the comparison.
        arms: Names of the arms.
        baseline: The arm that the others are judged against.
        codes: Which families of codes compete for the bytes, ``"fast"`` or ``"all"``.
        certificates: Name of the file in which each run has what is proved of its answers; empty to leave that out.
    """
    folders = {arm: run_folders(out, arm) for arm in arms}
    sets = {arm: [_embeddings(folder, arm, seed) for seed, folder in found] for arm, found in folders.items()}
    histories = {arm: [read_history(folder / RECORD) for _, folder in found] for arm, found in folders.items()}
    origin = origin_of(folder for found in folders.values() for _, folder in found)
    card = replace(build(sets, baseline, histories, codes=codes), origin=origin)
    if all((folder / EMBEDDINGS["best"]).is_file() for found in folders.values() for _, folder in found):
        best = {a: [_embeddings(folder, a, seed, "best") for seed, folder in found] for a, found in folders.items()}
        if not all(map(_same_rows, _all_of(sets), _all_of(best))):
            card = replace(card, alternative=build(best, baseline, brief=True))
    if certificates:
        card = replace(
            card, certificates=_certificates([(arm.name, folders[arm.name]) for arm in card.arms], certificates)
        )
    return card, draw(card, [sets[arm.name][0] for arm in card.arms])


def _certificates(
    arms: Iterable[tuple[str, Sequence[tuple[int, Path]]]], file: str
) -> dict[str, tuple[Certificates, ...]]:
    """Return what is proved of the runs of each arm that has a head."""
    loaded = {name: [load_certificates(folder / file) for _, folder in runs] for name, runs in arms}
    found = {name: tuple(run for run in runs if run is not None) for name, runs in loaded.items()}
    return {name: runs for name, runs in found.items() if runs}


def _all_of(sets: Mapping[str, Sequence[EmbeddingSet]]) -> list[EmbeddingSet]:
    return [data for runs in sets.values() for data in runs]


def _same_rows(one: EmbeddingSet, other: EmbeddingSet) -> bool:
    """Return whether the best epoch was the last one, so that both checkpoint rules have one answer."""
    return one.gallery.equal(other.gallery) and one.query.equal(other.query)


def write(out: Path, card: Scorecard, drawn: Mapping[str, Figure]) -> None:
    """Write ``scorecard.json``, ``.md``, ``.html`` and the figures into ``out``; of proofs a page of their own too."""
    card = card if card.origin else replace(card, origin=origin_of())
    for name, figure in drawn.items():
        save(figure, out / name)
    texts = {
        "scorecard.json": json.dumps(as_json(card), indent=1, allow_nan=False) + "\n",
        "scorecard.html": as_html(card, drawn),
        "scorecard.md": as_markdown(card, drawn),
    }
    if card.certificates is not None:
        texts["certificates.json"] = json.dumps(certificates_as_json(card), indent=1, allow_nan=False) + "\n"
        texts["certificates.md"] = markdown(proved_outline(card, drawn))
    for name, text in texts.items():
        write_text(out / name, text)


def run_folders(out: Path, arm: str) -> list[tuple[int, Path]]:
    """Return the seeds and folders of the runs of one arm, seeds ascending.

    Raises:
        FileNotFoundError: If there is none; the error names the runs that exist.
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
