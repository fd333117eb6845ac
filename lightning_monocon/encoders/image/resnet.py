# SPDX-License-Identifier: Apache-2.0
"""Encode images by a residual network, by default ResNet-34."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from lightning_monocon.encoders.hub import optional_package
from lightning_monocon.encoders.image.resnet_weights import read_weights
from lightning_monocon.functional.checks import check_choice

Stem = Literal["large", "small"]
StemStart = Literal["crop", "fresh"]


class ResNet(nn.Module):
    """Encode images by a residual network with basic layers (He et al., 2016, arXiv 1512.03385), by default ResNet-34.

    It is transformers' `ResNetModel`, the same architecture as torchvision's, whose weights load by a change of keys.

    Args:
        weights: Pretrained weights: ``"torchvision"`` (downloaded once), a file of tensors with torchvision's or
            transformers' names, or a folder or a hub's name for transformers, such as ``"microsoft/resnet-34"``
            (another training of the same architecture). ``None`` draws them at random.
        stem: ``"large"`` is the 7 x 7 convolution of stride 2 and the max-pool; ``"small"``, for small images, a 3 x 3
            convolution of stride 1 and no pool.
        stem_start: Initialisation of the small stem's convolution: ``"crop"`` takes the central 3 x 3 of the pretrained
            7 x 7 kernels, ``"fresh"`` is random, as in the reference. Without weights it is random. The batch norm
            behind it keeps its pretrained values in any case.
        depths: Basic layers in each stage.
        widths: Channels of each stage; the last one is the feature dimension.
        in_channels: Channels of the input image.

    Raises:
        ValueError: If a name is unknown, a size is not positive, or the weights do not fit the architecture.
        RuntimeError: If the weights cannot be loaded.
        ModuleNotFoundError: If transformers is not installed.
    """

    def __init__(
        self,
        weights: str | None = None,
        *,
        stem: Stem = "large",
        stem_start: StemStart = "crop",
        depths: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_choice("stem", stem, get_args(Stem))
        check_choice("stem_start", stem_start, get_args(StemStart))
        if not depths or len(depths) != len(widths) or min(in_channels, *depths, *widths) < 1:
            raise ValueError(
                f"`depths` and `widths` must be as many positive integers, got {tuple(depths)} and {tuple(widths)} "
                f"for {in_channels} channels. ResNet-34 has (3, 4, 6, 3) and (64, 128, 256, 512)."
            )

        self.stem, self.depths, self.widths, self.in_channels = stem, tuple(depths), tuple(widths), in_channels
        self.network = self._network()
        if weights is not None:
            self._load(weights)
        if stem == "small":
            self._shrink_stem(crop=weights is not None and stem_start == "crop")

    def _network(self) -> nn.Module:
        transformers = optional_package("transformers", "vision")
        config = transformers.ResNetConfig(
            num_channels=self.in_channels,
            embedding_size=self.widths[0],
            hidden_sizes=list(self.widths),
            depths=list(self.depths),
            layer_type="basic",
        )
        return cast(nn.Module, transformers.ResNetModel(config))

    def _load(self, source: str) -> None:
        try:
            self.network.load_state_dict(read_weights(source))
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise ValueError(
                f"`weights` must fit this architecture (depths {self.depths}, widths {self.widths}, "
                f"{self.in_channels} channels); {source!r} does not: {' '.join(str(error).split())[:300]}"
            ) from error

    def _shrink_stem(self, crop: bool) -> None:
        embedder: Any = self.network.embedder
        large: nn.Conv2d = embedder.embedder.convolution
        small = nn.Conv2d(self.in_channels, self.widths[0], 3, padding=1, bias=False)
        if crop:
            with torch.no_grad():
                small.weight.copy_(large.weight[:, :, 2:5, 2:5])
        embedder.embedder.convolution, embedder.pooler = small, nn.Identity()

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        return self.widths[-1]

    def spec(self) -> dict[str, object]:
        """Return the architecture as plain values; the weights are in the checkpoint."""
        sizes = {"depths": list(self.depths), "widths": list(self.widths), "in_channels": self.in_channels}
        return {"stem": self.stem, **sizes}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``: the last stage's global average."""
        features: Tensor = self.network(images).pooler_output
        return features.flatten(1)
