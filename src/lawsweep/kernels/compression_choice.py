"""Which solver suits a target, from the sizes alone; no torch, so that planning may ask."""

from __future__ import annotations

from typing import Any

# Up to so many unknowns a dense Hessian and its eigenvectors cost less than products with it.
DENSE_UNKNOWNS = 800
# With many target rows more unknowns pay: up to MOST_DENSE (memory), where a Hessian, 2 N d^2 M,
# and its eigenvectors, some 10 (M d)^3, are fewer flops than CG_PRODUCTS products, 8 N M d each.
# Along soft valleys conjugate gradients take hundreds of products a step.
MOST_DENSE, CG_PRODUCTS = 2000, 100


def dense_pays(n: Any, m: Any, d: Any) -> Any:
    """Whether dense Hessians suit M rows in R^d and N = ``n`` target rows; arrays or numbers."""
    unknowns = 1.0 * m * d
    dense = 2.0 * n * d * unknowns + 10.0 * unknowns**3
    many = (unknowns <= MOST_DENSE) & (dense <= CG_PRODUCTS * 8.0 * n * unknowns)
    return (unknowns <= DENSE_UNKNOWNS) | many
