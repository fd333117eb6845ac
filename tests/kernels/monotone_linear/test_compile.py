# SPDX-License-Identifier: Apache-2.0
"""Every launch in the table compiles for its GPU without a spill, within its shared memory, with int64 addresses."""

from __future__ import annotations

from typing import get_args

import pytest
from helpers import aot

from lightning_monocon.kernels.monotone_linear.configurations import Mode, configuration

pytest.importorskip("triton", reason="compiles kernels")

launches = pytest.importorskip("helpers.monotone_launches").launches

# Bytes of shared memory of the largest launch, with Triton 3.8 and before: more would mean another tile.
LARGEST = {"sm_80": (61440, 50176), "sm_90": (90112, 90112), "gfx942": (24576, 24576)}


def assert_clean(found: list[dict[str, object]]) -> None:
    assert [row["name"] for row in found if row["spills"] or row["stack"]] == []
    assert [row["name"] for row in found if row["narrow_addresses"] or not row["addresses"]] == []


@pytest.mark.parametrize("target", LARGEST)
def test_every_launch_compiles_without_a_spill(target: str) -> None:
    found = aot.report("helpers.monotone_launches", target)
    assert len(found) >= 10
    assert_clean(found)
    assert max(row["shared"] for row in found) == aot.since_triton_38(*LARGEST[target]) <= aot.SHARED_LIMIT[target]


@pytest.mark.slow
@pytest.mark.parametrize("target", LARGEST)
def test_every_map_sign_activation_and_dtype_compiles_without_a_spill(target: str) -> None:
    found = aot.report("helpers.monotone_launches", target, "OTHERS")
    assert len(found) >= 150
    assert_clean(found)
    assert max(row["shared"] for row in found) <= aot.SHARED_LIMIT[target]


@pytest.mark.slow
@pytest.mark.parametrize("target", aot.OTHER_TARGETS)
def test_every_launch_compiles_for_the_cards_that_the_table_was_extended_to(target: str) -> None:
    found = aot.report("helpers.monotone_launches", target)
    assert len(found) >= 5
    assert_clean(found)
    assert max(row["shared"] for row in found) <= aot.SHARED_LIMIT[target]


@pytest.mark.parametrize("architecture", ["gfx90a", "gfx950", "gfx1100", "gfx1201", "sm_75"])
def test_no_launch_asks_for_a_product_that_triton_refuses(architecture: str) -> None:
    asked = {launch.dot for mode in get_args(Mode) for _, launch in launches(configuration(architecture, mode))}
    assert asked == ({"ieee"} if architecture == "sm_75" else {"ieee", "bf16", "fp16"})


def test_sizes_of_one_compile() -> None:
    assert len(aot.report("helpers.monotone_launches", "sm_80", "ONES")) >= 5
