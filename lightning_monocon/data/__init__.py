# SPDX-License-Identifier: Apache-2.0
"""LightningDataModules with a gallery and a query set."""

from lightning_monocon.data.augmentation import ImageAugmentation
from lightning_monocon.data.balanced import ClassBalancedBatchSampler
from lightning_monocon.data.cifar import CIFAR10Data, CIFAR100Data
from lightning_monocon.data.digits import DigitsData
from lightning_monocon.data.fashion_mnist import FashionMNISTData
from lightning_monocon.data.image_folder import ImageFolderData
from lightning_monocon.data.sampling import EpochSampler, ShardSampler
from lightning_monocon.data.sentences import SentencePairs
from lightning_monocon.data.snli import SNLIData

__all__ = [
    "CIFAR10Data",
    "CIFAR100Data",
    "ClassBalancedBatchSampler",
    "DigitsData",
    "EpochSampler",
    "FashionMNISTData",
    "ImageAugmentation",
    "ImageFolderData",
    "SNLIData",
    "SentencePairs",
    "ShardSampler",
]
