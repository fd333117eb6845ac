# SPDX-License-Identifier: Apache-2.0
"""Print what an upgrade is worth: a table of the ways, and a sentence that says which to take."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.scorecard.render.text import text
from lightning_monocon.scorecard.render.words import heading
from lightning_monocon.scorecard.upgrade import Margin, Upgrade, Way

_SHOWN = ("knn_accuracy", "recall@1", "ndcg@10", "recall@10", "map@100")


def upgrade_text(upgrades: Sequence[Upgrade]) -> str:
    """Return the reports of all truths for a terminal."""
    return "\n".join(text(_outline(each)) for each in upgrades)


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


def _outline(found: Upgrade) -> Outline:
    compared = heading(found.measure)
    intro = (
        f"{found.truth.units:,} queries. Leads in {compared} with intervals that hold together with 95 % confidence "
        f"over queries. The map is a rotation, fitted on the {found.fitted:,} rows of the gallery that both models "
        "have embedded."
    )
    section = Section(f"Judged by {found.truth.name}", intro=intro, tables=[_table(found)])
    return Outline("Upgrade", (Sentence("Bottom line", advice(found)),), (), [section])


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
