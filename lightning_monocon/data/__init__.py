# SPDX-License-Identifier: Apache-2.0
"""Load data by LightningDataModules with a gallery and a query set."""

from lightning_monocon.data.balanced import ClassBalancedBatchSampler
from lightning_monocon.data.digits import DigitsData
from lightning_monocon.data.images.augmentation import ImageAugmentation
from lightning_monocon.data.images.cifar import CIFAR10Data, CIFAR100Data
from lightning_monocon.data.images.fashion_mnist import FashionMNISTData
from lightning_monocon.data.images.folder import ImageFolderData
from lightning_monocon.data.sampling import EpochSampler, ShardSampler
from lightning_monocon.data.text.sentences import SentencePairs
from lightning_monocon.data.text.snli import SNLIData

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
