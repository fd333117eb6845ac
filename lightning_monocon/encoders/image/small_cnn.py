# SPDX-License-Identifier: Apache-2.0
"""Encode small images by a small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Encode small images by stages of 3 x 3 convolution, batch norm and ReLU.

    A max-pool halves the resolution after each of the first stages; the output is the last stage's global average.

    Args:
        in_channels: Channels of the input image.
        widths: Channels of each stage; the last one is the feature dimension.
        pools: Number of stages that a pool follows; ``None`` pools after every stage but the last two.

    Raises:
        ValueError: If a width is not positive or there is none, or there are as many pools as stages.
    """

    def __init__(self, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64), pools: int | None = None) -> None:
        super().__init__()
        if not widths or min(in_channels, *widths) < 1:
            raise ValueError(
                f"`in_channels` and `widths` must be positive, got {in_channels} and {tuple(widths)}. "
                "Try `widths=(16, 32, 64)`."
            )

        self.pools = max(len(widths) - 2, 0) if pools is None else pools
        if not 0 <= self.pools < len(widths):
            raise ValueError(
                f"`pools` must lie between 0 and {len(widths) - 1}, as the average takes the last of {len(widths)} "
                f"stages; got {pools}."
            )

        self.in_channels, self.widths = in_channels, tuple(widths)

        layers: list[nn.Module] = []
        for stage, width in enumerate(widths):
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            if stage < self.pools:
                layers.append(nn.MaxPool2d(2))
            in_channels = width
        self.stages = nn.Sequential(*layers)

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        return self.widths[-1]

    def spec(self) -> dict[str, int | list[int]]:
        """Return the constructor's arguments as plain values."""
        return {"in_channels": self.in_channels, "widths": list(self.widths), "pools": self.pools}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``."""
        features: Tensor = self.stages(images).mean(dim=(2, 3))
        return features
