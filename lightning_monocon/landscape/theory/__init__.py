# SPDX-License-Identifier: Apache-2.0
"""Test what the semantic-landscape paradigm predicts: laws over runs, walks, percolation, traps and forecasts.

The functions work on plain arrays or on the `Trajectory` of a tracker. `monocon landscape` applies those that need
nothing but the files of the runs; docs/landscape-theory.md shows them all on worked numbers.
"""

from lightning_monocon.landscape.theory.arrhenius import Escape, beta_from_ratio, fit_arrhenius, stationary_law
from lightning_monocon.landscape.theory.cusum import detect_change, false_alarm_probability, log_time_increments
from lightning_monocon.landscape.theory.estimate import Estimate, power_law
from lightning_monocon.landscape.theory.forecast import forecast_crossing, forecast_generalisation
from lightning_monocon.landscape.theory.laws import DECAY_LAWS, DELAY_LAWS, compare_laws, critical_size
from lightning_monocon.landscape.theory.percolation import (
    bond_threshold,
    newman_ziff,
    site_threshold,
    spanning_rank,
    square_lattice,
)
from lightning_monocon.landscape.theory.purity import purity_coverage
from lightning_monocon.landscape.theory.spanning import (
    binder_cumulant,
    budget_shift,
    spanning_probability,
    visited_percolation,
    wilson_interval,
)
from lightning_monocon.landscape.theory.trap import pooled_exponent, simulate_traps, tail_exponent
from lightning_monocon.landscape.theory.walks import (
    displacement_exponent,
    distinct_exponent,
    distinct_states,
    mean_first_passage,
    return_probability,
    spectral_dimension,
)

__all__ = [
    "DECAY_LAWS",
    "DELAY_LAWS",
    "Escape",
    "Estimate",
    "beta_from_ratio",
    "binder_cumulant",
    "bond_threshold",
    "budget_shift",
    "compare_laws",
    "critical_size",
    "detect_change",
    "displacement_exponent",
    "distinct_exponent",
    "distinct_states",
    "false_alarm_probability",
    "fit_arrhenius",
    "forecast_crossing",
    "forecast_generalisation",
    "log_time_increments",
    "mean_first_passage",
    "newman_ziff",
    "pooled_exponent",
    "power_law",
    "purity_coverage",
    "return_probability",
    "simulate_traps",
    "site_threshold",
    "spanning_probability",
    "spanning_rank",
    "spectral_dimension",
    "square_lattice",
    "stationary_law",
    "tail_exponent",
    "visited_percolation",
    "wilson_interval",
]
