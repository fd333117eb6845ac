# SPDX-License-Identifier: Apache-2.0
"""Write the tables of docs/research/paper.md from the runs of paper.py.

Ratios are taken seed by seed against the encoder alone of the same setting, and then averaged. A lead has two intervals
of 95 %, over queries (paired) and over seeds (Student's t), as in bytes_page.py; the wider one is printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bytes_page import NORMAL, beyond, filled, markdown, over_seeds

RUNS = Path(__file__).parent / "results" / "paper.jsonl"
RIVALS = RUNS.with_name("rivals.jsonl")
PAGE = Path(__file__).parents[1] / "docs" / "research" / "paper.md"

Run = dict[str, Any]
Stages = tuple[str, ...]

ARMS = {
    "mlp": "MLP",
    "mlp-squared": "MLP, squared start",
    "monotonic-reference": "monotonic, reference",
    "monotonic-identity": "monotonic, identity",
    "monotonic-lognormal": "monotonic, log-normal",
    "linear-8": "linear to 8",
    "matryoshka": "Matryoshka, linear",
    "monotonic-copies": "monotonic in copies of both signs",
    "monotonic-signs": "monotonic, learnt signs",
}
EARLIER = {
    "encoder": "encoder",
    "mlp": ARMS["mlp"],
    "mlp-fast": f"{ARMS['mlp']}, five times the rate",
    "mlp-squared": ARMS["mlp-squared"],
    "monotonic": ARMS["monotonic-reference"],
    "identity": ARMS["monotonic-identity"],
    "nested-identity-fast": "monotonic, identity, nested, five times the rate",
    "lognormal": ARMS["monotonic-lognormal"],
    "matryoshka": ARMS["matryoshka"],
}
"""Arms of rivals.py that stand beside those of paper.py."""

NUMBERS = ("4 numbers", "8 numbers", "16 numbers", "32 numbers", "64 numbers", "whole")
BYTES = ("2 bytes", "4 bytes", "8 bytes", "16 bytes", "32 bytes", "64 bytes", "whole")
HEADS = tuple(ARMS)[:5]

_BELOW = (
    ("val/encoder/knn_accuracy", 100, "{:.1f}"),
    ("val/encoder/effective_dimension", 1, "{:.0f}"),
    ("val/knn_accuracy", 100, "{:.1f}"),
    ("val/effective_dimension", 1, "{:.0f}"),
)
"""Name, factor and format of the figures of the last validation, of the encoder below a head and of the embedding."""


def finished() -> list[Run]:
    """Return a line for each checkpoint of the runs that were made."""
    return [json.loads(line) for line in RUNS.read_text(encoding="utf-8").splitlines()] if RUNS.exists() else []


def key_of(line: Run) -> tuple[str, str, int] | str:
    """Return setting, arm and seed of a line; for a frozen encoder, the same in all settings, what they share."""
    if line["arm"] == "encoder" and line["encoder"] == "frozen":
        return f"{line['vectors']}-frozen-{line['rows']}"
    return line["setting"], line["arm"], line["seed"]


def write_page() -> Path:
    """Put every table between its marks in the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(finished())), encoding="utf-8")
    return PAGE


def tables(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the name and the Markdown of each table."""
    last = [run for run in runs if run["stage"] == "last"]
    yield "compactness", claim_table(last, lambda own, rival: rival["n99"] / own["n99"], "{:.1f}")
    yield "robustness", claim_table(last, lambda own, rival: _left(rival) / max(_left(own), 1e-12), "{:.1f}")
    yield "fvu", claim_table(last, lambda own, rival: rival["fvu"] / max(own["fvu"], 1e-12), "{:.2f}")
    yield (
        "kept",
        claim_table(last, lambda own, rival: 100 * own["values"]["whole"] / rival["values"]["whole"], "{:.0f}"),
    )
    yield "correlation", claim_table(last, lambda own, rival: own["feature_correlation"], "{:.2f}", encoder=True)
    for setting in dict.fromkeys(run["setting"] for run in last):
        yield f"numbers {setting}", size_table(last, setting, NUMBERS)
        yield f"bytes {setting}", size_table(last, setting, BYTES)
    yield "rules", rules_table(runs)
    yield "below", below_table(last)
    yield "runs", runs_table(last)
    yield "earlier", earlier_table()


def claim_table(runs: Sequence[Run], figure: Callable[[Run, Run], float], form: str, *, encoder: bool = False) -> str:
    """Return a figure of each head, beside the encoder alone, by setting."""
    names = (*(("encoder",) if encoder else ()), *HEADS)
    lines = []
    for setting in dict.fromkeys(run["setting"] for run in runs):
        cells = []
        for name in names:
            pairs = [(run, rival) for run in of(runs, setting, name) if (rival := rival_of(runs, run))]
            values = [figure(run, rival) for run, rival in pairs]
            cells.append(_spread(values, form))
        lines.append([setting, *cells])
    return markdown(["setting", *("encoder" if name == "encoder" else ARMS[name] for name in names)], lines)


def _left(run: Run) -> float:
    """Return the RMS length of what the leading components leave of a row: RMSE, which is per number, is not fair."""
    return float(run["rmse"] * run["dim"] ** 0.5)


def _kept(own: Run, rival: Run) -> float:
    return 100 * float(own["values"]["whole"] / rival["values"]["whole"])


def of(runs: Sequence[Run], setting: str, arm: str) -> list[Run]:
    """Return the runs of an arm in a setting; a frozen encoder has one run for all its settings."""
    own = [run for run in runs if (run["setting"], run["arm"]) == (setting, arm)]
    if not own and arm == "encoder":
        shared = setting.rpartition("-")[0]
        own = [run for run in runs if run["arm"] == arm and run["setting"].rpartition("-")[0] == shared]
    return own


def rival_of(runs: Sequence[Run], run: Run) -> Run | None:
    """Return the encoder alone that a run is judged against."""
    encoders = of(runs, run["setting"], "encoder")
    seed = 0 if run["encoder"] == "frozen" else run["seed"]
    return next((each for each in encoders if each["seed"] == seed), None)


def size_table(runs: Sequence[Run], setting: str, sizes: Sequence[str]) -> str:
    """Return quality by size, and in brackets the lead over the encoder at that size; bold where it is beyond noise."""
    lines = []
    for name in ("encoder", *ARMS):
        own = of(runs, setting, name)
        if own:
            dims = f"{fmean(run['n99'] for run in own):.0f}"
            lines.append([ARMS.get(name, "encoder"), dims, *(_cell(own, size) for size in sizes)])
    return markdown(["arm", "n99", *sizes], lines)


def _cell(runs: Sequence[Run], size: str) -> str:
    value = _number(fmean(run["values"][size] for run in runs))
    leads = [run["leads"][size] for run in runs if size in run["leads"]]
    if not leads:
        return value
    means, errors = [each[0] for each in leads], [each[1] for each in leads]
    width = max(NORMAL * fmean(errors), over_seeds(means))
    sign = "+" if fmean(means) >= 0 else "-"
    text = f"{value} ({sign}{_number(abs(fmean(means)))} ± {_number(width)})"
    return f"**{text}**" if beyond(means, errors) else text


def rules_table(runs: Sequence[Run]) -> str:
    """Return n99 and quality at the last epoch and at the best one by validation."""
    lines = []
    for setting in dict.fromkeys(run["setting"] for run in runs if run["stage"] == "best"):
        for name in ARMS:
            cells = []
            for stage in ("last", "best"):
                own = of([run for run in runs if run["stage"] == stage], setting, name)
                cells += [_spread([run["n99"] for run in own], "{:.0f}")]
                cells += [_spread([100 * run["values"]["whole"] for run in own], "{:.1f}")]
            if any(cells):
                lines.append([setting, ARMS[name], *cells])
    return markdown(["setting", "arm", "n99, last", "quality %, last", "n99, best", "quality %, best"], lines)


def below_table(runs: Sequence[Run]) -> str:
    """Return what the encoder below a head is worth at the last validation, when it was trained along."""
    lines = []
    judged = [run for run in runs if "val/encoder/knn_accuracy" in run["validation"]]
    for setting in dict.fromkeys(run["setting"] for run in judged if run["encoder"] == "along"):
        for arm, title in ARMS.items():
            if found := [run["validation"] for run in of(judged, setting, arm)]:
                spreads = [_spread([factor * each[name] for each in found], form) for name, factor, form in _BELOW]
                lines.append([setting, title, str(len(found)), *spreads])
    head = ["setting", "arm", "seeds", "encoder below %", "its n99", "embedding %", "its n99"]
    return markdown(head, lines)


def runs_table(runs: Sequence[Run]) -> str:
    """Return what was run."""
    lines = []
    for setting in dict.fromkeys(run["setting"] for run in runs):
        own = [run for run in runs if run["setting"] == setting]
        seeds = sorted({run["seed"] for run in own})
        cost = fmean(run["cpu_seconds"] for run in own)
        sizes = [str(own[0]["n"]), str(own[0]["n_query"])]
        lines.append([setting, *sizes, ", ".join(map(str, seeds)), str(len(own)), f"{cost:.0f}"])
    return markdown(["setting", "gallery", "queries", "seeds", "runs", "CPU s a run"], lines)


def earlier_table() -> str:
    """Return n99 and quality of the arms of rivals.py: frozen MiniLM, and small encoders trained along."""
    runs = [json.loads(line) for line in RIVALS.read_text(encoding="utf-8").splitlines()]
    lines = []
    for task, split in dict.fromkeys((run["task"], run["split"]) for run in runs):
        part = [run for run in runs if (run["task"], run["split"]) == (task, split)]
        encoders = {run["seed"]: run for run in part if run["arm"] == "encoder"}
        for arm, name in EARLIER.items():
            own = [run for run in part if run["arm"] == arm and run["seed"] in encoders]
            if own:
                rivals = [encoders[run["seed"]] for run in own]
                pairs = list(zip(own, rivals, strict=True))
                figures = [
                    fmean(run["n99"] for run in own),
                    fmean(rival["n99"] / run["n99"] for run, rival in pairs),
                    100 * fmean(run["scores"]["full"] for run in own),
                    100 * fmean(run["scores"]["full"] / rival["scores"]["full"] for run, rival in pairs),
                ]
                shown = [f"{value:{form}}" for value, form in zip(figures, (".0f", ".1f", ".1f", ".0f"), strict=True)]
                lines.append([f"{task}, {split}", name, str(len(own)), *shown])
    return markdown(["task", "arm", "seeds", "n99", "times fewer", "quality %", "kept %"], lines)


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    around = f" ± {form.format(over_seeds(values))}" if len(values) > 1 else ""
    return form.format(fmean(values)) + around


def _number(value: float) -> str:
    return f"{100 * value:.1f}"
