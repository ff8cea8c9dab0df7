"""Logistic regression on a sparse or a dense matrix, by limited-memory BFGS; deterministic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowbg.kernels.sparse import times, transposed_times

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sparse:
    """A scaled binary matrix: row i is `scale[i]` at `columns[starts[i]:starts[i + 1]]`, else 0."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    scale: Floats
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def times(self, vector: Floats) -> Floats:
        """The product with a vector of `width` entries."""
        return times(self.starts, self.columns, vector) * self.scale

    def transposed_times(self, vector: Floats) -> Floats:
        """The product of the transposed matrix with a vector of one entry a row."""
        return transposed_times(self.starts, self.columns, vector * self.scale, self.width)

    def rows(self, chosen: NDArray[np.int64]) -> Sparse:
        """The matrix of some rows."""
        lengths = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], lengths)
        return Sparse(starts, self.columns[at], self.scale[chosen], self.width)


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix whose every entry is there: rows × width."""

    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.values.shape[1])

    def times(self, vector: Floats) -> Floats:
        """The product with a vector of `width` entries."""
        return np.asarray(self.values @ vector)

    def transposed_times(self, vector: Floats) -> Floats:
        """The product of the transposed matrix with a vector of one entry a row."""
        return np.asarray(vector @ self.values)

    def rows(self, chosen: NDArray[np.int64]) -> Dense:
        """The matrix of some rows."""
        return Dense(self.values[chosen])


def minimise(
    objective: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    iterations: int,
    memory: int = 8,
    tolerance: float = 1e-4,
) -> Floats:
    """Where the convex `objective` (value, gradient) is least, as far as `iterations` get.

    Nocedal & Wright 2006, algorithm 7.5, with backtracking line search. Ends when the gradient
    has shrunk to `tolerance` of its first norm.
    """
    x = start
    value, gradient = objective(x)
    pairs: deque[tuple[Floats, Floats]] = deque(maxlen=memory)
    limit = tolerance * float(np.linalg.norm(gradient))
    for _ in range(iterations):
        direction = -_quasi_newton(gradient, pairs)
        slope = float(gradient @ direction)
        step = 1.0
        for _ in range(30):
            moved = x + step * direction
            new_value, new_gradient = objective(moved)
            if new_value <= value + 1e-4 * step * slope:
                break
            step *= 0.5
        else:
            break
        if float((moved - x) @ (new_gradient - gradient)) > 1e-14:
            pairs.append((moved - x, new_gradient - gradient))
        x, value, gradient = moved, new_value, new_gradient
        if float(np.linalg.norm(gradient)) <= limit:
            break
    return x


def _quasi_newton(gradient: Floats, pairs: deque[tuple[Floats, Floats]]) -> Floats:
    """The inverse Hessian's estimate times the gradient (two-loop recursion)."""
    direction = gradient.copy()
    kept = []
    for s, y in reversed(pairs):
        rho = 1.0 / float(y @ s)
        alpha = rho * float(s @ direction)
        direction -= alpha * y
        kept.append((rho, alpha))
    if pairs:
        s, y = pairs[-1]
        direction *= float(s @ y) / float(y @ y)
    else:
        direction /= max(float(np.linalg.norm(gradient)), 1e-12)
    for (s, y), (rho, alpha) in zip(pairs, reversed(kept), strict=True):
        direction += s * (alpha - rho * float(y @ direction))
    return direction


def fit_logistic(
    matrix: Sparse | Dense,
    labels: NDArray[np.bool_],
    weights: Floats,
    l2: float,
    iterations: int = 40,
    tolerance: float = 1e-4,
) -> tuple[Floats, float]:
    """Weights and intercept that minimise Σ wᵢ · log(1 + exp(−yᵢzᵢ)) / Σ wᵢ + l2/2 · |w|²."""
    signs = np.where(labels, 1.0, -1.0)
    share = weights / weights.sum()

    def objective(x: Floats) -> tuple[float, Floats]:
        margin = signs * (matrix.times(x[:-1]) + x[-1])
        loss = float(share @ np.logaddexp(0.0, -margin)) + 0.5 * l2 * float(x[:-1] @ x[:-1])
        residual = -share * signs / (1.0 + np.exp(np.clip(margin, -60.0, 60.0)))
        gradient = np.empty_like(x)
        gradient[:-1] = matrix.transposed_times(residual) + l2 * x[:-1]
        gradient[-1] = residual.sum()
        return loss, gradient

    start = np.zeros(matrix.width + 1)
    solution = minimise(objective, start, iterations, tolerance=tolerance)
    return solution[:-1], float(solution[-1])
