# SPDX-License-Identifier: Apache-2.0
"""Provide the base of image data modules: split, gallery and query, order, augmentation, resume."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon.data.balanced import BalancedSampler, ClassBalancedBatchSampler
from lightning_monocon.data.images.augmentation import ImageAugmentation
from lightning_monocon.data.images.corruptions import CORRUPTIONS
from lightning_monocon.data.images.files import OnError
from lightning_monocon.data.images.layout import Role
from lightning_monocon.data.images.repeats import new_images, pixel_digests
from lightning_monocon.data.images.set import Batch, ImageSet, Place
from lightning_monocon.data.images.table import ImageTable
from lightning_monocon.data.sampling import EpochSampler, ShardSampler
from lightning_monocon.data.split_data import SplitData
from lightning_monocon.data.splits import Indices, label_kinds, noisy_labels, shuffled, split_hash, stratified_split
from lightning_monocon.functional.checks import check_choice

_Part: TypeAlias = tuple[ImageTable, Indices]


class ImageData(SplitData[ImageSet]):
    """Load images with a stratified split of the train part into train and validation, and a test part.

    Validation, test and prediction loaders come in pairs: the gallery (train images, not augmented) and the query.
    Order and augmentation are functions of (seed, epoch, sample) in any process. A subclass reads the images.

    Args:
        root: Folder of the data.
        batch_size: Images per step and rank.
        val_size: Share of the train images kept for validation, if the data have no part for it.
        train_size: Number of train images to use, a stratified part, before the split; ``None`` uses all.
        label_noise: Share of the train images whose label is replaced by one of the other classes at random, to study
            what memorising them does; validation and test images keep theirs.
        split_seed: Seed of part, split and noise; keep it to compare runs.
        seed: Seed of order and augmentation; ``None`` takes that of `seed_everything`, or 0 without one.
        mean: Mean of each channel of images in [0, 1]; ``None`` takes the data set's own default.
        std: Standard deviation of each channel, with the same default.
        trivial: Whether to augment by TrivialAugmentWide.
        erasing: Share of the train images that lose a rectangle.
        augment_on: ``"cpu"`` augments image by image in the workers; ``"device"`` sends bytes and augments the batch
            on the device of the model. Both give the same images.
        per_class: Images of each class in a batch; ``None`` draws without regard to classes.
        num_workers: Number of loader processes.
        on_error: Action for an image that does not decode: ``"raise"`` an error that names it, or ``"skip"``, which
            leaves it out, warns and counts it in `description`.
        cache: Folder for the decoded images, so that they are decoded once on a machine; ``None`` keeps none.
        leave_out_repeats: Whether to leave out validation and test images whose pixels are those of a train image (and
            test images whose pixels are those of a validation image); `description` counts them.
        download: Whether to let torchvision download a data set that is missing.

    Raises:
        ValueError: If a share or a size is impossible, a name is unknown, or the data are missing or damaged.
    """

    default_mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)  # ImageNet's
    default_std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    corruptions: ClassVar[tuple[str, ...]] = CORRUPTIONS

    num_classes: int

    def __init__(
        self,
        root: str,
        batch_size: int = 256,
        *,
        val_size: float = 0.1,
        train_size: int | None = None,
        label_noise: float = 0.0,
        split_seed: int = 0,
        seed: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        trivial: bool = True,
        erasing: float = 0.25,
        augment_on: Place = "cpu",
        per_class: int | None = None,
        num_workers: int = 0,
        on_error: OnError = "raise",
        cache: str | None = None,
        leave_out_repeats: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__(seed)
        if not 0 < val_size < 1:
            raise ValueError(f"`val_size` must lie strictly between 0 and 1, got {val_size}. Try 0.1.")
        if batch_size < 2:
            raise ValueError(f"`batch_size` must be at least 2 to hold a pair, got {batch_size}. Try 256.")
        if not 0 <= label_noise < 1:
            raise ValueError(f"`label_noise` must be a share from 0 to below 1, got {label_noise}. Try 0.2.")
        if on_error == "refuse":
            warnings.warn("`on_error='refuse'` is now called 'raise'; write that.", DeprecationWarning, stacklevel=2)
            on_error = "raise"
        check_choice("augment_on", augment_on, get_args(Place))
        check_choice("on_error", on_error, ("raise", "skip"))

        self.root, self.cache = Path(root), None if cache is None else Path(cache)
        self.batch_size, self.num_workers, self.per_class = batch_size, num_workers, per_class
        self.val_size, self.train_size, self.split_seed = val_size, train_size, split_seed
        self.label_noise = label_noise
        self.augmentation = ImageAugmentation(
            mean or self.default_mean, std or self.default_std, trivial=trivial, erasing=erasing
        )
        self.augment_on: Place = augment_on
        # checkpoints and caches of release 0.1.0 hold the older word, and must be known again
        self.on_error: OnError = "refuse" if on_error == "raise" else on_error
        self.download = download
        self.leave_out_repeats = leave_out_repeats
        self._tables: dict[Role, ImageTable] = {}

    def roles(self) -> tuple[Role, ...]:
        """Return the parts that `read` knows; without ``"val"``, a part of the train images serves for validation."""
        return "train", "test"

    def read(self, role: Role) -> ImageTable:
        """Return the images of a part; a subclass must define it."""
        raise NotImplementedError

    def fetch(self) -> None:
        """Download missing files; a subclass may define it.

        Raises:
            ValueError: If there is nothing to download.
        """
        raise ValueError(
            f"`download` must be False for {type(self).__name__}, whose images are not published anywhere."
        )

    def prepare_data(self) -> None:
        """Download and fill the cache, if requested; one process of a machine does it for all."""
        if self.download:
            self.fetch()
        if self.cache is not None:
            self._read_all()

    def setup(self, stage: str) -> None:
        """Read and split; the same for every stage."""
        self._read_all()
        train, test = self._tables["train"], self._tables["test"]
        self.num_classes = len(train.classes)

        rest, val, held_out = self._split(train)
        tested = np.arange(len(test.labels))
        self.left_out = 0
        """Images that `leave_out_repeats` left out."""

        if self.leave_out_repeats:
            held_out, tested = self._without_repeats((train, rest), (val, held_out), (test, tested))

        trained = train._replace(labels=noisy_labels(train.labels, rest, self.label_noise, self.split_seed))
        parts = ((trained, rest), (val, held_out), (test, tested))
        self.split_hash = split_hash(trained.labels, rest, *([held_out] if val is train else []))
        """Hexadecimal digits that tell this split of the train images from any other."""

        # not in the order of the files, often that of the classes: the first batches would hold a single class
        self.train, self.val, self.test = (
            ImageSet(table, shuffled(indices, self.split_seed), self.augmentation, self.seed, self.augment_on)
            for table, indices in parts
        )
        self.train.label_kinds = label_kinds(train.labels, trained.labels)[self.train.part]
        if self.batch_size > len(self.train):
            raise ValueError(
                f"`batch_size` must not exceed the {len(self.train)} train images (the last short batch is dropped), "
                f"got {self.batch_size}. Lower it."
            )

    def _split(self, train: ImageTable) -> tuple[Indices, ImageTable, Indices]:
        """Return the indices to train on, and the table and indices to validate on."""
        kept = self._kept(train)
        if "val" in self._tables:
            val = self._tables["val"]
            return kept, val, np.arange(len(val.labels))
        size = round(self.val_size * len(kept))
        rest, part = stratified_split(train.labels[kept], size, self.split_seed)
        return kept[rest], train, kept[part]

    def _without_repeats(self, train: _Part, *held_out: _Part) -> list[Indices]:
        """Return the indices of each part whose pixels are in no part before it."""
        seen, kept = set(pixel_digests(train[0].images, train[1])), []
        for table, part in held_out:
            new = new_images(table.images, part, seen)
            if not len(new):
                raise ValueError(
                    f"`leave_out_repeats` must leave images to judge by; all {len(part)} of a part are also train "
                    "images. Give other images, or set it to False."
                )
            seen.update(pixel_digests(table.images, new))
            self.left_out += len(part) - len(new)
            kept.append(new)
        return kept

    def _read_all(self) -> None:
        for role in self.roles():
            if role not in self._tables:
                self._tables[role] = self.read(role)

    def _kept(self, train: ImageTable) -> Indices:
        if self.train_size is None or self.train_size == len(train.labels):
            return np.arange(len(train.labels))
        if not 0 < self.train_size < len(train.labels):
            raise ValueError(
                f"`train_size` must be between 1 and the {len(train.labels)} train images, got {self.train_size}."
            )
        return stratified_split(train.labels, self.train_size, self.split_seed)[1]

    def corrupted(self, name: str, severity: int) -> DataLoader[Batch]:
        """Return the test images, in their order, corrupted by `corrupt_images`."""
        part = self.test.corrupted(name, severity)
        return self._loader(part, ShardSampler(len(part)))

    @property
    def description(self) -> dict[str, int | float | str]:
        """Return a description of the data as plain values, for the log and the checkpoint, after `setup`."""
        return {
            "dataset": type(self).__name__,
            "classes": self.num_classes,
            "train": len(self.train),
            "val": len(self.val),
            "test": len(self.test),
            "split_seed": self.split_seed,
            "split_hash": self.split_hash,
            "unreadable": sum(len(table.unreadable) for table in self._tables.values()),
            "left_out": self.left_out,
            "label_noise": self.label_noise,
        }

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Return the image files that were left out, each with the reason."""
        return tuple(name for table in self._tables.values() for name in table.unreadable)

    def state_dict(self) -> dict[str, Any]:
        """Return the description; Lightning puts it into the checkpoint."""
        return dict(self.description) if hasattr(self, "train") else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to resume with another split, which would validate on images that were trained on.

        Raises:
            ValueError: If a resumed run's split is not that of its checkpoint.
        """
        resumes = self.trainer is not None and self.trainer.state.fn == "fit"
        if resumes and state_dict and state_dict["split_hash"] != self.split_hash:
            raise ValueError(
                "`split_seed`, `train_size`, `val_size` and `label_noise` must be those of the checkpoint, whose split "
                f"has the hash {state_dict['split_hash']} ({state_dict['train']} train images, seed "
                f"{state_dict['split_seed']}); got {self.split_hash} ({len(self.train)}, seed {self.split_seed}). "
                "Validation would see train images, or labels would change."
            )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Return ``(images, labels)``, augmented here if the loader left that to the device."""
        inputs, labels = batch
        return (inputs if isinstance(inputs, Tensor) else self.augmentation.batch(*inputs)), labels

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches; order and augmentation are functions of (seed, epoch)."""
        epoch, batch = self._start()
        sampler: BalancedSampler | EpochSampler
        if self.per_class is None:
            sampler = EpochSampler(len(self.train), self.seed)
            if epoch or batch:
                sampler.resume(epoch, batch * self.batch_size)
        else:
            sampler = ClassBalancedBatchSampler(self.train.labels, self.batch_size, self.per_class, self.seed).sampler
            if epoch or batch:
                sampler.resume(epoch, batch)
        return self._loader(self.train, sampler, train=True)

    def _loader_options(self, train: bool) -> dict[str, Any]:
        # workers may stay from epoch to epoch, since the epoch is part of the key
        return {"pin_memory": torch.cuda.is_available(), "persistent_workers": train and self.num_workers > 0}
