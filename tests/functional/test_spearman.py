# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from lightning_monocon.functional import spearman
from lightning_monocon.functional.checks import DegenerateSampleWarning


@pytest.mark.parametrize("values", [2, 5, 1000], ids=lambda v: f"values={v}")
@pytest.mark.parametrize("rows", [2, 3, 500], ids=lambda n: f"rows={n}")
def test_against_ranks_by_counting(rows: int, values: int) -> None:
    generator = torch.Generator().manual_seed(rows + values)
    x = torch.randint(values, (rows,), generator=generator)
    y = torch.randint(values, (rows,), generator=generator).double()
    x[0], y[0] = values, values  # not all equal
    expected = torch.corrcoef(torch.stack([_ranks(x), _ranks(y)]))[0, 1]
    torch.testing.assert_close(spearman(x, y), expected)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Return how many values are smaller, and half of those that are equal."""
    pairs = values[:, None] - values
    return (pairs > 0).sum(1).double() + (pairs == 0).sum(1) / 2


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_without_ranks_it_is_nan_and_warns_once(rows: int) -> None:
    with pytest.warns(DegenerateSampleWarning, match="at least 2 values that are not all equal"):
        assert spearman(torch.ones(rows), torch.arange(float(rows))).isnan()


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"must be \(N,\) alike; got \(2,\) and \(3,\)"):
        spearman(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"`second` must be finite; 1 values are not"):
        spearman(torch.ones(2), torch.tensor([1.0, torch.inf]))
