# SPDX-License-Identifier: Apache-2.0
"""Ask `lightning_monocon.landscape` for every name that it listed in release 0.1.0."""

from __future__ import annotations

import warnings

import pytest

from lightning_monocon import landscape
from lightning_monocon.landscape import barriers, theory

OLD = """
    DECAY_LAWS DELAY_LAWS KINDS TRANSITIONS Escape Event LandscapeTracker barrier_height beta_from_ratio binder_cumulant
    bond_threshold budget_shift compare_laws credence detect_change displacement_exponent distinct_exponent
    distinct_states fallibility false_alarm_probability first_passage fit_arrhenius forecast_crossing
    forecast_generalisation garwood_interval log_time_increments match_perplexity mean_first_passage merge_runs
    newman_ziff pooled_exponent purity_coverage return_probability semantic_barrier simulate_traps site_threshold
    soft_knn_credence spanning_probability spanning_rank spectral_dimension square_lattice stationary_law tail_exponent
    visited_percolation wilson_interval
""".split()


def test_the_old_list_is_whole() -> None:
    assert len(OLD) == len(set(OLD)) == 45


@pytest.mark.parametrize("name", OLD)
def test_every_old_name_resolves(name: str) -> None:
    if name not in landscape.__all__:
        vars(landscape).pop(name, None)  # as in a process that has not asked yet
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(landscape, name)
    said = [str(each.message) for each in caught if each.category is DeprecationWarning]
    if name in landscape.__all__:
        assert said == []
        return
    home = barriers if "barrier" in name else theory
    assert found is getattr(home, name)
    assert said == [
        f"lightning_monocon.landscape.{name} has moved to {home.__name__}.{name}; the old path goes with the next "
        "release. Import the new one."
    ]


def test_the_list_stays_short() -> None:
    assert len(landscape.__all__) <= 16


def test_the_warning_names_the_line_that_imports() -> None:
    vars(landscape).pop("newman_ziff", None)
    with pytest.warns(DeprecationWarning) as caught:
        exec(compile("\n\nfrom lightning_monocon.landscape import newman_ziff", "mine.py", "exec"))
    assert [(each.filename, each.lineno) for each in caught] == [("mine.py", 3)]


def test_a_name_that_never_was() -> None:
    with pytest.raises(AttributeError, match=r"module 'lightning_monocon\.landscape' has no attribute 'walk'"):
        landscape.walk  # type: ignore[attr-defined]  # noqa: B018
