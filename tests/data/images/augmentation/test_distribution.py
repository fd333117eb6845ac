# SPDX-License-Identifier: Apache-2.0
"""The two ways draw from the same distribution, each with keys of its own."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2_contingency, chisquare, ks_2samp

from lightning_monocon.data import ImageAugmentation
from lightning_monocon.data.images.augmentation.draws import DRAWS, OPERATIONS, operation, operations
from lightning_monocon.data.keyed_random import uniform

pytest.importorskip("PIL", reason="the reference works on Pillow images")

ROWS = 1500


def draws(epoch: int) -> np.ndarray:
    return uniform(2, np.full(ROWS, epoch), np.arange(ROWS), DRAWS)


def test_operations_bins_and_signs_are_uniform() -> None:
    single = np.array([OPERATIONS.index(operation(row)[0]) for row in draws(0)])
    numbers, magnitudes = operations(torch.from_numpy(draws(1)))
    counts = np.stack([np.bincount(part, minlength=len(OPERATIONS)) for part in (single, numbers.numpy())])
    for row in counts:
        assert chisquare(row).pvalue > 1e-3
    assert chi2_contingency(counts).pvalue > 1e-3
    for values in (
        magnitudes[numbers == OPERATIONS.index("Rotate")],
        magnitudes[numbers == OPERATIONS.index("ShearX")],
    ):
        assert binomtest(int((values > 0).sum()), int((values != 0).sum()), 0.5).pvalue > 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_have_the_same_distribution(channels: int) -> None:
    rows, columns = np.mgrid[:24, :24]
    picture = np.stack([rows * 7 + 30, columns * 9, (rows * columns) // 3], axis=-1)[..., :channels].astype(np.uint8)
    augment = ImageAugmentation([0.0] * channels, [1.0] * channels)
    single = torch.stack([augment.per_sample(picture, row) for row in draws(0)])
    images = torch.from_numpy(picture.transpose(2, 0, 1).copy()).expand(ROWS, -1, -1, -1)
    batch = augment.batch(images, torch.from_numpy(draws(1)))
    for statistic in (torch.mean, torch.std, torch.amax, torch.amin):
        first, second = (statistic(part, dim=(1, 2, 3)).numpy() for part in (single, batch))
        assert ks_2samp(first, second).pvalue > 1e-3
    for row, column in ((0, 0), (12, 12), (5, 20)):
        first, second = (part[:, 0, row, column].numpy() for part in (single, batch))
        assert ks_2samp(first, second).pvalue > 1e-3
    # and the test can tell: without the operations it fails
    other = ImageAugmentation([0.0] * channels, [1.0] * channels, trivial=False)
    changed = other.batch(images, torch.from_numpy(draws(1)))
    assert ks_2samp(single.mean(dim=(1, 2, 3)).numpy(), changed.mean(dim=(1, 2, 3)).numpy()).pvalue < 1e-6
