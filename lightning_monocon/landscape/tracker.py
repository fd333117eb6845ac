# SPDX-License-Identifier: Apache-2.0
"""Track credence profiles and report events and a landscape.

The tracker *operationalises* the semantic landscape of arXiv 2307.09550; it does not prove it. A state is a plateau of
the credence profile, metastable at resolution eps on this probe: two algorithms with the same credence are one state,
and the predictions may drift beneath a constant credence.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np

from lightning_monocon.landscape.averaging import RecentProfiles
from lightning_monocon.landscape.clustering import Clustering
from lightning_monocon.landscape.completion import completion
from lightning_monocon.landscape.credence import fallibility
from lightning_monocon.landscape.emergence import watch_groups
from lightning_monocon.landscape.events import FALLIBLE, Event
from lightning_monocon.landscape.graph import build_graph, present, role_attributes
from lightning_monocon.landscape.interpret import Record, interpret
from lightning_monocon.landscape.noise import WAYS, NoiseFloor, Radii, Way
from lightning_monocon.landscape.noise_watch import Levels, NoiseWatch
from lightning_monocon.landscape.persistence import ResolutionSweep
from lightning_monocon.landscape.profiles import Point, quantise
from lightning_monocon.landscape.qualifiers import Geometry, GeometryWatch
from lightning_monocon.landscape.roles import Role, RoleNames, parse_roles
from lightning_monocon.landscape.rules import half_learnt
from lightning_monocon.landscape.strata import ArrayLike, Floats, Profile, check_credence, parse_strata
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.landscape.visit import Visit

STATE_VERSION = 1
ROLES: tuple[Role, Role] = ("train", "held_out")
ADDED_PARTS = ("noise_watch", "recent")
"""Parts that a state of an earlier release lacks; they begin afresh."""


class LandscapeTracker:
    """Follow a run over its semantic landscape.

    Args:
        strata: Stratum of each probe ``(P,)``: 0 for train and 1 for val, or names.
        eps_in: Inner radius, a distance of mean credence within which a profile belongs to the state of an anchor.
        eps_out: Outer radius, beyond which a state is left.
        window: Share of the elapsed steps that a plateau must last to become a state.
        max_window: Cap of that time in steps, for stationary dynamics. None for training, which ages.
        groups: Group (class or concept) of each probe ``(P,)``, to report when a group emerges.
        chance: Probability that a probe is right by chance, for the rules, groups and forecasts. None stands for 0 in
            the rules, and for groups for one over their number.
        probe: Fingerprint of the probe, checked on resume and when runs are merged.
        measure: Measure of the credence, in words: runs that measure it differently are not merged.
        roles: Stratum, or strata, of ``"train"``, of ``"held_out"`` and of ``"wrong"`` (train samples with wrong
            labels), which the rules read. None for ``train`` and ``val``, or the strata whose names begin with
            ``train/`` and ``val/``, and for ``train/wrong``.

    Example:
        >>> tracker = LandscapeTracker([0, 0, 0, 1, 1, 1])
        >>> for step in range(1, 40):
        ...     _ = tracker.update(step, [0.99] * 3 + [0.02 if step < 20 else 0.98] * 3)
        >>> [(event.kind, event.step_left) for event in tracker.events if event.is_transition]
        [('grokking', 20)]

    Raises:
        ValueError: If there is one stratum, a stratum or group has fewer than 3 probes, or a threshold is out of range.
    """

    def __init__(
        self,
        strata: ArrayLike,
        eps_in: float = 0.10,
        eps_out: float = 0.30,
        window: float = 0.3,
        max_window: int | None = None,
        groups: ArrayLike | None = None,
        chance: float | None = None,
        probe: str = "",
        measure: str = "",
        roles: RoleNames | None = None,
    ) -> None:
        _check_thresholds(eps_in, eps_out, window, max_window)
        self.strata, self.base, self.probe = parse_strata(strata), Radii(eps_in, eps_out), probe
        self.measure, self.chance = measure, _checked_chance(chance)
        self.noise, self.recent = NoiseFloor(), RecentProfiles()
        self.clustering = Clustering(self.strata, window, max_window)
        self.sweep = ResolutionSweep(self.strata, window, max_window)
        self.visit = Visit()
        self.roles = parse_roles(roles, self.strata.names)
        self.trajectory = Trajectory(self.strata.names, self.roles)
        self.geometry, self.noise_watch = GeometryWatch(), NoiseWatch()
        held_out = self.roles.held_out
        self.emergence = None if groups is None else watch_groups(groups, self.strata, held_out, chance)
        self.events: list[Event] = []
        self.refusal = ""

    @property
    def unresolvable(self) -> bool:
        """Return whether the probe is too noisy to tell states apart; `refusal` says why."""
        return bool(self.refusal)

    @property
    def state(self) -> int | None:
        """Return the state occupied; None before the first state and in transit."""
        return None if self.clustering.pending else self.clustering.current

    @property
    def generalised(self) -> float:
        """Return the step at which the held-out credence was halfway from chance to 1; NaN if it never was."""
        return self.trajectory.role_crossing("held_out", half_learnt(self.chance))

    def update(
        self,
        step: int,
        credence: ArrayLike,
        *,
        effective_rank: float = float("nan"),
        participation_ratio: float = float("nan"),
        alpha_req: float = float("nan"),
        n99: float = float("nan"),
    ) -> list[Event]:
        """Add one evaluation of the probe and return the events that it confirms.

        Args:
            step: Training step, larger than the last.
            credence: Probabilities of the right answers ``(P,)``.
            effective_rank: Effective rank of the probe's embeddings, if measured.
            participation_ratio: Participation ratio of the probe's embeddings, if measured.
            alpha_req: Exponent of their eigenspectrum, if measured; recorded, and read by no rule.
            n99: Components that hold 99 % of their variance, if measured; recorded, and read by no rule.

        Raises:
            ValueError: If the step does not increase or the credences are not ``(P,)`` probabilities.
        """
        step, values = self._check_step(step), check_credence(credence, self.strata.size)
        profile = self._averaged(values)
        dimensions = Geometry(*map(float, (effective_rank, participation_ratio, alpha_req, n99)))
        events = self._refuse(step) + self._move(step, profile, values, dimensions)
        events += self._qualify(step, values, dimensions) + self._overfit(step) + self._emerge(step, values)
        events += self._complete(events)
        self.events += events
        return events

    def graph(self) -> nx.DiGraph:
        """Return states and changes of state with statistics, rates, intervals and lifetimes, as scalar attributes."""
        graph = build_graph(self.trajectory, len(self.clustering.anchors), self.events)
        for state, anchor in enumerate(self.clustering.anchors):
            lifetime = self.sweep.lifetime(anchor, self.base.outer)
            bounds = present({"persistence_low": lifetime.low, "persistence_high": lifetime.high})
            graph.nodes[state].update(bounds, persistence=lifetime.share)
        graph.graph.update(self._thresholds(), resolution=self.strata.resolution, probe=self.probe)
        graph.graph.update(role_attributes(self.roles))
        graph.graph.update(unresolvable=self.unresolvable, evaluations=len(self.trajectory))
        if self.emergence is not None:
            graph.graph.update(present({"emergence_spread": self.emergence.spread()}))
        return graph

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the configuration, as numbers, strings, lists, dicts and tensors."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {
            **parts,
            "version": STATE_VERSION,
            "probe": self.probe,
            "size": self.strata.size,
            "noise": list(self.noise.distances),
            "trendless": list(self.noise.trendless),
            "way": list(self.noise.way),
            "events": [event.to_dict() for event in self.events],
            "refusal": self.refusal,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, so that the run resumes as if it had not been interrupted.

        Raises:
            ValueError: If the state comes from another version or another probe.
        """
        mine = {"version": STATE_VERSION, "probe": self.probe, "size": self.strata.size}
        for name, value in mine.items():
            if state[name] != value:
                raise ValueError(
                    f"`state` must come from a tracker with {name} {value!r}, got {state[name]!r}; "
                    "a landscape cannot resume with another probe. Draw it from the same data with the same size, seed "
                    "and strata, or begin a new run."
                )
        for name, part in self._parts().items():
            if name in state or name not in ADDED_PARTS:
                part.load_state_dict(state[name])
        self.noise.distances, self.noise.trendless = list(state["noise"]), list(state.get("trendless", state["noise"]))
        self.noise.way = Way(*state.get("way", WAYS[0]))
        self.events = [Event.from_dict(event) for event in state["events"]]
        self.refusal = state["refusal"]

    def _averaged(self, values: Floats) -> Profile:
        """Return the profile of an evaluation, averaged with those before it if single ones are too noisy."""
        self.recent.add(quantise(values))
        if len(self.recent.profiles) > 1:
            self.noise.add(*self.recent.distances(self.strata))
        self.noise.choose(self.base, self.clustering.diameter, has_states=bool(self.clustering.anchors))
        return self.recent.average(self.noise.way.width)

    def _refuse(self, step: int) -> list[Event]:
        diameter = self.clustering.diameter
        refusal = self.noise.refusal(self.base, diameter)
        was, self.refusal = self.refusal, refusal if self.noise.is_unresolvable(self.base, diameter) else ""
        if was or not self.refusal:
            return []
        return [Event("unresolvable", step_confirmed=step, thresholds=self._thresholds(), reason=self.refusal)]

    def _move(self, step: int, profile: Profile, values: Floats, dimensions: Geometry) -> list[Event]:
        may_create = not self.noise.refusal(self.base, self.clustering.diameter)
        moves = self.clustering.update(step, profile, self.noise.radii(self.base), may_create=may_create)
        self.sweep.update(step, profile, self.noise, may_create=may_create)
        surprise = fallibility(values, self.strata)
        means = self.strata.means(values).tolist()
        row = [*means, *surprise.strata.values(), *surprise.clipped.values(), *dimensions]
        self.trajectory.append(step, self.state, row)
        self.noise_watch.update(step, self._levels(means, [*surprise.strata.values()]))
        self.visit.add(Point(step, profile))
        overfitted = (self.noise_watch.kind, self.noise_watch.reason) if self.noise_watch.is_rising else None
        compared = (self.strata, self.trajectory, self.visit, self.clustering.anchors, self._thresholds())
        record = Record(*compared, overfitted, self.chance or 0.0)
        events = [interpret(move, step, record) for move in moves]
        for move in moves:
            if move.kind != "leave" and move.entered is not None and move.target is not None:
                self.trajectory.assign(move.entered, move.target)
            if move.kind == "enter" and move.entered is not None:
                self.visit.begin(move.entered)
                self.geometry.reset()
        found = [event for event in events if event is not None]
        self.noise_watch.is_told |= any(event.kind in FALLIBLE for event in found)
        return found

    def _qualify(self, step: int, values: Floats, dimensions: Geometry) -> list[Event]:
        means = self.strata.means(values)
        played = (self._of_role(role, means) for role in ROLES)
        train, val = (float(means.mean()) if np.isnan(credence) else credence for credence in played)
        if self.clustering.outside == 1:  # perhaps a spike of one evaluation: its geometry says nothing
            return []
        found = self.geometry.update(step, dimensions, train, val, is_settled=self.state is not None)
        place: dict[str, Any] = {"source": self.clustering.current, "target": self.clustering.current}
        shared: dict[str, Any] = {"step_confirmed": step, "thresholds": self._thresholds(), **place}
        return [Event(q.kind, step_left=q.since, step_entered=step, reason=q.reason, **shared) for q in found]

    def _overfit(self, step: int) -> list[Event]:
        """Report a rise of the held-out fallibility inside a state; across a change of state it may be its kind."""
        watch = self.noise_watch
        if not watch.is_rising or watch.is_told or self.state is None:
            return []
        watch.is_told = True
        place: dict[str, Any] = {"source": self.state, "target": self.state, "step_confirmed": step}
        times: dict[str, Any] = {"step_left": watch.since, "step_entered": watch.first}
        return [Event(watch.kind, thresholds=self._thresholds(), reason=watch.reason, **times, **place)]

    def _complete(self, found: list[Event]) -> list[Event]:
        event = completion([*self.events, *found], self.trajectory, self.state)
        return [] if event is None else [replace(event, thresholds=self._thresholds())]

    def _of_role(self, role: Role, values: Floats) -> float:
        return float(self.roles.mean(role, self.strata.names, values))

    def _levels(self, means: list[float], surprise: list[float]) -> Levels:
        train, held_out = (self._of_role(role, np.array(surprise)) for role in ROLES)
        wrong = self._of_role("wrong", np.array(surprise))
        return Levels(train, held_out, self._of_role("held_out", np.array(means)), wrong)

    def _emerge(self, step: int, values: Floats) -> list[Event]:
        found = [] if self.emergence is None else self.emergence.update(step, values)
        shared: dict[str, Any] = {"step_confirmed": step, "thresholds": self._thresholds()}
        reason = "credence >= 0.5 at 3 evaluations in a row, beyond chance"
        return [Event("emergence", step_entered=at, group=group, reason=reason, **shared) for group, at in found]

    def _check_step(self, step: int) -> int:
        try:
            step = operator.index(step)
        except TypeError:
            raise TypeError(f"`step` must be an integer, got {step!r}.") from None
        last = self.trajectory.steps[-1] if len(self.trajectory) else -1
        if step <= last:
            raise ValueError(
                f"`step` must increase from one evaluation to the next, and not be negative; got {step} after {last}."
            )
        return step

    def _thresholds(self) -> dict[str, float]:
        radii = self.noise.radii(self.base)
        return {"eps_in": radii.inner, "eps_out": radii.outer, "noise": self.noise.level}

    def _parts(self) -> dict[str, Any]:
        parts = {
            "clustering": self.clustering,
            "sweep": self.sweep,
            "visit": self.visit,
            "trajectory": self.trajectory,
            "geometry": self.geometry,
            "noise_watch": self.noise_watch,
            "recent": self.recent,
        }
        return parts if self.emergence is None else {**parts, "emergence": self.emergence}


def _checked_chance(chance: float | None) -> float | None:
    if chance is not None and not 0 < chance < 1:
        raise ValueError(
            f"`chance` must lie between 0 and 1, got {chance}. Pass one over the number of classes, or None."
        )
    return chance


def _check_thresholds(eps_in: float, eps_out: float, window: float, max_window: int | None) -> None:
    if not 0 < eps_in < eps_out < 1:
        raise ValueError(f"`eps_in` and `eps_out` must satisfy 0 < eps_in < eps_out < 1, got {eps_in} and {eps_out}.")
    if not 0 < window < 1:
        raise ValueError(f"`window` must lie between 0 and 1, a share of the elapsed steps; got {window}.")
    if max_window is not None and max_window < 1:
        raise ValueError(f"`max_window` must be at least 1 step or None, got {max_window}.")
