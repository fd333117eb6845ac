# SPDX-License-Identifier: Apache-2.0
"""LightningDataModules with a gallery and a query set."""

from lightning_monocon.data.augmentation import ImageAugmentation
from lightning_monocon.data.balanced import ClassBalancedBatchSampler
from lightning_monocon.data.digits import DigitsData
from lightning_monocon.data.sampling import EpochSampler, ShardSampler

__all__ = ["ClassBalancedBatchSampler", "DigitsData", "EpochSampler", "ImageAugmentation", "ShardSampler"]
