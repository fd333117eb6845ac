# SPDX-License-Identifier: Apache-2.0
"""Peak memory and CPU seconds of a training step with cached gradients, and of the two ways to augment a batch.

    python benchmarks/large_batches.py   # about two minutes; writes results/DATE-large_batches.{md,json}

Cached gradients: forward and backward of the small CNN (group norm), the monotonic head and the loss on 1 024 images of
3 x 32 x 32, whole and in chunks; one thread, a fresh process per row for memory, all sizes in turn for time. How far
the gradient is from the float64 gradient of the whole batch is a relative norm. Augmentation: 256 images a batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import numpy as np
import torch
from harness import Row, Step, in_fresh_process, interleaved, peak_megabytes, ratio, relative_error, write
from torch import Tensor, nn

from lightning_monocon import MonotonicMLP, SupConLoss
from lightning_monocon.data import ImageAugmentation
from lightning_monocon.data.keyed_random import uniform
from lightning_monocon.training.chunks import embed_in_chunks

ROWS, SIZES = 1024, (1024, 256, 64, 16)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), MonotonicMLP(128))


def gradient(model: nn.Module, size: int, images: Tensor) -> Callable[[], Tensor]:
    labels = torch.arange(len(images)) % 100

    def step() -> Tensor:
        model.zero_grad()
        SupConLoss(0.1)(embed_in_chunks(model, [model], images, len(images), size), labels).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    return step


def batch(rows: int) -> Tensor:
    return torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def memory(size: int) -> Row:
    model, images = network(), batch(ROWS)
    gradient(model, 16, images[:32])()  # what libraries and gradients themselves take
    return {"megabytes": peak_megabytes(gradient(model, size, images))}


def chunks() -> list[Row]:
    model, images = network(), batch(ROWS)
    steps: dict[str, Step] = {str(size): gradient(model, size, images) for size in SIZES}
    exact, wide = network().double(), images.double()
    truth = gradient(exact, ROWS, wide)()
    errors = {
        size: [relative_error(gradient(net, size, x)(), truth) for net, x in ((exact, wide), (model, images))]
        for size in SIZES
    }
    times = interleaved(steps, 5)
    return [
        {
            "chunk_size": size if size < ROWS else "none",
            "peak MB": in_fresh_process(__file__, (size,))["megabytes"],
            "CPU s": round(statistics.median(times[str(size)]), 3),
            "time / whole": ratio(times, str(size), str(ROWS)),
            "float64 off by": f"{errors[size][0]:.1e}",
            "float32 off by": f"{errors[size][1]:.1e}",
        }
        for size in SIZES
    ]


def augmentation() -> list[Row]:
    rows = []
    for channels, side in ((1, 28), (3, 32), (3, 96)):
        augment = ImageAugmentation([0.5] * channels, [0.25] * channels)
        images = np.random.default_rng(0).integers(0, 256, (256, side, side, channels)).astype(np.uint8)
        random = uniform(0, np.zeros(256, dtype=np.int64), np.arange(256), augment.DRAWS)
        tensor, draws = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(random)

        def single(
            augment: ImageAugmentation = augment, images: np.ndarray = images, random: np.ndarray = random
        ) -> Tensor:
            return torch.stack([augment.per_sample(image, row) for image, row in zip(images, random, strict=True)])

        def whole(augment: ImageAugmentation = augment, tensor: Tensor = tensor, draws: Tensor = draws) -> Tensor:
            return augment.batch(tensor, draws)

        assert torch.equal(single(), whole())
        times = interleaved({"per sample": single, "batch": whole}, 15)
        middle = {name: round(1e3 * statistics.median(values), 2) for name, values in times.items()}
        size = f"256 x {channels} x {side} x {side}"
        rows.append(
            {"images": size, **{f"{name} ms": value for name, value in middle.items()}}
            | {"ratio": ratio(times, "per sample", "batch")}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    size = parser.parse_args().worker
    if size is not None:
        print(json.dumps(memory(size)))
        return
    torch.set_num_threads(1)
    title = "Cached gradients and augmentation on one CPU thread"
    tables = {"Augmentation, Pillow per sample and torch per batch": augmentation(), "A step on 1 024 images": chunks()}
    print(write("large_batches", title, tables))


if __name__ == "__main__":
    main()
