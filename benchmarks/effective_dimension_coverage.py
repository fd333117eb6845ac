# SPDX-License-Identifier: Apache-2.0
"""Coverage of the bias-corrected effective dimension on populations whose dimension is known.

Run    python benchmarks/effective_dimension_coverage.py [--repeats 200] [--width 64]
Does   draws rows from each spectrum in a random basis, at n from D/4 to 20 D, and asks for the 95 % interval of n99;
       writes results/DATE-effective_dimension_coverage.md and the table between the marks in docs/which_number.md
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import Row, markdown, write
from numpy.typing import NDArray

from lightning_monocon.functional import (
    RefusedEstimateWarning,
    corrected_effective_dimension,
    effective_dimension,
    jackknife,
)
from lightning_monocon.functional.effective_dimension import components_for
from lightning_monocon.functional.moments import Moments
from lightning_monocon.functional.spectrum import variances_from_moments

Array = NDArray[np.float64]
DOCS = Path(__file__).parents[1] / "docs" / "which_number.md"
PER_FEATURE = (0.25, 0.5, 1, 2, 5, 10, 20)
VARIANCE = 0.99


def spectra(width: int) -> dict[str, Array]:
    """Eigenvalues of the populations."""
    ranks = np.arange(1.0, width + 1)
    spiked, floor = np.full(width, 0.05), np.ones(width)
    spiked[:5], floor[:5] = (20, 15, 10, 8, 5), (50, 40, 30, 20, 10)
    low = np.where(ranks <= width // 8, 1.0, 0.0)
    noisy = np.where(ranks <= width // 8, 2.0 ** -(ranks - 1), 0.0) + 1e-5
    return {
        "power law, exponent 1": ranks**-1.0,
        "power law, exponent 1.5": ranks**-1.5,
        "power law, exponent 2": ranks**-2.0,
        "5 spikes on a floor of 0.05": spiked,
        "5 spikes on a floor of 1": floor,
        f"rank {width // 8}": low,
        f"rank {width // 8}, falling, with noise": noisy,
    }


def gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Student's t with 5 degrees of freedom, one scale a row: far rows are far in every direction."""
    return rng.standard_normal(shape) * np.sqrt(3.0 / rng.chisquare(5, (shape[0], 1)))


def plain_value(statistics: Moments) -> torch.Tensor:
    return components_for(variances_from_moments(statistics), VARIANCE)


def case(name: str, spectrum: Array, rows: int, repeats: int, draw: Callable[..., Array]) -> Row:
    """Return one line of the table: `repeats` samples of `rows` rows."""
    rng = np.random.default_rng([rows, len(name)])
    truth = int(np.argmax(np.cumsum(spectrum) / spectrum.sum() >= VARIANCE - 1e-12)) + 1
    plain, values, covered, widths, naive = [], [], 0, [], 0
    for _ in range(repeats):
        basis = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
        x = torch.from_numpy(draw(rng, (rows, len(spectrum))) * np.sqrt(spectrum) @ basis)
        plain.append(float(effective_dimension(x, VARIANCE, normalize=False)))
        interval = jackknife(x, plain_value, normalize=False)
        naive += bool(interval.low <= truth <= interval.high)
        found = corrected_effective_dimension(x, VARIANCE, normalize=False)
        if not found.value.isnan():
            values.append(float(found.value))
            widths.append(float(found.high - found.low))
            covered += bool(found.low <= truth <= found.high)
    answered = len(values)
    return {
        "population": name,
        "n99": truth,
        "n / D": rows / len(spectrum),
        "plain": round(float(np.mean(plain)), 1),
        "jackknife covers %": round(100 * naive / repeats),
        "corrected": round(float(np.mean(values)), 1) if values else "-",
        "width": round(float(np.mean(widths)), 1) if values else "-",
        "covers %": round(100 * covered / answered) if values else "-",
        "refused %": round(100 * (1 - answered / repeats)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", RefusedEstimateWarning)
    tables: dict[str, list[Row]] = {}
    for title, draw in (("Gaussian rows", gaussian), ("Heavy-tailed rows (t, 5 degrees of freedom)", heavy)):
        tables[title] = [
            case(name, spectrum, int(options.width * factor), options.repeats, draw)
            for name, spectrum in spectra(options.width).items()
            for factor in PER_FEATURE
        ]
        print(markdown(tables[title]), flush=True)
    write("effective_dimension_coverage", f"Coverage at D = {options.width}, {options.repeats} samples a line", tables)
    text = "\n\n".join(f"{title}\n\n{markdown(rows)}" for title, rows in tables.items())
    if DOCS.exists():
        page = re.sub(
            r"(<!-- coverage -->\n).*?(<!-- /coverage -->)", rf"\1\n{text}\n\n\2", DOCS.read_text(), flags=re.S
        )
        DOCS.write_text(page)


if __name__ == "__main__":
    main()
