# SPDX-License-Identifier: Apache-2.0
"""Read ``scorecard.json`` of this layout or of the one before, and return it in this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_monocon.scorecard.render.schema import SCHEMA

_BEFORE = "lightning-monocon/scorecard/2"


def read_scorecard(path: str | Path) -> dict[str, Any]:
    """Return what ``scorecard.json`` holds, in layout 3 (:mod:`lightning_monocon.scorecard.render.schema`).

    Layout 2 knew labels only: its figures are given their places among those of any truth. What it did not say, such as
    the number of warnings about a truth, is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a scorecard, or of another layout.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "s.json").write_text('{"schema": "lightning-monocon/scorecard/1"}')
        ...     read_scorecard(Path(folder) / "s.json")
        Traceback (most recent call last):
        ValueError: `path` must hold a scorecard of layout 2 or 3; s.json has 'lightning-monocon/scorecard/1'.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must name a scorecard.json; there is none at {path}.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`path` must hold JSON; {path.name} does not: {error}.") from error
    layout = found.get("schema") if isinstance(found, dict) else None
    if layout not in (_BEFORE, SCHEMA):
        raise ValueError(f"`path` must hold a scorecard of layout 2 or 3; {path.name} has {layout!r}.")
    return {**found, **_card(found), "schema": SCHEMA} if layout == _BEFORE else found


def _card(card: dict[str, Any]) -> dict[str, Any]:
    arms = [_arm(arm) for arm in card["arms"]]
    alternative = card["alternative"]
    return {
        **card,
        "arms": arms,
        "nulls": [_arm(arm) for arm in card["nulls"]],
        "nulls_left_out": [],
        "truth": arms[0]["runs"][0]["truth"],
        "others": [],
        "alternative": alternative and _card(alternative),
    }


def _arm(arm: dict[str, Any]) -> dict[str, Any]:
    return {**arm, "runs": [_run(run) for run in arm["runs"]]}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    frontier, rounded = _line(run["frontier"]), [_line(line) for line in run["rounded"]]
    truth = {
        "kind": "labels",
        "name": "labels",
        "measures": [*frontier["values"]],
        "unit": "query",
        "units": run["n_query"],
        "warnings": [],
    }
    values = {name: line[-1] for name, line in frontier["values"].items()}
    return {**run, "frontier": frontier, "rounded": rounded, "values": values, "truth": truth, "others": []}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    recalls = {f"recall@{r}": [shares[r] for shares in line["recall"]] for r in line["recall"][0]}
    return {**line, "values": {"knn_accuracy": line["knn_accuracy"], **recalls}}
