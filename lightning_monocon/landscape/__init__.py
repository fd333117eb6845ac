# SPDX-License-Identifier: Apache-2.0
"""The semantic landscape as mathematics: states, graph, detectors, percolation, walks. No Lightning in it.

It operationalises the paradigm of arXiv 2307.09550 on a labelled probe; it does not prove it.
"""

from lightning_monocon.landscape.barriers import barrier_height, semantic_barrier
from lightning_monocon.landscape.credence import credence, fallibility, match_perplexity, soft_knn_credence
from lightning_monocon.landscape.events import KINDS, TRANSITIONS, Event
from lightning_monocon.landscape.merge import first_passage, merge_runs
from lightning_monocon.landscape.rates import garwood_interval
from lightning_monocon.landscape.theory.arrhenius import Escape, beta_from_ratio, fit_arrhenius, stationary_law
from lightning_monocon.landscape.theory.cusum import detect_change, false_alarm_probability, log_time_increments
from lightning_monocon.landscape.theory.forecast import forecast_crossing, forecast_generalisation
from lightning_monocon.landscape.theory.laws import DECAY_LAWS, DELAY_LAWS, compare_laws
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
from lightning_monocon.landscape.tracker import LandscapeTracker

__all__ = [
    "DECAY_LAWS",
    "DELAY_LAWS",
    "KINDS",
    "TRANSITIONS",
    "Escape",
    "Event",
    "LandscapeTracker",
    "barrier_height",
    "beta_from_ratio",
    "binder_cumulant",
    "bond_threshold",
    "budget_shift",
    "compare_laws",
    "credence",
    "detect_change",
    "displacement_exponent",
    "distinct_exponent",
    "distinct_states",
    "fallibility",
    "false_alarm_probability",
    "first_passage",
    "fit_arrhenius",
    "forecast_crossing",
    "forecast_generalisation",
    "garwood_interval",
    "log_time_increments",
    "match_perplexity",
    "mean_first_passage",
    "merge_runs",
    "newman_ziff",
    "pooled_exponent",
    "purity_coverage",
    "return_probability",
    "semantic_barrier",
    "simulate_traps",
    "site_threshold",
    "soft_knn_credence",
    "spanning_probability",
    "spanning_rank",
    "spectral_dimension",
    "square_lattice",
    "stationary_law",
    "tail_exponent",
    "visited_percolation",
    "wilson_interval",
]
