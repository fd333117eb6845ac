# SPDX-License-Identifier: Apache-2.0
"""Test that a codec is read as it was written, and that damage is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.codecs import dyadic_codecs, dyadic_rows, fitted

from lightning_monocon.codes import Codec, FittingRows, load, save
from lightning_monocon.codes.families import ScalarOptions, fit_product, fit_rabit, fit_scalar, fit_transform

FITS: dict[str, Callable[[FittingRows], Codec]] = {
    "levels": lambda rows: fit_transform(rows, 4),
    "half": lambda rows: fit_scalar(rows, 8, ScalarOptions(16)),
    "product": lambda rows: fit_product(rows, 4),
    "rabit": lambda rows: fit_rabit(rows, 8, 3),
}


def _rows(seed: int) -> torch.Tensor:
    spread = torch.diag(torch.linspace(2.0, 0.05, 16))
    return torch.randn(600, 16, generator=torch.Generator().manual_seed(seed)) @ spread + 0.3


@pytest.mark.parametrize("kind", FITS)
def test_a_codec_is_read_as_it_was_written(kind: str, tmp_path: Path) -> None:
    codec, rows = FITS[kind](FittingRows.of(_rows(0))), _rows(1)
    assert codec.quantiser.kind == kind
    save(codec, tmp_path)
    again = load(tmp_path)
    codes = codec.encode(rows)
    assert torch.equal(again.encode(rows), codes)
    assert torch.equal(again.score(rows[:5], codes), codec.score(rows[:5], codes))
    assert again.description() == codec.description()


def test_missing_damaged_mixed_and_later_files_are_named(tmp_path: Path) -> None:
    rows = FittingRows.of(_rows(0))
    with pytest.raises(FileNotFoundError, match=r"has no codec\.json\."):
        load(tmp_path)
    save(fit_transform(rows, 4), tmp_path)
    values = json.loads((tmp_path / "codec.json").read_text())

    (tmp_path / "codec.json").write_text(json.dumps({**values, "layout": 2}))
    with pytest.raises(ValueError, match=r"has layout 2\. Install a newer version\."):
        load(tmp_path)
    text = json.dumps({**values, "quantiser": {"kind": "lattice"}, "stamp": "0" * 64})
    stamp = hashlib.sha256((tmp_path / "codec.safetensors").read_bytes() + text.encode()).hexdigest()
    (tmp_path / "codec.json").write_text(text.replace("0" * 64, stamp))
    with pytest.raises(ValueError, match=r"that of .* is 'lattice'\. Install a newer version\."):
        load(tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps({**values, "name": "other"}))
    with pytest.raises(ValueError, match=r"the stamp of .* does not fit them"):
        load(tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps(values)[:40])
    with pytest.raises(ValueError, match="is damaged"):
        load(tmp_path)
    save(fit_transform(rows, 4), tmp_path)
    tables = (tmp_path / "codec.safetensors").read_bytes()
    (tmp_path / "codec.safetensors").write_bytes(tables[:-8] + bytes(8))
    with pytest.raises(ValueError, match=r"the stamp of .* does not fit them"):
        load(tmp_path)


def test_the_offset_is_read_and_not_computed_again(tmp_path: Path) -> None:
    codec = fitted("transform", "cosine")
    nudged = torch.nextafter(codec.space.offset, codec.space.offset + 1)
    space = replace(codec.space, stored_offset=nudged)
    save(replace(codec, space=space), tmp_path)
    assert torch.equal(load(tmp_path).space.offset, nudged)


def test_points_that_are_the_centroids_can_be_written(tmp_path: Path) -> None:
    codec = dyadic_codecs()["product"]
    save(codec, tmp_path)
    assert torch.equal(load(tmp_path).encode(dyadic_rows()), codec.encode(dyadic_rows()))


def test_another_codec_is_not_replaced_unasked(tmp_path: Path) -> None:
    rows = FittingRows.of(_rows(0))
    first, other = fit_transform(rows, 4), fit_transform(rows, 2)
    save(first, tmp_path)
    save(first, tmp_path)
    save(load(tmp_path), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=r"holds transform-4\. Choose another folder, or pass overwrite=True\."):
        save(other, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    save(other, tmp_path, overwrite=True)
    assert load(tmp_path).name == "transform-2"
