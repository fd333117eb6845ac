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
from lightning_monocon.export.certificate import vector_region
from lightning_monocon.export.prepare import prepare
from lightning_monocon.heads import MLPHead


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


def test_the_card_says_what_is_proved_and_no_rounding_refutes_it(
    trained: MonoCon, digits: LightningDataModule, tmp_path: Path
) -> None:
    gallery, query = digits.test_dataloader()
    export = export_model(trained, gallery, query, tmp_path / "float", forms=[])
    assert export.proved is not None and 0.5 < export.proved.bfloat16 <= 1 and export.proved.int8 <= 1
    said = f"proved for {100 * export.proved.bfloat16:.0f} % of {export.proved.queries} held-out queries for bfloat16"
    assert said in (export.folder / "README.md").read_text()

    # at least as many queries keep their nearest row when features are really rounded
    prepared = prepare(trained, gallery, query, None, "float32")
    unit = torch.nn.functional.normalize(prepared.stack(prepared.searched.features))
    asked = prepared.query.features[: export.proved.queries]
    step = torch.cat([prepared.searched.features, prepared.query.features]).abs().amax(0) / 127
    rounded = {"bfloat16": asked.bfloat16().float(), "int8": (asked / step.clamp_min(1e-9)).round() * step}
    own = (prepared.stack(asked) @ unit.T).argmax(1)
    for name, share in zip(rounded, export.proved[:2], strict=True):
        assert ((prepared.stack(rounded[name]) @ unit.T).argmax(1) == own).double().mean() >= share

    coded = export_model(trained, gallery, query, tmp_path / "int8", code="int8", forms=[])
    assert coded.proved is None and "Rounding the encoder" not in (coded.folder / "README.md").read_text()
