# SPDX-License-Identifier: Apache-2.0
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lightning_monocon.data import DigitsData
from lightning_monocon.data.corrupted import SEVERITIES, CorruptibleData
from lightning_monocon.data.images.corruptions import BLUR, CONTRAST, CORRUPTIONS, JPEG, NOISE, corrupt_images


def pictures(side: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Coarse random pictures, so that a blur and a JPEG leave something of them."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, side // 4, side // 4, channels))
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_blur_is_scipys(side: int, severity: int) -> None:
    images = pictures(side)
    sigma = BLUR[severity - 1] * side / 32
    expected = gaussian_filter(images / 255, (0, sigma, sigma, 0), mode="nearest", radius=(0, 6, 6, 0), truncate=99)
    found = corrupt_images(images, "blur", severity) / 255
    assert abs(found - expected).max() < 0.003  # a byte, and what lies beyond four deviations


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_the_distance_from_the_mean_of_a_channel(severity: int) -> None:
    images = pictures()
    found = corrupt_images(images, "contrast", severity).astype(np.float64)
    for image, pale in zip(images, found, strict=True):
        for channel in range(3):
            slope, mean = np.polyfit(image[..., channel].ravel(), pale[..., channel].ravel(), 1)
            assert slope == pytest.approx(CONTRAST[severity - 1], abs=0.01)
            assert mean == pytest.approx((1 - slope) * image[..., channel].mean(), abs=0.5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_deviation_and_one_seed_gives_it_again(severity: int) -> None:
    grey = np.full((40, 32, 32, 3), 128, dtype=np.uint8)
    found = corrupt_images(grey, "noise", severity)
    assert (found / 255).std() == pytest.approx(NOISE[severity - 1], rel=0.02)
    assert np.array_equal(found, corrupt_images(grey, "noise", severity))
    assert not np.array_equal(found, corrupt_images(grey, "noise", severity, seed=1))
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_a_file_of_pillow(channels: int) -> None:
    image = pytest.importorskip("PIL.Image", reason="the vision extra is not installed")
    pixels = pictures(channels=channels)
    for severity, quality in enumerate(JPEG, start=1):
        file = BytesIO()
        image.fromarray(pixels[3].squeeze()).save(file, format="jpeg", quality=quality)
        found = corrupt_images(pixels, "jpeg", severity)
        assert found.shape == pixels.shape
        assert np.array_equal(found[3].squeeze(), np.array(image.open(file)))


@pytest.mark.parametrize("name", ["noise", "blur", "contrast"])
def test_a_severity_is_worse_than_the_one_before(name: str) -> None:
    images = pictures()
    errors = [np.square(corrupt_images(images, name, s) - images.astype(float)).mean() for s in SEVERITIES]
    assert errors == sorted(errors) and errors[0] > 0


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="`name` must be"):
        corrupt_images(pictures(), "fog", 1)
    with pytest.raises(ValueError, match="`severity` must be a whole number from 1 to 5, got 6"):
        corrupt_images(pictures(), "noise", 6)


def test_digits_are_corrupted_in_the_order_of_their_labels() -> None:
    data = DigitsData()
    data.setup("test")
    assert isinstance(data, CorruptibleData) and data.corruptions == CORRUPTIONS
    batches = [*data.corrupted("contrast", 1)]
    labels = np.concatenate([part.numpy() for _, part in batches])
    images = np.concatenate([part.numpy() for part, _ in batches])
    assert np.array_equal(labels, data.test.labels)
    means = data.test.images.mean((2, 3), keepdims=True)
    assert abs(images - (means + 0.75 * (data.test.images - means))).max() < 0.01
