# SPDX-License-Identifier: Apache-2.0
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.image_folders import NAMES, class_folders, fashion_mnist, idx, pixels, strips
from PIL import Image

from lightning_monocon.data.images.archives import read_cifar_binary, read_idx, read_plain_pickle
from lightning_monocon.data.images.cache import cache_key, cached
from lightning_monocon.data.images.files import image_files, read_folder
from lightning_monocon.data.images.table import ImageTable


def test_class_folders_decode_to_their_pixels(tmp_path: Path) -> None:
    images = class_folders(tmp_path)
    (tmp_path / "apple" / "notes.txt").write_text("no image")
    table = read_folder(tmp_path, size=32)
    np.testing.assert_array_equal(table.images, images)
    np.testing.assert_array_equal(table.labels, np.repeat([0, 1, 2], 6))
    assert table.classes == NAMES
    assert table.unreadable == ()


def test_strips_decode_to_their_images(tmp_path: Path) -> None:
    images = strips(tmp_path)
    (tmp_path / "bear.webp").rename(tmp_path / "bear-1.webp")  # a class in several files
    table = read_folder(tmp_path, size=32, strips=True)
    np.testing.assert_array_equal(table.images, images)
    assert table.classes == NAMES
    (tmp_path / "bear-1.webp").rename(tmp_path / "zebra.webp")
    with pytest.raises(
        ValueError, match=r"Labels must be among the 3 classes of the train images; .* has 1 others: zeb"
    ):
        read_folder(tmp_path, size=32, strips=True, classes=NAMES)


def test_images_are_scaled_and_cut(tmp_path: Path) -> None:
    gradient = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None], (40, 80, 3))
    (tmp_path / "a").mkdir()
    Image.fromarray(np.ascontiguousarray(gradient)).save(tmp_path / "a" / "wide.png")
    assert read_folder(tmp_path, size=20).images.shape == (1, 20, 20, 3)
    grey = read_folder(tmp_path, size=20, channels=1).images
    assert grey.shape == (1, 20, 20, 1)
    assert np.abs(grey[0, :, 7, 0] - (np.arange(20) * 2 + 0.5)).max() <= 1
    Image.fromarray(pixels(1)[0]).save(tmp_path / "a" / "other.png")
    with pytest.raises(ValueError, match=r"`image_size` must be given .* some of \(32, 32\) and some of \(40, 80\)"):
        read_folder(tmp_path, size=None)


def test_an_image_that_does_not_decode(tmp_path: Path) -> None:
    class_folders(tmp_path)
    broken = tmp_path / "bear" / "0007.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (tmp_path / "apple" / "0001.png").write_bytes(b"no image")
    sentence = r"2 of 18 image files do not decode: .*apple/0001.png \(UnidentifiedImageError.*bear/0007.png \(OSError"
    with pytest.raises(ValueError, match=sentence):
        read_folder(tmp_path, size=32)
    with pytest.warns(UserWarning, match=sentence):
        table = read_folder(tmp_path, size=32, on_error="skip")
    assert len(table.images) == 16
    assert [name.split(" ")[0] for name in table.unreadable] == [str(tmp_path / "apple" / "0001.png"), str(broken)]
    np.testing.assert_array_equal(np.bincount(table.labels), [5, 5, 6])


def test_a_class_of_which_nothing_decodes(tmp_path: Path) -> None:
    class_folders(tmp_path, per_class=1)
    (tmp_path / "bear" / "0001.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 of 3"), pytest.raises(ValueError, match=r"No image of the class 'bear'"):
        read_folder(tmp_path, size=32, on_error="skip")


def test_a_strip_of_another_size(tmp_path: Path) -> None:
    strips(tmp_path)
    Image.fromarray(pixels(1, 48)[0]).save(tmp_path / "chair.webp")
    with pytest.raises(ValueError, match=r"1 of 3 .*chair.webp \(48 x 48 pixels are not a strip of 32 x 32 images\)"):
        read_folder(tmp_path, size=32, strips=True)


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    assert image_files(tmp_path) == []
    with pytest.raises(ValueError, match=r"`root` must hold images in folders named after their classes; .* has none"):
        read_folder(tmp_path, size=32)


def test_a_damaged_idx_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    idx(path, pixels(3, 5, 1))
    assert read_idx(path).shape == (3, 5, 5, 1)
    whole = path.read_bytes()
    for damaged in (whole[:-10], whole[:30] + bytes(20) + whole[50:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"must be an IDX file, but is damaged"):
            read_idx(path)
    short = tmp_path / "short"
    short.write_bytes(b"\0\0\x08\x01\0\0\0\x05abc")
    with pytest.raises(ValueError, match=r"must be an IDX file of bytes of shape \(5,\), but holds 3 bytes"):
        read_idx(short)


def test_a_cut_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    path.write_bytes(b"x" * 3000)
    with pytest.raises(ValueError, match=r"must hold records of 3074 bytes, but has 3000"):
        read_cifar_binary([path], 2, NAMES)


def test_a_pickle_that_holds_code_is_not_run(tmp_path: Path) -> None:
    class Gadget:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]  # what an attacker would write

    path = tmp_path / "train"
    path.write_bytes(pickle.dumps({b"data": Gadget()}))
    with pytest.raises(ValueError, match=r"must hold arrays and plain values only: it names pathlib"):
        read_plain_pickle(path)
    assert not (tmp_path / "ran").exists()


def test_labels_out_of_range_are_refused() -> None:
    table = ImageTable(pixels(3), np.array([0, 3, 1]), NAMES)
    with pytest.raises(
        ValueError, match=r"`labels` must lie between 0 and 2; 1 of here do not, the first is 3 at image 1"
    ):
        table.checked("here")
    with pytest.raises(
        ValueError, match=r"one label per image; here has images of shape \(3, 32, 32, 3\) and 2 labels"
    ):
        table._replace(labels=np.array([0, 1])).checked("here")


def test_the_cache_decodes_once_and_knows_a_change(tmp_path: Path) -> None:
    source, calls = tmp_path / "source", []
    class_folders(source)

    def read() -> ImageTable:
        files = [file.path for file in image_files(source)]
        return cached(tmp_path / "cache", cache_key(files, "option"), decode)

    def decode() -> ImageTable:
        calls.append(1)
        return read_folder(source, size=32)

    first, again = read(), read()
    assert len(calls) == 1
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert again.classes == NAMES
    (source / "apple" / "0000.png").unlink()
    assert len(read().images) == 17
    assert len(calls) == 2
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix not in (".npy", ".json")]


def test_a_failed_decode_leaves_no_cache(tmp_path: Path) -> None:
    def decode() -> ImageTable:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cached(tmp_path / "cache", "key", decode)
    assert not (tmp_path / "cache").exists()


def test_fashion_labels_of_another_file(tmp_path: Path) -> None:
    from lightning_monocon.data import FashionMNISTData

    fashion_mnist(tmp_path)
    idx(tmp_path / "train-labels-idx1-ubyte.gz", np.full(40, 12, np.uint8))
    with pytest.raises(ValueError, match=r"`labels` must lie between 0 and 9; 40 of .*train-images.* the first is 12"):
        FashionMNISTData(str(tmp_path)).setup("fit")
