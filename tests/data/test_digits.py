# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from lightning_monocon.data import DigitsData
from lightning_monocon.data.digits import augment


@pytest.fixture
def data() -> DigitsData:
    module = DigitsData(batch_size=128, seed=0)
    module.setup("fit")
    return module


def all_of(loader: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_split_is_stratified_disjoint_and_complete(data: DigitsData) -> None:
    sizes = [len(part) for part in (data.train, data.val, data.test)]
    assert sum(sizes) == 1797
    assert sizes[2] == pytest.approx(0.3 * 1797, abs=1)
    assert sizes[1] == pytest.approx(0.1 * 0.7 * 1797, abs=1)
    rows = {image.tobytes() for part in (data.train, data.val, data.test) for image in part.images}
    truth = {(image / 16).astype(np.float32).tobytes() for image in load_digits().images}
    assert rows == truth
    shares = np.stack(
        [np.bincount(part.labels, minlength=10) / len(part) for part in (data.train, data.val, data.test)]
    )
    assert np.ptp(shares, axis=0).max() < 0.02


def test_the_gallery_is_not_augmented(data: DigitsData) -> None:
    gallery, query = data.val_dataloader()
    images, labels = all_of(gallery)
    np.testing.assert_array_equal(images.numpy(), data.train.images)
    np.testing.assert_array_equal(labels.numpy(), data.train.labels)
    assert len(all_of(query)[0]) == len(data.val)
    assert len(all_of(data.test_dataloader()[1])[0]) == len(data.test)


def test_train_batches_are_full_and_repeatable(data: DigitsData) -> None:
    images, labels = all_of(data.train_dataloader())
    again, _ = all_of(data.train_dataloader())
    assert images.shape == (len(data.train) // 128 * 128, 1, 8, 8)
    assert labels.dtype == torch.int64
    torch.testing.assert_close(again, images, rtol=0, atol=0)


def test_augmentation_does_not_depend_on_the_workers(data: DigitsData) -> None:
    data.num_workers = 2
    images, _ = all_of(data.train_dataloader())
    data.num_workers = 0
    torch.testing.assert_close(all_of(data.train_dataloader())[0], images, rtol=0, atol=0)


def test_resume_at_continues_the_epoch(data: DigitsData) -> None:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
    whole = [images for images, _ in loader]
    data.resume_at(2, 3)
    rest = [images for images, _ in data.train_dataloader()]
    assert len(rest) == len(whole) - 3
    torch.testing.assert_close(rest, whole[3:], rtol=0, atol=0)


def test_augment_shifts_by_one_pixel_at_most() -> None:
    images = np.zeros((3, 1, 8, 8), np.float32)
    images[:, 0, 4, 4] = 1
    random = np.array([[0.0, 0.5, 1, 0, 0, 0, 0], [0.5, 0.99, 1, 0, 0, 0, 0], [0.99, 0.0, 1, 0, 0, 0, 0]])
    shifted = augment(images, random, erasing=0.0)
    np.testing.assert_array_equal(np.argwhere(shifted[:, 0]), [[0, 5, 4], [1, 4, 3], [2, 3, 5]])


def test_augment_erases_a_rectangle_of_the_asked_share() -> None:
    generator = np.random.default_rng(0)
    erased = augment(np.ones((4000, 1, 8, 8), np.float32), np.full((4000, 7), 0.5) * [1, 1, 0, 1, 1, 1, 1], 0.0)
    assert erased.min() == 1
    random = generator.random((4000, 7))
    random[:, :2] = 0.5  # no shift
    holes = (augment(np.ones((4000, 1, 8, 8), np.float32), random, erasing=0.25) == 0).sum(axis=(1, 2, 3))
    assert np.mean(holes > 0) == pytest.approx(0.25, abs=0.03)
    assert set(holes) == {0, 4, 6, 9}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"test_size": 1.0}, r"`test_size` must lie strictly between 0 and 1, got 1.0"),
        ({"val_size": 0.0}, r"`val_size` must lie strictly between 0 and 1, got 0.0"),
        ({"batch_size": 1}, r"`batch_size` must be at least 2 to hold a pair, got 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DigitsData(**arguments)  # type: ignore[arg-type]


def test_a_batch_larger_than_the_split() -> None:
    with pytest.raises(ValueError, match=r"`batch_size` must not exceed the 1131 train images .* got 2000"):
        DigitsData(batch_size=2000).setup("fit")
