# SPDX-License-Identifier: Apache-2.0
"""Write folders of codes, as `monocon shrink` does, from planted rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lightning_monocon.codes import Codec, FittingRows, domain
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.codes.files import save
from lightning_monocon.stores import Bundle, read_bundle

OPTIONS = {
    "half": ScalarOptions(16, centre=False),
    "int8": ScalarOptions(8, centre=False, step="common", levels="uniform"),
    "bit": ScalarOptions(1, rotation="random"),
}
"""A code of each kind of column."""


def planted(rows: int = 600, dim: int = 24, seed: int = 0) -> torch.Tensor:
    """Return rows ``(N, D)`` of falling variance about a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(1, 0.2, dim)
    return torch.randn(rows, dim, generator=generator) * scale + torch.linspace(0.5, -0.5, dim)


def code_folder(folder: Path, codec: Codec | str, rows: torch.Tensor | None = None, text: bool = False) -> Bundle:
    """Write codec, domain, codes, ids and queries, and read them again."""
    rows = planted() if rows is None else rows
    found = fit_scalar(FittingRows.of(rows), 16, OPTIONS[codec]) if isinstance(codec, str) else codec
    folder.mkdir()
    domain.save(domain.Domain.of(found, planted(600, rows.shape[1], seed=2)), save(found, folder), folder)
    np.save(folder / "codes.npy", found.encode(rows).numpy())
    numbers = np.arange(len(rows)) * 3 + 7
    np.save(folder / "ids.npy", np.array([f"ü{number}" for number in numbers]) if text else numbers)
    np.savez(folder / "queries.npz", queries=planted(40, rows.shape[1], seed=1).numpy())
    return read_bundle(folder)


def best(bundle: Bundle) -> list[int]:
    """Return the ids of the ten rows that the codec ranks first for the first query."""
    assert bundle.queries is not None
    scores = bundle.codec.score(bundle.queries[:1], np.asarray(bundle.codes))[0]
    found: list[int] = bundle.ids[np.lexsort((bundle.ids, -scores))[:10]].tolist()
    return found
