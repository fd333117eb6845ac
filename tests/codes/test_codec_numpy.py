# SPDX-License-Identifier: Apache-2.0
"""The reader of one file that a codec's folder gets, against the package, in a Python that has NumPy alone."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from helpers.codecs import KINDS, dyadic_codecs, dyadic_rows, fitted, rows_of

from lightning_monocon.codes import codec_numpy, save
from lightning_monocon.codes.fitting import Similarity


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("kind", KINDS)
def test_codes_points_and_scores_are_those_of_the_package(kind: str, similarity: Similarity, tmp_path: Path) -> None:
    codec = fitted(kind, similarity)
    save(codec, tmp_path)
    port = codec_numpy.Codec(tmp_path)
    rows, queries = rows_of(3000, 1), rows_of(5, 2).double().numpy()
    rows[:2] *= torch.tensor([[0.0], [1e-42]])
    rows[2] *= 1e30 if similarity == "cosine" else 1.0
    codes = codec.encode(rows).numpy()
    assert port.bytes_per_vector == codec.bytes_per_vector
    if kind != "additive":
        np.testing.assert_array_equal(port.encode(rows.numpy()), codes)
        assert port.encode(rows[:0].numpy()).shape == (0, codec.bytes_per_vector)
    np.testing.assert_allclose(port.decode(codes), codec.decode(codes), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(port.score(queries, codes), codec.score(queries, codes), rtol=1e-5, atol=1e-5)
    again = port.score_codes(codes[:9], codes), codec.score_codes(codes[:9], codes)
    np.testing.assert_allclose(*again, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in dyadic_codecs() if name != "additive"])
def test_rows_on_thresholds_get_the_bytes_of_the_package(name: str, tmp_path: Path) -> None:
    codec, rows = dyadic_codecs()[name], dyadic_rows()
    save(codec, tmp_path)
    np.testing.assert_array_equal(codec_numpy.Codec(tmp_path).encode(rows.numpy()), codec.encode(rows).numpy())


def test_a_python_with_numpy_alone_runs_the_file(tmp_path: Path) -> None:
    folder, rows = tmp_path / "codec", rows_of(50, 1)
    folder.mkdir()
    codec = fitted("sums", "cosine")
    save(codec, folder)
    np.save(tmp_path / "rows.npy", rows.numpy())
    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for each in Path(np.__file__).parents[1].glob("numpy*"):
        (packages / each.name).symlink_to(each)
    script = (
        "import importlib.util as u, sys, numpy\n"
        "from codec_numpy import Codec\n"
        "assert not any(u.find_spec(name) for name in ('torch', 'safetensors', 'scipy', 'lightning_monocon'))\n"
        "numpy.save(sys.argv[2], Codec().encode(numpy.load(sys.argv[1])))\n"
    )
    python, paths = tmp_path / "venv" / "bin" / "python", (tmp_path / "rows.npy", tmp_path / "codes.npy")
    subprocess.run([python, "-c", script, *paths], cwd=folder, check=True, timeout=120)
    np.testing.assert_array_equal(np.load(paths[1]), codec.encode(rows.numpy()))


def test_the_file_is_short_and_of_the_oldest_python(tmp_path: Path) -> None:
    save(dyadic_codecs()["half"], tmp_path)
    text = (tmp_path / "codec_numpy.py").read_text("utf-8")
    assert len(text.splitlines()) <= 200
    tree = ast.parse(text, feature_version=(3, 10))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules <= {*sys.stdlib_module_names, "numpy"}


def test_additive_codes_are_not_encoded(tmp_path: Path) -> None:
    save(dyadic_codecs()["additive"], tmp_path)
    with pytest.raises(
        NotImplementedError, match=r"Additive codes are not encoded here; use lightning-monocon or docs"
    ):
        codec_numpy.Codec(tmp_path).encode(dyadic_rows().numpy())


def test_other_files_and_rows_are_refused(tmp_path: Path) -> None:
    save(dyadic_codecs()["levels"], tmp_path)
    port = codec_numpy.Codec(tmp_path)
    with pytest.raises(ValueError, match=r"`rows` must be \(N, 4\) finite numbers"):
        port.encode(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match=r"`queries` must be \(N, 4\) finite numbers; got \(2, 5\)"):
        port.score(np.ones((2, 5)), port.encode(np.ones((1, 4))))
    with pytest.raises(ValueError, match=r"`codes` must be \(N, 1\) uint8; got \(2, 3\)"):
        port.decode(np.zeros((2, 3), np.uint8))
    text = (tmp_path / "codec.json").read_text()
    for changed, sentence in (
        (text.replace('"layout": 1', '"layout": 2'), "has layout 2"),
        (text.replace('"planted"', '"grown"'), "the stamp of"),
        (text[:40], "is damaged"),
    ):
        (tmp_path / "codec.json").write_text(changed)
        with pytest.raises(ValueError, match=sentence):
            codec_numpy.Codec(tmp_path)


@pytest.mark.parametrize(
    ("known", "unknown"),
    [("whole", "nearest"), ("levels", "lattice"), ("dot", "l2")],
)
def test_a_codec_of_another_kind_or_score_is_refused(known: str, unknown: str, tmp_path: Path) -> None:
    save(dyadic_codecs()["levels"], tmp_path)
    text = (tmp_path / "codec.json").read_text()
    blank = text.replace(f'": "{known}"', f'": "{unknown}"').replace(json.loads(text)["stamp"], "0" * 64)
    files = (tmp_path / "codec.safetensors").read_bytes() + blank.encode()
    (tmp_path / "codec.json").write_text(blank.replace("0" * 64, hashlib.sha256(files).hexdigest()))
    with pytest.raises(ValueError, match=f"`folder` must hold a codec of .*; .* has .*'{unknown}'"):
        codec_numpy.Codec(tmp_path)
