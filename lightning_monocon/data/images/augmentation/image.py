# SPDX-License-Identifier: Apache-2.0
"""Augment images as the reference does, per sample or per batch, from the same uniforms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.data.images.augmentation import draws, pillow, tensors


class ImageAugmentation:
    """Apply TrivialAugmentWide, normalisation and RandomErasing to an image with Pillow or to a batch on its device.

    Both take the uniforms of a sample as an argument (`lightning_monocon.data.keyed_random.uniform` of seed, epoch and
    sample) and return the same image for the same uniforms, to the bit on a CPU. Operations, magnitudes and the
    erasing algorithm are torchvision's; nearest neighbour, black fill.

    Args:
        mean: Mean of each channel of images in [0, 1]: one value, or three.
        std: Standard deviation of each channel.
        trivial: Whether to apply TrivialAugmentWide.
        erasing: Share of the images that lose a rectangle, filled with 0 after normalisation.
        scale: Least and greatest area of the rectangle, as shares of the image's.
        ratio: Least and greatest height over width of the rectangle.

    Raises:
        ValueError: If a value breaks its rule.

    Example:
        >>> import numpy as np
        >>> from lightning_monocon.data.keyed_random import uniform
        >>> augmentation = ImageAugmentation(mean=[0.5], std=[0.25])
        >>> random = uniform(0, np.array([3]), np.array([17]), augmentation.DRAWS)  # epoch 3, sample 17
        >>> image = np.full((8, 8, 1), 255, dtype=np.uint8)
        >>> augmentation.per_sample(image, random[0]).shape
        torch.Size([1, 8, 8])
    """

    DRAWS: ClassVar[int] = draws.DRAWS
    """Uniforms per sample."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        trivial: bool = True,
        erasing: float = 0.25,
        scale: tuple[float, float] = (0.02, 0.2),
        ratio: tuple[float, float] = (0.3, 3.3),
    ) -> None:
        self.mean, self.std, self.trivial = tuple(mean), tuple(std), trivial
        self.erasing = draws.Erasing(erasing, (scale[0], scale[1]), (ratio[0], ratio[1]))

        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError(
                "`mean` and `std` must hold one value per channel, 1 or 3 each; got "
                f"{len(self.mean)} and {len(self.std)}."
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"`std` must be positive, got {list(self.std)}. A constant channel takes 1.")
        if not 0 <= erasing <= 1:
            raise ValueError(f"`erasing` must be a share of the images in [0, 1], got {erasing}.")
        if not 0 <= scale[0] <= scale[1] <= 1:
            raise ValueError(f"`scale` must be two shares of the area in ascending order, got {scale}.")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"`ratio` must be two positive aspects in ascending order, got {ratio}.")

    def per_sample(self, image: NDArray[np.uint8], random: NDArray[np.float64]) -> Tensor:
        """Return one augmented image ``(C, H, W)``, float32, normalised.

        Args:
            image: Image ``(H, W, C)``, uint8.
            random: Uniforms in [0, 1), shape ``(DRAWS,)``.

        Raises:
            TypeError: If the image is not uint8.
            ValueError: If a shape is wrong.
            ModuleNotFoundError: If Pillow is absent.
        """
        from PIL import Image

        self._check(image.shape, image.shape[-1] if image.ndim == 3 else -1, image.dtype == np.uint8, "(H, W, C)")
        if random.shape != (self.DRAWS,):
            raise ValueError(f"`random` must have shape ({self.DRAWS},), got {random.shape}.")
        if self.trivial:
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            picture = pillow.transform(picture, *draws.operation(random))
            image = np.array(picture).reshape(image.shape)
        plain = self.plain(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
        top, left, tall, wide = draws.rectangle(random, image.shape[0], image.shape[1], self.erasing)
        plain[:, top : top + tall, left : left + wide] = 0
        return plain

    def batch(self, images: Tensor, random: Tensor) -> Tensor:
        """Return augmented images ``(B, C, H, W)``, float32, normalised, on the images' device.

        On an accelerator nothing here makes the host wait.

        Args:
            images: Images ``(B, C, H, W)``, uint8, on any device.
            random: Uniforms in [0, 1), shape ``(B, DRAWS)``, on the same device; float64 if the device has it, since
                float32 puts a few draws in a million into the next bin.

        Raises:
            TypeError: If the images are not uint8.
            ValueError: If a shape is wrong.
        """
        shape = tuple(images.shape)
        self._check(shape, shape[1] if len(shape) == 4 else -1, images.dtype == torch.uint8, "(B, C, H, W)")
        if random.shape != (len(images), self.DRAWS):
            raise ValueError(
                f"`random` must have shape ({len(images)}, {self.DRAWS}), a row of uniforms per image; "
                f"got {tuple(random.shape)}."
            )
        if self.trivial:
            images = tensors.transform(images, *draws.operations(random))
        plain = self.plain(images)
        if not self.erasing.share:
            return plain
        return tensors.erase(plain, draws.rectangles(random, shape[2], shape[3], self.erasing))

    def plain(self, images: Tensor) -> Tensor:
        """Return the images normalised and not augmented, float32.

        Args:
            images: Images ``(..., C, H, W)``, uint8.
        """
        mean, std = _statistics(self.mean, self.std, images.device)
        return images.float().div_(255).sub_(mean).div_(std)

    def _check(self, shape: tuple[int, ...], channels: int, is_uint8: bool, layout: str) -> None:
        if not is_uint8:
            raise TypeError("Images must be uint8, 0 to 255: the operations are defined on grey levels.")
        if channels != len(self.mean):
            raise ValueError(
                f"Images must have shape {layout} with {len(self.mean)} channels, as `mean` has; got {tuple(shape)}."
            )


@lru_cache
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation ``(C, 1, 1)`` on a device; cached, since a transfer waits."""
    return tuple(torch.tensor(values, dtype=torch.float32, device=device)[:, None, None] for values in (mean, std))  # type: ignore[return-value]  # two of them
