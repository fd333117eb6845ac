# SPDX-License-Identifier: Apache-2.0
"""Read ``scorecard.json`` of this layout or of the two before, and return it in this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_monocon.scorecard.render.schema import SCHEMA

_THIRD = "lightning-monocon/scorecard/3"
_SECOND = "lightning-monocon/scorecard/2"


def read_scorecard(path: str | Path) -> dict[str, Any]:
    """Return what ``scorecard.json`` holds, in layout 4 (:mod:`lightning_monocon.scorecard.render.schema`).

    Layout 3 knew plain numbers only, and no codes. Layout 2 knew labels only: its figures are given their places among
    those of any truth. What neither said, such as the number of warnings about a truth, is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a scorecard, or of another layout.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "s.json").write_text('{"schema": "lightning-monocon/scorecard/1"}')
        ...     read_scorecard(Path(folder) / "s.json")
        Traceback (most recent call last):
        ValueError: `path` must hold a scorecard of layout 2, 3 or 4; s.json has 'lightning-monocon/scorecard/1'.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` must name a scorecard.json; there is none at {path}.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`path` must hold JSON; {path.name} does not: {error}.") from error
    layout = found.get("schema") if isinstance(found, dict) else None
    if layout not in (_SECOND, _THIRD, SCHEMA):
        raise ValueError(f"`path` must hold a scorecard of layout 2, 3 or 4; {path.name} has {layout!r}.")
    found.setdefault("graphs", [])  # layout 4 had neither at first
    found.setdefault("certificates", None)
    if layout == _SECOND:
        found = {**found, **_card(found)}
    return found if layout == SCHEMA else {**found, **_with_codes(found), "schema": SCHEMA}


def _with_codes(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card of layout 3 in layout 4: no codes were measured, and plain numbers won."""
    alternative = card["alternative"]
    return {
        **card,
        "arms": [_uncoded(arm) for arm in card["arms"]],
        "nulls": [_uncoded(arm) for arm in card["nulls"]],
        "byte_winners": [_by_code(winner) for winner in card["byte_winners"]],
        "others": [_with_codes(other) for other in card["others"]],
        "alternative": alternative and _with_codes(alternative),
        **({"smallest": card["smallest"] and {**card["smallest"], "code": ""}} if "smallest" in card else {}),
    }


def _uncoded(arm: dict[str, Any]) -> dict[str, Any]:
    return {**arm, "runs": [{**run, "codes": None} for run in arm["runs"]]}


def _by_code(winner: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in winner.items() if name not in ("storage", "k")}
    unit = "dimension" if winner["k"] == 1 else "dimensions"
    return {**kept, "code": f"{winner['storage']} in {winner['k']} {unit}"}


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
