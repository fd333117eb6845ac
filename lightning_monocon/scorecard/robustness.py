# SPDX-License-Identifier: Apache-2.0
"""Say what is left of the arms' answers when queries are corrupted, and whether FVU or RMSE foretell it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist, fmean
from typing import NamedTuple

import torch

from lightning_monocon.functional.spearman import spearman
from lightning_monocon.runs.files import write_text
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.scorecard.render.text import wrapped
from lightning_monocon.scorecard.render.words import axis_label
from lightning_monocon.scorecard.scores import Score

FEWEST_ARMS = 5
"""Arms from which on a correlation over arms is reported: with fewer its interval is all that there is."""

_NORMAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Robustness:
    """Hold what a run answers with clean queries, and with corrupted ones.

    Attributes:
        measure: What is measured, such as ``"knn_accuracy"``.
        clean: It, of queries as they are, at full width.
        corrupted: It, by corruption, for severities 1 to 5.
    """

    measure: str
    clean: float
    corrupted: Mapping[str, Sequence[float]]

    @property
    def mean(self) -> float:
        """Mean over corruptions and severities."""
        return fmean(fmean(line) for line in self.corrupted.values())

    @property
    def kept(self) -> float:
        """That mean as a share of what clean queries find; NaN where these find nothing."""
        return self.mean / self.clean if self.clean > 0 else math.nan

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Robustness:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Relation:
    """Hold a rank correlation over arms.

    Attributes:
        cause: ``"rmse"``, times the root of the width, or ``"fvu"`` of the scorecard: a smaller one is called
            robustness.
        effect: ``"mean"`` under corruption, or the share ``"kept"``.
        arms: Number of arms; each counts once, by the mean of its seeds.
        value: Spearman's correlation.
        interval: Its 95 % interval (Fisher's transform with the variance of Bonett and Wright, 2000).
    """

    cause: str
    effect: str
    arms: int
    value: float
    interval: tuple[float, float]


def rank_correlation_interval(value: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a Spearman correlation of ``count`` pairs, -1 to 1 for fewer than four.

    Fisher's transform of the correlation has nearly the variance (1 + r^2 / 2) / (n - 3); Bonett and Wright,
    Psychometrika 65 (2000).
    """
    if count < 4:  # the variance's denominator
        return -1.0, 1.0
    centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, value)))
    reach = _NORMAL * math.sqrt((1 + value**2 / 2) / (count - 3))
    return math.tanh(centre - reach), math.tanh(centre + reach)


def relations(arms: Sequence[Arm], found: Mapping[str, Sequence[Robustness]]) -> list[Relation]:
    """Return how RMSE and FVU of arms are ranked against what is left under corruption.

    There is none for too few arms, and none of values that are all equal.

    Args:
        arms: Scored arms. Those whose n99 is their whole width are left out: their RMSE and FVU are 0 by definition.
        found: The runs of each arm.
    """
    usable = [arm for arm in arms if all(score.n99 < score.dim for score in arm.scores)]
    if len(usable) < FEWEST_ARMS:
        return []
    lines: list[Relation] = []
    for cause in ("rmse", "fvu"):
        causes = [fmean(_remainder(score, cause) for score in arm.scores) for arm in usable]
        for effect in ("mean", "kept"):
            effects = [fmean(getattr(run, effect) for run in found[arm.name]) for arm in usable]
            if _vary(causes) and _vary(effects):
                value = float(spearman(*(torch.tensor(each, dtype=torch.float64) for each in (causes, effects))))
                interval = rank_correlation_interval(value, len(usable))
                lines.append(Relation(cause, effect, len(usable), value, interval))
    return lines


def _remainder(score: Score, cause: str) -> float:
    """Return FVU, or RMSE as the length of a row's remainder: per entry it falls with the width alone."""
    return score.fvu if cause == "fvu" else score.rmse * score.dim**0.5


def _vary(values: Sequence[float]) -> bool:
    """Return whether values have an order: they are numbers and not all equal."""
    return len(set(values)) > 1 and all(map(math.isfinite, values))


def write(out: Path, card: Scorecard, files: Callable[[str], Sequence[Path]]) -> str:
    """Write ``robustness.json`` and ``.md`` of a comparison, and return the text for a terminal.

    Args:
        out: Folder of the comparison.
        card: Its scorecard.
        files: Returns what `Robustness.save` wrote of the runs of an arm.
    """
    found = {arm.name: [Robustness.load(file) for file in files(arm.name)] for arm in card.arms}
    related = relations(card.arms, found)
    content = {
        "arms": {name: [asdict(run) for run in own] for name, own in found.items()},
        "relations": [asdict(each) for each in related],
    }
    parts = as_parts(card.arms, found, related)
    write_text(out / "robustness.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_text(out / "robustness.md", f"# Corrupted queries\n\n{parts.text(markdown=True)}\n")
    return parts.text(markdown=False)


class Parts(NamedTuple):
    """Hold what is said of corrupted queries: what was asked, the table of the arms, and the correlations."""

    about: str
    table: Table
    related: str

    def text(self, *, markdown: bool) -> str:
        """Return the parts as Markdown, or for a terminal, which wraps lines and aligns columns."""
        if markdown:
            return f"{self.about}\n\n{self.table.as_markdown()}\n\n{self.related}"
        return f"{wrapped(self.about)}\n\n{self.table.as_text()}\n\n{wrapped(self.related)}"


def as_parts(arms: Sequence[Arm], found: Mapping[str, Sequence[Robustness]], related: Sequence[Relation]) -> Parts:
    """Return the table of the arms, means over seeds, and what the correlations say."""
    first = found[arms[0].name][0]
    names = list(first.corrupted)
    head = ("arm", "clean", *(name.replace("_", " ") for name in names), "mean", "kept %", "RMSE", "FVU")
    rows = []
    for arm in arms:
        own = found[arm.name]
        values = [fmean(run.clean for run in own), *(fmean(fmean(run.corrupted[n]) for run in own) for n in names)]
        values += [fmean(getattr(run, part) for run in own) for part in ("mean", "kept")]
        errors = [fmean(getattr(score, part) for score in arm.scores) for part in ("rmse", "fvu")]
        rows.append((arm.name, *(f"{100 * value:.1f}" for value in values), *(f"{value:.2g}" for value in errors)))
    about = (
        f"{axis_label(first.measure)} of whole vectors, means over five severities and over seeds; the gallery is "
        "clean. Kept: the mean of all corruptions as a share of what clean queries find."
    )
    return Parts(about, Table(head, tuple(rows)), _sentence(related))


def _sentence(related: Sequence[Relation]) -> str:
    if not related:
        return f"A correlation over arms takes {FEWEST_ARMS} of them with an n99 below their width; there are fewer."
    words = {"mean": "the mean under corruption", "kept": "the share kept"}
    parts = [
        f"{each.cause.upper()} and {words[each.effect]}: {each.value:+.2f} ({each.interval[0]:+.2f} to "
        f"{each.interval[1]:+.2f})"
        for each in related
    ]
    told = any(each.interval[1] < 0 for each in related)
    verdict = (
        "A smaller one goes with more robust answers where the whole interval is negative."
        if told
        else "No interval lies below 0: a smaller RMSE or FVU does not foretell more robust answers here."
    )
    return f"Spearman's correlation over {related[0].arms} arms, 95 % interval: {'; '.join(parts)}. {verdict}"
