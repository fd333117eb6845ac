# SPDX-License-Identifier: Apache-2.0
"""Fit a product code: groups of principal components of equal rate, centroids by k-means, distilled points.

Below one bit a component scalar codes give most components nothing; centroids of several components do not. The groups
hold consecutive components and carry equal parts of the Gaussian rate (reverse water-filling: Cover and Thomas, chapter
10): the leading groups have few components, the last ones dozens. At few bytes a group is coded by a sum of centroids,
whose stages are fitted on the residuals of every candidate of a beam search.

The points that codes stand for are then moved so that a row's neighbours stay those of the whole rows: the divergence
of the softmax over similarities is minimised, for a few small steps, since the sample is soon learnt by heart. A small
sample is joined by mixtures of two of its rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.families.centroids import fit_stages
from lightning_monocon.codes.fitting import FittingRows, check_size, check_varying
from lightning_monocon.codes.product import ProductQuantiser, spans, summed
from lightning_monocon.codes.space import Scoring, Space
from lightning_monocon.functional.products import inner_products
from lightning_monocon.functional.spectrum import components_from_moments

_STAGES, _SUMS_UP_TO, _REACH = 4, 16, 256  # sums of four centroids up to 16 bytes; they see 256 components
_TEMPERATURE, _RATE, _STEPS = 0.05, 5e-4, 200
_QUERIES, _OTHERS = 256, 2048
_BLOCK = 4096  # rows whose coordinates are held in float64 at a time
_POOL, _COPIES, _KEPT = 32_768, 4, 0.9  # rows of the distillation, how often each appears, how much of it a mixture has


def fit_product(rows: FittingRows, size: int, scoring: Scoring = "whole") -> Codec:
    """Fit a product code of ``size`` bytes, the same one for the same rows and seed.

    Args:
        rows: What to fit on.
        size: Bytes of a code.
        scoring: What a score estimates.

    Raises:
        ValueError: If ``size`` is below 1, all rows are equal, or there are more groups than numbers in a row.
    """
    check_size(size)
    check_varying(rows)
    stages = _STAGES if size <= _SUMS_UP_TO and size % _STAGES == 0 else 1
    found = components_from_moments(rows.statistics)
    emphasis = 0.0 if stages > 1 else 0.25  # neighbours depend on the leading components more than the squared error
    variances = found.variances.double().clamp_min(float(found.variances[0]) * 1e-12)
    cuts = equal_rates(variances ** (1 + 2 * emphasis), size // stages, 8.0 * stages)
    if stages > 1:
        cuts[-1] = max(cuts[-1], min(_REACH, rows.dim))
    kept = cuts[-1]
    space = Space(found.mean.float(), found.components[:kept].float(), rows.similarity, scoring)
    weights = (variances[:kept] / variances[0]).pow(emphasis).float()
    coordinates = (rows.sample.double() @ space.matrix.double().T - space.offset).float()
    generator = torch.Generator().manual_seed(rows.seed)
    centroids = [fit_stages(coordinates[:, own] * weights[own], stages, generator) for own in spans(cuts)]
    points = [table / weights[own] for table, own in zip(centroids, spans(cuts), strict=True)]
    beam = 1 if stages == 1 else 3 if size <= 8 else 2
    quantiser = ProductQuantiser(weights, centroids, points, beam)
    if rows.similarity == "cosine":
        quantiser = distilled(quantiser, space, mixed(rows, generator), generator)
    return Codec(f"product-{size}", "product", space, quantiser)


def equal_rates(variances: Tensor, groups: int, bits: float) -> list[int]:
    """Return where groups of consecutive components begin and end, so that each carries ``bits`` bits.

    Args:
        variances: ``(D,)``, descending and positive.
        groups: Number of groups.
        bits: Rate of a group.

    Returns:
        ``groups + 1`` ascending integers from 0; components from the last one on carry no rate.

    Raises:
        ValueError: If there are more groups than components.
    """
    if groups > len(variances):
        raise ValueError(
            f"`size` must give at most one group per number of a row, {len(variances)}; got {groups} groups. Use a "
            "smaller size."
        )
    logs = variances.double().log2()

    # with j active components the water level is the one at which their rates sum to the total
    active = torch.arange(1, len(logs) + 1)
    levels = (logs.cumsum(0) - 2 * groups * bits) / active
    count = max(int((logs > levels).sum()), groups)
    rates = ((logs[:count] - levels[count - 1]) / 2).clamp_min(0)
    middle = rates.cumsum(0) - rates / 2
    cuts = [0]
    for group in range(1, groups):
        cut = int((middle < group * bits).sum())
        cuts.append(min(max(cut, cuts[-1] + 1), count - (groups - group)))
    return [*cuts, count]


def mixed(rows: FittingRows, generator: torch.Generator) -> Tensor:
    """Return the sample, unit rows ``(n, D)``, and mixtures of its rows, ``(m, D)`` in all.

    The weights of the two rows of a mixture have squares that sum to one, so that mixtures vary about the mean as much
    as rows do, and in the same directions.
    """
    sample, mean = rows.sample, rows.statistics.mean.float()
    pool = [sample]
    for _ in range(min(_COPIES, _POOL // len(sample)) - 1):
        others = sample[torch.randperm(len(sample), generator=generator)]
        mixtures = mean + _KEPT * (sample - mean) + (1 - _KEPT**2) ** 0.5 * (others - mean)
        pool.append(nn.functional.normalize(mixtures))
    return torch.cat(pool)


@torch.enable_grad()
def distilled(
    quantiser: ProductQuantiser, space: Space, sample: Tensor, generator: torch.Generator
) -> ProductQuantiser:
    """Return the quantiser with points moved by distillation of the cosines of whole rows; its codes stay.

    Args:
        quantiser: What to move the points of.
        space: Where the sample's coordinates come from.
        sample: ``(n, D)``, rows of unit length.
        generator: Draws the rows of each step.
    """
    blocks = torch.split(sample, _BLOCK)
    found = torch.cat([quantiser.encode(space.coordinates(block)) for block in blocks])
    codes = torch.split(found.long(), quantiser.stages, 1)
    queries = torch.cat([space.queries(block) for block in blocks])
    whole = sample if space.scoring == "whole" else nn.functional.normalize(sample - space.mean)
    origin = torch.zeros(queries.shape[1])  # `Space.points` has no gradient: where it puts the mean
    if space.scoring == "whole":
        origin = torch.cat([space.offset, torch.linalg.vector_norm(space.beyond)[None]]).float()
    points = [nn.Parameter(table.clone()) for table in quantiser.points]
    optimiser = torch.optim.Adam(points, lr=_RATE)
    for step in range(_STEPS if len(sample) > 1 else 0):
        optimiser.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        order = torch.randperm(len(sample), generator=generator)
        half = min(_QUERIES, len(sample) // 2)
        asked, others = order[:half], order[half : half + _OTHERS]
        decoded = torch.cat([summed(table, code[others]) for table, code in zip(points, codes, strict=True)], 1)
        placed = nn.functional.normalize(nn.functional.pad(decoded, (0, len(origin) - decoded.shape[1])) + origin)
        optimiser.zero_grad()
        slope = divergence_gradient(placed.detach(), queries[asked], whole[others], whole[asked])
        torch.autograd.backward(placed, slope)
        optimiser.step()
    return ProductQuantiser(
        quantiser.weights, quantiser.centroids, [point.detach() for point in points], quantiser.beam
    )


def divergence_gradient(placed: Tensor, queries: Tensor, whole: Tensor, whole_queries: Tensor) -> Tensor:
    """Return the gradient ``(N, k)`` of the mean divergence of distillation by placed rows ``(N, k)``, in closed form.

    Autograd does not know `inner_products`, which take half of the time.

    Args:
        placed: ``(N, k)``, decoded rows in the scoring space.
        queries: ``(Q, k)``, in the scoring space.
        whole: ``(N, D)``, the same rows as they are.
        whole_queries: ``(Q, D)``.
    """
    wanted = (inner_products(whole_queries, whole) / _TEMPERATURE).softmax(1)
    excess = (inner_products(queries, placed) / _TEMPERATURE).softmax(1).sub_(wanted)
    return inner_products(excess.T, queries.T) / (_TEMPERATURE * len(queries))
