# SPDX-License-Identifier: Apache-2.0
"""Compute the entropy effective rank of the spectrum, such as RankMe."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.functional.moments import Moments, moments
from lightning_monocon.functional.spectrum import squared_singular_values

Values = Literal["singular", "eigenvalues"]


def effective_rank_from_moments(statistics: Moments, centred: bool, values: Values) -> Tensor:
    """Return the exponential of the spectrum's entropy, 0-d float64."""
    squares = squared_singular_values(statistics, centred)
    weights = squares.sqrt() if values == "singular" else squares
    entropy: Tensor = torch.special.entr(weights / weights.sum()).sum()
    return entropy.exp()


def spectral_effective_rank(
    embeddings: Tensor, centred: bool = False, values: Values = "singular", normalize: bool = False
) -> Tensor:
    r"""Return the exponential of the entropy of the spectrum, 0-d float64, between 1 and D.

    .. math::
        \exp\Bigl(-\sum_i p_i\log p_i\Bigr),\qquad p_i = s_i / \sum_j s_j

    Roy & Vetterli (2007). The defaults are RankMe (Garrido et al., arXiv 2210.02885): singular values s of the raw,
    uncentred rows, here without RankMe's epsilon of 1e-7 beside p. ``centred=True`` subtracts the mean first, and
    ``values="eigenvalues"`` takes the squares :math:`s_i^2`: each gives another number for the same embeddings.

    The other arguments and the errors are those of `moments`.

    Example:
        >>> spectral_effective_rank(torch.eye(4))
        tensor(4., dtype=torch.float64)
    """
    check_choice("values", values, get_args(Values))
    return effective_rank_from_moments(moments(embeddings, normalize), centred, values)
