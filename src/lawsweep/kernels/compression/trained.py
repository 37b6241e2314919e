"""Population loss of a student whose output weights are numbers of their own, for any kernel.

Target f(x) = sum_i alpha_i sigma(<w_i, x>) in R^K, student g(x) = sum_j b_j sigma(<v_j, x>), with
b trained or fixed.  In place of ``population.py``, where a homogeneous sigma absorbs b in v, this
takes any sigma with a profile F(rho, t, s) (``gaussian.pairs``) and several outputs:

    E |f - g|^2 = T + J,  J = -2 sum_ij <alpha_i, b_j> F_ij + sum_jl <b_j, b_l> F_jl.

With v = s v^, grad rho = t/s, t = u^ - rho v^, the second derivative of rho in v is
-(1/s^2) [v^ t^T + t v^^T + rho P], P = I - v^ v^T, and that of s is P/s.  So

    grad_v F = F_s v^ + (F_r/s) t,
    Hess_v F = F_ss v^ v^T + (F_rs/s - F_r/s^2)(v^ t^T + t v^^T) + (F_rr/s^2) t t^T
               + (F_s/s - rho F_r/s^2) P.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.answers import Kept
from lawsweep.kernels.compression.objective import Rows, turn
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.gaussian.pairs import Pairs
from lawsweep.kernels.optimise.objective import Move, Objective


class TrainedLoss(Objective):
    """J over restarts; points are (R, M d), or (R, M (d + K)).

    ``outputs`` (R, M, K): the student's output weights, held at these values, or (``trained``)
    unknowns too, which come after the rows in a point.
    """

    def __init__(
        self,
        target: Target,
        outputs: Tensor,
        trained: bool = True,
        block_elements: int | None = None,
    ):
        alpha, profile = target.alpha, target.profile
        if outputs.ndim != 3 or outputs.shape[-1] != alpha.shape[1]:
            raise ValueError(
                f"expected outputs (R, M, {alpha.shape[1]}), got {tuple(outputs.shape)}; give "
                "each node one weight an output"
            )
        self.unit, norms = target.sides
        self.target_side, self.alpha = profile.side(norms), alpha
        self.outputs, self.profile, self.trained = outputs, profile, trained
        self.shape = (outputs.shape[1], target.dim)
        self.n_outputs = alpha.shape[1]
        self.block_elements = block_elements or devices.on(alpha.device).pass_numbers
        self.size = norms.mean().expand(len(outputs))
        self._parts = Kept()

    def take(self, index: Tensor) -> TrainedLoss:
        """The objective of those restarts alone; the last answers are kept."""
        key = index.tolist()
        if key == list(range(len(self.outputs))):
            return self
        part: TrainedLoss | None = self._parts.get(key)
        if part is None:
            part = object.__new__(type(self))
            part.__dict__.update(self.__dict__)
            there = index.to(self.outputs.device)
            part.outputs, part.size, part._parts = self.outputs[there], self.size[there], Kept()
            self._parts.put(key, part)
        return part

    def split(self, x: Tensor) -> tuple[Rows, Tensor]:
        """Rows (R, M, d) and output weights (R, M, K) of points."""
        m, d = self.shape
        rows = Rows(x[:, : m * d], self.shape)
        if not self.trained:
            return rows, self.outputs
        return rows, x[:, m * d :].reshape(-1, m, self.n_outputs)

    def join(self, rows: Tensor, outputs: Tensor) -> Tensor:
        """Points of rows (R, M, d) and output weights (R, M, K)."""
        parts = [rows.flatten(1), outputs.flatten(1)] if self.trained else [rows.flatten(1)]
        return torch.cat(parts, 1)

    def move(self, x: Tensor, step: Tensor) -> Move:
        """Rows turn with the step (``objective.turn``); output weights add it."""
        rows, outputs = self.split(x)
        m, d = self.shape
        moved, _ = turn(rows, step[:, : m * d].reshape(-1, m, d), self.size)
        if self.trained:
            outputs = outputs + step[:, m * d :].reshape(-1, m, self.n_outputs)
        return Move(self.join(moved, outputs))

    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """J (R,) and its gradient."""
        rows, b = self.split(x)
        side = self._student_side(rows)
        potential, pull = torch.zeros_like(b), torch.zeros_like(rows.v)
        for u, alpha, rho, f in self._target_pairs(rows, side, second=False):
            weight = alpha @ b.mT  # (R, n, M)
            potential += f.f.mT @ alpha
            along = weight * f.r * rows.inverse.unsqueeze(-2)
            pull += (weight * f.s - along * rho).sum(1).unsqueeze(-1) * rows.unit + along.mT @ u
        rho, f, own = self._student_pairs(rows, side, second=False)
        gram = b @ b.mT
        value = -2.0 * (b * potential).sum((-2, -1)) + (gram * f.f).sum((-2, -1))
        gradient = 2.0 * (self._self_pull(rows, gram, rho, f, own) - pull)
        alive = rows.alive.unsqueeze(-1)
        gradient = torch.where(alive, gradient, torch.zeros_like(gradient))
        return value, self.join(gradient, 2.0 * (f.f @ b - potential))

    def gains(self, x: Tensor) -> Tensor:
        """Sum_i <alpha_i, b_j> F_ij, (R, M): what each row gains on the target."""
        rows, b = self.split(x)
        potential = torch.zeros_like(b)
        for _, alpha, _, f in self._target_pairs(rows, self._student_side(rows), second=False):
            potential += f.f.mT @ alpha
        return (b * potential).sum(-1)

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives of J, (R, n, n); rows that are zero have the identity."""
        rows, b = self.split(x)
        side = self._student_side(rows)
        m, d = self.shape
        k, n_restarts = self.n_outputs, len(b)
        blocks, moved = self._target_hessian(rows, b, side)
        vv = rows.v.new_zeros(n_restarts, m, m, d, d)
        rho, f, own = self._student_pairs(rows, side, second=True)
        gram = b @ b.mT
        vv += 2.0 * gram[..., None, None] * _mixed(rows, rho, f)
        blocks = 2.0 * (self._self_hessian(rows, gram, rho, f, own) - blocks)
        vv.diagonal(dim1=1, dim2=2).copy_(blocks.permute(0, 2, 3, 1))
        whole = vv.permute(0, 1, 3, 2, 4).reshape(n_restarts, m * d, m * d)
        if self.trained:
            pulls = _gradients(rows, rho, f, own)  # (R, j, l, d): of F_jl in v_j
            cross = 2.0 * torch.einsum("rjk,rjla->rjalk", b, pulls)
            each = 2.0 * (torch.einsum("rlk,rjla->rjak", b, pulls) - moved)
            cross.diagonal(dim1=1, dim2=3).add_(each.permute(0, 2, 3, 1))
            cross = cross.reshape(n_restarts, m * d, m * k)
            bb = 2.0 * torch.kron(f.f.contiguous(), torch.eye(k, dtype=b.dtype, device=b.device))
            whole = torch.cat([torch.cat([whole, cross], 2), torch.cat([cross.mT, bb], 2)], 1)
        dead = (~rows.alive).repeat_interleave(d, 1)
        dead = torch.cat([dead, dead.new_zeros(n_restarts, whole.shape[-1] - m * d)], 1)
        gone = dead.unsqueeze(1) | dead.unsqueeze(2)
        return torch.where(gone, torch.diag_embed(dead.to(whole.dtype)), whole)

    def hessian_product(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """p -> Hessian p; the Hessian is formed once, (M (d + K))^2 numbers a restart."""
        whole = self.hessian(x)
        return lambda p: (whole @ p.unsqueeze(-1)).squeeze(-1)

    def _student_side(self, rows: Rows) -> Tensor:
        """A row of norm zero is given norm one: its derivatives are replaced anyway."""
        return self.profile.side(torch.where(rows.alive, rows.norm, torch.ones_like(rows.norm)))

    def _target_pairs(
        self, rows: Rows, side: Tensor, second: bool
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Pairs]]:
        """Blocks: directions (n, d), alpha (n, K), cosines (R, n, M) and the pairs."""
        n = max(16, self.block_elements // max(1, side.shape[-1] * rows.norm.numel()))
        for first in range(0, len(self.unit), n):
            part = slice(first, first + n)
            u = self.unit[part]
            rho = (u @ rows.unit.mT).clamp(-1.0, 1.0)
            f = self.profile.pairs(rho, self.target_side[part], side, second)
            yield u, self.alpha[part], rho, f

    def _student_pairs(
        self, rows: Rows, side: Tensor, second: bool
    ) -> tuple[Tensor, Pairs, tuple[Tensor, Tensor, Tensor]]:
        """Cosines (R, M, M), pairs with v_j the second index, their diagonal from V."""
        rho = (rows.unit @ rows.unit.mT).clamp(-1.0, 1.0)
        f = self.profile.pairs(rho, side, side, second)
        own = self.profile.own(torch.where(rows.alive, rows.norm, torch.ones_like(rows.norm)))
        f.f.diagonal(dim1=1, dim2=2).copy_(own[0])
        return rho, f, own

    def _self_pull(
        self, rows: Rows, gram: Tensor, rho: Tensor, f: Pairs, own: tuple[Tensor, ...]
    ) -> Tensor:
        """Half the gradient in v of sum_jl <b_j, b_l> F_jl, (R, M, d)."""
        along = gram * f.r * rows.inverse.unsqueeze(-2)
        outward = gram * f.s - along * rho
        for part in (along, outward):
            part.diagonal(dim1=1, dim2=2).zero_()
        diagonal = 0.5 * gram.diagonal(dim1=1, dim2=2) * own[1]
        return along.mT @ rows.unit + (outward.sum(1) + diagonal).unsqueeze(-1) * rows.unit

    def _target_hessian(self, rows: Rows, b: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """Sum_i <alpha_i, b_j> Hess F_ij (R, M, d, d); sum_i alpha_ik grad F_ij (R, M, d, K)."""
        terms = _Curvature(rows)
        moved = rows.v.new_zeros(*rows.v.shape, self.n_outputs)
        for u, alpha, rho, f in self._target_pairs(rows, side, second=True):
            terms.add(u, rho, f, alpha @ b.mT)
            along = f.r * rows.inverse.unsqueeze(-2)
            moved += torch.einsum("rnm,nk,nd->rmdk", along, alpha, u)
            outward = (f.s - along * rho).mT @ alpha
            moved += rows.unit.unsqueeze(-1) * outward.unsqueeze(-2)
        return terms.total(), moved

    def _self_hessian(
        self, rows: Rows, gram: Tensor, rho: Tensor, f: Pairs, own: tuple[Tensor, ...]
    ) -> Tensor:
        """Sum_l <b_j, b_l> Hess_v F_lj for l != j, and half of <b_j, b_j> V'': (R, M, d, d)."""
        weight = gram.clone()
        weight.diagonal(dim1=1, dim2=2).zero_()
        terms = _Curvature(rows)
        terms.add(rows.unit, rho, f, weight)
        size = 0.5 * gram.diagonal(dim1=1, dim2=2)
        outer = rows.unit.unsqueeze(-1) * rows.unit.unsqueeze(-2)
        eye = torch.eye(self.shape[1], dtype=outer.dtype, device=outer.device)
        bend, bulk = size * own[2], size * own[1] * rows.inverse
        return terms.total() + bend[..., None, None] * outer + bulk[..., None, None] * (eye - outer)


class _Curvature:
    """Collects sum_i weight_ij Hess_v F_ij over blocks of rows u; see the module's formula."""

    def __init__(self, rows: Rows):
        self.rows = rows
        self.gram = rows.v.new_zeros(*rows.v.shape, rows.v.shape[-1])
        self.skew, self.bend = torch.zeros_like(rows.v), torch.zeros_like(rows.norm)
        self.bulk = torch.zeros_like(rows.norm)

    def add(self, u: Tensor, rho: Tensor, f: Pairs, weight: Tensor) -> None:
        assert f.rr is not None
        assert f.rs is not None
        assert f.ss is not None
        inverse = self.rows.inverse.unsqueeze(-2)
        flat = weight * f.r * inverse**2
        self.skew += (weight * f.rs * inverse - flat).mT @ u
        self.bend += (weight * f.ss).sum(-2)
        self.bulk += (weight * f.s * inverse - flat * rho).sum(-2)
        size = weight * f.rr * inverse**2  # (R, n, M)
        scaled = size.mT.unsqueeze(-1) * u.unsqueeze(-3)  # (R, M, n, d)
        self.gram += scaled.mT @ u.unsqueeze(-3)

    def total(self) -> Tensor:
        a = self.rows.unit
        outer = a.unsqueeze(-1) * a.unsqueeze(-2)
        across = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device) - outer
        turned = a.unsqueeze(-1) * self.rows.across(self.skew).unsqueeze(-2)
        return (
            self.bend[..., None, None] * outer
            + turned
            + turned.mT
            + across @ self.gram @ across
            + self.bulk[..., None, None] * across
        )


def _gradients(rows: Rows, rho: Tensor, f: Pairs, own: tuple[Tensor, ...]) -> Tensor:
    """Of F_jl in v_j, (R, j, l, d); for l = j half of the gradient of V, v^ V'/2.

    F is computed with v_j as the second index, so its arrays are turned.
    """
    along = (f.r * rows.inverse.unsqueeze(-2)).mT
    outward = f.s.mT - along * rho.mT
    along.diagonal(dim1=1, dim2=2).zero_()
    outward.diagonal(dim1=1, dim2=2).copy_(0.5 * own[1])
    return along.unsqueeze(-1) * rows.unit.unsqueeze(1) + outward.unsqueeze(
        -1
    ) * rows.unit.unsqueeze(2)


def _mixed(rows: Rows, rho: Tensor, f: Pairs) -> Tensor:
    """The derivative of F_jl in v_j and v_l, (R, j, l, d, d), j != l.

    With v = v_j of norm s, u = v_l of norm t and p = u^ - rho v^, q = v^ - rho u^:
    F_st v^ u^T + (F_rs/t) v^ q^T + (F_rt/s) p u^T + (F_rr/st) p q^T
    + (F_r/st) [I - v^ v^T - u^ u^T + rho v^ u^T].
    """
    assert f.rr is not None
    assert f.rs is not None
    assert f.rt is not None
    assert f.st is not None
    a = rows.unit
    v, u = a.unsqueeze(2), a.unsqueeze(1)  # (R, j, 1, d), (R, 1, l, d)
    r = rho.mT.unsqueeze(-1)
    p, q = u - r * v, v - r * u
    s, t = rows.inverse[:, :, None, None], rows.inverse[:, None, :, None]

    def by(x: Tensor) -> Tensor:
        return x.mT.unsqueeze(-1)

    left = by(f.st) * v + by(f.rt) * s * p
    result = left.unsqueeze(-1) * u.unsqueeze(-2)
    left = by(f.rs) * t * v + by(f.rr) * s * t * p
    result = result + left.unsqueeze(-1) * q.unsqueeze(-2)
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    own = a.unsqueeze(-1) * a.unsqueeze(-2)
    flat = eye - own.unsqueeze(2) - own.unsqueeze(1)
    flat = flat + (r * v).unsqueeze(-1) * u.unsqueeze(-2)
    return result + (by(f.r) * s * t).unsqueeze(-1) * flat
