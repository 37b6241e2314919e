"""What the ``store`` block of a sweep takes, wherever the results are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.options import check_options, read_options
from lawsweep.core.schema import Field


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How a launch writes: ``conf/store`` has settings for a file system and an object store."""

    kind: Literal["local", "object_store"] = "local"
    commit_every_s: Annotated[
        float, Field("the longest that finished work stays unwritten", unit="s", ge=0, le=3600)
    ] = 2.0
    patience_s: Annotated[
        float,
        Field("how long a store that cannot be written is waited for", unit="s", ge=0, le=86_400),
    ] = 60.0
    keep_checkpoints: Annotated[bool, Field("also those of runs that went well")] = False

    def __post_init__(self) -> None:
        check_options(self, "store")


def read_store(block: Mapping[str, Any], results_dir: str) -> StoreOptions:
    """The ``store`` block of results in ``results_dir``, checked.  Raises a LawsweepError."""
    found = read_options(StoreOptions, block, "store")
    if found.kind == "object_store" and "://" not in results_dir:
        raise InvalidValueError(
            f"store=object_store needs results_dir=s3://bucket/prefix or the like, got the folder "
            f"{results_dir}. Set results_dir, or leave store out."
        )
    return found
