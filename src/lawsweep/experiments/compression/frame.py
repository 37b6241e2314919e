"""What frame a run of ``compression`` is compared with, and how many directions it spans."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lawsweep.experiments.compression.params import Params
from lawsweep.kernels.compression.frame_cosines import profile_cosine
from lawsweep.kernels.compression.solve import geometry
from lawsweep.kernels.compression.theory import TargetMoments
from lawsweep.kernels.gaussian.pair_profiles import HomogeneousProfile, Profile


def shape_columns(
    params: Params,
    profile: Profile,
    v: Tensor,
    along: Tensor,
    moments: TargetMoments | None,
) -> dict[str, Any]:
    """The columns of the geometry of rows ``v`` (M, d).

    ``along`` (M,): each node's output times A_N, whose sign alone matters.  The frame is that of an
    isotropic target whose output weights have a mean and of a student whose outputs all agree with
    A_N; laws of rows that are isotropic in the limit of large d alone count too.

    The rows' span is compared with the top of E_N where the frame leaves its orientation to it: a
    simplex in M - 1 directions, the orthogonal rows of |z| in M.  Between these the sum of the rows
    is not zero, and follows the target's mean row first.  The rows of |z| have no sign, so that
    their sum means nothing.
    """
    m, d = v.shape
    cosine = profile_cosine(profile, float(v.norm(dim=-1).mean()), m, d)
    even = isinstance(profile, HomogeneousProfile) and profile.kernel.linear == 0.0
    n_span = None
    if cosine is not None and (even or cosine == -1.0 / (m - 1)):
        n_span = m if even else m - 1
    mean, vectors = (moments.mean, moments.eigenvectors) if moments else (None, None)
    known = _has_frame(params) and bool((along > 0).all())
    shape = geometry(v, cosine if known else None, None if even else mean, vectors, n_span)
    return dict(vars(shape))


def _has_frame(params: Params) -> bool:
    """Whether the frame is that of this target's limit, whatever the student."""
    isotropic = params.row_mean == 0.0 or params.centre_rows
    return isotropic and (params.mean_output != 0.0 or params.objective == "simplified_target")
