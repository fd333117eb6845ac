# SPDX-License-Identifier: Apache-2.0
"""A code has one name in every report, file and command: that by which it can be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lightning_monocon import codes
from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import NAMED, Family, candidates, named
from lightning_monocon.codes.families import ScalarOptions, fit_scalar
from lightning_monocon.codes.names import current_name

WIDTH = 16
SLOW = ("product", "pq", "opq", "residual")


@pytest.fixture(scope="module")
def rows() -> FittingRows:
    source = torch.Generator().manual_seed(0)
    return FittingRows.of(torch.randn(600, WIDTH, generator=source) + 0.3)


@pytest.mark.parametrize("family", [each for each in NAMED if each.sizes(WIDTH)], ids=lambda family: family.name)
def test_a_codec_has_the_name_by_which_it_is_asked_for(family: Family, rows: FittingRows) -> None:
    if family.package:
        pytest.importorskip(family.package)
    size = min(family.sizes(WIDTH))
    codec = family.fit(rows, size)
    assert codec.name == f"{family.name}-{codec.bytes_per_vector}"
    again = codec if family.name in SLOW else named(codec.name, WIDTH).fit(rows, codec.bytes_per_vector)
    assert torch.equal(again.encode(rows.sample), codec.encode(rows.sample))


def test_all_that_shrink_compares_can_be_asked_for_by_the_names_of_its_table(rows: FittingRows) -> None:
    tried = [each for each in candidates(WIDTH, rows.count)[0] if each.name.partition("-")[0] not in SLOW]
    assert any(len(each.fitted(rows)) > 1 for each in tried)  # scored about the mean as well
    for candidate in tried:
        for form in candidate.fitted(rows):
            again = named(form.name, WIDTH).fitted(rows)[0]
            assert (again.name, again.space.scoring) == (form.name, form.space.scoring)
            assert torch.equal(again.encode(rows.sample), form.encode(rows.sample))


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("bits1-random-2", "scalar1-2"),
        ("bits8-12", "int8-12"),
        ("bits8", "int8"),
        ("bits8-uncentred-uniform-common-16", "bytes-16"),
        ("half-uncentred-32", "half-32"),
        ("bits2-random-4-centred", "scalar2-4-centred"),
    ],
)
def test_former_names_are_taken(former: str, name: str, rows: FittingRows) -> None:
    assert named(former, WIDTH).name == named(name, WIDTH).name
    assert named(former, WIDTH).fitted(rows)[0].name == named(name, WIDTH).fitted(rows)[0].name


def test_a_codec_that_was_written_with_its_former_name_has_the_present_one(tmp_path: Path, rows: FittingRows) -> None:
    for place, (options, former) in enumerate(
        [(ScalarOptions(8), "bits8"), (ScalarOptions(16), "half"), (ScalarOptions(16, centre=False), "half-uncentred")]
    ):
        folder = tmp_path / str(place)
        folder.mkdir()
        codec = fit_scalar(rows, 8, options)
        written = codes.Codec(f"{former}-8", codec.family, codec.space, codec.quantiser)
        codes.save(written, folder)
        assert json.loads((folder / "codec.json").read_text())["name"] == f"{former}-8"
        assert codes.load(folder).name == codec.name


def test_variants_without_a_name_of_their_own_are_told_apart() -> None:
    names = [options.name for options in codes.families.scalar.SCALARS]
    assert len(set(names)) == len(names)
    assert ScalarOptions(1, rotation="itq").name == "scalar1-itq"
    assert ScalarOptions(2).name == "scalar2-unturned"
    assert current_name("transform-32") == "transform-32"
