"""Fixtures of the toy sweeps."""

from study_fixtures import module, spectra, toys  # noqa: F401
