# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.image_folders import NAMES, class_folders, pixels, strips
from PIL import Image

from lightning_monocon.data import CIFAR10Data, ImageFolderData
from lightning_monocon.data.images.files import image_files


def read(root: Path) -> ImageFolderData:
    data = ImageFolderData(str(root), 4, image_size=8)
    data.setup("fit")
    return data


def sizes(data: ImageFolderData) -> list[int]:
    return [len(part) for part in (data.train, data.val, data.test)]


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train", "valid"),
        ("train", "validation"),
        ("train", "val"),
        ("train", "dev"),
        ("train", "eval"),
        ("Train", "Test"),
        ("TRAINING", "Validation"),
        ("training_set", "test_set"),
        ("TrainingImages", "TestImages"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
    ],
)
def test_parts_are_never_the_classes(tmp_path: Path, train: str, held_out: str) -> None:
    class_folders(tmp_path / train, 10, side=8)
    held = class_folders(tmp_path / held_out, 4, side=8, seed=1)
    (tmp_path / "annotations").mkdir()  # without an image, so neither a part nor a class
    data = read(tmp_path)
    assert data._tables["train"].classes == NAMES
    assert sizes(data) == [27, 3, 12]
    np.testing.assert_array_equal(data._tables["test"].images, held)


@pytest.mark.parametrize(("test", "val"), [("test", "valid"), ("eval", "dev"), ("Test", "eval")])
def test_a_folder_for_validation_validates(tmp_path: Path, test: str, val: str) -> None:
    class_folders(tmp_path / "train", 10, side=8)
    held = {name: class_folders(tmp_path / name, 3 + i, side=8, seed=i + 1) for i, name in enumerate((test, val))}
    data = read(tmp_path)
    assert sizes(data) == [30, 12, 9]
    np.testing.assert_array_equal(data.val.images, held[val])
    np.testing.assert_array_equal(data.test.images, held[test])
    assert read(tmp_path).split_hash == data.split_hash
    shutil.rmtree(tmp_path / val)
    assert sizes(read(tmp_path)) == [27, 3, 9]
    assert read(tmp_path).split_hash != data.split_hash


def test_a_train_part_alone_is_split(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 10, side=8)
    data = read(tmp_path)
    assert data._tables["train"].classes == NAMES
    assert sizes(data) == [22, 2, 6]
    class_folders(tmp_path / "plain", 10, side=8)
    np.testing.assert_array_equal(data.train.images, read(tmp_path / "plain").train.images)


@pytest.mark.parametrize("names", [("bus", "train"), ("invalid", "valid"), ("dev", "ops", "test")])
def test_a_class_may_be_called_like_a_part(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        class_folders(tmp_path / "all", 4, side=8)
        shutil.move(tmp_path / "all" / "apple", tmp_path / name)
        shutil.rmtree(tmp_path / "all")
    assert read(tmp_path)._tables["train"].classes == names


def test_folders_beside_the_parts_are_told(tmp_path: Path) -> None:
    for name, count in (("train", 10), ("test", 4), ("pred", 1), ("val", 4), ("eval", 2)):
        class_folders(tmp_path / name, count, side=8)
    with pytest.warns(UserWarning, match=r"Of '.*' only train, test, val are read; eval, pred are left out"):
        assert sizes(read(tmp_path)) == [30, 12, 12]


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["valid", "test"], r"either a folder for each class, or train/ and test/ .* has test, valid\. Rename those"),
        (["train", "cats"], r"either a folder for each class, or train/ and test/ .* has cats, train\. Rename those"),
        (["train", "val", "valid"], r"must hold one folder for each part; .* has val, valid\. Join them"),
        (["seg_train", "seg_test"], r"must hold parts named train and test, .* has seg_test, seg_train, which hold"),
        (
            ["archive"],
            r"must hold a folder for each class; .* has archive alone, .* Move them up, or pass root='.*arch",
        ),
        (["train/wrapper", "test"], r"must hold a folder for each class; .*train' has wrapper alone"),
        (["cats/train", "cats/test", "dogs/train", "dogs/test"], r"has cats, dogs, each with such parts inside\. Move"),
    ],
)
def test_parts_that_cannot_be_told_are_refused(tmp_path: Path, folders: list[str], sentence: str) -> None:
    for name in folders:
        class_folders(tmp_path / name, 4, side=8)
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 10, side=8)
    (tmp_path / "test").mkdir()
    for i, image in enumerate(pixels(5, 8)):
        Image.fromarray(image).save(tmp_path / "test" / f"{i}.png")
    for root, folder in ((tmp_path, "test"), (tmp_path / "test", "test")):
        with pytest.raises(
            ValueError, match=rf"in folders named after their classes; '.*{folder}' has 5 images itself"
        ):
            read(root)
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "test").rename(tmp_path / "train")
    with pytest.raises(ValueError, match=r"in folders named after their classes; '.*train' has 5 images itself"):
        read(tmp_path)


@pytest.mark.parametrize(
    "tool", [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found"]
)
def test_what_tools_leave_is_no_image_and_no_class(tmp_path: Path, tool: str) -> None:
    expected = class_folders(tmp_path, 5, side=8)
    copies = tmp_path / NAMES[0]
    for place in (copies / tool, copies / "deeper" / tool / "still", tmp_path / tool):
        shutil.copytree(tmp_path / NAMES[1], place)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0000.png", "0000.png.part"):
        for folder in (tmp_path, copies):
            (folder / name).write_bytes(b"no image")
    data = read(tmp_path)
    assert sorted(np.concatenate([data._tables["train"].images, data._tables["test"].images]).tolist()) == sorted(
        expected.tolist()
    )
    assert data._tables["train"].classes == NAMES


def test_parts_beside_what_tools_leave(tmp_path: Path) -> None:
    for name in ("train", "valid", "__MACOSX", ".ipynb_checkpoints"):
        class_folders(tmp_path / name, 10 if name == "train" else 2, side=8)
    assert sizes(read(tmp_path)) == [27, 3, 6]


def test_strips_beside_what_tools_leave(tmp_path: Path) -> None:
    for part in ("train", "test"):
        images = strips(tmp_path / part, 10)
        (tmp_path / part / ".ipynb_checkpoints").mkdir()
        shutil.copytree(tmp_path / part, tmp_path / part / "@eaDir")
    data = CIFAR10Data(str(tmp_path), 4)
    data.setup("fit")
    np.testing.assert_array_equal(data.test.images, images)


def test_every_common_suffix_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for ending in ("JPG", "jpe", "jfif", "jp2", "avif", "pbm", "pnm", "PNG", "txt", "json"):
        (tmp_path / "cat" / f"x.{ending}").write_bytes(b"")
    assert len(image_files(tmp_path)) == 8
