# SPDX-License-Identifier: Apache-2.0
"""What must hold of the metrics, the loss and the head on any input: hypothesis draws it, float64 oracles judge it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from hypothesis import strategies as st
from oracles import monotone, search, spectra, supcon
from torch import Tensor

from lightning_monocon import MonotonicMLP, SupConLoss, functional, metrics
from lightning_monocon.functional import DegenerateSampleWarning

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
KINDS = ("plain", "duplicates", "constant", "low rank", "zero rows", "fp16 edge", "integers")


def rows_of(
    kind: str, rows: int, width: int, offset: float, scale: float, dtype: torch.dtype, seed: int, strided: bool
) -> Tensor:
    """Return ``(rows, width)`` embeddings of a hostile kind, always finite in their dtype."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    if kind == "duplicates":
        x = x[torch.randint(0, max(1, rows // 4), (rows,), generator=generator)]
    elif kind == "constant":
        x = x[:1].expand(rows, width)
    elif kind == "low rank":
        x = x[:, :1] * torch.randn(1, width, generator=generator, dtype=torch.float64)
    elif kind == "zero rows":
        x = x * (torch.rand(rows, 1, generator=generator) > 0.3)
    elif kind == "integers":
        x = x.mul(2).round()
    if kind == "fp16 edge":
        offset, scale = 0.0, 6e4 / max(1e-9, *x.abs().flatten().tolist(), 1e-9)
    x = (x + offset) * scale
    limit = torch.finfo(dtype).max
    x = x.clamp(-limit, limit).to(dtype)
    return torch.cat([x, x], dim=1)[:, ::2].contiguous().repeat_interleave(2, 1)[:, ::2] if strided else x


def embeddings(least_rows: int = 0, width: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Tensor]:
    """Draw embeddings: few rows or many, narrow or wide (n < d), offsets, scales, all dtypes, strided or not."""
    return st.builds(
        rows_of,
        kind=st.sampled_from(KINDS),
        rows=st.integers(least_rows, 40),
        width=width or st.one_of(st.integers(1, 12), st.integers(13, 96)),
        offset=st.sampled_from([0.0, 0.0, 1.0, -30.0, 1e4]),
        scale=st.sampled_from([1.0, 1.0, 1e-20, 1e15, 300.0]),
        dtype=st.sampled_from(DTYPES),
        seed=st.integers(0, 2**31),
        strided=st.booleans(),
    )


METRICS = {
    "x": embeddings(),
    "normalize": st.booleans(),
    "variance": st.sampled_from([0.5, 0.9, 0.99, 1.0]),
    "cut": st.floats(0, 1),
    "metric": st.sampled_from(["cosine", "euclidean"]),
    "k": st.integers(1, 6),
    "classes": st.integers(2, 5),
}


def check_metrics(x: Tensor, normalize: bool, variance: float, cut: float, metric: str, k: int, classes: int) -> None:
    """Judge every metric on one set of embeddings against its oracle, its bounds and its class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateSampleWarning)
        warnings.filterwarnings("ignore", ".*rows for .* features")  # small samples, on purpose
        spectrum = _check_spectrum(x, normalize, variance)
        _check_streaming(x, normalize, variance, int(cut * len(x)), spectrum)
        _check_search(x, k, metric, classes)


def _check_spectrum(x: Tensor, normalize: bool, variance: float) -> Tensor:
    rows = spectra.prepared(x.double().numpy(), normalize)
    found = functional.explained_variance(x, normalize)
    assert found.shape == (x.shape[1],)
    ranks = [
        f(x, normalize=normalize)
        for f in (functional.participation_ratio, functional.stable_rank, functional.spectral_effective_rank)
    ]
    dimension = functional.effective_dimension(x, variance, normalize)
    if found.isnan().any():
        spread = spectra.variances(rows).sum() if len(rows) > 1 else 0.0
        assert found.isnan().all() and dimension.isnan()
        assert spread <= 1e-20 * max(np.square(rows).sum(), 1e-300) or not np.isfinite(spread)
        return found
    truth = spectra.variances(rows)
    noise = (1e-14 * np.abs(rows).max()) ** 2 * rows.shape[1]  # of rows that are nearly all offset
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-6, atol=1e-7 * truth[0] + noise)
    if truth[0] <= 1e6 * noise:
        return found
    share = truth.cumsum() / truth.sum()
    slack = 1e-7 if variance < 1 else 1e-6
    assert (share < variance - slack).sum() + 1 <= dimension <= min((share < variance + slack).sum() + 1, x.shape[1])
    assert all(1 - 1e-9 <= rank <= min(x.shape) + 1e-6 for rank in ranks)
    error = functional.reconstruction_error(x, x, variance, normalize)
    assert -1e-12 <= error.fvu <= 1 - variance + 1e-6
    np.testing.assert_allclose(error.fvu, 1 - share[int(dimension) - 1], atol=1e-6)
    return found


def _check_streaming(x: Tensor, normalize: bool, variance: float, cut: int, spectrum: Tensor) -> None:
    """The class, fed in two parts, says what the function says of the whole."""
    total = metrics.TotalVariance(normalize=normalize)
    cosine = metrics.MeanCosine()
    for part in (x[:cut], x[cut:]):
        total.update(part)
        cosine.update(part)
    whole = float(functional.total_variance(x, normalize))
    rows = spectra.prepared(x.double().numpy(), normalize)
    noise = (1e-15 * np.abs(rows).max(initial=0)) ** 2 * x.shape[1]  # the square of what rounding the mean leaves
    np.testing.assert_allclose(float(total.compute()), np.float32(whole), rtol=1e-5, atol=noise + 1e-30)
    if not spectrum.isnan().any():  # of equal rows the spectrum is undefined, its sum is not
        np.testing.assert_allclose(whole, spectrum.sum(), rtol=1e-9)
    mean = float(cosine.compute())
    lengths = np.linalg.norm(x.double().numpy(), axis=1)
    if len(x) > 1 and (lengths > 0).all():
        np.testing.assert_allclose(mean, spectra.mean_pair_cosine(x.double().numpy()), atol=2e-6)
    result = functional.feature_correlation(x, normalize)
    value = float(result[0] if isinstance(result, tuple) else result)
    assert np.isnan(value) or -1e-9 <= value <= 1 + 1e-9


def _check_search(x: Tensor, k: int, metric: str, classes: int) -> None:
    if len(x) < 6:
        return
    labels = torch.arange(len(x)) % classes - 1
    gallery, query = x[: len(x) // 2 + 2], x[len(x) // 2 + 2 :]
    known, asked = labels[: len(gallery)], labels[len(gallery) :]
    k = min(k, len(gallery))
    if len(known.unique()) < 2 or not len(query):
        return
    accuracy = functional.knn_accuracy(gallery, known, query, asked, k, metric)
    recall = functional.recall_at_k(gallery, known, query, asked, (k,), metric)[k]
    found, clear = search.nearest(gallery.double().numpy(), query.double().numpy(), k, metric)
    assert 0 <= accuracy <= 1 and 0 <= recall <= 1
    if clear.all():
        votes = search.vote(known.numpy()[found])
        np.testing.assert_allclose(accuracy, (votes == asked.numpy()).mean())
        np.testing.assert_allclose(recall, (known.numpy()[found] == asked.numpy()[:, None]).any(1).mean())


LOSS = {
    "kind": st.sampled_from(["plain", "duplicates", "integers", "constant"]),
    "rows": st.integers(0, 14),
    "width": st.integers(1, 20),
    "classes": st.integers(1, 14),
    "shift": st.integers(-(2**40), 2**40),
    "temperature": st.floats(0.02, 2.0),
    "scale": st.sampled_from([1.0, 1e-4, 1e4]),
    "dtype": st.sampled_from(DTYPES),
    "normalize": st.booleans(),
    "singletons": st.sampled_from(["zero", "skip"]),
    "ignore": st.booleans(),
    "seed": st.integers(0, 2**31),
}


def check_loss(
    kind: str,
    rows: int,
    width: int,
    classes: int,
    shift: int,
    temperature: float,
    scale: float,
    dtype: torch.dtype,
    normalize: bool,
    singletons: str,
    ignore: bool,
    seed: int,
) -> None:
    """Judge the loss and its gradient against one anchor after the other in float64; then a head of the same draw."""
    generator = torch.Generator().manual_seed(seed)
    drawn = rows_of(kind, rows, width, 0.5, scale if normalize else min(scale, 1.0), dtype, seed, False)
    labels = torch.randint(classes, (rows,), generator=generator) + shift
    if normalize and rows and (drawn.double().norm(dim=1) < 1e-6).any():
        drawn = drawn + 1
    chosen = int(labels[0]) if ignore and rows else None
    loss = SupConLoss(temperature, normalize=normalize, singletons=singletons, ignore_index=chosen)  # type: ignore[arg-type]
    mine, truth = drawn.clone().requires_grad_(), drawn.double().clone().requires_grad_()
    value = loss(mine, labels)
    expected = supcon.supcon(truth, labels, temperature, normalize, singletons, chosen)
    # a logit is rounded in proportion to its size; its error passes to the value, and times |d logit / d e| to e
    lengths = drawn.double().norm(dim=1)
    longest, shortest = (float(f(lengths)) for f in (torch.max, torch.min)) if rows else (1.0, 1.0)
    eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    slack = 64 * eps * (1 + (1.0 if normalize else longest**2) / temperature)
    torch.testing.assert_close(value.double(), expected, rtol=slack, atol=slack)
    value.backward()
    expected.backward()
    assert mine.grad is not None and truth.grad is not None
    assert mine.grad.isfinite().all() or dtype == torch.float16
    if dtype in (torch.float32, torch.float64) and rows:
        slope = (1 / max(shortest, 1e-30) if normalize else longest) / temperature
        torch.testing.assert_close(mine.grad.double(), truth.grad, rtol=slack, atol=slack * slope)
    _check_head(generator, width, rows, seed)


def _check_head(generator: torch.Generator, width: int, rows: int, seed: int) -> None:
    """The head equals the sums written out, and never falls when an input rises."""
    kinds = [(p, a) for p in ("square", "exp", "softplus", "abs") for a in ("leaky_relu", "relu", "elu", "tanh")]
    parametrization, activation = kinds[seed % len(kinds)]
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        head = MonotonicMLP(
            width, 2 * width, 1 + seed % 5, 1 + seed % 2, parametrization=parametrization, activation=activation
        )  # type: ignore[arg-type]
    x = torch.randn(rows, width, generator=generator)
    layers = [*head.hidden_layers, head.output_layer]
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    out = head(x).detach()
    truth = monotone.stack(x, weights, biases, parametrization, activation).detach()
    torch.testing.assert_close(out.double(), truth, rtol=1e-4, atol=1e-5 * float(1 + truth.abs().max() if rows else 1))
    higher = head(x + torch.rand(rows, width, generator=generator))
    assert (higher >= out - 1e-5 * (1 + out.abs())).all()
