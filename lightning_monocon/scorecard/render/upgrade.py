# SPDX-License-Identifier: Apache-2.0
"""Show what an upgrade is worth, as text, Markdown and JSON: a table of the ways, and which of them to take.

This is version 1 of the JSON. Shares are fractions, and a margin is ``difference``, ``low`` and ``high``:

* ``schema``: name and version of this layout.
* ``origin``: ``data``, ``recipe``, ``encoder``, ``version`` of this package, ``date`` and ``command``, each empty if it
  is unknown.
* ``truths[]``: the ways as each truth judges them: the ``truth`` (as in a scorecard), the ``measure`` of the margins,
  the ``advice``, the rows that the map was ``fitted`` on, and ``ways[]``, the old model first: ``name``, ``keeps`` (the
  old gallery stays), ``values`` (the mean of every measure), ``ahead_of_old`` and ``behind_again`` (margins, null for
  the way itself).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning_monocon.runs.files import write_text
from lightning_monocon.scorecard.origin import Origin, origin_of
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.schema import truth_as_json
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.scorecard.render.text import markdown, text
from lightning_monocon.scorecard.render.words import heading
from lightning_monocon.scorecard.upgrade import Margin, Upgrade, Way

SCHEMA = "lightning-monocon/upgrade/1"
"""Name and version of the layout; the number grows when a reader of the old layout would go wrong."""

_SHOWN = ("knn_accuracy", "recall@1", "ndcg@10", "recall@10", "map@100")


def upgrade_text(upgrades: Sequence[Upgrade]) -> str:
    """Return the reports of all truths for a terminal."""
    return text(_outline(upgrades))


def write_upgrade(out: str | Path, upgrades: Sequence[Upgrade], data: str = "") -> None:
    """Write ``upgrade.md`` and ``upgrade.json``.

    Args:
        out: The folder; it is made if it is missing.
        upgrades: The reports of all truths.
        data: The files that were compared.

    Raises:
        OSError: If there is no room, or writing is not allowed.
    """
    origin = replace(origin_of(), data=data)
    plain = {"schema": SCHEMA, "origin": asdict(origin), "truths": [_as_json(each) for each in upgrades]}
    write_text(Path(out) / "upgrade.json", json.dumps(plain, indent=1, allow_nan=False) + "\n")
    write_text(Path(out) / "upgrade.md", markdown(_outline(upgrades, origin)))


def advice(found: Upgrade) -> str:
    """Return which way to take, and why: a lead counts if it is more than noise over the queries."""
    best, again, old = found.best, found.again, found.old
    if (gain := found.lead(best, old)).ahead:
        level = "".join(f", level with {way.name}" for way in found.level)
        said = f"Take {best.name}{level}: {_points(gain)} ahead of the old model"
        if (more := found.lead(again, best)).ahead:
            return f"{said}. If you can, embed the gallery again ({again.name}): {_points(more)} more."
        return f"{said}, and embedding the gallery again is not ahead of it by more than noise."
    if (gain := found.lead(again, old)).ahead:
        return (
            f"Embed the gallery again ({again.name}): {_points(gain)} ahead of the old model. No new query on the old "
            "gallery is ahead of an old one by more than noise."
        )
    return "Keep the old model: nothing new is ahead of it by more than noise."


def _outline(upgrades: Sequence[Upgrade], origin: Origin | None = None) -> Outline:
    about = "Bottom line" if len(upgrades) == 1 else "Bottom line by {}"
    lines = [Sentence(about.format(found.truth.name), advice(found)) for found in upgrades]
    return Outline("Upgrade", lines, origin.lines() if origin else (), [_section(found) for found in upgrades])


def _section(found: Upgrade) -> Section:
    intro = (
        f"{found.truth.units:,} queries. Leads in {heading(found.measure)} with intervals that hold together with "
        f"95 % confidence over queries. The map is a rotation, fitted on the {found.fitted:,} rows of the gallery that "
        "both models have embedded."
    )
    return Section(f"Judged by {found.truth.name}", intro=intro, tables=[_table(found)])


def _table(found: Upgrade) -> Table:
    measures = [name for name in _SHOWN if name in found.truth.measures]
    header = ("queries and gallery", *map(heading, measures), "ahead of old", "behind embedding again")
    return Table(header, tuple(_row(found, way, measures) for way in found.ways))


def _row(found: Upgrade, way: Way, measures: Sequence[str]) -> tuple[str, ...]:
    figures = (f"{100 * way.mean(name):.1f}" for name in measures)
    gain = "" if way is found.old else _ends(found.lead(way, found.old))
    return way.name, *figures, gain, "" if way is found.again else _ends(found.lead(found.again, way))


def _ends(margin: Margin) -> str:
    return f"{100 * margin.difference:+.1f} ({100 * margin.low:+.1f} to {100 * margin.high:+.1f})"


def _points(margin: Margin) -> str:
    return f"{100 * margin.difference:.1f} points ({100 * margin.low:.1f} to {100 * margin.high:.1f})"


def _as_json(found: Upgrade) -> dict[str, Any]:
    return {
        "truth": truth_as_json(found.truth),
        "measure": found.measure,
        "advice": advice(found),
        "fitted": found.fitted,
        "ways": [_way(found, way) for way in found.ways],
    }


def _way(found: Upgrade, way: Way) -> dict[str, Any]:
    return {
        "name": way.name,
        "keeps": way.keeps,
        "values": {measure: way.mean(measure) for measure in found.truth.measures},
        "ahead_of_old": None if way is found.old else asdict(found.lead(way, found.old)),
        "behind_again": None if way is found.again else asdict(found.lead(found.again, way)),
    }
