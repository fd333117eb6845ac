# SPDX-License-Identifier: Apache-2.0
"""Test the codec: codes and scores of a fitted space and quantiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.codecs import KINDS, dyadic_codecs, dyadic_rows, fitted, rows_of

from lightning_monocon.codes import Codec, FittingRows, LevelQuantiser
from lightning_monocon.codes.families.transform import fit_transform


def _rows(count: int, seed: int) -> torch.Tensor:
    spread = torch.diag(torch.linspace(2.0, 0.05, 32))
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) @ spread + 0.3


def test_arrays_and_tensors_get_the_same_codes_and_scores_in_kind() -> None:
    rows, queries = _rows(500, 0), _rows(20, 1)
    codec = fit_transform(FittingRows.of(rows), 8)
    codes = codec.encode(rows)
    assert codes.shape == (500, codec.bytes_per_vector) == (500, 8)
    assert codes.dtype == torch.uint8
    np.testing.assert_array_equal(codec.encode(rows.numpy()), codes.numpy())
    scores = codec.score(queries.numpy(), codes.numpy())
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, codec.score(queries, codes).numpy())


def test_arrays_of_any_strides_and_byte_order_are_taken() -> None:
    codec, rows = fitted("transform", "cosine"), rows_of(40, 1).numpy()
    codes = codec.encode(rows)
    np.testing.assert_array_equal(codec.encode(rows[::-1]), codes[::-1])
    np.testing.assert_array_equal(codec.encode(rows[:, ::-1].copy()[:, ::-1]), codes)
    np.testing.assert_array_equal(codec.encode(rows.astype(">f4")), codes)
    np.testing.assert_array_equal(codec.decode(codes[::-1]), codec.decode(codes)[::-1])
    np.testing.assert_array_equal(codec.score(rows[::-1], codes[::-1]), codec.score(rows, codes)[::-1, ::-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_file_that_is_mapped_to_read_is_not_copied(kind: str, dtype: str, tmp_path: Path) -> None:
    codec, rows = fitted(kind, "cosine"), rows_of(300, 1).numpy().astype(dtype)
    rows[7] = 0
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert codec._rows(mapped, "rows").data_ptr() == mapped.ctypes.data
    codes = codec.encode(mapped)  # to write to the file's memory would end the process
    np.testing.assert_array_equal(codes, codec.encode(rows))
    np.save(tmp_path / "codes.npy", codes)
    stored = np.load(tmp_path / "codes.npy", mmap_mode="r")
    np.testing.assert_array_equal(codec.decode(stored), codec.decode(codes))
    np.testing.assert_array_equal(codec.score(mapped[:9], stored), codec.score(rows[:9], codes))


def test_more_bytes_estimate_the_cosine_of_the_original_vectors_better() -> None:
    rows, queries = _rows(2000, 0), _rows(50, 1)
    cosine = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(rows).T
    errors = []
    for size in (4, 8, 16, 32):
        codec = fit_transform(FittingRows.of(rows), size)
        errors.append(float((codec.score(queries, codec.encode(rows)) - cosine).pow(2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


def on_meta(codec: Codec) -> Codec:
    """Return the codec on the device without values; what is decided from values is prepared."""
    there = codec.to("meta")
    if isinstance(codec.quantiser, LevelQuantiser) and isinstance(there.quantiser, LevelQuantiser):
        groups = [tuple(table.to("meta") for table in group) for group in codec.quantiser._groups]
        known = codec.quantiser
        there.quantiser.__dict__.update(_layout=known._layout, _groups=groups, runs=known.runs)
    return there


@pytest.mark.parametrize(
    "name", sorted(dyadic_codecs().keys() - {"additive"})
)  # which asks values which rows still move
def test_tables_follow_the_rows_to_another_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("codec", "fast"):  # asks for values too
        monkeypatch.setattr(f"lightning_monocon.codes.{module}.check_finite", lambda *_: None)
    codec = dyadic_codecs()[name]
    there = on_meta(codec)
    assert {table.device.type for table in there.tensors().values()} == {"meta"}
    codec._elsewhere[torch.device("meta")] = there
    rows = torch.empty(5, 4, device="meta")
    codes = codec.encode(rows)
    assert (codes.device.type, codes.dtype, codes.shape) == ("meta", torch.uint8, (5, codec.bytes_per_vector))
    assert codec.decode(codes).device.type == "meta"
    assert codec.score(rows, codes).device.type == "meta"
    assert codec.score(rows, codec.encode(dyadic_rows()[:7])).shape == (5, 7)  # codes that lie on the CPU
    assert codec.score_codes(codes, codes).device.type == "meta"
    assert codec.encode(dyadic_rows()[:3]).device.type == "cpu"


def test_a_copy_on_another_device_is_made_once() -> None:
    codec = dyadic_codecs()["half"]
    assert codec._on(torch.device("cpu")) is codec
    assert codec._on(torch.device("meta")) is codec._on(torch.device("meta"))
    assert codec._on(torch.device("meta")).space.offset.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_bytes_of_the_cpu(kind: str) -> None:
    codec, rows = fitted(kind, "cosine"), rows_of(3000, 1)
    codes = codec.encode(rows)
    assert torch.equal(codec.encode(rows.cuda()).cpu(), codes)
    torch.testing.assert_close(codec.score(rows[:9].cuda(), codes).cpu(), codec.score(rows[:9], codes))


def test_rows_of_another_model_are_refused() -> None:
    codec = dyadic_codecs()["levels"]
    with pytest.raises(
        ValueError, match="`rows` must have 4 numbers each, like the rows that the codec levels was fit"
    ):
        codec.encode(torch.ones(2, 5))
    with pytest.raises(
        ValueError, match=r"`queries` must have 4 numbers each, .*; got 5\. Use vectors of the same model"
    ):
        codec.score(torch.ones(2, 5), codec.encode(torch.ones(2, 4)))


def test_queries_that_are_not_finite_are_refused() -> None:
    codec = dyadic_codecs()["levels"]
    queries = torch.ones(2, 4)
    queries[1, 2] = torch.nan
    with pytest.raises(ValueError, match="`queries` must be finite; 1 of 2 rows hold NaN"):
        codec.score(queries, codec.encode(torch.ones(2, 4)))
