# SPDX-License-Identifier: Apache-2.0
"""Say which right answers of the arms are proved, and which survive an attack, when features move a little."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lightning_monocon.runs.files import write_text
from lightning_monocon.scorecard.render.figures.certificates import certificates_figure
from lightning_monocon.scorecard.render.figures.style import save


@dataclass(frozen=True)
class Certificates:
    """Hold what is proved of a run's answers.

    Attributes:
        queries: Number of queries that were asked.
        eps: How far each feature moves, in units of the deviation of all features.
        right: Share of the queries whose 5-NN label is right.
        proved: For each of ``eps`` the share that is right and provably stays.
        attacked: For each of ``eps`` the share that is right and stays under an attack.
    """

    queries: int
    eps: tuple[float, ...]
    right: float
    proved: tuple[float, ...]
    attacked: tuple[float, ...]


def save_certificates(found: Certificates | None, eps: Sequence[float], path: Path) -> None:
    """Write a JSON file, which says what was asked even if an arm has no head."""
    write_text(path, json.dumps({"eps": list(eps), "found": None if found is None else asdict(found)}) + "\n")


def load_certificates(path: Path) -> Certificates | None:
    """Read what `save_certificates` wrote."""
    stored: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8"))["found"]
    if stored is None:
        return None
    lines = {name: tuple(stored[name]) for name in ("eps", "proved", "attacked")}
    return Certificates(queries=stored["queries"], right=stored["right"], **lines)


def write(out: Path, arms: Sequence[str], files: Callable[[str], Sequence[Path]]) -> str:
    """Write ``certificates.json``, ``.md`` and ``.png`` of a comparison and return the text.

    Args:
        out: Folder of the comparison.
        arms: Names of the arms.
        files: Returns what `save_certificates` wrote of the runs of an arm.
    """
    loaded = {name: [load_certificates(file) for file in files(name)] for name in arms}
    found = {name: [run for run in own if run is not None] for name, own in loaded.items()}
    found = {name: own for name, own in found.items() if own}
    text = as_text(found)
    content = {name: [asdict(run) for run in own] for name, own in found.items()}
    write_text(out / "certificates.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    if found:
        save(certificates_figure(found, list(arms)), out / "certificates.png")
        text += "\n\n![Right answers against the change of the features](certificates.png)"
    write_text(out / "certificates.md", f"# Answers that are proved\n\n{text}\n")
    return text


def as_text(found: Mapping[str, Sequence[Certificates]]) -> str:
    """Return the table of the arms that have a head, means over seeds."""
    if not found:
        return "No arm has a head of which anything can be proved."
    first = next(iter(found.values()))[0]
    head = ["arm", "right %", *(f"proved, {eps:g}" for eps in first.eps), *(f"attacked, {eps:g}" for eps in first.eps)]
    rows = [head, ["---"] * len(head)]
    for name, own in found.items():
        lines = [(run.right, *run.proved, *run.attacked) for run in own]
        rows.append([name, *(f"{100 * fmean(column):.1f}" for column in zip(*lines, strict=True))])
    about = (
        f"Of {first.queries} queries the share whose 5-NN label is right, right and proved, and right under an attack "
        "by projected gradients, in %, while every feature of a query moves by as many deviations of the features; the "
        "gallery stays. Means over seeds."
    )
    return about + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)
