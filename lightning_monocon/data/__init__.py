# SPDX-License-Identifier: Apache-2.0
"""Load data by LightningDataModules with a gallery and a query set.

Every public name is resolved on first use: who reads a table of pairs, as the scorecard does, needs no Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "CIFAR10Data": "images.cifar",
    "CIFAR100Data": "images.cifar",
    "ClassBalancedBatchSampler": "balanced",
    "DigitsData": "digits",
    "EpochSampler": "sampling",
    "FashionMNISTData": "images.fashion_mnist",
    "ImageAugmentation": "images.augmentation",
    "ImageFolderData": "images.folder",
    "SNLIData": "text.snli",
    "SentencePairs": "text.sentences",
    "ShardSampler": "sampling",
}

if not TYPE_CHECKING:  # a type checker that saw it would accept every misspelt name

    def __getattr__(name: str) -> object:
        """Import the home of a public name when it is first asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its public names are {__all__}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value  # the next access does not come here
        return value

    def __dir__() -> list[str]:
        """List the public names, loaded or not."""
        return sorted({*globals(), *__all__})
