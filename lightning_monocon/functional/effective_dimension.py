# SPDX-License-Identifier: Apache-2.0
"""Count the principal components that hold a given share of the variance."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_variance
from lightning_monocon.functional.moments import moments
from lightning_monocon.functional.spectrum import variances_from_moments

# A share within this of the threshold counts as reached: eigenvalues carry a relative error of about D epsilon, so
# without it an exact tie (variances 99 and 1) would be decided by rounding.
TIE = 1e-12


def components_for(variances: Tensor, variance: float) -> Tensor:
    """Return the smallest k whose first k ``variances`` (descending) sum to the share ``variance`` of all; NaN of NaN.

    The result is a 0-d tensor of the variances' dtype.
    """
    total = variances.sum()
    if not total > 0:
        return variances.new_tensor(torch.nan)
    share = variances.cumsum(0) / total
    return ((share < variance - TIE).sum() + 1).clamp_max(len(variances)).to(variances.dtype)


def effective_dimension(embeddings: Tensor, variance: float = 0.99, normalize: bool = True) -> Tensor:
    r"""Return the smallest k whose first k principal components explain the share ``variance``, 0-d float64.

    .. math::
        k = \min\Bigl\{k : \sum_{i\le k}\lambda_i \ge v \sum_i \lambda_i\Bigr\}

    with :math:`\lambda` the descending eigenvalues of the centred covariance. A cumulative share within 1e-12 of
    ``variance`` counts as reached, so exact ties do not depend on rounding. It grows with the sample until N is many
    times D: compare at equal N only. MonoCon calls it compactness.

    ``variance`` lies in (0, 1]; the other arguments and the errors are those of `moments`.

    Example:
        >>> effective_dimension(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        tensor(2., dtype=torch.float64)
    """
    check_variance(variance)
    return components_for(variances_from_moments(moments(embeddings, normalize)), variance)
