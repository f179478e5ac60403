"""Sums over the cells of one grid by the area that they share with the cells of another."""

import numpy as np

Edges = tuple[np.ndarray, np.ndarray]


def area_sums(values: np.ndarray, rows: Edges, columns: Edges) -> np.ndarray:
    """Sums (N, M) of `values` (n, m) over the cells of another grid, each weighed by the length or
    area, in square metres, that both cells share.

    `rows` and `columns`: pairs of edges along an axis, ascending, of the values (n + 1,) and of
    the other grid (N + 1,). Every term is positive where the values are: nothing cancels.
    """
    return _along(_along(values, *rows).T, *columns).T


def _along(values, edges, others):
    """Sums along the first axis."""
    cuts = np.unique(np.concatenate([edges, others]))
    middles = (cuts[:-1] + cuts[1:]) / 2
    source = np.searchsorted(edges, middles) - 1
    target = np.searchsorted(others, middles) - 1
    used = (source >= 0) & (source < len(values)) & (target >= 0) & (target < len(others) - 1)
    result = np.zeros((len(others) - 1, *values.shape[1:]))
    if used.any():
        source, target, lengths = source[used], target[used], np.diff(cuts)[used]
        starts = np.flatnonzero(np.diff(target, prepend=-1))
        result[target[starts]] = np.add.reduceat(values[source] * lengths[:, None], starts)
    return result
