# SPDX-License-Identifier: Apache-2.0
"""Report what several runs say together: one landscape, first passages and laws, each with the reason of a refusal.

The report is an outline like that of a scorecard, so the same printers write it as Markdown and as a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import networkx as nx
import numpy as np

from lightning_monocon.landscape import Event, first_passage, merge_runs
from lightning_monocon.landscape.graph import role_mean
from lightning_monocon.landscape.merge import check_alike
from lightning_monocon.landscape.phases import MEASURES, phases_line, trajectory_phases
from lightning_monocon.landscape.roles import Role, Roles
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
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.watching.escapes import escape_of
from lightning_monocon.watching.included import included, task_notes
from lightning_monocon.watching.runs import MIN_SEEN, MIN_SIZES, UNTOLD, Run, delays_of
from lightning_monocon.watching.table import rate

ROLES: tuple[Role, Role] = ("train", "held_out")
MIN_ESCAPES = 5
WORDING = (
    "A state is a plateau of the credence, metastable at resolution eps on this probe. The report operationalises the "
    "paradigm of arXiv 2307.09550; it does not prove it."
)
UNCALIBRATED = (
    "no forecast is made from the votes of neighbours: on runs of embeddings it was 12 to 88 % too late, and its "
    "interval is that of class scores"
)


def report(runs: Sequence[Run]) -> tuple[Outline, list[nx.DiGraph]]:
    """Return the report and the graphs, one a probe: states of different probes are never one state.

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
    sections = [
        events_section(runs),
        *(section(graph) for graph in graphs for section in (states_section, changes_section)),
        geometry_section(runs),
        passage_section(runs),
        forecast_section(runs),
        delay_section(runs),
        escape_section(runs),
        percolation_section(runs, max(graphs, key=len)),
    ]
    if len(groups) > 1:
        apart = slice(1, 1 + 2 * len(groups))
        places = [place for place in enumerate(groups, start=1) for _ in range(2)]
        sections[apart] = [
            replace(each, title=f"{each.title}, probe {number}", intro=f"Of {', '.join(run.name for run in group)}:")
            for each, (number, group) in zip(sections[apart], places, strict=True)
        ]
    title = f"Semantic landscape of {len(runs)} run{'s' if len(runs) > 1 else ''}"
    return Outline(title, [Sentence("", said) for said in (WORDING, *notes)], (), sections), graphs


def check_tasks(runs: Sequence[Run]) -> None:
    """Raise ValueError if the runs were not trained on one task, by the class of their data and its classes.

    Runs that know no task, of an earlier release or without a data module, go with any of the same number of classes.
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
    by_chance: dict[float, list[str]] = {}
    for run in runs:
        if run.tracker.chance is not None:
            by_chance.setdefault(run.tracker.chance, []).append(run.name)
    if len(by_chance) > 1:
        found = "; ".join(f"{chance:.3g} in {', '.join(members)}" for chance, members in by_chance.items())
        raise ValueError(
            f"`runs` must have one credence by chance, as runs of as many classes or tokens have; got {found}. Merge "
            "the runs of each task by themselves."
        )


def by_probe(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each probe; a run whose probe is unknown is alone."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for number, run in enumerate(runs):
        groups.setdefault((run.tracker.probe, -1 if run.tracker.probe else number), []).append(run)
    return list(groups.values())


def events_section(runs: Sequence[Run]) -> Section:
    """List the events of each run, one a row."""
    rows = [row for run in runs for row in _event_rows(run)]
    noisy = [Sentence(run.name, run.tracker.refusal) for run in runs if run.tracker.unresolvable]
    still = [run.name for run in runs if not any(event.kind not in UNTOLD for event in run.tracker.events)]
    silent = [Sentence("", f"No event in {', '.join(still)}.")] if still else []
    header = ("run", "event", "state", "left at", "entered", "confirmed", "abruptness", "train", "held out")
    return Section("Events", sentences=[*noisy, *silent], tables=[Table(header, tuple(rows))] if rows else ())


def _event_rows(run: Run) -> Iterator[tuple[str, ...]]:
    roles = run.tracker.roles
    for event in run.tracker.events:
        if event.kind in UNTOLD:
            continue
        gains = (_gain(event, roles, role) for role in ROLES)
        place = f"{_number(event.source)} → {_number(event.target)}" if event.is_transition else _number(event.source)
        steps = (event.step_left, event.step_entered, event.step_confirmed)
        measured = (_figure(event.abruptness, ".1f"), *(_figure(gain, "+.2f") for gain in gains))
        yield run.name, event.kind, place, *map(_number, steps), *measured


def _gain(event: Event, roles: Roles, role: Role) -> float:
    """Return the change of the mean credence of a role; NaN for an event that changes none."""
    gains = np.array([*event.change.values()])
    return float(roles.mean(role, [*event.change], gains)) if event.change else math.nan


def states_section(merged: nx.DiGraph) -> Section:
    """Tabulate the states, with the wrong labels if a stratum holds them."""
    shown: dict[Role, str] = {"train": "train", "held_out": "held out"}
    if merged.graph.get("wrong"):
        shown["wrong"] = "wrong labels"
    wanted: list[tuple[Role, str]] = [*((role, "credence") for role in shown), ("held_out", "fallibility")]
    rows = []
    for state, node in merged.nodes(data=True):
        values = [role_mean(merged, state, role, measure) for role, measure in wanted]
        rows.append((str(state), str(node["runs"]), f"{node['dwell']:.0f}", *(f"{value:.2f}" for value in values)))
    header = ("state", "runs", "dwell / steps", *shown.values(), "held-out fallibility / nats")
    return Section("States", tables=[Table(header, tuple(rows))])


def changes_section(merged: nx.DiGraph) -> Section:
    """Tabulate the edges, each rate with its interval."""
    edges = merged.edges(data=True)
    rows = [(str(source), str(target), edge["kinds"], str(edge["count"]), rate(edge)) for source, target, edge in edges]
    if not rows:
        return Section("Changes of state", sentences=[Sentence("", "None.")])
    header = ("from", "to", "kinds", "count", "per 1000 steps, 95 %")
    return Section("Changes of state", tables=[Table(header, tuple(rows))])


def geometry_section(runs: Sequence[Run]) -> Section:
    """Name the phases of each run by its RankMe, its alpha-ReQ and its n99, each end with its interval."""
    lines = []
    for run in runs:
        found = trajectory_phases(run.tracker.trajectory)
        told = [f"{MEASURES[name]}: {phases_line(phases)}" for name, phases in found.items()]
        lines += [Sentence(run.name, line) for line in told or ["the geometry was not measured"]]
    return Section("Phases of the geometry", sentences=lines)


def passage_section(runs: Sequence[Run]) -> Section:
    """Write the median of the Kaplan-Meier curve, and which runs it leaves out although they generalised in the end."""
    passage = first_passage([run.tracker for run in runs])
    kinds = [{event.kind for event in run.tracker.events} for run in runs]
    seen, later = (sum(kind in found for found in kinds) for kind in ("grokking", "completion"))
    median = "not reached" if math.isnan(passage.median) else f"step {passage.median:.0f}"
    text = f"{seen} of {len(runs)} runs grokked; median (Kaplan-Meier, the others censored): {median}."
    whole = f" {later} became whole after a partial change (completion), and count as censored." if later else ""
    return Section("First passage to grokking", sentences=[Sentence("", text + whole)])


def forecast_section(runs: Sequence[Run]) -> Section:
    """Forecast when each run that has not generalised would do so, or say why there is no forecast.

    Where chance is not known, the held-out credence at the first evaluation stands for it.
    """
    lines = []
    for run in runs:
        if not math.isnan(run.delay):
            continue
        if run.tracker.measure.startswith("soft_knn"):
            lines.append(Sentence(run.name, UNCALIBRATED))
            continue
        trajectory = run.tracker.trajectory
        chance = run.tracker.chance or float(trajectory.role("held_out")[0])
        forecast = forecast_generalisation(trajectory, chance=chance)
        when = f"step {forecast.step:.0f} ({forecast.low:.0f} to {forecast.high:.0f})"
        lines.append(Sentence(run.name, forecast.reason or when))
    title = "Forecast for runs that have not generalised"
    return Section(title, sentences=lines or [Sentence("", "All runs have generalised.")])


def delay_section(runs: Sequence[Run]) -> Section:
    """Tabulate the rival delay laws with their weights, or say why they cannot be told apart."""
    title, found = "Time to generalise against the number of train samples", delays_of(runs)
    sizes, seen = len(set(found.sizes)), found.censored.count(False)
    if not found.is_enough:
        few = f"No law is fitted below {MIN_SIZES} sizes and {MIN_SEEN} generalised runs; there are {sizes} and {seen}."
        return Section(title, sentences=[Sentence("", few)])
    comparison = compare_laws(found.sizes, found.times, DELAY_LAWS, found.censored)
    rows = []
    for name, fit in comparison.fits.items():
        size = critical_size(found.sizes, found.times, name, found.censored) if name.startswith("critical") else None
        critical = "" if size is None else f"{size.estimate:.0f} ({size.low:.0f} to {size.high:.0f})"
        rows.append((name, f"{fit.aicc:.1f}", f"{comparison.weights[name]:.3f}", f"{fit.log_error:.3f}", critical))
    verdict = f"Winner: {comparison.winner}, by {comparison.lead:.1f} in AICc."
    if comparison.winner == UNDECIDED:
        verdict = f"Undecided: {comparison.best} leads by {comparison.lead:.1f} in AICc, and it takes {MIN_LEAD:g}."
    header = ("law", "AICc", "weight", "rms log error", "critical size / samples, 95 %")
    return Section(title, sentences=[Sentence("", verdict)], tables=[Table(header, tuple(rows))])


def escape_section(runs: Sequence[Run]) -> Section:
    """Write the weights of activation and its rivals, and the barrier if it is identifiable."""
    found = [escape_of(run.tracker, run.settings) for run in runs if "lr" in run.settings]
    escapes = [escape for escape in found if escape is not None]
    late = sum(escape.is_late for escape in escapes)
    if len(escapes) - late < MIN_ESCAPES:
        few = f"No barrier is fitted below {MIN_ESCAPES} runs that left memorising; there are {len(escapes) - late}."
        return Section("Escape from memorising", sentences=[Sentence("", few)])
    fit = fit_arrhenius(escapes)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in fit.weights.items())
    verdict = fit.reason or f"barrier {fit.barrier:.3g} +- {fit.error:.2g} in units of lr / B"
    counted = f"{len(escapes) - late} runs left memorising and {late} ended there first"
    text = f"{counted}. Akaike weights: {weights}. {verdict}."
    return Section("Escape from memorising", sentences=[Sentence("", text)])


def percolation_section(runs: Sequence[Run], merged: nx.DiGraph) -> Section:
    """Write the share of runs of each size that generalise, and test whether its threshold stands still."""
    sizes, delays = [float(run.settings["train_size"]) for run in runs], [run.delay for run in runs]
    followed = [run.followed for run in runs]
    budget = max(followed)
    lines = []
    for size, share in spanning_probability(sizes, delays, budget, followed).items():
        interval = f"{share.estimate:.2f} ({share.low:.2f} to {share.high:.2f}) generalise within {budget:.0f} steps"
        unknown = f"unknown within {budget:.0f} steps, as all that have not generalised ended earlier"
        lines.append(Sentence(f"{size:.0f} samples", unknown if math.isnan(share.estimate) else interval))

    shift = budget_shift(sizes, delays, [budget / 4, budget / 2, budget], followed)
    reason = visited_percolation(merged)[1] or "See the graph."
    told = [Sentence("Budget-shift test", f"{shift.reason}."), Sentence("", reason)]
    return Section("Percolation", sentences=[*lines, *told])


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _figure(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
