# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from helpers.short_run import SHORT
from helpers.store_places import duck, faiss_file, file, lance, shards, usearch_file
from lightning.pytorch import LightningDataModule

from lightning_monocon import MonoCon
from lightning_monocon.cli.parser import MonoConParser
from lightning_monocon.cli.run_options import SEED
from lightning_monocon.cli.trainer import MonoConCLI, run

__all__ = ["duck", "faiss_file", "file", "lance", "shards", "usearch_file"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short finished run."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    run(["fit", "--config", "digits", "--run_dir", str(folder), *SHORT])
    return folder


class Parsing(MonoConCLI):
    """The command line without what it would run."""

    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise Parsed(self._subcommand_parsers)


class Parsed(Exception):
    """Carries the parsers of the commands."""


@pytest.fixture(scope="module")
def trainers() -> dict[str, MonoConParser]:
    """The parsers of fit, validate, test and predict."""
    with pytest.raises(Parsed) as built:
        Parsing(
            MonoCon,
            LightningDataModule,
            parser_class=MonoConParser,
            subclass_mode_data=True,
            seed_everything_default=SEED,
            auto_configure_optimizers=False,
            args=["fit"],
        )
    parsers: dict[str, MonoConParser] = built.value.args[0]
    return parsers
