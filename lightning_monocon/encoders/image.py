# SPDX-License-Identifier: Apache-2.0
"""Image encoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """A convolutional encoder for small images: 3 x 3 convolution, batch norm and ReLU per stage.

    The resolution halves after every stage but the last two; the output is the last stage's global average.

    Args:
        in_channels: Channels of the input image.
        widths: Channels of each stage; the last one is the feature dimension.

    Raises:
        ValueError: If a width is not positive or there is none.
    """

    def __init__(self, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        if not widths or min(in_channels, *widths) < 1:
            raise ValueError(
                f"`in_channels` and `widths` must be positive, got {in_channels} and {tuple(widths)}. "
                "Try `widths=(16, 32, 64)`."
            )
        self.in_channels, self.widths = in_channels, tuple(widths)
        layers: list[nn.Module] = []
        for stage, width in enumerate(widths):
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            if stage < len(widths) - 2:
                layers.append(nn.MaxPool2d(2))
            in_channels = width
        self.stages = nn.Sequential(*layers)

    @property
    def out_features(self) -> int:
        """Number of features per image."""
        return self.widths[-1]

    def spec(self) -> dict[str, int | list[int]]:
        """Return the constructor's arguments as plain values."""
        return {"in_channels": self.in_channels, "widths": list(self.widths)}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, H, W)`` to features ``(N, out_features)``."""
        features: Tensor = self.stages(images).mean(dim=(2, 3))
        return features
