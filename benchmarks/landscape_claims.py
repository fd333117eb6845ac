# SPDX-License-Identifier: Apache-2.0
"""Ask the claims of arXiv 2307.09550 of runs that are watched, and write docs/research/landscape.md.

Run    python benchmarks/landscape_claims.py --data DATA --scratch FOLDER [--only sums ...]
DATA holds fashion_mnist. Each sweep of `SWEEPS` is one `monocon landscape sweep`, which resumes after a kill; every
finished run becomes a line of results/landscape.jsonl. FOLDER keeps the runs, and those that it holds are not trained
again: without it a sweep that is asked for is trained whole. At the end, or with --tables alone, the tables and the
figure of the page are written from those lines, and the page once more as HTML with the curves of the runs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from bytes_page import filled, markdown
from landscape_page import write_html

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.graph import role_mean
from lightning_monocon.landscape.theory import (
    DELAY_LAWS,
    Escape,
    budget_shift,
    compare_laws,
    critical_size,
    fit_arrhenius,
    spanning_probability,
)
from lightning_monocon.landscape.theory.estimate import Estimate, power_law
from lightning_monocon.landscape.theory.spanning import wilson_interval
from lightning_monocon.scorecard.render.figures.style import line_style, new_figure, save
from lightning_monocon.watching.escapes import escape_of
from lightning_monocon.watching.files import read_tracker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUNS = Path(__file__).parent / "results" / "landscape.jsonl"
DOCS = Path(__file__).parents[1] / "docs"
PAGE, FIGURE = DOCS / "research" / "landscape.md", DOCS / "figures" / "landscape-claims.png"

CHANGES = (
    *("grokking", "comprehension", "acquisition", "gradual_generalisation"),
    *("overfitting", "noise_memorisation", "forgetting"),
)
"""Events that a run without any such change must not show."""

FEWEST_DELAYS = 8
"""Delays below which laws are not compared."""

_NEVER = 20.0  # the logarithm of a step beyond all that can be trained

Line = dict[str, Any]


class Sweep(NamedTuple):
    """Describe the runs of one question."""

    recipe: str
    grid: tuple[str, ...]
    seeds: int
    options: tuple[str, ...] = ()


_STEADY = ("--trainer.max_epochs=16000",)  # the recipe's cosine ends at 400 epochs: 4 000 steps are 160 of them

SWEEPS = {
    "sums": Sweep("grokking", ("data.train_share=0.25,0.3,0.35,0.4,0.5,0.6",), 3, ("--trainer.max_steps=4000",)),
    "controls": Sweep("grokking", ("data.train_share=0.12",), 100, ("--trainer.max_steps=1500",)),
    "noise": Sweep("fashion_mnist_noise", ("data.label_noise=0.2,0", "model.weight_decay=0"), 3),
    "parity": Sweep("parity", ("data.train_size=800,1000,1200,1500,2000",), 3, ("--trainer.max_steps=2500",)),
    "parities": Sweep(
        "parity",
        ("data.train_size=2000",),
        10,
        ("--data.parities=2", "--model.out_features=4", "--trainer.max_steps=2500"),
    ),
    "width": Sweep(
        "parity", ("model.head_options.hidden_features=8,16,32,64,128,256",), 10, ("--trainer.max_steps=5000",)
    ),
    "strings": Sweep("parity", ("data.train_size=800,850,900,950,1000",), 3, ("--trainer.max_steps=10000",)),
    "sizes": Sweep(
        "parity",
        ("data.train_size=800,900,1000,1200,1400,1600,2000,2500,3000",),
        3,
        ("--trainer.max_steps=10000",),
    ),
    "fewer": Sweep("parity", ("data.train_size=700,750",), 3, ("--trainer.max_steps=40000",)),
    "barriers": Sweep(
        "parity",
        ("data.batch_size=8,16,32,64,128,256",),
        5,
        ("--model.optimizer=sgd", "--model.lr_head=0.2", "--model.weight_decay=0.007", "--trainer.max_steps=12000"),
    ),
    "far": Sweep("grokking", ("data.train_share=0.3,0.4",), 3, (*_STEADY, "--trainer.max_steps=4000")),
    "near": Sweep("grokking", ("data.train_share=0.25",), 3, (*_STEADY, "--trainer.max_steps=10000")),
}


def command(name: str, data: Path, scratch: Path) -> list[str]:
    """Return the command of a sweep."""
    sweep = SWEEPS[name]
    words = ["landscape", "sweep", "--config", sweep.recipe, "--vary", *sweep.grid, "--out", str(scratch / name)]
    words += ["--seeds", *map(str, range(sweep.seeds)), *sweep.options]
    root = [f"--data.root={data / 'fashion_mnist'}"] if sweep.recipe.startswith("fashion") else []
    return [sys.executable, "-m", "lightning_monocon", *words, *root]


def line_of(name: str, folder: Path) -> Line:
    """Return what is kept of a run."""
    tracker, settings = read_tracker(folder)
    trajectory = tracker.trajectory
    steps = np.asarray(trajectory.steps, dtype=float)
    kept = np.unique(np.searchsorted(steps, np.geomspace(1, steps[-1], 40)).clip(0, len(steps) - 1))
    curves = {
        f"{measure}/{role}": np.round(trajectory.role(role, measure)[kept], 4).tolist()
        for measure in ("credence", "fallibility")
        for role in ("train", "held_out")
    }
    delay, escape = tracker.generalised, escape_of(tracker, settings)
    return {
        "sweep": name,
        "run": folder.name,
        "train_size": settings["train_size"],
        "delay": None if math.isnan(delay) else delay,
        "followed": steps[-1],
        "events": [[event.kind, event.step_left, event.step_entered] for event in tracker.events],
        "states": states_of(tracker),
        "escape": None if escape is None else escape._asdict(),
        "steps": steps[kept].tolist(),
        **curves,
    }


def states_of(tracker: LandscapeTracker) -> list[list[float]]:
    """Return the mean train and held-out credence, and the first and last step, of each state."""
    graph = tracker.graph()
    means = [[round(role_mean(graph, s, role, "credence"), 4) for role in ("train", "held_out")] for s in graph]
    steps = [[node.get("first_step", -1), node.get("last_step", -1)] for _, node in graph.nodes(data=True)]
    return [[*mean, *span] for mean, span in zip(means, steps, strict=True)]


def finished() -> list[Line]:
    """Return the runs that were made."""
    return [json.loads(line) for line in RUNS.read_text(encoding="utf-8").splitlines()] if RUNS.exists() else []


def of(lines: Sequence[Line], *names: str) -> list[Line]:
    """Return the runs of some sweeps; those that are in two of them count once."""
    return [*{line["run"]: line for line in lines if line["sweep"] in names}.values()]


def kinds(line: Line) -> set[str]:
    return {kind for kind, *_ in line["events"]}


def points(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Return the runs of each point of a grid, which differ in their seed alone."""
    found: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: [float(number) for number in re.findall(r"[\d.]+", line["run"])]):
        found.setdefault(line["run"].rpartition(",seed=")[0], []).append(line)
    return found


def share(seen: int, runs: int) -> str:
    """Return a share of runs with its Wilson interval."""
    estimate = wilson_interval(seen, runs)
    return f"{seen} of {runs} ({estimate.low:.2f} to {estimate.high:.2f})"


def events_table(lines: Sequence[Line], shown: Sequence[str]) -> str:
    """Return how many runs of each point show an event."""
    rows = [["runs", *shown]]
    for name, runs in points(lines).items():
        rows.append([name, *(share(sum(kind in kinds(run) for run in runs), len(runs)) for kind in shown)])
    return table(rows)


def delays_table(lines: Sequence[Line]) -> str:
    """Return when the runs of each size generalised."""
    rows = [["train samples", "runs", "generalised", "median step of those", "first to last"]]
    for size in sorted({line["train_size"] for line in lines}):
        rows.append([str(size), *_delays([line for line in lines if line["train_size"] == size])])
    return table(rows)


def _delays(runs: Sequence[Line]) -> list[str]:
    delays = [line["delay"] for line in runs if line["delay"] is not None]
    span = f"{min(delays):.0f} to {max(delays):.0f}" if delays else ""
    middle = f"{np.median(delays):.0f}" if delays else ""
    return [str(len(runs)), share(len(delays), len(runs)), middle, span]


def laws_table(lines: Sequence[Line]) -> str:
    """Return the rival laws of the delay, each with its weight, and the verdict."""
    sizes, censored = [line["train_size"] for line in lines], [line["delay"] is None for line in lines]
    delays = [line["delay"] or line["followed"] for line in lines]
    found = compare_laws(sizes, delays, DELAY_LAWS, censored)
    rows = [["law of the delay", "AICc", "weight", "rms log error", "critical size, 95 %"]]
    for name, fit in found.fits.items():
        rows.append([name, f"{fit.aicc:.1f}", f"{found.weights[name]:.3f}", f"{fit.log_error:.3f}", ""])
        if name.startswith("critical"):
            size = critical_size(sizes, delays, name, censored)
            rows[-1][-1] = f"{size.estimate:.0f} ({size.low:.0f} to {size.high:.0f})"
    return f"{table(rows)}\n\nWinner: {found.winner}; {found.best} leads by {found.lead:.1f} in AICc."


def predicted_table(lines: Sequence[Line], later: Sequence[Line]) -> str:
    """Return what laws that are fitted to runs of larger sizes say of smaller ones, and what was measured there."""
    asked = sorted({line["train_size"] for line in later})
    fitted = [line for line in lines if line["train_size"] > asked[-1] and line["delay"] is not None]
    sizes, delays = [line["train_size"] for line in fitted], [line["delay"] for line in fitted]
    places = np.array([*asked, max(sizes)], dtype=float)  # a critical size is a share of the largest
    rows = [["law, fitted above", *(f"step at {size} samples" for size in asked)]]
    for name, fit in compare_laws(sizes, delays, DELAY_LAWS).fits.items():
        said = DELAY_LAWS[name].log_value(places, np.array(fit.parameters))[:-1]
        rows.append([name, *(f"{math.exp(each):.0f}" if each < _NEVER else "never" for each in said)])
    seen = [[line["delay"] for line in later if line["train_size"] == size and line["delay"]] for size in asked]
    rows.append(["measured", *(f"{min(own):.0f} to {max(own):.0f} in {len(own)} runs" if own else "" for own in seen)])
    return table(rows)


def threshold_text(lines: Sequence[Line], varied: str = "train samples") -> str:
    """Return which share of each size generalises within a budget, and whether the threshold stands still."""
    sizes, delays = [line["train_size"] for line in lines], [line["delay"] or math.nan for line in lines]
    followed = [line["followed"] for line in lines]
    budgets = [max(followed) / 4, max(followed) / 2, max(followed)]
    rows = [[varied, *(f"within {budget:.0f} steps" for budget in budgets)]]
    shares = [spanning_probability(sizes, delays, budget, followed) for budget in budgets]
    for size in shares[0]:
        cells = [f"{each[size].estimate:.2f} ({each[size].low:.2f} to {each[size].high:.2f})" for each in shares]
        rows.append([f"{size:.0f}", *cells])
    return f"{table(rows)}\n\nBudget-shift test: {budget_shift(sizes, delays, budgets, followed).reason}."


def exponents_text(lines: Sequence[Line]) -> str:
    """Return the exponent of the held-out fallibility in time, for each size, and that in data at the end."""
    rows = [["exponent", "estimate, 95 %"]]
    ends: dict[int, list[float]] = {}
    for size in sorted({line["train_size"] for line in lines}):
        runs = [line for line in lines if line["train_size"] == size]
        mean = np.mean([run["fallibility/held_out"] for run in runs], axis=0)
        rows.append([f"in time, {size} samples", told(power_law(np.asarray(runs[0]["steps"])[1:], mean[1:]))])
        ends[size] = [run["fallibility/held_out"][-1] for run in runs]
    last = np.array([np.mean(values) for values in ends.values()])
    rows.append(["in data, at the last step", told(power_law(np.array([*ends], dtype=float), last))])
    return table(rows)


def told(estimate: Estimate) -> str:
    low, middle, high = estimate.interval
    return estimate.reason or f"{middle:.2f} ({low:.2f} to {high:.2f})"


LEARNT = ("memorisation", "grokking", "comprehension", "gradual_generalisation")


def tables(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield the name and the Markdown of each table."""
    yield from size_tables(lines)
    further = {
        "controls": ("memorisation", *CHANGES),
        "noise": ("gradual_generalisation", "comprehension", "drift", "overfitting", "noise_memorisation"),
        "width": LEARNT,
    }
    for name, shown in further.items():
        if of(lines, name):
            yield name, events_table(of(lines, name), shown)
    if of(lines, "width"):
        yield "delays width", widths_table(of(lines, "width"))
        by_width = [{**line, "train_size": width_of(line)} for line in of(lines, "width")]
        yield "threshold width", threshold_text(by_width, "hidden units")
    if of(lines, "barriers"):
        yield "barriers", barriers_text(of(lines, "barriers"))
    if of(lines, "parities"):
        yield "parities", states_table(of(lines, "parities"))


def size_tables(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield the tables of runs that differ in their number of train samples."""
    asked = {name: of(lines, name) for name in ("sums", "parity", "sizes")}
    asked |= {"larger": of(lines, "strings", "sizes"), "strings": of(lines, "strings", "sizes", "fewer")}
    asked["steady"] = of(lines, "near", "far")
    for name, runs in asked.items():
        if runs:
            yield f"events {name}", events_table(runs, LEARNT)
            yield f"delays {name}", delays_table(runs)
            if sum(run["delay"] is not None for run in runs) >= FEWEST_DELAYS:
                yield f"laws {name}", laws_table(runs)
            yield f"threshold {name}", threshold_text(runs)
            yield f"exponents {name}", exponents_text(runs)
    for name, later in (("sums", "near"), ("larger", "fewer")):
        if asked[name] and of(lines, later):
            yield f"predicted {name}", predicted_table(asked[name], of(lines, later))


def widths_table(lines: Sequence[Line]) -> str:
    """Return when the runs of each width generalised."""
    rows = [["hidden units", "runs", "generalised", "median step of those", "first to last"]]
    for width in sorted({width_of(line) for line in lines}):
        rows.append([str(width), *_delays([line for line in lines if width_of(line) == width])])
    return table(rows)


def width_of(line: Line) -> int:
    """Return the number that was varied in the name of a run, such as 64 of ``hidden_features=64,seed=0``."""
    return int(line["run"].partition(",")[0].rpartition("=")[2])


def barriers_text(lines: Sequence[Line]) -> str:
    """Return how long runs of each batch size rested in memorisation, and which law their escapes follow."""
    escapes = [Escape(**line["escape"]) for line in lines if line["escape"] is not None]
    rows = [["batch", "B / lr", "runs that memorised", "escaped", "median time of those", "first to last"]]
    for size in sorted({escape.batch_size or 0 for escape in escapes}):
        own = [escape for escape in escapes if escape.batch_size == size]
        times = [escape.time for escape in own if not escape.is_late]
        middle = [f"{np.median(times):.0f}", f"{min(times):.0f} to {max(times):.0f}"] if times else ["", ""]
        inverse = f"{1 / own[0].temperature:.0f}"
        rows.append([str(size), inverse, str(len(own)), share(len(times), len(own)), *middle])
    fit = fit_arrhenius(escapes)
    weights = ", ".join(f"{name} {weight:.3f}" for name, weight in fit.weights.items())
    told = fit.reason or f"b = {fit.barrier:.2g} +- {fit.error:.1g} in units of T = lr / B"
    return f"{table(rows)}\n\nAkaike weights: {weights}. {told}."


def states_table(lines: Sequence[Line]) -> str:
    """Return the states of each run in their order."""
    rows = [["run", "train credence of the states", "held-out credence of the states", "entered at step"]]
    for line in lines:
        train, held_out, first, _ = zip(*sorted(line["states"], key=lambda state: state[2]), strict=True)
        shown = [", ".join(f"{value:.2f}" for value in values) for values in (train, held_out)]
        rows.append([line["run"], *shown, ", ".join(f"{step:.0f}" for step in first)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return markdown(list(head), [list(cells) for cells in body])


def draw(lines: Sequence[Line]) -> None:
    """Draw the credence of held-out samples by step (left), and the delay by the number of train samples (right)."""
    tasks = {"sums": "unseen sums", "parity": "unseen strings"}
    figure, panels = new_figure(len(tasks), columns=2, width=9.0, height=3.8 * len(tasks))
    for place, (name, unseen) in enumerate(tasks.items()):
        left, right = panels[2 * place : 2 * place + 2]
        _draw_task(left, right, of(lines, name))
        left.set(xscale="log", xlabel="step", ylabel=f"credence of {unseen}", ylim=(0, 1))
        right.set(yscale="log", xlabel="train samples", ylabel="step at which half is learnt")
        left.legend(title="train samples", frameon=False, fontsize=8, loc="upper left")
    save(figure, FIGURE)


def _draw_task(left: Axes, right: Axes, lines: Sequence[Line]) -> None:
    for index, size in enumerate(sorted({line["train_size"] for line in lines})):
        runs, style = [line for line in lines if line["train_size"] == size], line_style(index)
        for place, run in enumerate(runs):
            label = f"{size}" if not place else None
            left.plot(run["steps"], run["credence/held_out"], color=style["color"], lw=1, label=label)
        delays = [run["delay"] for run in runs if run["delay"] is not None]
        right.plot([size] * len(delays), delays, "o", color=style["color"], ms=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with fashion_mnist")
    parser.add_argument("--scratch", type=Path, default=Path("landscape-runs"), help="where runs are kept")
    parser.add_argument("--only", nargs="+", choices=sorted(SWEEPS), default=list(SWEEPS), help="some of the sweeps")
    parser.add_argument("--tables", action="store_true", help="train nothing: write the page from the lines")
    options = parser.parse_args()
    for name in () if options.tables else options.only:
        subprocess.run(command(name, options.data, options.scratch), check=True)  # a run that was stopped is no line
        known = {line["run"] for line in of(finished(), name)}
        for folder in sorted((options.scratch / name / "runs").glob("*")):
            if folder.name not in known and (folder / "landscape" / "tracker.pt").is_file():
                with RUNS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line_of(name, folder)) + "\n")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(finished())), encoding="utf-8")
    draw(finished())
    write_html(PAGE, finished())
    print(PAGE)


if __name__ == "__main__":
    main()
