# SPDX-License-Identifier: Apache-2.0
"""Export a head under a codec that is fitted already: head, then codec, the same bytes by every route."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.codecs import KINDS
from helpers.plain_runs import trainer
from torch import Tensor, nn

from lightning_monocon import MonoCon, codes
from lightning_monocon.cli import main
from lightning_monocon.codes import FittingRows, codec_numpy
from lightning_monocon.codes.families import fit_scalar, fit_transform
from lightning_monocon.export import export_model, load
from lightning_monocon.learnt import EmbeddingData, LearntCode

WIDTH, OUT = 12, 8

# a head that has learnt nothing is doubtful
pytestmark = pytest.mark.filterwarnings("ignore::lightning_monocon.export.DoubtfulExportWarning")


def planted(count: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 6
    centres = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(99))
    return centres[labels] + 0.4 * torch.randn(count, WIDTH, generator=source), labels


@pytest.fixture(scope="module")
def model() -> MonoCon:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MonoCon(nn.Identity(), "linear", in_features=WIDTH, out_features=OUT).eval()


def by_onnx(folder: Path, vectors: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(folder / "codec.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(["codes"], {"rows": vectors})
    return np.asarray(found)


def check_routes(folder: Path, rows: Tensor) -> np.ndarray:
    """Return the codes of rows, which all forms, PyTorch, NumPy and the graph of the codec agree on."""
    alone = codec_numpy.Codec(folder)
    for form in ("safetensors", "onnx"):
        embedder = load(folder, form, encoder=nn.Identity())
        vectors = embedder(rows).numpy()
        stored = embedder.encode(rows).numpy()
        kind = codes.load(folder).quantiser.kind
        if kind == "additive":
            with pytest.raises(NotImplementedError, match="use lightning-monocon"):
                alone.encode(vectors)
        else:
            np.testing.assert_array_equal(alone.encode(vectors), stored)
        np.testing.assert_array_equal(codes.load(folder).encode(vectors), stored)
        if kind != "additive":
            np.testing.assert_array_equal(by_onnx(folder, vectors), stored)
    return load(folder, encoder=nn.Identity()).encode(rows).numpy()


@pytest.mark.parametrize("kind", ["transform", "groups", "additive", "rabit3"])
def test_a_head_is_shipped_under_a_fitted_codec(kind: str, model: MonoCon, tmp_path: Path) -> None:
    (gallery, labels), (query, answers) = planted(600, 0), planted(200, 1)
    with torch.no_grad():
        vectors = model(gallery)
    codec = KINDS[kind](FittingRows.of(vectors))
    (tmp_path / "codec").mkdir()
    codes.save(codec, tmp_path / "codec")
    out = tmp_path / "out"
    loaders, code = ([(gallery, labels)], [(query, answers)]), str(tmp_path / "codec")
    written = export_model(model, *loaders, out, code=code, forms=["onnx"], even_so=True)
    assert (written.stamp.storage, written.lines[-1].bytes) == (codec.name, codec.bytes_per_vector)
    stored = check_routes(out, query)
    with torch.no_grad():
        own = codec.encode(nn.functional.normalize(model(query))).numpy()
    assert (stored == own).all(1).mean() > 0.98  # a number within rounding of a threshold
    assert f"kept as the code {codec.name}" in (out / "README.md").read_text()


def test_a_learnt_code_is_shipped_with_its_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, labels = planted(700, 2)
    np.savez(tmp_path / "vectors.npz", embeddings=rows.numpy(), labels=labels.numpy())
    data = {"train": str(tmp_path / "vectors.npz"), "batch_size": 128}
    model = LearntCode(2, WIDTH, objective="labels", head="linear", out_features=OUT, warmup_epochs=1)
    run = trainer(max_epochs=2)
    run.fit(model, datamodule=EmbeddingData(**data, seed=0))
    run.save_checkpoint(tmp_path / "last.ckpt")
    recipe = {"data": {"class_path": "lightning_monocon.learnt.EmbeddingData", "init_args": data}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    words = ["export", "--ckpt", str(tmp_path / "last.ckpt"), "--config", str(tmp_path / "recipe.yaml")]
    main([*words, "--code", "learnt", "--out", str(tmp_path / "out"), "--even-so", "--forms", "onnx"])
    assert "2 bytes a vector" in capsys.readouterr().out
    stored = check_routes(tmp_path / "out", rows)
    with torch.no_grad():
        outputs = model.eval()(rows)
    own = model.codec()
    assert own.name == "learnt-2"
    assert (stored == own.encode(outputs).numpy()).all(1).mean() > 0.98
    queries = torch.from_numpy(codec_numpy.Codec(tmp_path / "out").score(outputs[:5].numpy(), stored))
    torch.testing.assert_close(queries, own.score(outputs[:5], torch.from_numpy(stored)), rtol=0, atol=1e-5)


def test_codecs_that_do_not_fit_are_refused(model: MonoCon, tmp_path: Path) -> None:
    (gallery, labels), (query, answers) = planted(300, 0), planted(100, 1)
    loaders = [(gallery, labels)], [(query, answers)]
    wide = fit_scalar(FittingRows.of(gallery), 4)
    with pytest.raises(ValueError, match=r"`code` must be fitted on vectors of 8 numbers.* int8-4 was fitted on .* 12"):
        export_model(model, *loaders, tmp_path / "out", code=wide)
    dot = fit_transform(FittingRows.of(gallery[:, :OUT], "dot"), 4)
    with pytest.raises(ValueError, match="`code` must rank by cosine"):
        export_model(model, *loaders, tmp_path / "out", code=dot)
    fits = fit_transform(FittingRows.of(gallery[:, :OUT]), 4)
    with pytest.raises(ValueError, match="`dim` must be left out with the code transform-4"):
        export_model(model, *loaders, tmp_path / "out", code=fits, dim=4)
    with pytest.raises(ValueError, match=r"or a folder with codec.json, such as `monocon shrink` writes; got 'none'"):
        export_model(model, *loaders, tmp_path / "out", code="none")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_told_as_the_code(model: MonoCon, tmp_path: Path) -> None:
    rows, labels = planted(300, 0)
    codes.save(fit_transform(FittingRows.of(rows[:, :OUT]), 4), tmp_path)
    (tmp_path / "codec.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"`code` must hold a whole codec; .* is damaged"):
        export_model(model, [(rows, labels)], [(rows, labels)], tmp_path / "out", code=str(tmp_path))


def test_a_model_without_a_learnt_code_has_none_to_ship(
    model: MonoCon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, labels = planted(300, 0)
    np.savez(tmp_path / "vectors.npz", embeddings=rows.numpy(), labels=labels.numpy())
    data = {"train": str(tmp_path / "vectors.npz"), "batch_size": 128}
    run = trainer(max_epochs=1)
    plain = MonoCon(nn.Identity(), "linear", in_features=WIDTH, out_features=OUT, warmup_epochs=0)
    run.fit(plain, datamodule=EmbeddingData(**data, seed=0))
    run.save_checkpoint(tmp_path / "last.ckpt")
    recipe = {"data": {"class_path": "lightning_monocon.learnt.EmbeddingData", "init_args": data}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["export", "--ckpt", str(tmp_path / "last.ckpt"), "--config", str(tmp_path / "recipe.yaml")]
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--code", "learnt", "--out", str(tmp_path / "out")])
    assert "`--code` learnt needs a checkpoint of a learnt code" in capsys.readouterr().err
