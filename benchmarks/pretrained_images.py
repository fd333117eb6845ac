# SPDX-License-Identifier: Apache-2.0
"""Compare image sizes and preparations for the ImageNet weights of `EfficientNetLite0` on CIFAR-100, without training.

Run    python benchmarks/pretrained_images.py --data FOLDER
FOLDER is what `lightning_monocon.data.CIFAR100Data` reads. The package of the weights does not state their mean and
standard deviation; the right ones give the most accurate neighbours. Writes results/DATE-pretrained_images.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from harness import Row, write
from torch import Tensor

from lightning_monocon.data import CIFAR100Data
from lightning_monocon.encoders import EfficientNetLite0
from lightning_monocon.encoders.image.efficientnet_lite_weights import PACKAGED
from lightning_monocon.functional.effective_dimension import effective_dimension
from lightning_monocon.functional.knn_accuracy import knn_accuracy

PREPARATIONS = {
    "127 and 128 of 255, as the encoder says": (EfficientNetLite0.preparation.mean, EfficientNetLite0.preparation.std),
    "ImageNet's": (CIFAR100Data.default_mean, CIFAR100Data.default_std),
}
BATCH = 50


def embed(encoder: EfficientNetLite0, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([encoder(batch) for batch in torch.split(images, BATCH)])


def judge(encoder: EfficientNetLite0, name: str, data: Path, train: int, test: int) -> Row:
    mean, std = PREPARATIONS[name]
    images = CIFAR100Data(str(data), mean=mean, std=std, trivial=False, erasing=0.0)
    images.setup("test")
    (gallery, classes), (query, truth) = (
        part.__getitems__(range(size)) for part, size in ((images.train, train), (images.test, test))
    )
    if not isinstance(gallery, Tensor) or not isinstance(query, Tensor):
        raise TypeError("plain images must be tensors")
    features = embed(encoder, gallery)
    accuracy = knn_accuracy(features, classes, embed(encoder, query), truth)
    return {"pixels": encoder.image_size or 32, "mean and std": name, "5-NN %": round(100 * float(accuracy), 1),
            "n99": int(effective_dimension(features))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=2000, help="images to search in")
    parser.add_argument("--test", type=int, default=500, help="images to search for")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    arguments = parser.parse_args()

    rows = []
    for size in arguments.sizes:
        encoder = EfficientNetLite0(PACKAGED, image_size=size).eval()
        for name in PREPARATIONS:
            rows.append(judge(encoder, name, arguments.data, arguments.train, arguments.test))
            print(rows[-1], flush=True)
    head = f"Pooled features, 5-NN of {arguments.test} test images among {arguments.train} train images by cosine"
    print(write("pretrained_images", "EfficientNet-Lite0 on CIFAR-100, as it comes", {head: rows}))


if __name__ == "__main__":
    main()
