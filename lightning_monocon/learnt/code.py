# SPDX-License-Identifier: Apache-2.0
r"""Put a code into a training step: its bytes are those of the codec, its gradient passes the rounding unchanged.

A row x of unit length has the coordinates :math:`y = W(x - m)`. They are rounded to a point :math:`\hat y` of the
code's table. Rounding has no useful derivative, so a step computes

.. math:: \tilde y = \hat y + a\,(y - \mathrm{sg}(y))

where sg stops the gradient (Bengio, Leonard and Courville, Estimating or Propagating Gradients Through Stochastic
Neurons, 2013): the value is :math:`\hat y`, and the matrix gets the fraction a of the gradient that it would have
without rounding. The points learn from the loss directly. The centroids, which decide which code a row gets, follow the
coordinates by the squared distance, as in VQ-VAE (van den Oord, Vinyals and Kavukcuoglu 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_monocon.codes import Codec, ProductQuantiser, Space
from lightning_monocon.codes.product import summed
from lightning_monocon.codes.space import Scoring
from lightning_monocon.functional.unit_rows import directions


class TrainableCode(nn.Module):
    """Hold the tables of a fitted product code as parameters.

    Args:
        codec: Where to start: a codec of `fit_product`, `fit_pq` or `fit_opq`.
        through: Fraction of the gradient that passes the rounding; 0 leaves it to the queries to move the matrix.

    Raises:
        ValueError: If the codec has another kind of quantiser, or compares by inner products.
    """

    mean: Tensor
    weights: Tensor

    def __init__(self, codec: Codec, through: float = 1.0) -> None:
        super().__init__()
        quantiser = codec.quantiser
        if not isinstance(quantiser, ProductQuantiser) or codec.space.similarity != "cosine":
            raise ValueError(
                '`codec` must have a product quantiser and similarity="cosine" to be trained; got the quantiser '
                f'"{quantiser.kind}" and similarity="{codec.space.similarity}". Start from a product code.'
            )
        self.scoring: Scoring = codec.space.scoring
        self.beam, self.through = quantiser.beam, through
        self.register_buffer("mean", codec.space.mean.clone())
        self.register_buffer("weights", quantiser.weights.clone())
        self.matrix = nn.Parameter(codec.space.matrix.clone())
        self.centroids = nn.ParameterList([table.clone() for table in quantiser.centroids])
        self.points = nn.ParameterList([table.clone() for table in quantiser.points])

    @classmethod
    def of_state(cls, tables: Mapping[str, Tensor], scoring: Scoring, beam: int, through: float) -> TrainableCode:
        """Return the code of a `state_dict` and of the `description` beside it."""
        groups = range(sum(name.startswith("points.") for name in tables))
        centroids, points = ([tables[f"{name}.{g}"] for g in groups] for name in ("centroids", "points"))
        space = Space(tables["mean"], tables["matrix"], "cosine", scoring)
        return cls(
            Codec("learnt", "learnt", space, ProductQuantiser(tables["weights"], centroids, points, beam)), through
        )

    def description(self) -> dict[str, Any]:
        """Return what is not a tensor, as plain values for a checkpoint."""
        return {"scoring": self.scoring, "beam": self.beam, "through": self.through}

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows ``(B, D)`` as the code places them, ``(B, D')``, and the distance of the centroids, 0-d.

        The first are those of `Codec.decode`; their inner products with `queries` are scores.
        """
        unit = directions(rows)
        coordinates = (unit - self.mean) @ self.matrix.T
        with torch.no_grad():
            quantiser = self._quantiser()
            codes = torch.split(quantiser.encode(coordinates).long(), quantiser.stages, 1)
        decoded = torch.cat([summed(table, own) for table, own in zip(self.points, codes, strict=True)], 1)
        searched = torch.cat([summed(table, own) for table, own in zip(self.centroids, codes, strict=True)], 1)
        apart = (coordinates.detach() * self.weights - searched).square().sum(1).mean()
        passed = decoded + self.through * (coordinates - coordinates.detach())
        if self.scoring == "whole":
            offset, beyond = self._place_of_the_mean()
            passed = torch.cat([passed + offset, torch.linalg.vector_norm(beyond).expand(len(rows), 1)], 1)
        return nn.functional.normalize(passed), apart

    def queries(self, rows: Tensor) -> Tensor:
        """Return queries ``(Q, D)`` in the scoring space ``(Q, D')``, not rounded: those of `Space.queries`."""
        unit = directions(rows)
        if self.scoring == "centred":
            return nn.functional.normalize((unit - self.mean) @ self.matrix.T)
        _, beyond = self._place_of_the_mean()
        length = torch.linalg.vector_norm(beyond).clamp_min(torch.finfo(torch.float32).tiny)
        return torch.cat([unit @ self.matrix.T, (unit @ (beyond / length))[:, None]], 1)

    def codec(self, name: str = "learnt") -> Codec:
        """Return the code as it is now, as an ordinary codec of the family ``"learnt"`` on the CPU."""
        space = Space(self.mean.cpu().clone(), self.matrix.detach().cpu().clone(), "cosine", self.scoring)
        quantiser = self._quantiser("cpu")
        return Codec(f"{name}-{quantiser.bytes}", "learnt", space, quantiser)

    def _quantiser(self, device: torch.device | str | None = None) -> ProductQuantiser:
        centroids, points = (
            [cast(Tensor, table).detach().to(device or self.weights.device).clone() for table in tables]
            for tables in (self.centroids, self.points)
        )
        return ProductQuantiser(self.weights.to(device or self.weights.device), centroids, points, self.beam)

    def _place_of_the_mean(self) -> tuple[Tensor, Tensor]:
        """Return the coordinates ``(k,)`` of the mean, and its part ``(D,)`` beyond the rows of the matrix."""
        offset = self.matrix @ self.mean
        return offset, self.mean - self.matrix.T @ offset
