from __future__ import annotations

import pytest
from object_store import KEYS, make_bucket, s3_server


@pytest.fixture(scope="session")
def s3_endpoint():
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_url(s3_endpoint, monkeypatch):
    """The URL of a prefix in a bucket of its own, with the keys in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return make_bucket(s3_endpoint)


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    """Where a store can be: a path, and a URL."""
    return tmp_path / "results" if request.param == "local" else request.getfixturevalue("s3_url")
