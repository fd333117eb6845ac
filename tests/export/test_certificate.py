# SPDX-License-Identifier: Apache-2.0
"""What an export's card says of rounded features is never refuted, and is not said where nothing is proved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.head_cases import features
from lightning.pytorch import LightningDataModule

from lightning_monocon import MonoCon
from lightning_monocon.export import export_model
from lightning_monocon.export.certificate import rounded_region, vector_region
from lightning_monocon.export.prepare import prepare
from lightning_monocon.functional.certified_neighbours import Zonotope
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.heads import MLPHead

# how accurate a head is after so few steps depends on the processor, and is not what is asked here
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


@pytest.mark.parametrize("eps", [0.01, 0.1])
def test_a_region_of_vectors_holds_every_vector_of_the_box(eps: float) -> None:
    torch.manual_seed(0)
    head, projection = MLPHead(4, 16, 6).double(), torch.nn.Linear(6, 3).double().requires_grad_(False)
    rows = features(20, 4).double() + 3
    with torch.no_grad():
        region, known = vector_region(head.zonotope(rows - eps, rows + eps), projection)
        offsets = torch.rand(3000, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
        offsets[::2] = offsets[::2].sign()
        outputs = head(rows + eps * offsets)
        vectors = projection(torch.nn.functional.normalize(outputs, dim=-1)) * outputs.norm(dim=-1, keepdim=True)
    directions = features(100, 3, seed=2).double()
    least = region.centre @ directions.T - (region.generators @ directions.T).abs().sum(1)
    reached = (vectors @ directions.T).amin(0)
    assert known.any() and (reached >= least - 1e-12)[known].all()
    if eps == 0.01:  # and little more than they reach
        middle = region.centre @ directions.T
        assert known.all() and (middle - least).mean() <= 2 * (middle - reached).mean()


@pytest.mark.parametrize("step", [0.004, 0.02])
def test_a_region_of_rounded_vectors_holds_them_even_where_a_number_is_clipped(step: float) -> None:
    torch.manual_seed(0)
    head, projection = MLPHead(4, 16, 6).double(), torch.nn.Linear(6, 3).double().requires_grad_(False)
    rows, eps = features(20, 4).double() + 3, 0.01
    with torch.no_grad():
        before, _ = vector_region(head.zonotope(rows - eps, rows + eps), projection)
        region, known = rounded_region(before, torch.full((3,), step, dtype=torch.float64))
        offsets = torch.rand(3000, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
        outputs = head(rows + eps * offsets.sign())
        vectors = projection(torch.nn.functional.normalize(outputs, dim=-1))
    lengths = (outputs.norm(dim=-1) * vectors.norm(dim=-1))[..., None]
    codes = (torch.nn.functional.normalize(vectors, dim=-1) / step).round()
    assert (codes.abs() > 127).any() == (step < 1 / 127)
    rounded = lengths * codes.clamp(-127, 127) * step
    directions = features(100, 3, seed=2).double()
    assert known.all() and (rounded @ directions.T >= _least(region, directions) - 1e-12).all()
    assert not (rounded @ directions.T >= _least(before, directions) - 1e-12).all()  # the rounding counts


def _least(region: Zonotope, directions: torch.Tensor) -> torch.Tensor:
    return region.centre @ directions.T - (region.generators @ directions.T).abs().sum(1)


@pytest.mark.parametrize(("code", "least"), [("float32", 0.5), ("int8", 0.3), ("binary", 0.0)])
def test_the_card_says_what_is_proved_and_no_rounding_refutes_it(
    code: Storage, least: float, trained: MonoCon, digits: LightningDataModule, tmp_path: Path
) -> None:
    gallery, query = digits.test_dataloader()
    export = export_model(trained, gallery, query, tmp_path / "out", code=code, forms=[], dim=4)
    assert export.proved is not None and least < export.proved.bfloat16 <= 1 and export.proved.int8 <= 1
    assert export.proved.storage == code
    said = f"proved for {100 * export.proved.bfloat16:.0f} % of {export.proved.queries} held-out queries for features"
    card = (export.folder / "README.md").read_text()
    assert said in card and ("its vector to" in card) == (code != "float32")

    # at least as many queries keep their nearest row when features and vectors are really rounded
    prepared = prepare(trained, gallery, query, 4, code)
    stored = prepared.calibration
    unit = torch.nn.functional.normalize(stored.decode(stored.codes(prepared.stack(prepared.searched.features))))
    asked = prepared.query.features[: export.proved.queries]
    step = torch.cat([prepared.searched.features, prepared.query.features]).abs().amax(0) / 127
    rounded = {"bfloat16": asked.bfloat16().float(), "int8": (asked / step.clamp_min(1e-9)).round() * step}
    own = prepared.stack(asked) if code != "binary" else stored.queries(prepared.stack(asked))
    for name, share in zip(rounded, export.proved[:2], strict=True):
        found = (stored.queries(prepared.stack(rounded[name])) @ unit.T).argmax(1)
        assert (found == (own @ unit.T).argmax(1)).double().mean() >= share


def test_nothing_is_said_of_codes(trained: MonoCon, digits: LightningDataModule, tmp_path: Path) -> None:
    export = export_model(trained, *digits.test_dataloader(), tmp_path / "out", code="transform-8", forms=[])
    assert export.proved is None and "Rounding the encoder" not in (export.folder / "README.md").read_text()
