# SPDX-License-Identifier: Apache-2.0
"""Phases of planted geometry are found with their ends, and noise has none."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.phases import geometry_phases, phases_line, trajectory_phases
from lightning_monocon.landscape.trajectory import Trajectory

NAMES = ["warm-up", "entropy-seeking", "compression-seeking"]
STEPS = np.geomspace(1, 10_000, 120)


def planted(knots: list[float], values: list[float], noise: float, seed: int) -> np.ndarray:
    """A line through the logarithms of values, at knots in log-time, with noise."""
    line = np.interp(np.log(STEPS), np.log(knots), np.log(values))
    return np.exp(line + np.random.default_rng(seed).normal(0, noise, len(line)))


def test_three_phases_are_found_with_intervals_that_hold_their_ends() -> None:
    held = []
    for seed in range(100):
        phases = geometry_phases(STEPS, planted([1, 20, 900, 10_000], [30, 12, 50, 20], 0.02, seed))
        assert [phase.name for phase in phases] == NAMES
        held += [phases[0].earliest <= 20 <= phases[0].latest, phases[1].earliest <= 900 <= phases[1].latest]
        assert phases[0].start == 1 or phases[0].start < 5
        assert phases[2].end == phases[2].latest > 8_000
        assert phases[1].ratio == pytest.approx(50 / 12, rel=0.2)
    assert np.mean(held) >= 0.95


@pytest.mark.parametrize(
    ("knots", "values", "expected"),
    [
        ([1, 10_000], [20, 80], NAMES[1:2]),
        ([1, 10_000], [80, 20], NAMES[2:]),  # modular addition: no rise, so that the fall is no warm-up
        ([1, 500, 10_000], [20, 60, 30], NAMES[1:]),
        ([1, 500, 10_000], [60, 20, 40], NAMES[:2]),
        ([1, 30, 300, 3_000, 10_000], [40, 20, 40, 20, 40], [*NAMES, NAMES[1]]),
        ([1, 10_000], [50, 48], []),
    ],
)
def test_each_phase_is_found_by_itself(knots: list[float], values: list[float], expected: list[str]) -> None:
    for noise in (0.0, 0.01):
        assert [phase.name for phase in geometry_phases(STEPS, planted(knots, values, noise, 0))] == expected


@pytest.mark.parametrize("noise", [0.005, 0.05, 0.3])
def test_noise_has_no_phases(noise: float) -> None:
    found = [geometry_phases(STEPS, planted([1, 10_000], [30, 30], noise, seed)) for seed in range(200)]
    assert sum(map(bool, found)) <= 2


def test_what_is_not_known_is_left_out() -> None:
    values = np.concatenate([[np.nan, 0.0], np.linspace(10, 30, 118)])
    (phase,) = geometry_phases(STEPS, values)
    assert (phase.name, phase.start, phase.end) == ("entropy-seeking", STEPS[2], STEPS[-1])
    assert geometry_phases(STEPS[:7], values[-7:]) == ()
    with pytest.raises(ValueError, match=r"`dimensions` must hold one value per step, \(120,\); got shape \(3,\)"):
        geometry_phases(STEPS, [1.0, 2.0, 3.0])
    for swing in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"`swing` must be a positive share, such as 0\.1; got"):
            geometry_phases(STEPS, values, swing)


def test_an_exponent_that_dips_is_a_rise_and_a_fall_of_the_dimension() -> None:
    held, names = [], NAMES[1:]
    for seed in range(100):
        values = planted([1, 20, 300, 10_000], [0.5, 0.5, 0.465, 0.6], 0.002, seed)  # a dip of 7 %
        assert geometry_phases(STEPS, values, inverse=True)[0].name == names[1]  # missed at a tenth
        phases = geometry_phases(STEPS, values, 0.05, inverse=True)
        assert [phase.name for phase in phases] == names
        assert phases[0].ratio == pytest.approx(0.93, abs=0.02)
        held.append(phases[0].earliest <= 300 <= phases[0].latest)
    assert np.mean(held) >= 0.95


def test_rounding_of_whole_numbers_makes_no_phase() -> None:
    generator = np.random.default_rng(0)
    for level in (2.5, 4.5, 20.5, 100.5):  # between two whole numbers, where rounding flips most
        for _ in range(50):
            counts = np.rint(level + generator.normal(0, 0.2, 60))
            assert geometry_phases(np.arange(60), counts) == ()
    (fall,) = geometry_phases(np.arange(60), np.rint(np.linspace(60, 12, 60)))
    assert fall.name == "compression-seeking"


def test_a_recorded_run_has_phases_by_each_measure_that_it_holds() -> None:
    trajectory = Trajectory(("train", "val"))
    for step in range(1, 61):
        rank, alpha = 10.0 + step, 1.0 - 0.01 * step
        trajectory.append(step, 0, [0.5] * 6 + ([rank, rank, alpha, np.nan] if step % 3 == 0 else [np.nan] * 4))
    phases = trajectory_phases(trajectory)
    assert list(phases) == ["effective_rank", "alpha_req"]
    for (phase,) in phases.values():
        assert (phase.name, phase.start, phase.end) == ("entropy-seeking", 3, 60)
    assert phases_line(phases["alpha_req"]) == "entropy-seeking to step 60, 0.41 times the value"
    assert phases_line(()) == "no phase"
