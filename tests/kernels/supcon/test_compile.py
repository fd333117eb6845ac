# SPDX-License-Identifier: Apache-2.0
"""Every shipped configuration compiled for GPUs that are not here: no spills, shared memory, 64-bit addresses."""

from __future__ import annotations

import pytest
from helpers import aot

from lightning_monocon.kernels.dispatch import has_triton

# Bytes of shared memory of the largest launch, with Triton 3.8 and before: more would mean another tile
LARGEST = {"sm_80": (40960, 32768), "sm_90": (98304, 98304), "gfx942": (16384, 16384)}

pytestmark = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")


def assert_clean(reports: list[dict[str, object]], target: str) -> None:
    for report in reports:
        assert report["spills"] == 0, report
        assert report["stack"] == 0, report
        assert report["shared"] <= aot.SHARED_LIMIT[target], report
        assert report["addresses"] > 0, report
        assert report["narrow_addresses"] == 0, report


@pytest.mark.parametrize("target", aot.TARGETS)
def test_extreme_configurations_compile_clean(target: str) -> None:
    reports = aot.report("helpers.supcon_launches", target)
    assert len(reports) == 6 + 2 * 2 * 3 + 2 * 3
    assert_clean(reports, target)
    assert max(report["shared"] for report in reports) == aot.since_triton_38(*LARGEST[target])


@pytest.mark.slow
@pytest.mark.parametrize("target", aot.TARGETS)
def test_all_other_configurations_compile_clean(target: str) -> None:
    reports = aot.report("helpers.supcon_launches", target, "OTHERS")
    assert len(reports) == 2 * 4 * (6 * 3 + 4 * 2) - 2 * 2 * 3 - 2 * 3
    assert_clean(reports, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", aot.OTHER_TARGETS)
def test_extreme_configurations_compile_for_the_cards_that_the_tables_were_extended_to(target: str) -> None:
    reports = aot.report("helpers.supcon_launches", target)
    assert_clean(reports, target)


@pytest.mark.parametrize("architecture", ["gfx90a", "gfx950", "gfx1100", "gfx1201", "sm_75"])
def test_no_tile_asks_for_a_product_that_triton_refuses(architecture: str) -> None:
    from lightning_monocon.kernels.supcon.launch import product_for

    allowed = {"ieee", "bf16x3"} if architecture.startswith("gfx9") else {"ieee"}
    assert {product_for(architecture, name) for name in ("tf32", "bf16x3", "ieee")} == allowed


def test_sizes_of_one_compile() -> None:
    assert len(aot.report("helpers.supcon_launches", "sm_80", "ONES")) >= 5
