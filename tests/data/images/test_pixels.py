# SPDX-License-Identifier: Apache-2.0
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_folders import png16, tiff
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lightning_monocon.data import ImageFolderData
from lightning_monocon.data.images.archives import read_cifar_python
from lightning_monocon.data.images.cache import cache_key
from lightning_monocon.data.images.files import read_folder
from lightning_monocon.data.images.pixels import eight_bit, read_picture
from lightning_monocon.data.images.table import ImageTable

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
RED, GREY = (255, 0, 0), (120, 120, 120)


def grey(path: Path, **options: Any) -> NDArray[np.uint8]:
    return np.asarray(read_picture(path, 1, **options))


def nearest(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    return np.rint((values.astype(np.float64) - low) / (high - low) * 255)


@pytest.mark.parametrize("kind", ["png", "tif", "big-endian tif", "pgm", "jp2"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind.split()[-1]}"
    if kind == "big-endian tif":
        tiff(path, RAMP.astype(">u2"))
    elif kind == "pgm":
        path.write_bytes(b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes())
    else:
        Image.fromarray(RAMP).save(path)  # JPEG 2000 is lossless unless asked
    np.testing.assert_array_equal(grey(path), nearest(RAMP, 0, 65535))
    np.testing.assert_array_equal(np.asarray(read_picture(path, 3)), np.stack([nearest(RAMP, 0, 65535)] * 3, axis=-1))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_sixteen_bits_keep_their_upper_byte(tmp_path: Path, channels: int) -> None:
    values = np.repeat(RAMP[::16, ::16, None], channels, axis=-1)
    if channels != 3:
        values[..., -1] = 65535
    png16(tmp_path / "x.png", values)
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "x.png", 3)), values[..., [0, 0, 0]] >> 8)


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    png16(tmp_path / "x.png", np.array([[[0], [1000], [65535]]], np.uint16), {b"tRNS": struct.pack(">H", 1000)})
    assert grey(tmp_path / "x.png").tolist() == [[0, 255, 255]]


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_a_tiff_in_which_zero_is_white(tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, np.iinfo(dtype).max]], dtype)
    tiff(tmp_path / "x.tif", values, photometric=0)
    assert grey(tmp_path / "x.tif").tolist() == [[255, 0]]


def test_a_tiff_of_twelve_bits_has_their_range(tmp_path: Path) -> None:
    values = RAMP[:16]  # 0 to 4095
    tiff(tmp_path / "x.tif", values, twelve_bits=True)
    np.testing.assert_array_equal(grey(tmp_path / "x.tif"), nearest(values, 0, 4095))


def test_a_range_of_values_stretches_deep_images(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for values, low, high in (
        (RAMP[:16], 0, 4095),
        (RAMP.astype("<i4") - 30_000, -30_000, 35_535),
        ((RAMP.astype("<u4") << 16), 0, 2**32 - 1),
        ((RAMP / 65535).astype("<f4"), 0, 1),
        (RAMP.astype("<i2"), -(2**15), 2**15 - 1),
    ):
        tiff(path, values)
        np.testing.assert_array_equal(grey(path, value_range=(low, high)), nearest(values, low, high))
    tiff(path, np.array([[-3, 0, 0.5, 1, 7]], "<f4"))
    assert grey(path, value_range=(0, 1)).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(("dtype", "kind"), [("<f4", "floating"), ("<i4", "32-bit"), ("<i2", "32-bit")])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_values_without_a_range_are_refused(tmp_path: Path, dtype: str, kind: str, on_error: Any) -> None:
    tiff(tmp_path / "cat" / "x.tif", np.array([[0, 1]], dtype))
    with pytest.raises(ValueError, match=rf"`value_range` must be \(black, white\), .* of {kind} values, .*cat/x.tif"):
        ImageFolderData(str(tmp_path), on_error=on_error).setup("fit")
    for bounds in ((1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match=r"`value_range` must be two finite numbers in ascending order, got"):
            ImageFolderData(str(tmp_path), value_range=bounds)


def test_values_that_no_range_helps(tmp_path: Path) -> None:
    tiff(tmp_path / "cat" / "x.tif", np.array([[0, np.nan]], "<f4"))
    with pytest.raises(ValueError, match=r"1 of 1 image files do not decode: .*values must be finite, but some are"):
        read_folder(tmp_path, size=None, value_range=(0, 1))
    tiff(tmp_path / "cat" / "x.tif", np.array([[-1, 5]], "i1"))
    with pytest.raises(ValueError, match=r"signed 8-bit values, which Pillow reads as unsigned"):
        read_folder(tmp_path, size=None)


def test_the_range_reaches_the_data_and_the_cache(tmp_path: Path) -> None:
    for i in range(10):
        tiff(tmp_path / "data" / ("cat", "dog")[i % 2] / f"{i}.tif", np.full((4, 4), i / 16, "<f4"))
    options: dict[str, Any] = {"channels": 1, "mean": [0], "std": [1], "cache": str(tmp_path / "cache")}
    for white in (1.0, 2.0):
        data = ImageFolderData(str(tmp_path / "data"), 2, value_range=(0.0, white), val_size=0.25, **options)
        data.setup("fit")
        assert set(data.train.images.flatten()) <= set(np.rint(np.arange(10) / 16 * 255 / white))
        assert data.train.images.max() > 100 / white
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2  # one for each range


def test_nearly_black_images_are_told(tmp_path: Path) -> None:
    tiff(tmp_path / "cat" / "x.tif", np.array([[0, 4095]], "<u2"))
    with pytest.warns(UserWarning, match=r"No pixel of .* is over 16 of 255, .*pass value_range=\(0, 4095\)"):
        read_folder(tmp_path, size=None)
    assert read_folder(tmp_path, size=None, value_range=(0, 4095)).images.max() == 255


@pytest.mark.parametrize(
    ("mode", "value", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 120, GREY),
        ("LA", (120, 255), GREY),
        ("LA", (120, 0), (255, 255, 255)),
        ("RGB", RED, RED),
        ("RGBX", (*RED, 0), RED),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("RGBA", (*RED, 51), (255, 204, 204)),
        ("RGBa", (51, 0, 0, 51), (255, 204, 204)),  # red that is multiplied by its opacity already
        ("CMYK", (0, 255, 255, 0), RED),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("YCbCr", (120, 128, 128), GREY),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), RED),
        ("HSV", (170, 255, 255), (0, 0, 255)),
    ],
)
def test_each_mode_has_a_known_value(mode: str, value: Any, seen: tuple[int, int, int]) -> None:
    assert eight_bit(Image.new(mode, (1, 1), value)).convert("RGB").getpixel((0, 0)) == seen


@pytest.mark.parametrize("mode", ["LAB", "La"])
def test_modes_without_a_rule_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=rf"an image of mode {mode} has no single form in RGB; save it as RGB"):
        eight_bit(Image.new(mode, (1, 1)))


@pytest.mark.parametrize("transparency", [None, 1, bytes([255, 0, 255])], ids=["opaque", "index", "bytes"])
def test_a_palette_shows_its_colours_and_white_where_it_is_transparent(tmp_path: Path, transparency: Any) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, 0, 0, 255, *GREY])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "x.png", **({} if transparency is None else {"transparency": transparency}))
    hidden = (0, 0, 255) if transparency is None else (255, 255, 255)
    assert np.asarray(read_picture(tmp_path / "x.png", 3)).tolist() == [[list(RED), list(hidden), list(GREY)]]


@pytest.mark.parametrize(("mode", "transparent"), [("L", 7), ("RGB", (7, 7, 7)), ("1", 0)])
def test_one_transparent_colour_is_white(tmp_path: Path, mode: str, transparent: Any) -> None:
    picture = Image.new(mode, (2, 1), transparent)
    picture.putpixel((1, 0), 120 if mode != "RGB" else GREY)
    picture.save(tmp_path / "x.png", transparency=transparent)
    assert grey(tmp_path / "x.png").tolist() == [[255, 255 if mode == "1" else 120]]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "lzw.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :8] = 255  # a corner, so that no two turns look the same
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {"webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}.get(ending, {})
    path = tmp_path / f"x.{ending}"
    Image.fromarray(stored).save(path, exif=exif, **options)
    plain = Image.fromarray(stored)
    plain.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    seen = np.asarray(read_picture(path, 3))
    assert seen.shape == expected.shape == ((24, 16, 3) if orientation >= 5 else (16, 24, 3))
    np.testing.assert_allclose(seen, expected, atol=3 if ending == "jpg" else 0)


def test_a_deep_image_is_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RAMP[:2]).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(grey(tmp_path / "x.png"), np.rot90(nearest(RAMP[:2], 0, 65535), -1))


@pytest.mark.parametrize("orientation", [None, 0, 9], ids=["no EXIF", "0", "9"])
def test_a_damaged_orientation_tag_is_none(tmp_path: Path, orientation: int | None) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    damaged = b"Exif\0\0no such thing" if orientation is None else exif
    Image.new("RGB", (2, 3), RED).save(tmp_path / "x.png", exif=damaged)
    assert read_picture(tmp_path / "x.png", 3).size == (2, 3)


def test_pixels_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    import pickle

    table = ImageTable(np.zeros((1, 2, 2, 3), np.float32), np.array([0]), ("cat",))  # type: ignore[arg-type]  # the fault
    with pytest.raises(ValueError, match=r"Pixels must be uint8 values from 0 to 255; those of here are float32"):
        table.checked("here")
    for data, labels in ((np.full((1, 3072), 0.5), [0]), (np.full((1, 3072), 7, np.uint8), [0.5])):
        (tmp_path / "x").write_bytes(pickle.dumps({b"data": data, b"labels": labels}))
        with pytest.raises(
            ValueError, match=r"must hold bytes of shape \(N, 3072\) in 'data' and integers in 'labels'"
        ):
            read_cifar_python([tmp_path / "x"], "labels", ("cat",))


def test_a_cache_of_older_rules_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = cache_key([], "option")
    monkeypatch.setattr("lightning_monocon.data.images.cache._DECODING", 1)
    assert cache_key([], "option") != key
