"""A server that speaks S3, for tests: moto's, on loopback, in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import uuid

import pyarrow.fs as pafs

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def s3_process():
    """Start the server on a free port; gives ``host:port`` and the process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert process.poll() is None, "the S3 server did not start"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(timeout=300)


@contextlib.contextmanager
def s3_server():
    """Start the server on a free port; gives ``host:port``."""
    with s3_process() as (endpoint, _):
        yield endpoint


def make_bucket(endpoint):
    """A new bucket on the server; gives the URL of a prefix in it."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    server = pafs.S3FileSystem(
        access_key="test", secret_key="test", endpoint_override=endpoint, scheme="http",
        region="us-east-1", allow_bucket_creation=True,
    )  # fmt: skip
    server.create_dir(name)
    return f"s3://{name}/study/results?endpoint_override={endpoint}&scheme=http&region=us-east-1"
