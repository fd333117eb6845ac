# SPDX-License-Identifier: Apache-2.0
"""The report says of a lead whether it is noise, and whether it is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lightning_monocon.shrink import text


@pytest.mark.parametrize(
    ("lead", "said"), [(0.02, "+0.020 ± 0.010"), (-0.005, "-0.005 ± 0.010 (noise)"), (-0.02, "-0.020 ± 0.010 (behind)")]
)
def test_a_code_that_loses_on_the_certifying_queries_is_called_behind(lead: float, said: str) -> None:
    line: Any = SimpleNamespace(name="a-2", bytes=2, second=None)
    found: Any = SimpleNamespace(
        chosen=line,
        estimate=lambda _: (0.5, 0.4, 0.6),
        runner_up=lambda _: (SimpleNamespace(name="b-2"), lead, 0.01),
        above_limit=lambda _: None,
    )
    assert text._row(found, line) == ("a-2 (chosen)", "2", "0.500 ± 0.100", "b-2", said, "")


@pytest.mark.parametrize("in_front", [True, False])
def test_a_chosen_code_that_is_not_on_the_front_is_shown_with_the_reason(in_front: bool) -> None:
    small, large = (SimpleNamespace(name=f"a-{size}", bytes=size, second=None, front=True) for size in (2, 16))
    large.front = in_front
    found: Any = SimpleNamespace(
        chosen=large,
        front=[small, large] if in_front else [small],
        whole=SimpleNamespace(),
        question=SimpleNamespace(confidence=0.95, keep=0.9),
        certificate=SimpleNamespace(tested=3, low=0.4),
        certified=True,
        shortlist=None,
        task=SimpleNamespace(truth=SimpleNamespace(unit="query", measures=("knn_accuracy",)), repeats=0, query=[0]),
        estimate=lambda _: (0.5, 0.4, 0.6),
        runner_up=lambda _: None,
        above_limit=lambda _: None,
    )
    assert [row[0] for row in text._front(found).rows] == ["a-2", "a-16 (chosen)"]
    said = [sentence.about for sentence in text._certified(found)]
    assert said == ["With confidence 0.95"] + ["Smaller codes"] * (not in_front)
