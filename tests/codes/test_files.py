# SPDX-License-Identifier: Apache-2.0
"""Test that a codec is read as it was written, and that damage is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.codecs import dyadic_codecs, dyadic_rows, fitted

from lightning_monocon.codes import Codec, FittingRows, codec_numpy, load, save
from lightning_monocon.codes.families import ScalarOptions, fit_product, fit_rabit, fit_scalar, fit_transform
from lightning_monocon.codes.space import Space

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
    with pytest.raises(ValueError, match=r"must be of a known kind .*; got 'lattice': install a newer version\."):
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


def _written(folder: Path, codec: Codec, change: Callable[[dict[str, Any]], object]) -> None:
    """Write a codec whose description was changed by hand, with the stamp that fits it."""
    save(codec, folder)
    values = {**json.loads((folder / "codec.json").read_text()), "stamp": "0" * 64}
    change(values)
    text = json.dumps(values)
    stamp = hashlib.sha256((folder / "codec.safetensors").read_bytes() + text.encode()).hexdigest()
    (folder / "codec.json").write_text(text.replace("0" * 64, stamp))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: values["space"].update(similarity="angle"), "`similarity` must be one of 'cosine', 'dot'"),
        (lambda values: values["space"].pop("scoring"), "scoring is missing"),
        (lambda values: values["quantiser"].update(beam=-1), "its beam must be an integer from 1 on; got -1"),
        (lambda values: values["quantiser"].update(beam="wide"), "its beam must be an integer from 1 on; got 'wide'"),
        (lambda values: values["quantiser"].pop("beam"), "beam is missing"),
        (lambda values: values["quantiser"].update(groups=99), "its groups must be the [0-9]+ of its tables; got 99"),
        (lambda values: values.update(bytes_per_vector=7), "bytes_per_vector is 7, and its tables make 4 bytes"),
        (lambda values: values.pop("bytes_per_vector"), "bytes_per_vector is None"),
        (lambda values: values.pop("name"), "name is missing"),
        (lambda values: values.update(name=3), "its name must be a text; got 3"),
        (lambda values: values.update(quantiser=[]), "does not: "),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], object], reason: str, tmp_path: Path
) -> None:
    _written(tmp_path, fit_product(FittingRows.of(_rows(0)), 4), change)
    with pytest.raises(ValueError, match=rf"^`folder` must hold a codec as `save` writes it; .*{reason}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda space: replace(space, mean=space.mean[1:]), r"must be \(D,\), \(k, D\) and \(k,\); got \([0-9]+,\), "),
        (lambda space: replace(space, stored_offset=space.offset[1:]), r"must be \(D,\), \(k, D\) and \(k,\)"),
        (lambda space: replace(space, mean=space.mean * torch.nan), r"its table space\.mean must be finite"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: Callable[[Space], Space], reason: str, tmp_path: Path) -> None:
    codec = fit_scalar(FittingRows.of(_rows(0)), 4, ScalarOptions(8))
    space = change(replace(codec.space, stored_offset=codec.space.offset))
    save(replace(codec, space=space), tmp_path)
    with pytest.raises(ValueError, match=reason):
        load(tmp_path)


def test_only_a_codec_is_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"`codec` must be a Codec, .* got int"):
        save(3, tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["levels", "product"])
def test_rows_of_another_kind_are_named(kind: str, tmp_path: Path) -> None:
    codec = FITS[kind](FittingRows.of(_rows(0)))
    rows = _rows(1)[:5].numpy()
    save(codec, tmp_path)
    port = codec_numpy.Codec(tmp_path)
    for call in (codec.encode, port.encode, lambda given: codec.score(given, codec.encode(rows)), port.queries):
        for given in (rows.tolist(), rows.astype(int), rows > 0, rows.astype(complex)):
            with pytest.raises(TypeError, match=r"` must be .*; got (list|int64|bool|complex128): convert "):
                call(given)
    rows[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"^`rows` must be finite; 1 of 5 rows .* the first of them row 3: leave"):
        codec.encode(rows)
    with pytest.raises(ValueError, match=r"^`queries` must be finite; 1 of 5 rows .* the first of them row 3: leave"):
        codec.score(rows, np.zeros((1, codec.bytes_per_vector), np.uint8))
    with pytest.raises(TypeError, match="`codes` must be a NumPy array or a tensor; got list"):
        codec.decode([[0, 0, 0, 0]])  # type: ignore[call-overload]
