"""What all compression losses share: the compressed rows' own terms, and how points move.

J(v) = -2 sum_j s_j h(v_j) + sum_jl s_j s_l k(v_j, v_l); see ``population.py`` for the setting.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import Kept, waits
from lawsweep.kernels.gaussian.angles import inverse_sine, sine_arcsine, unit
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel
from lawsweep.kernels.optimise.objective import Move, Objective

# A row below this part of the target's size, and still shrinking fast, has collapsed to zero.
COLLAPSE = 1e-9


def rotation(v: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation nearest to a step: v Omega ~ p, Omega = Q omega Q^T antisymmetric.

    v, p: (R, M, d); returns Q (R, d, q) and omega (R, q, q), q <= 2 min(M - 1, d).  With
    v = L S V^T over its k = min(M-1, d) largest singular values (an ETF has no more) and
    Z = L^T p, the parts of Omega are, by least squares,
    within V:       (s_a Z_ab - s_b Z_ba)/(s_a^2 + s_b^2), Z in the basis V,
    out of V:       B = s Z_out/s^2.
    Both are damped by a twentieth of s_1, so a row space that is nearly of lower rank does no
    harm: any Omega linear in p gives a valid retraction.
    """
    k = min(max(v.shape[1] - 1, 1), v.shape[2])
    left, s, right = torch.linalg.svd(v, full_matrices=False)
    left, s, inner = left[:, :, :k], s[:, :k, None], right[:, :k].mT
    damp = (0.05 * s[:, :1]) ** 2 + torch.finfo(v.dtype).tiny
    z = left.mT @ p
    within = z @ inner
    out = s / (s**2 + damp) * (z - within @ inner.mT)
    twist = s * within
    twist = (twist - twist.mT) / (s**2 + s.mT**2 + damp)
    outer, triangle = torch.linalg.qr(out.mT)
    q = k + outer.shape[-1]
    omega = v.new_zeros(len(v), q, q)
    omega[:, :k, :k] = twist
    omega[:, :k, k:] = triangle.mT
    omega[:, k:, :k] = -triangle
    return torch.cat([inner, outer], -1), omega


class Rows:
    """A point v, shape (R, M, d): directions, norms and which rows are alive (not zero)."""

    def __init__(self, x: Tensor, shape: tuple[int, int]):
        self.v = x.reshape(x.shape[0], *shape)
        self.unit, self.norm = unit(self.v)
        self.alive = self.norm > 0
        safe = torch.where(self.alive, self.norm, torch.ones_like(self.norm))
        self.inverse = torch.where(self.alive, 1.0 / safe, torch.zeros_like(safe))
        self._across: tuple[Tensor, Tensor] | None = None

    def across(self, p: Tensor) -> Tensor:
        """The parts of p orthogonal to the rows: (I - v^ v^T) p."""
        return p - (self.unit * p).sum(-1, keepdim=True) * self.unit

    def across_once(self, p: Tensor) -> Tensor:
        """The same, kept for the next term of a product that asks for it of the same ``p``."""
        if self._across is None or self._across[0] is not p:
            self._across = (p, self.across(p))
        return self._across[1]


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of two batches of matrices: one operation where ``@`` sends six, five of views."""
    plain = a.ndim == b.ndim == 3 and len(a) == len(b)
    return torch.bmm(a, b) if plain else a @ b


@dataclass(frozen=True)
class RowTurn:
    """Directions of rows (R, M, d) turned by I + Q (e^omega - I) Q^T (``rotation``): a Turn."""

    basis: Tensor
    turned: Tensor

    def forth(self, p: Tensor) -> Tensor:
        """Directions (R, M d) turned as the rows are."""
        return self._apply(p, self.turned)

    def back(self, p: Tensor) -> Tensor:
        """And turned back."""
        return self._apply(p, self.turned.mT)

    def take(self, index: Tensor) -> RowTurn:
        """Of those restarts alone."""
        return RowTurn(self.basis[index], self.turned[index])

    def _apply(self, p: Tensor, turned: Tensor) -> Tensor:
        q = p.reshape(len(p), -1, self.basis.shape[1])
        return (q + q @ self.basis @ turned @ self.basis.mT).flatten(1)


def turn(rows: Rows, p: Tensor, size: Tensor) -> tuple[Tensor, RowTurn]:
    """The rows a step p leads to, and how they turned.

    Its rotating part turns all rows, the rest is added.

    A loss changes little when all rows turn together, so its valleys are arcs and a straight step
    leaves them (ten times more steps, measured).  ``rotation`` fits the step by v Omega,
    Omega antisymmetric and linear in the step; (v + p - v Omega) e^Omega is v + p to first
    order, so Newton's convergence is kept.

    No row may lose more than nine tenths of its length along itself: the loss has a kink where a
    row is zero.  A row that wants to be zero gets there by tenths, and once below COLLAPSE of
    ``size`` (R,) it is set to zero, where the caller finds it.
    """
    basis, omega = rotation(rows.v, p)
    turned = torch.matrix_exp(omega) - torch.eye(omega.shape[-1], dtype=p.dtype, device=p.device)
    v = rows.v + p - rows.v @ basis @ omega @ basis.mT
    missing = (0.1 * rows.norm - (v * rows.unit).sum(-1)).clamp_min(0.0)
    v = v + missing.unsqueeze(-1) * rows.unit
    small = v.norm(dim=-1) < COLLAPSE * size.unsqueeze(-1)
    gone = ~rows.alive | (small & (missing > 0))
    v = v + v @ basis @ turned @ basis.mT
    return torch.where(gone.unsqueeze(-1), torch.zeros_like(v), v), RowTurn(basis, turned)


class HomogeneousObjective(Objective):
    """J(v) = -2 sum_j s_j h(v_j) + sum_jl s_j s_l k(v_j, v_l) over restarts.

    ``signs``: (R, M) of +-1; ``size``: sum_i |alpha_i||w_i|, which rows are measured by: a number,
    or one a restart, (R,).  Points
    are (R, M d).  A row that is exactly zero stays there: its gradient is 0 and its Hessian block
    the identity (J has a kink at v_j = 0).  Subclasses give h through ``cross``,
    ``cross_hessian`` and ``cross_product``.
    """

    def __init__(self, kernel: HomogeneousKernel, signs: Tensor, d: int, size: float | Tensor):
        if signs.ndim != 2 or not bool((signs.abs() == 1).all()):
            raise ValueError("expected signs of shape (R, M) made of +1 and -1; give one a row")
        self.kernel, self.signs, self.d = kernel, signs, d
        self.shape = (signs.shape[1], d)
        self.size = torch.as_tensor(size, dtype=signs.dtype, device=signs.device).expand(len(signs))
        self._parts = Kept()

    @abstractmethod
    def cross(self, rows: Rows) -> Tensor:
        """Gradient of h at each row, (R, M, d)."""

    @abstractmethod
    def cross_hessian(self, rows: Rows) -> Tensor:
        """Second derivatives of h at each row, (R, M, d, d)."""

    @abstractmethod
    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """The map p -> (second derivative of h at v_j) p_j on (R, M, d)."""

    def take(self, index: Tensor) -> HomogeneousObjective:
        """The objective of those restarts alone (targets are shared).

        The last answers are kept: a minimiser asks for the same restarts step after step.
        """
        key = index.tolist()
        if key == list(range(len(self.signs))):
            return self
        part: HomogeneousObjective | None = self._parts.get(key)
        if part is None:
            part = object.__new__(type(self))
            part.__dict__.update(self.__dict__)
            there = index.to(self.signs.device)
            part.signs, part.size, part._parts = self.signs[there], self.size[there], Kept()
            part._select(index)
            self._parts.put(key, part)
        return part

    def _select(self, index: Tensor) -> None:
        """Keep only what belongs to the restarts ``index``; called on a copy of self."""

    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """J (R,) and its gradient (R, M d).

        k is homogeneous of degree 1 in each argument, so by Euler h(v) = <v, grad h(v)>, and the
        double sum is half of sum_j <v_j, its gradient>.
        """
        rows = Rows(x, self.shape)
        s = self.signs.unsqueeze(-1)
        cross, own = -2.0 * s * self.cross(rows), self._self_gradient(rows)
        value = (rows.v * (cross + 0.5 * own)).sum((-2, -1))
        gradient = torch.where(rows.alive.unsqueeze(-1), cross + own, torch.zeros_like(own))
        return value, gradient.flatten(1)

    def gains(self, x: Tensor) -> Tensor:
        """s_j h(v_j), (R, M): what each row gains on the target (``search.turned``)."""
        rows = Rows(x, self.shape)
        return self.signs * (rows.v * self.cross(rows)).sum(-1)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives of J, (R, M d, M d)."""
        rows = Rows(x, self.shape)
        m, d = self.shape
        blocks = self._self_hessian(rows)
        blocks.diagonal(dim1=1, dim2=2).add_(  # (R, d, d, M)
            (-2.0 * self.signs[..., None, None] * self.cross_hessian(rows)).permute(0, 2, 3, 1)
        )
        if waits(x) or not bool(rows.alive.all()):
            both = rows.alive[:, :, None] & rows.alive[:, None, :]
            blocks = torch.where(both[..., None, None], blocks, torch.zeros_like(blocks))
            eye = torch.eye(d, dtype=x.dtype, device=x.device)
            dead = (~rows.alive).to(x.dtype)
            blocks.diagonal(dim1=1, dim2=2).add_(eye[None, :, :, None] * dead[:, None, None, :])
        return blocks.permute(0, 1, 3, 2, 4).reshape(-1, m * d, m * d)

    def hessian_product(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The map p -> Hessian p on (R, M d), without forming the Hessian."""
        rows = Rows(x, self.shape)
        cross, own = self.cross_product(rows), self._self_product(rows)
        twice, alive = 2.0 * self.signs.unsqueeze(-1), rows.alive.unsqueeze(-1)
        zero = rows.v.new_zeros(())

        def product(p: Tensor) -> Tensor:
            shaped = p.reshape(rows.v.shape)
            q = torch.where(alive, shaped, zero)
            return torch.where(alive, own(q) - twice * cross(q), shaped).flatten(1)

        return product

    def move(self, x: Tensor, step: Tensor) -> Move:
        """The point a step leads to, see ``turn``; a row below COLLAPSE is set to zero."""
        v, turned = turn(Rows(x, self.shape), step.reshape(-1, *self.shape), self.size)
        return Move(v.flatten(1), turned)

    def _pairs(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines, sines and arcsines of the compressed rows, (R, M, M); the diagonal is exact."""
        rho = rows.unit @ rows.unit.mT
        rho.diagonal(dim1=1, dim2=2).fill_(1.0)
        rho = rho.clamp(-1.0, 1.0)
        return rho, *sine_arcsine(rho)

    def _self_gradient(self, rows: Rows) -> Tensor:
        _, sine, arcsine = self._pairs(rows)
        k, s = self.kernel, self.signs
        along = ((k.linear + k.even * arcsine) * s.unsqueeze(-2)) @ rows.v
        outward = (k.even * sine * (s * rows.norm).unsqueeze(-2)).sum(-1, keepdim=True)
        return 2.0 * s.unsqueeze(-1) * (along + outward * rows.unit)

    def _self_hessian(self, rows: Rows) -> Tensor:
        """Blocks (R, M, M, d, d) of the double sum.

        For j != l, with u = v_l, v = v_j: the second derivative in v alone is that of
        ``HomogeneousKernel.hessian``; the mixed one is, with q = v^ - rho u^,
        (linear + even arcsin rho) I + even (v^ t^T + u^ q^T)/s, and
        v^ t^T + u^ q^T = v^ u^T + u^ v^T - rho (v^ v^T + u^ u^T) is symmetric.
        """
        k, a = self.kernel, rows.unit
        rho, sine, arcsine = self._pairs(rows)
        inverse = inverse_sine(sine)
        eye = torch.eye(self.d, dtype=a.dtype, device=a.device)
        signs = self.signs.unsqueeze(-1) * self.signs.unsqueeze(-2)
        outer = a[:, :, None, :, None] * a[:, None, :, None, :]  # v_j^ v_l^T
        own = a[:, :, :, None] * a[:, :, None, :]  # v_j^ v_j^T
        mixed = outer + outer.mT - rho[..., None, None] * (own.unsqueeze(1) + own.unsqueeze(2))
        blocks = (k.linear + k.even * arcsine)[..., None, None] * eye
        blocks = 2.0 * signs[..., None, None] * (blocks + k.even * inverse[..., None, None] * mixed)
        weight = 2.0 * k.even * signs * rows.norm.unsqueeze(-2) * rows.inverse.unsqueeze(-1)
        gram = torch.einsum("rjl,rla,rlb->rjab", weight * inverse, a, a)
        bulk = (weight * sine).sum(-1)[..., None, None]
        across = eye - own
        diagonal = across @ gram @ across + bulk * across + 2.0 * k.self_ * eye
        blocks.diagonal(dim1=1, dim2=2).copy_(diagonal.permute(0, 2, 3, 1))
        return blocks

    def _self_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        k, a = self.kernel, rows.unit
        rho, sine, arcsine = self._pairs(rows)
        inverse = inverse_sine(sine)
        signs = self.signs.unsqueeze(-1) * self.signs.unsqueeze(-2)
        weight = 2.0 * k.even * signs * rows.norm.unsqueeze(-2) * rows.inverse.unsqueeze(-1)
        flat = 2.0 * signs * (k.linear + k.even * arcsine)
        flat.diagonal(dim1=1, dim2=2).fill_(2.0 * k.self_)
        skew = 2.0 * k.even * signs * inverse
        sines, inverses, turned = (weight * sine).sum(-1, keepdim=True), weight * inverse, a.mT

        def product(p: Tensor) -> Tensor:
            off = rows.across_once(p)
            gram = rows.across(bmm(inverses * bmm(off, turned), a))
            here, there = bmm(a, p.mT), (a * p).sum(-1).unsqueeze(-2)  # (v_j^ . p_l), (v_l^ . p_l)
            by_own = (skew * (there - rho * here)).sum(-1, keepdim=True) * a
            by_other = bmm(skew * (here - rho * there), a)
            return bmm(flat, p) + by_own + by_other + sines * off + gram

        return product
