# SPDX-License-Identifier: Apache-2.0
"""Every launch in the table compiles for its GPU without a spill, within its shared memory, with int64 addresses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("triton", reason="compiles kernels")

HERE = Path(__file__).parent

# Bytes of shared memory of the largest launch: more would mean another tile than the table's.
LARGEST = {"sm_80": 50176, "sm_90": 90112, "gfx942": 24576}


@pytest.fixture
def aot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module beside this folder, which is no package."""
    spec = importlib.util.spec_from_file_location("aot", HERE.parent / "aot.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "aot", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def assert_clean(found: list[dict[str, object]]) -> None:
    assert [row["name"] for row in found if row["spills"] or row["stack"]] == []
    assert [row["name"] for row in found if row["narrow_addresses"] or not row["addresses"]] == []


@pytest.mark.parametrize("target", LARGEST)
def test_every_launch_compiles_without_a_spill(aot: ModuleType, target: str) -> None:
    found = aot.report(HERE / "compile_cases.py", target)
    assert len(found) >= 10
    assert_clean(found)
    assert max(row["shared"] for row in found) == LARGEST[target] <= aot.SHARED_LIMIT[target]


@pytest.mark.slow
@pytest.mark.parametrize("target", LARGEST)
def test_every_map_sign_activation_and_dtype_compiles_without_a_spill(aot: ModuleType, target: str) -> None:
    found = aot.report(HERE / "compile_cases.py", target, "OTHERS")
    assert len(found) >= 150
    assert_clean(found)
    assert max(row["shared"] for row in found) <= aot.SHARED_LIMIT[target]
