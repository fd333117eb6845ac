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
