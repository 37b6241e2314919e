"""How a reader of rows says which files it passed over."""

from __future__ import annotations

import warnings
from collections.abc import Mapping


class SkippedFileWarning(UserWarning):
    """A file of a table could not be used, so what was read may lack its rows.

    A warning and no error: one bad file must not hide the good ones.
    """


class OtherCodeWarning(UserWarning):
    """Rows that were read were made by code that has been edited since."""


def tell_skipped(folder: object, skipped: Mapping[str, str]) -> None:
    """Warn of each file that was passed over, with its reason."""
    for name, reason in skipped.items():
        warnings.warn(f"skipped {folder}/{name}: {reason}", SkippedFileWarning, stacklevel=3)
