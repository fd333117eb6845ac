# SPDX-License-Identifier: Apache-2.0
"""Rows that are fitted on and encoded on a Ray cluster give the bytes of one process, also if a worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lightning_monocon.cli import main
from lightning_monocon.codes.candidates import FAMILIES, candidates
from lightning_monocon.codes.families.transform import fit_transform
from lightning_monocon.scorecard.row_files.array import ArrayRows
from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.shrink import on_ray, run
from lightning_monocon.shrink import rows as gallery_rows
from lightning_monocon.shrink.engine import encoded_file, fitting_rows
from lightning_monocon.shrink.rows import StoredRows, blocks


@pytest.fixture
def stored(tmp_path: Path) -> StoredRows:
    rows = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.1, 16)
    for number, part in enumerate(torch.split(rows, 100)):
        save_file({"embeddings": part.double() if number == 7 else part}, tmp_path / f"{number:02}.safetensors")
    kept = torch.rand(4000, generator=torch.Generator().manual_seed(1)) < 0.9
    kept[500:600] = False
    return StoredRows(FileRows(sorted(tmp_path.glob("*.safetensors"))), kept)


def test_files_are_the_rows_in_their_order(stored: StoredRows) -> None:
    files = on_ray._files(stored)
    assert len(files) == 40 and len(files[5]) == 0
    whole = torch.cat([block for file in files for block in blocks(file)])
    assert torch.equal(whole, torch.cat(list(blocks(stored)))) and whole.dtype == torch.float64
    assert stored.source.length == 4000


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"must be given .parquet or .safetensors files"):
        on_ray._files(StoredRows(ArrayRows(tmp_path / "rows.npy", "")))


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(ModuleNotFoundError, match=r"install lightning-monocon\[ray\]"):
        on_ray.check_ray()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found.workers = [found.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of its processes and files
def test_the_bytes_are_those_of_one_process_although_a_worker_is_killed(
    cluster: Any, stored: StoredRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = torch.arange(0, len(stored), 2)
    known, found = (fitting_rows(stored, numbers, 0, *engine) for engine in ((), (on_ray.on_ray,)))
    assert torch.equal(found.statistics.comoment, known.statistics.comoment)
    assert torch.equal(found.sample, known.sample)

    taken = []

    def killing(rows: Any, function: Any) -> Iterator[torch.Tensor]:
        for codes in on_ray.on_ray(rows, function):
            if not taken:
                cluster.remove_node(cluster.workers[0], allow_graceful=False)
            taken.append(len(codes))
            yield codes

    codec = fit_transform(known, 8)
    codes = encoded_file(codec, stored, tmp_path / "ray.npy", killing)
    assert len(taken) > 1 and sum(taken) == len(stored)
    assert torch.equal(codes, encoded_file(codec, stored, tmp_path / "here.npy"))

    # the command as a whole
    monkeypatch.setattr("lightning_monocon.codes.candidates.BUDGETS", (2, 8))
    monkeypatch.setattr(run, "candidates", partial(candidates, families=FAMILIES[:1] + FAMILIES[2:4]))
    monkeypatch.setattr(gallery_rows, "HELD_NUMBERS", 0)
    monkeypatch.setattr(run, "CHOOSING_ROWS", 600)
    words = ("shrink", str(tmp_path), "--keep", "0.5", "--out")
    main([*words, str(tmp_path / "ray"), "--engine", "ray"])
    main([*words, str(tmp_path / "here")])
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("ray", "here"))
    assert {"codes.npy", "domain.json", "queries.npz", "shrink.json"} <= {*first} and first == second
