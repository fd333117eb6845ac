# SPDX-License-Identifier: Apache-2.0
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.image_folders import NAMES, cifar10_python, cifar100_binary, class_folders, fashion_mnist, pixels, strips
from torch.utils.data import DataLoader

from lightning_monocon.data import CIFAR10Data, CIFAR100Data, FashionMNISTData, ImageFolderData, sampling
from lightning_monocon.data.images import ImageData


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strips")
    strips(folder / "train", per_class=20)
    strips(folder / "test", per_class=4, seed=1)
    return folder


def module(root: Path, **options: Any) -> CIFAR100Data:
    data = CIFAR100Data(str(root), **{"batch_size": 12, "seed": 0, **options})
    data.setup("fit")
    return data


def finished(data: ImageData, loader: DataLoader[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model sees of a loader."""
    images, labels = zip(*(data.on_after_batch_transfer(batch, 0) for batch in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_gallery_and_queries_are_the_images_as_they_are(root: Path, tmp_path: Path) -> None:
    data = module(root)
    assert data.num_classes == 3
    gallery, query = data.val_dataloader()
    images, labels = finished(data, gallery)
    assert len(gallery.dataset) == 54  # type: ignore[arg-type]  # has a length
    mean, std = (torch.tensor(part)[:, None, None] for part in (data.default_mean, data.default_std))
    whole = strips(tmp_path, per_class=20)
    expected = (torch.from_numpy(whole[data.train.part].transpose(0, 3, 1, 2)) / 255 - mean) / std
    torch.testing.assert_close(images, expected)
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 20)[data.train.part])
    np.testing.assert_array_equal(data.train.ids, data.train.part)
    assert len(finished(data, query)[0]) == 6
    assert len(finished(data, data.test_dataloader()[1])[0]) == 12
    assert not set(data.train.part) & set(data.val.part)
    assert len(set(labels[:12].tolist())) == 3  # the files are in the order of the classes, the batches are not


def test_wrong_labels_are_those_of_train_images_alone(root: Path) -> None:
    right, noisy = module(root), module(root, label_noise=0.5)
    assert int((noisy.train.labels != right.train.labels).sum()) == 27
    assert (right.train.label_kinds == "right").all()
    np.testing.assert_array_equal(noisy.train.label_kinds == "wrong", noisy.train.labels != right.train.labels)
    for kept, same in ((right.val, noisy.val), (right.test, noisy.test)):
        np.testing.assert_array_equal(kept.labels, same.labels)
    assert noisy.split_hash != right.split_hash and noisy.description["label_noise"] == 0.5
    with pytest.raises(ValueError, match=r"`label_noise` must be a share from 0 to below 1, got 1\.0"):
        module(root, label_noise=1.0)


def test_both_places_augment_to_the_same_images(root: Path) -> None:
    batches = [finished(data := module(root, augment_on=place), data.train_dataloader()) for place in ("cpu", "device")]
    assert batches[0][0].shape == (48, 3, 32, 32)
    torch.testing.assert_close(batches[0], batches[1], rtol=0, atol=0)
    plain = module(root, trivial=False, erasing=0.0)
    assert not torch.equal(finished(plain, plain.train_dataloader())[0], batches[0][0])


def test_the_order_does_not_depend_on_the_workers_and_changes_with_the_epoch(root: Path) -> None:
    data = module(root)
    loader = data.train_dataloader()
    images, _ = finished(data, loader)
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert not torch.equal(finished(data, loader)[0], images)
    data.num_workers = 1
    torch.testing.assert_close(finished(data, data.train_dataloader())[0], images, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{}, {"per_class": 4, "augment_on": "device"}], ids=["shuffled", "balanced"])
def test_resume_at_continues_the_epoch(root: Path, options: dict[str, Any]) -> None:
    data = module(root, **options)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
    images, labels = finished(data, loader)
    if options:
        assert all(np.bincount(part).tolist() == [4, 4, 4] for part in labels.view(-1, 12).numpy())
    data.resume_at(2, 3)
    rest, _ = finished(data, data.train_dataloader())
    torch.testing.assert_close(rest, images[36:], rtol=0, atol=0)
    assert len(finished(data, data.train_dataloader())[0]) == 48  # only once


def test_ranks_share_an_epoch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, shown = [], []
    for rank in range(2):
        monkeypatch.setattr(sampling, "world", lambda rank=rank: (rank, 2))
        data = module(root)
        drawn += [index for _, index in data.train_dataloader().sampler]
        shown += list(data.val_dataloader()[0].sampler)
    assert len(set(drawn)) == len(drawn) == 54
    assert sorted(shown) == list(range(54))


def test_the_split_is_recorded(root: Path) -> None:
    data, again, other = module(root), module(root, seed=5), module(root, split_seed=1)
    assert data.description == {
        "dataset": "CIFAR100Data",
        "classes": 3,
        "train": 54,
        "val": 6,
        "test": 12,
        "split_seed": 0,
        "split_hash": data.split_hash,
        "unreadable": 0,
        "left_out": 0,
        "label_noise": 0.0,
    }
    assert data.split_hash == again.split_hash != other.split_hash
    assert module(root, train_size=30).description["train"] == 27
    assert np.bincount(module(root, train_size=30).train.labels).tolist() == [9, 9, 9]


def test_a_resumed_run_refuses_another_split(root: Path, tmp_path: Path) -> None:
    import lightning.pytorch as L

    from lightning_monocon import MonoCon
    from lightning_monocon.encoders import SmallCNN

    def fit(data: ImageData, epochs: int, ckpt_path: Path | None = None) -> L.Trainer:
        options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
        options |= {"enable_model_summary": False, "enable_checkpointing": False, "limit_val_batches": 0}
        trainer = L.Trainer(max_epochs=epochs, **options)
        trainer.fit(MonoCon(SmallCNN(3, (4, 4)), warmup_epochs=0), datamodule=data, ckpt_path=ckpt_path)
        return trainer

    path = tmp_path / "run.ckpt"
    fit(module(root, augment_on="device"), 1).save_checkpoint(path)
    assert torch.load(path, weights_only=True)["CIFAR100Data"]["split_seed"] == 0
    fit(module(root), 2, path)
    with pytest.raises(ValueError, match=r"`split_seed`, .* must be those of the checkpoint, whose split has the hash"):
        fit(module(root, split_seed=1), 2, path)


def test_the_cache_changes_nothing(root: Path, tmp_path: Path) -> None:
    plain = module(root)
    for _ in range(2):
        data = CIFAR100Data(str(root), 12, seed=0, cache=str(tmp_path))
        data.prepare_data()
        data.setup("fit")
        torch.testing.assert_close(finished(data, data.train_dataloader()), finished(plain, plain.train_dataloader()))
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_the_official_archives(tmp_path: Path) -> None:
    images, labels = pixels(30), (np.arange(30) % 3).astype(np.uint8)
    cifar100_binary(tmp_path, images, labels)
    binary = CIFAR100Data(str(tmp_path), 4)
    binary.setup("fit")
    np.testing.assert_array_equal(binary.train.images, images)
    np.testing.assert_array_equal(binary.train.labels, labels[binary.train.part])
    cifar10_python(tmp_path, images, labels)
    python = CIFAR10Data(str(tmp_path), 4)
    python.setup("fit")
    assert len(python.train) + len(python.val) == 150
    np.testing.assert_array_equal(python.train.images[:30], images)
    np.testing.assert_array_equal(python.test.labels, labels[python.test.part])


def test_fashion_mnist(tmp_path: Path) -> None:
    images, labels = fashion_mnist(tmp_path / "FashionMNIST" / "raw")
    data = FashionMNISTData(str(tmp_path), 8, val_size=0.25)
    data.setup("fit")
    np.testing.assert_array_equal(data.train.images[..., 0], images)
    np.testing.assert_array_equal(data.val.labels, labels[data.val.part])
    assert next(iter(data.train_dataloader()))[0].shape == (8, 1, 28, 28)
    assert data.num_classes == 10


@pytest.mark.parametrize("separate", [True, False])
def test_a_folder_of_images(tmp_path: Path, separate: bool) -> None:
    if separate:
        class_folders(tmp_path / "train", 10, side=40)
        class_folders(tmp_path / "val", 4, side=24, seed=1)
    else:
        class_folders(tmp_path, 14, side=40)
    data = ImageFolderData(str(tmp_path), 8, image_size=16, test_size=12 / 42, cache=str(tmp_path / ".cache"))
    data.prepare_data()
    data.setup("fit")
    assert [data.description[name] for name in ("classes", "train", "val", "test")] == [3, 27, 3, 12]
    assert finished(data, data.train_dataloader())[0].shape == (24, 3, 16, 16)
    assert data.test.images.shape[1:] == (16, 16, 3)
    assert np.bincount(data.test.labels).tolist() == [4, 4, 4]


def test_skipped_images_are_counted(tmp_path: Path) -> None:
    class_folders(tmp_path, 10)
    (tmp_path / "bear" / "0013.png").write_bytes(b"broken")
    data = ImageFolderData(str(tmp_path), 8, on_error="skip")
    with pytest.warns(UserWarning, match=r"1 of 30 image files do not decode"):
        data.setup("fit")
    assert data.description["unreadable"] == 1
    assert "bear/0013.png (UnidentifiedImageError" in data.unreadable[0]


def test_download_without_torchvision_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision.datasets", None)
    for kind in (CIFAR100Data, FashionMNISTData):
        with pytest.raises(RuntimeError, match=r"torchvision must be installed in the build for this torch"):
            kind(str(tmp_path), download=True).prepare_data()
    with pytest.raises(ValueError, match=r"`download` must be False for ImageFolderData"):
        ImageFolderData(str(tmp_path), download=True).prepare_data()


@pytest.mark.usefixtures("torchvision", "no_network")
def test_torchvision_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    fashion_mnist(raw)
    for packed in raw.glob("*.gz"):  # torchvision looks for what it has unpacked
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    FashionMNISTData(str(tmp_path), download=True).prepare_data()  # all there: nothing is fetched
    with pytest.raises(RuntimeError, match=r"`download` needs a network; CIFAR10 could not be downloaded \(URLError: "):
        CIFAR10Data(str(tmp_path / "none"), download=True).prepare_data()


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (CIFAR10Data, {"val_size": 1.0}, r"`val_size` must lie strictly between 0 and 1, got 1.0"),
        (CIFAR10Data, {"batch_size": 1}, r"`batch_size` must be at least 2 to hold a pair, got 1"),
        (CIFAR10Data, {"augment_on": "gpu"}, r"`augment_on` must be one of 'cpu', 'device'; got 'gpu'"),
        (CIFAR10Data, {"on_error": "ignore"}, r"`on_error` must be one of 'raise', 'skip'; got 'ignore'"),
        (ImageFolderData, {"channels": 2}, r"`channels` must be 1 or 3"),
    ],
)
def test_bad_arguments(kind: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind("nowhere", **options)


def test_the_older_word_for_raise_is_taken_with_a_warning_and_is_the_same_setting() -> None:
    """A run whose checkpoint says "refuse" is resumed by a recipe that says nothing, or "raise"."""
    with pytest.warns(DeprecationWarning, match="is now called 'raise'"):
        older = CIFAR10Data("nowhere", on_error="refuse")
    assert older.on_error == CIFAR10Data("nowhere", on_error="raise").on_error == CIFAR10Data("nowhere").on_error
    assert older.on_error == "refuse"


def test_data_that_are_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`root` must hold one of the folders cifar-10-batches-py, .* has none"):
        CIFAR10Data(str(tmp_path)).setup("fit")
    with pytest.raises(ValueError, match=r"`root` must hold the file train-images-idx3-ubyte.gz"):
        FashionMNISTData(str(tmp_path)).setup("fit")
    with pytest.raises(ValueError, match=r"`root` must be a folder of images"):
        ImageFolderData(str(tmp_path / "none")).setup("fit")
    with pytest.raises(ValueError, match=r"`batch_size` must not exceed the 54 train images .* got 55"):
        module(root, batch_size=55)
    with pytest.raises(ValueError, match=r"`train_size` must be between 1 and the 60 train images, got 61"):
        module(root, train_size=61)


def test_the_real_cifar100(shared_data: Path) -> None:
    data = CIFAR100Data(str(shared_data / "cifar100"))
    data.setup("fit")
    assert data.description["classes"] == 100
    assert [len(part) for part in (data.train, data.val, data.test)] == [45_000, 5_000, 10_000]
    assert np.bincount(data.val.labels).tolist() == [50] * 100
    mean = data.test.images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.5088, 0.4874, 0.4419], atol=2e-4)  # as published
    assert NAMES[0] in data._tables["train"].classes
    again = CIFAR100Data(str(shared_data / "cifar100"), leave_out_repeats=True)
    again._tables = data._tables  # decoded once
    again.setup("fit")
    train, test = data._tables["train"], data._tables["test"]
    labels = {image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)}
    left_out = np.setdiff1d(np.arange(10_000), again.test.part)
    assert len(left_out) == 10  # as docs/images.md says
    assert sum(test.labels[i] != labels[test.images[i].tobytes()] for i in left_out) == 6
    assert again.description["left_out"] == 10 + 5_000 - len(again.val)


def test_grey_images_are_normalised_by_one_mean(tmp_path: Path) -> None:
    class_folders(tmp_path, 10)
    data = ImageFolderData(str(tmp_path), 8, channels=1)
    data.setup("fit")
    images, _ = finished(data, data.val_dataloader()[1])
    assert images.shape[1] == 1
    assert (data.augmentation.mean, data.augmentation.std) == (pytest.approx((0.449,)), pytest.approx((0.226,)))
