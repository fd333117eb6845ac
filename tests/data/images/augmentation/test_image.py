# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest, kstest

from lightning_monocon.data import ImageAugmentation
from lightning_monocon.data.images.augmentation import tensors
from lightning_monocon.data.images.augmentation.draws import BINS, DRAWS, OPERATIONS, index, operation, operations
from lightning_monocon.data.keyed_random import uniform

pytest.importorskip("PIL", reason="the reference works on Pillow images")


def keyed(rows: int, seed: int = 0) -> NDArray[np.float64]:
    return uniform(seed, np.zeros(rows, dtype=np.int64), np.arange(rows), DRAWS)


def drawing(name: str, magnitude_bin: int = 0, negative: bool = False) -> NDArray[np.float64]:
    """Uniforms that choose an operation and its magnitude, and erase nothing."""
    random = np.full(DRAWS, 0.999)
    random[:3] = (index(name) + 0.5) / len(OPERATIONS), (magnitude_bin + 0.5) / BINS, 0.75 if negative else 0.25
    return random


def pictures(rows: int, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """Noise, gradients of low contrast, few grey levels and constant images."""
    generator = np.random.default_rng(rows)
    images = generator.integers(0, 256, (rows, channels, height, width))
    images[1::4] = images[1::4] // 7 + np.arange(width) // 2 + 40
    images[2::4] = images[2::4] // 128 * 90
    images[3::16] = 77
    return images.astype(np.uint8)


def augmentation(channels: int, **options: float) -> ImageAugmentation:
    return ImageAugmentation([0.4, 0.5, 0.6][:channels], [0.2, 0.3, 0.25][:channels], **options)


@pytest.fixture(params=["rows that are due", "all rows"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways through a batch: the CPU's, and the accelerator's, which looks at no value."""
    if request.param == "all rows":
        monkeypatch.setattr(tensors, "_looking_is_free", lambda images: False)
    return request.param


def both(
    augment: ImageAugmentation, images: NDArray[np.uint8], random: NDArray[np.float64]
) -> tuple[torch.Tensor, torch.Tensor]:
    single = [augment.per_sample(image.transpose(1, 2, 0), row) for image, row in zip(images, random, strict=True)]
    return torch.stack(single), augment.batch(torch.from_numpy(images), torch.from_numpy(random))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_at_every_magnitude_agrees_to_the_bit(name: str, channels: int) -> None:
    random = np.stack([drawing(name, b, negative) for b in range(BINS) for negative in (False, True)])
    images = pictures(len(random), channels, 13, 17)
    single, batch = both(augmentation(channels), images, random)
    assert torch.equal(single, batch)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (28, 28), (5, 40), (2, 3), (1, 1)])
def test_the_whole_agrees_to_the_bit_for_every_size(height: int, width: int, channels: int) -> None:
    single, batch = both(augmentation(channels, erasing=0.7), pictures(200, channels, height, width), keyed(200))
    assert torch.equal(single, batch)
    assert single.shape == (200, channels, height, width)
    assert single.dtype == batch.dtype == torch.float32


def test_on_an_accelerator_no_value_is_looked_at() -> None:
    images = torch.empty(6, 3, 8, 8, dtype=torch.uint8, device="meta")  # has no values: looking raises
    random = torch.empty(6, DRAWS, dtype=torch.float64, device="meta")
    assert augmentation(3).batch(images, random).shape == (6, 3, 8, 8)
    with pytest.raises(NotImplementedError):
        (random > 0).nonzero()


def lit(row: int, column: int) -> NDArray[np.uint8]:
    image = np.zeros((1, 1, 9, 9), dtype=np.uint8)
    image[0, 0, row, column] = 255
    return image


@pytest.mark.parametrize(
    ("name", "negative", "start", "end"),
    [
        ("TranslateX", False, (4, 1), (4, 6)),  # bin 5 of 0 to 32: 5.33, cut to 5 pixels to the right
        ("TranslateX", True, (4, 6), (4, 1)),
        ("TranslateY", False, (1, 4), (6, 4)),  # down
        ("Rotate", False, (4, 8), (2, 8)),  # 22.5 degrees against the clock
        ("Rotate", True, (4, 8), (6, 8)),
        ("ShearX", False, (8, 4), (8, 3)),  # slope 0.165: 8.5 rows down that is 1.4 pixels to the left
        ("ShearY", True, (4, 8), (5, 8)),
    ],
)
def test_directions_and_distances(name: str, negative: bool, start: tuple[int, int], end: tuple[int, int]) -> None:
    plain = ImageAugmentation([0.0], [1.0], erasing=0.0)
    for moved in both(plain, lit(*start), drawing(name, 5, negative)[None]):
        assert moved[0, 0].nonzero().tolist() == [list(end)]


def test_magnitudes_are_the_published_ones() -> None:
    def widest(name: str) -> float:
        return operation(drawing(name, BINS - 1))[1]

    assert widest("Rotate") == 135
    assert widest("TranslateX") == widest("TranslateY") == 32
    for name in ("ShearX", "ShearY", "Brightness", "Color", "Contrast", "Sharpness"):
        assert widest(name) == pytest.approx(0.99, rel=1e-6)
    assert [operation(drawing("Posterize", b))[1] for b in (0, 2, 3, 30)] == [8, 8, 7, 2]
    assert [operation(drawing("Solarize", b))[1] for b in (0, 10, 30)] == [255, 170, 0]
    assert operation(drawing("Rotate", 10, negative=True))[1] == -45
    assert operation(drawing("Solarize", 10, negative=True))[1] == 170
    assert operation(drawing("Equalize", 7)) == ("Equalize", 0)


def test_the_two_draw_the_same_operations() -> None:
    random = keyed(3000)
    numbers, magnitudes = operations(torch.from_numpy(random))
    drawn = [operation(row) for row in random]
    assert [(OPERATIONS[number], value) for number, value in zip(numbers, magnitudes.tolist(), strict=True)] == drawn


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("way", ["per sample", "batch"])
def test_erasing_follows_its_closed_form(way: str) -> None:
    augment = ImageAugmentation([0.0], [1.0], trivial=False, erasing=0.25)
    rows, side = 3000, 90
    random = keyed(rows, seed=5 if way == "batch" else 6)
    images = np.full((rows, 1, side, side), 255, dtype=np.uint8)
    if way == "batch":
        result = augment.batch(torch.from_numpy(images), torch.from_numpy(random))
    else:
        result = torch.stack([augment.per_sample(images[0].transpose(1, 2, 0), row) for row in random])
    area = (result == 0).sum(dim=(1, 2, 3)).numpy()
    due = area > 0
    assert binomtest(int(due.sum()), rows, 0.25).pvalue > 1e-3
    assert kstest(area[due] / side**2, "uniform", (0.02, 0.18)).pvalue > 1e-3
    holes = (result[due] == 0)[:, 0]
    tall, wide = holes.any(dim=2).sum(dim=1).numpy(), holes.any(dim=1).sum(dim=1).numpy()
    assert (tall * wide == area[due]).all()  # a rectangle, and nothing else
    low, high = np.log(0.3), np.log(3.3)
    # a side is a whole number of pixels: spread each evenly over its pixel before the comparison
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, (2, len(tall)))
    aspect = np.log((tall + spread[0]) / (wide + spread[1]))
    assert kstest(aspect, "uniform", (low, high - low)).pvalue > 1e-3
    top = holes.any(dim=2).int().argmax(dim=1).numpy()
    jitter = np.random.default_rng(1).random(len(top))
    assert kstest((top + jitter) / (side - tall + 1), "uniform").pvalue > 1e-3
    left = holes.any(dim=1).int().argmax(dim=1).numpy()
    assert kstest((left + jitter) / (side - wide + 1), "uniform").pvalue > 1e-3


def test_a_rectangle_that_does_not_fit_is_drawn_again() -> None:
    augment = ImageAugmentation([0.0], [1.0], trivial=False, erasing=1.0)
    images = np.full((400, 1, 6, 80), 255, dtype=np.uint8)
    single, batch = both(augment, images, keyed(400))
    assert torch.equal(single, batch)
    erased = (batch == 0).flatten(1).any(dim=1)
    assert 300 < erased.sum() < 400  # ten tries, and some images keep all their pixels
    assert (batch == 0).any(dim=3).sum(dim=2).max() == 5


def test_plain_normalises_and_nothing_else() -> None:
    augment = ImageAugmentation([0.25, 0.5, 0.75], [0.5, 0.25, 1.0])
    image = torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)
    expected = torch.tensor([-0.1, -1.2, -0.55]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    torch.testing.assert_close(augment.plain(image), expected)
    torch.testing.assert_close(augment.plain(image[0]), expected[0])


def test_the_input_is_left_alone() -> None:
    images = pictures(50, 3, 8, 8)
    before = images.copy()
    both(augmentation(3, erasing=1.0), images, keyed(50))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mean": [0.5, 0.5]}, "one value per channel, 1 or 3 each; got 2 and 1"),
        ({"std": [0.0]}, "`std` must be positive"),
        ({"erasing": 1.5}, r"must be a share of the images in \[0, 1\], got 1.5"),
        ({"scale": (0.3, 0.2)}, "`scale` must be two shares"),
        ({"ratio": (0.0, 3.0)}, "`ratio` must be two positive"),
    ],
)
def test_bad_settings(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ImageAugmentation(**{"mean": [0.5], "std": [0.5], **options})


def test_bad_images_and_uniforms() -> None:
    augment = augmentation(3)
    image, images = np.zeros((8, 8, 3), dtype=np.uint8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(TypeError, match="Images must be uint8"):
        augment.per_sample(image.astype(np.float32), keyed(1)[0])
    with pytest.raises(TypeError, match="Images must be uint8"):
        augment.batch(images.float(), torch.from_numpy(keyed(2)))
    with pytest.raises(ValueError, match=r"shape \(H, W, C\) with 3 channels, as `mean` has; got \(8, 8, 1\)"):
        augment.per_sample(image[..., :1], keyed(1)[0])
    with pytest.raises(ValueError, match=r"shape \(B, C, H, W\) with 3 channels, as `mean` has; got \(3, 8, 8\)"):
        augment.batch(images[0], torch.from_numpy(keyed(3)))
    with pytest.raises(ValueError, match=r"`random` must have shape \(26,\), got \(7,\)"):
        augment.per_sample(image, np.zeros(7))
    with pytest.raises(ValueError, match=r"`random` must have shape \(2, 26\), .*; got \(3, 26\)"):
        augment.batch(images, torch.from_numpy(keyed(3)))
