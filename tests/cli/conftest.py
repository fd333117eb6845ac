# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from helpers.short_run import SHORT
from helpers.store_places import duck, faiss_file, file, lance, shards, usearch_file

from lightning_monocon.cli.trainer import run

__all__ = ["duck", "faiss_file", "file", "lance", "shards", "usearch_file"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short finished run."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    run(["fit", "--config", "digits", "--run_dir", str(folder), *SHORT])
    return folder
