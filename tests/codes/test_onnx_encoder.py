# SPDX-License-Identifier: Apache-2.0
"""The ONNX graph of a codec under onnxruntime: the bytes of PyTorch and of NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.codecs import KINDS, dyadic_codecs, dyadic_rows, fitted, rows_of

from lightning_monocon.codes import Codec, FittingRows, codec_numpy, save
from lightning_monocon.codes.families import fit_rabit, fit_transform
from lightning_monocon.codes.fitting import Similarity

WITHOUT = ("additive",)  # kinds of quantiser that have no graph


def by_onnx(codec: Codec, rows: torch.Tensor, folder: Path) -> np.ndarray:
    save(codec, folder)
    session = onnxruntime.InferenceSession(str(folder / "codec.onnx"), providers=["CPUExecutionProvider"])
    (codes,) = session.run(["codes"], {"rows": rows.numpy()})
    return np.asarray(codes)


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(WITHOUT)])
def test_codes_are_those_of_the_package(kind: str, similarity: Similarity, tmp_path: Path) -> None:
    codec = fitted(kind, similarity)
    rows = rows_of(3000, 1)
    rows[:2] *= torch.tensor([[0.0], [1e-42]])
    rows[2] *= 1e30 if similarity == "cosine" else 1.0
    codes = by_onnx(codec, rows, tmp_path)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, codec.encode(rows).numpy())
    assert by_onnx(codec, rows[:0], tmp_path).shape == (0, codec.bytes_per_vector)


@pytest.mark.parametrize("name", [name for name in dyadic_codecs() if not name.startswith(WITHOUT)])
def test_rows_on_thresholds_get_the_bytes_of_the_package(name: str, tmp_path: Path) -> None:
    codec, rows = dyadic_codecs()[name], dyadic_rows()
    np.testing.assert_array_equal(by_onnx(codec, rows, tmp_path), codec.encode(rows).numpy())


def test_a_million_numbers_get_the_same_bytes_from_three_libraries(tmp_path: Path) -> None:
    codec = fit_transform(FittingRows.of(rows_of(2000, 0, 64)), 32)
    rows = rows_of(16_000, 1, 64)
    codes = codec.encode(rows).numpy()
    np.testing.assert_array_equal(by_onnx(codec, rows, tmp_path), codes)
    np.testing.assert_array_equal(codec_numpy.Codec(tmp_path).encode(rows.numpy()), codes)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_directions_that_are_one_get_the_same_bytes(bits: int, tmp_path: Path) -> None:
    """1, 1, 1, 1 and 3, 3, 3, 3 are one direction: rounding alone would tell them apart."""
    codec = fit_rabit(FittingRows.of(rows_of(2000, 0, 12)), 4 + bits * 4 // 8, bits=bits)
    near = 1 + 0.05 * torch.rand(2000, codec.space.matrix.shape[0], generator=torch.Generator().manual_seed(1))
    lengths = torch.rand(2000, 1, generator=torch.Generator().manual_seed(2))
    rows = near @ codec.space.matrix * lengths + codec.space.mean
    codes = codec.encode(rows).numpy()
    np.testing.assert_array_equal(by_onnx(codec, rows, tmp_path)[:, :-4], codes[:, :-4])
    np.testing.assert_array_equal(codec_numpy.Codec(tmp_path).encode(rows.numpy())[:, :-4], codes[:, :-4])


def test_the_factor_of_rabitq_is_whole_whatever_its_size(tmp_path: Path) -> None:
    codec = dyadic_codecs()["rabit4"]
    scales = 2.0 ** torch.linspace(-70, 55, 50).round()[:, None]
    rows = codec.space.mean + dyadic_rows()[10:60] * scales
    codes = by_onnx(codec, rows, tmp_path)
    np.testing.assert_array_equal(codes, codec.encode(rows).numpy())
    assert len(np.unique(codes[:, -1])) > 20  # exponents


def test_additive_codes_have_no_graph_and_keep_none(tmp_path: Path) -> None:
    for codec in (dyadic_codecs()["half"], dyadic_codecs()["additive"]):
        save(codec, tmp_path, overwrite=True)
    assert not (tmp_path / "codec.onnx").exists()


def test_the_graph_has_the_stamp_and_goes_with_its_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = dyadic_codecs()["half"]
    save(codec, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "codec.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["stamp"] in (tmp_path / "codec.json").read_text()

    monkeypatch.setattr("lightning_monocon.codes.onnx_encoder.find_spec", lambda name: None)
    save(codec, tmp_path)  # without onnx: no graph of another codec stays
    assert {path.name for path in tmp_path.iterdir()} == {"codec.json", "codec.safetensors", "codec_numpy.py"}
