# SPDX-License-Identifier: Apache-2.0
"""Report what several runs say together: one landscape, first passages and laws, each with the reason of a refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import networkx as nx

from lightning_monocon.landscape import LandscapeTracker, first_passage, merge_runs
from lightning_monocon.landscape.graph import role_mean
from lightning_monocon.landscape.merge import check_alike
from lightning_monocon.landscape.phases import MEASURES, phases_line, trajectory_phases
from lightning_monocon.landscape.roles import Role
from lightning_monocon.landscape.theory import (
    DELAY_LAWS,
    budget_shift,
    compare_laws,
    critical_size,
    fit_arrhenius,
    forecast_generalisation,
    spanning_probability,
    visited_percolation,
)
from lightning_monocon.landscape.theory.laws import MIN_LEAD, UNDECIDED
from lightning_monocon.watching.escapes import escape_of
from lightning_monocon.watching.files import Settings
from lightning_monocon.watching.included import included, task_notes
from lightning_monocon.watching.table import event_line, rate

MIN_SIZES, MIN_SEEN, MIN_ESCAPES = 4, 8, 5
WORDING = (
    "A state is a plateau of the credence, metastable at resolution eps on this probe. The report operationalises the "
    "paradigm of arXiv 2307.09550; it does not prove it."
)
UNCALIBRATED = (
    "no forecast is made from the votes of neighbours: on runs of embeddings it was 12 to 88 % too late, and its "
    "interval is that of class scores"
)


class Run(NamedTuple):
    """Hold a run by name, with its tracker and settings."""

    name: str
    tracker: LandscapeTracker
    settings: Settings

    @property
    def delay(self) -> float:
        """Return the step at which the held-out credence reached one half; NaN if it did not."""
        return self.tracker.trajectory.role_crossing("held_out", 0.5)

    @property
    def followed(self) -> float:
        """Return the last step at which the run was evaluated."""
        return float(self.tracker.trajectory.steps[-1])


def report(runs: Sequence[Run]) -> tuple[str, list[nx.DiGraph]]:
    """Return the report in Markdown and the graphs, one a probe: states of different probes are never one state.

    Raises:
        ValueError: If there is no run, the runs differ in their task, their strata, their roles or their measure of
            credence, or none was evaluated often enough.
    """
    check_alike([run.tracker for run in runs], [run.name for run in runs])
    check_tasks(runs)
    runs, notes = included(runs)
    notes += task_notes(runs)
    groups = by_probe(runs)
    graphs = [merge_runs([run.tracker for run in group], [run.name for run in group]) for group in groups]
    sections = {
        "Events": events_section(runs),
        "States": _apart(groups, [states_section(graph) for graph in graphs]),
        "Changes of state": _apart(groups, [changes_section(graph) for graph in graphs]),
        "Phases of the geometry": geometry_section(runs),
        "First passage to grokking": passage_section(runs),
        "Forecast for runs that have not generalised": forecast_section(runs),
        "Time to generalise against the number of train samples": delay_section(runs),
        "Escape from memorising": escape_section(runs),
        "Percolation": percolation_section(runs, max(graphs, key=len)),
    }
    head = f"# Semantic landscape of {len(runs)} run{'s' if len(runs) > 1 else ''}\n\n{WORDING}\n"
    head += "".join(f"\n{note}\n" for note in notes)
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items()), graphs


def check_tasks(runs: Sequence[Run]) -> None:
    """Raise ValueError if the runs were not trained on one task, by the class of their data and its classes.

    Runs that know no task, of an earlier release or without a data module, go with any.
    """
    by_task: dict[str, list[str]] = {}
    for run in runs:
        if "task" in run.settings:
            by_task.setdefault(str(run.settings["task"]), []).append(run.name)
    if len(by_task) > 1:
        found = "; ".join(f"{task} in {', '.join(members)}" for task, members in by_task.items())
        raise ValueError(
            f"`runs` must be of one task, or their delays follow no law; got {found}. Merge the runs of each task by "
            "themselves."
        )


def by_probe(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each probe; a run whose probe is unknown is alone."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for number, run in enumerate(runs):
        groups.setdefault((run.tracker.probe, -1 if run.tracker.probe else number), []).append(run)
    return list(groups.values())


def _apart(groups: Sequence[Sequence[Run]], texts: Sequence[str]) -> str:
    """Join the texts of several probes, each below the names of its runs."""
    if len(groups) == 1:
        return texts[0]
    heads = [f"Probe {n}, of {', '.join(run.name for run in group)}:" for n, group in enumerate(groups, start=1)]
    return "\n\n".join(f"{head}\n\n{text}" for head, text in zip(heads, texts, strict=True))


def events_section(runs: Sequence[Run]) -> str:
    """List the events of each run, one a line."""
    lines = []
    for run in runs:
        told = [event_line(event) for event in run.tracker.events if event.kind not in ("provisional", "emergence")]
        note = f"; {run.tracker.refusal}" if run.tracker.unresolvable else ""
        lines += [f"- {run.name}{note}", *(f"  - {line}" for line in told)]
    return "\n".join(lines)


def states_section(merged: nx.DiGraph) -> str:
    """Tabulate the states."""
    rows = [["state", "runs", "dwell / steps", "train", "held out", "held-out fallibility / nats"]]
    wanted: list[tuple[Role, str]] = [("train", "credence"), ("held_out", "credence"), ("held_out", "fallibility")]
    for state, node in merged.nodes(data=True):
        values = [role_mean(merged, state, role, measure) for role, measure in wanted]
        rows.append([str(state), str(node["runs"]), f"{node['dwell']:.0f}", *(f"{value:.2f}" for value in values)])
    return _table(rows)


def changes_section(merged: nx.DiGraph) -> str:
    """Tabulate the edges, each rate with its interval."""
    edges = merged.edges(data=True)
    rows = [[str(source), str(target), edge["kinds"], str(edge["count"]), rate(edge)] for source, target, edge in edges]
    return _table([["from", "to", "kinds", "count", "per 1000 steps, 95 %"], *rows]) if rows else "None."


def geometry_section(runs: Sequence[Run]) -> str:
    """Name the phases of each run by its RankMe, its alpha-ReQ and its n99, each end with its interval."""
    lines = []
    for run in runs:
        found = trajectory_phases(run.tracker.trajectory)
        lines.append(f"- {run.name}" + ("" if found else ": the geometry was not measured"))
        lines += [f"  - {MEASURES[name]}: {phases_line(phases)}" for name, phases in found.items()]
    return "\n".join(lines)


def passage_section(runs: Sequence[Run]) -> str:
    """Write the median of the Kaplan-Meier curve."""
    passage = first_passage([run.tracker for run in runs])
    seen = sum(any(event.kind == "grokking" for event in run.tracker.events) for run in runs)
    median = "not reached" if math.isnan(passage.median) else f"step {passage.median:.0f}"
    return f"{seen} of {len(runs)} runs grokked; median (Kaplan-Meier, the others censored): {median}."


def forecast_section(runs: Sequence[Run]) -> str:
    """Forecast when each run that has not generalised would do so, or say why there is no forecast.

    Where chance is not known, the held-out credence at the first evaluation stands for it.
    """
    lines = []
    for run in runs:
        if not math.isnan(run.delay):
            continue
        if run.tracker.measure.startswith("soft_knn"):
            lines.append(f"- {run.name}: {UNCALIBRATED}")
            continue
        trajectory = run.tracker.trajectory
        chance = run.tracker.chance or float(trajectory.role("held_out")[0])
        forecast = forecast_generalisation(trajectory, chance=chance)
        when = f"step {forecast.step:.0f} ({forecast.low:.0f} to {forecast.high:.0f})"
        lines.append(f"- {run.name}: {forecast.reason or when}")
    return "\n".join(lines) or "All runs have generalised."


def delay_section(runs: Sequence[Run]) -> str:
    """Tabulate the rival delay laws with their weights, or say why they cannot be told apart."""
    sizes = [float(run.settings["train_size"]) for run in runs]
    censored = [math.isnan(run.delay) for run in runs]
    found, seen = len(set(sizes)), censored.count(False)
    if found < MIN_SIZES or seen < MIN_SEEN:
        return (
            f"No law is fitted below {MIN_SIZES} sizes and {MIN_SEEN} generalised runs; there are {found} and {seen}."
        )
    delays = [run.followed if hidden else run.delay for run, hidden in zip(runs, censored, strict=True)]
    comparison = compare_laws(sizes, delays, DELAY_LAWS, censored)
    rows = [
        [name, f"{fit.aicc:.1f}", f"{comparison.weights[name]:.3f}", f"{fit.log_error:.3f}", ""]
        for name, fit in comparison.fits.items()
    ]
    for row in rows:
        if row[0].startswith("critical"):
            size = critical_size(sizes, delays, row[0], censored)
            row[-1] = f"{size.estimate:.0f} ({size.low:.0f} to {size.high:.0f})"
    table = _table([["law", "AICc", "weight", "rms log error", "critical size / samples, 95 %"], *rows])
    verdict = f"Winner: {comparison.winner}, by {comparison.lead:.1f} in AICc."
    if comparison.winner == UNDECIDED:
        verdict = f"Undecided: {comparison.best} leads by {comparison.lead:.1f} in AICc, and it takes {MIN_LEAD:g}."
    return f"{table}\n\n{verdict}"


def escape_section(runs: Sequence[Run]) -> str:
    """Write the weights of activation and its rivals, and the barrier if it is identifiable."""
    found = [escape_of(run.tracker, run.settings) for run in runs if "lr" in run.settings]
    escapes = [escape for escape in found if escape is not None]
    late = sum(escape.is_late for escape in escapes)
    if len(escapes) - late < MIN_ESCAPES:
        return f"No barrier is fitted below {MIN_ESCAPES} runs that left memorising; there are {len(escapes) - late}."
    fit = fit_arrhenius(escapes)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in fit.weights.items())
    verdict = fit.reason or f"barrier {fit.barrier:.3g} +- {fit.error:.2g} in units of lr / B"
    counted = f"{len(escapes) - late} runs left memorising and {late} ended there first"
    return f"{counted}. Akaike weights: {weights}. {verdict}."


def percolation_section(runs: Sequence[Run], merged: nx.DiGraph) -> str:
    """Write the share of runs of each size that generalise, and test whether its threshold stands still."""
    sizes, delays = [float(run.settings["train_size"]) for run in runs], [run.delay for run in runs]
    followed = [run.followed for run in runs]
    budget = max(followed)
    lines = []
    for size, share in spanning_probability(sizes, delays, budget, followed).items():
        interval = f"{share.estimate:.2f} ({share.low:.2f} to {share.high:.2f}) generalise within {budget:.0f} steps"
        unknown = f"unknown within {budget:.0f} steps, as its runs ended earlier"
        lines.append(f"- {size:.0f} samples: {unknown if math.isnan(share.estimate) else interval}")

    shift = budget_shift(sizes, delays, [budget / 4, budget / 2, budget], followed)
    reason = visited_percolation(merged)[1] or "See the graph."
    return "\n".join([*lines, "", f"Budget-shift test: {shift.reason}.", "", reason])


def _table(rows: list[list[str]]) -> str:
    """Write rows as a table in Markdown, the first of them as its head."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *body])
