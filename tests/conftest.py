# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures. The environment is set before anything imports torch, triton, wandb or matplotlib."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # bit-equal sums, and two workers do not fight for two cores
os.environ.setdefault("TRITON_INTERPRET", "1")  # must precede triton's import; set it to 0 on a machine with a GPU
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("MPLBACKEND", "Agg")
# what a machine measures of its own speed is not kept from one test run to the next
os.environ.setdefault("MONOCON_CACHE", tempfile.mkdtemp(prefix="monocon-cache-"))
# inductor's cache does not tell capabilities apart: findings/inductor_cache_ignores_the_capability.sh
if capability := os.environ.get("ATEN_CPU_CAPABILITY"):
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"inductor-{capability}"))

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from helpers.postgresql import database, server

if TYPE_CHECKING:
    import torch

__all__ = ["database", "server"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of optional data sets; skips where there is none.

    Set LIGHTNING_MONOCON_DATA, or put `shared/data` into a folder above the repository.
    """
    named = os.environ.get("LIGHTNING_MONOCON_DATA")
    places = [Path(named)] if named else [folder / "shared" / "data" for folder in ROOT.parents]
    for place in places:
        if place.is_dir():
            return place
    pytest.skip(f"optional data sets are absent: LIGHTNING_MONOCON_DATA={named or ''}")


@pytest.fixture
def torchvision() -> ModuleType:
    """The real torchvision; skips where there is none for the installed torch."""
    from lightning_monocon.encoders.image.torchvision_model import import_torchvision

    try:
        return import_torchvision("torchvision")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Send what a library asks of the network to a port where nothing listens, and let it find nothing kept."""
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def generator() -> Callable[[int], torch.Generator]:
    """A factory of seeded CPU generators, so that no test depends on the global one."""
    import torch

    return lambda seed=0: torch.Generator().manual_seed(seed)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """One thread and deterministic algorithms, for tests that compare bit by bit."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


@pytest.fixture
def float64() -> Iterator[None]:
    """Float64 as the default dtype, for oracles and gradcheck."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
