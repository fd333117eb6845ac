# SPDX-License-Identifier: Apache-2.0
"""Distinguish classes from the parts of a data set, and both from what tools leave in folders."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Role = Literal["train", "test", "val"]
SUFFIXES = frozenset(".avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split())

# of desktops, notebooks, archives and network storage; names that start with a dot are always skipped
_TOOL_FOLDERS = frozenset(
    "__macosx __pycache__ @eadir @recycle @recently-snapshot @sharebin @tmp #recycle #snapshot $recycle.bin "
    "lost+found".split()
) | {"system volume information"}

_PARTS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst"),
    "eval": ("eval", "evaluation", "holdout"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development"),
}
_PART_OF_WORD = {word: part for part, words in _PARTS.items() for word in words}
_FILLERS = frozenset("set data dataset image images img imgs split".split())


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted, without hidden ones and those that tools leave."""
    return sorted(entry for entry in folder.iterdir() if not _is_foreign(entry.name))


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return [entry for entry in visible(folder) if entry.is_dir()]


def is_image(path: Path) -> bool:
    """Return whether a path is a file with the suffix of an image."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def images_under(folder: Path) -> Iterator[Path]:
    """Yield the image files of a folder at any depth, in no order."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_foreign(name)]
        yield from (path for name in files if not _is_foreign(name) and is_image(path := Path(parent, name)))


def holds_classes(folder: Path) -> bool:
    """Return whether the images of a folder lie in subfolders and none in itself."""
    return not any(map(is_image, visible(folder))) and any(map(_has_images, subfolders(folder)))


def find_parts(root: Path) -> dict[Role, Path]:
    """Return the folders that are parts of a data set, such as ``train`` and ``valid``.

    There are none if the folders are classes. A name counts in any case and with words such as *set* or *images*
    (``Training_Set``). A single held-out part beside the train part is the test part; a second one is for validation.

    Raises:
        ValueError: If folders look like parts but are incomplete, ambiguous, or inside the classes.
    """
    folders = subfolders(root)
    named = [folder for folder in folders if _part(folder.name)]
    others = [folder for folder in folders if not _part(folder.name) and _has_images(folder)]
    if not named:
        _refuse_disguised_parts(root, others)
        return {}

    nested = [folder for folder in named if holds_classes(folder)]
    if others and not nested and not {"train"} < {_part(folder.name) for folder in named}:
        return {}  # a class may well be called train, or valid

    parts: dict[str, Path] = {}
    for folder in named:
        first = parts.setdefault(_part(folder.name) or "", folder)
        if first != folder:
            raise ValueError(f"`root` must hold one folder for each part; {_has(root, [first, folder])}. Join them.")

    if "train" not in parts or (others and len(nested) < 2):
        raise ValueError(
            f"`root` must hold either a folder for each class, or train/ and test/ with the classes in them; "
            f"{_has(root, [*named, *others])}. Rename those that are classes, or pass the folder of the classes."
        )
    return _assigned(root, parts, others)


def _assigned(root: Path, parts: dict[str, Path], others: list[Path]) -> dict[Role, Path]:
    """Return the folders for train, test and validation, and warn about those that are left out."""
    held_out = [parts[name] for name in ("test", "eval", "val") if name in parts]
    roles: dict[Role, Path] = {"train": parts["train"]}
    if held_out:
        roles["test"] = held_out[0]
    if len(held_out) > 1:
        roles["val"] = held_out[-1]
    if left_out := [*held_out[1:-1], *others]:
        names = ", ".join(folder.name for folder in left_out)
        used = ", ".join(folder.name for folder in roles.values())
        warnings.warn(f"Of {str(root)!r} only {used} are read; {names} are left out.", stacklevel=4)
    for folder in roles.values():
        _refuse_disguised_parts(folder, subfolders(folder))
    return roles


def _refuse_disguised_parts(root: Path, folders: list[Path]) -> None:
    """Raise if folders would be read as classes, although their content shows that they are parts."""
    nested = [folder for folder in folders if holds_classes(folder)]
    if len(folders) == 1 and nested:
        raise ValueError(
            f"`root` must hold a folder for each class; {_has(root, folders)} alone, with further folders of images. "
            f"Move them up, or pass root={str(folders[0])!r}."
        )

    hinted = {_PART_OF_WORD.get(word) for folder in nested for word in _words(folder.name)} - {None}
    if "train" in hinted and len(hinted) > 1:
        raise ValueError(
            f"`root` must hold parts named train and test, or else classes; {_has(root, nested)}, which hold folders "
            "of images. Rename them, or pass the folder of the classes."
        )

    inside = [{_part(folder.name) for folder in subfolders(outer)} - {None} for outer in folders]
    if folders and all(len(found) > 1 for found in inside):
        raise ValueError(
            f"`root` must hold train/ and test/ with the classes in them; {_has(root, folders)}, each with such parts "
            "inside. Move the parts to the top."
        )


def _has(root: Path, folders: list[Path]) -> str:
    shown = ", ".join(folder.name for folder in sorted(folders)[:5])
    return f"{str(root)!r} has {shown}{', ...' if len(folders) > 5 else ''}"


def _part(name: str) -> str | None:
    """Return the part that the name of a folder means."""
    words = [word for word in _words(name) if word not in _FILLERS]
    return _PART_OF_WORD.get(words[0].removesuffix("set")) if len(words) == 1 else None


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)]


def _is_foreign(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _TOOL_FOLDERS


def _has_images(folder: Path) -> bool:
    return next(images_under(folder), None) is not None
