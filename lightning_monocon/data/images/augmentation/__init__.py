# SPDX-License-Identifier: Apache-2.0
"""Augment by TrivialAugmentWide and RandomErasing, per sample with Pillow or for a whole batch on its device."""

from lightning_monocon.data.images.augmentation.image import ImageAugmentation

__all__ = ["ImageAugmentation"]
