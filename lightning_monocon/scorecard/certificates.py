# SPDX-License-Identifier: Apache-2.0
"""Hold which right answers of a run are proved, and which survive an attack, when features move a little."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_monocon.runs.files import write_text


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
