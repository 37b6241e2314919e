"""A folder in an object store: S3 (and whatever speaks its protocol) or GCS, through pyarrow.fs.

``s3://bucket/prefix?endpoint_override=localhost:9000&scheme=http`` or ``gs://bucket/prefix``.
Credentials come from the environment as usual (``AWS_ACCESS_KEY_ID``, a profile, the instance's
role; ``GOOGLE_APPLICATION_CREDENTIALS``) and never from the URL: it is written into launch records.
"""

from __future__ import annotations

import functools
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa
import pyarrow.fs as pafs

from lawsweep.core.errors import StoreError, unknown_name
from lawsweep.store.places.files import TEMPORARY
from lawsweep.store.places.folder import MOST_BYTES, Folder, is_odd, safe_name, too_large

OPTIONS = {
    "s3": ("endpoint_override", "scheme", "region", "anonymous"),
    "gs": ("endpoint_override", "scheme", "anonymous"),
}
CONNECT_S = 3.0
FIRST_ANSWER_S = 4.0  # silence for so long, at the first contact, is nobody there
ANSWER_S = 20.0  # later on: a busy server may take its time
ATTEMPTS = 3
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Bucket:
    """A bucket and how to reach it; ``options`` are (name, value) pairs in order."""

    kind: str
    name: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def files(self) -> pafs.FileSystem:
        """The file system, once it has answered.  Raises StoreError if it does not."""
        return _connect(self)

    def __str__(self) -> str:
        return f"{self.kind}://{self.name}"


@dataclass(frozen=True)
class ObjectFolder(Folder):
    """A prefix of a bucket.  A put is atomic, so nothing is renamed and no temporary is left."""

    bucket: Bucket
    key: str

    @staticmethod
    def parse(url: str) -> ObjectFolder:
        """From a URL.  Raises StoreError, or UnknownNameError for an unknown option."""
        kind, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        name, _, key = rest.partition("/")
        if "@" in name or "@" in query:
            raise StoreError(
                f"The {kind} URL holds credentials, and it is written into launch records. "
                "Put them into the environment and leave them out of the URL."
            )
        parts = [p for p in key.split("/") if p]
        if not _BUCKET.match(name) or any(p in (".", "..") for p in parts):
            raise StoreError(f"Expected {kind}://bucket/prefix, got {url!r}. Correct the URL.")
        pairs = parse_qsl(query, keep_blank_values=True)
        for option, _value in pairs:
            if option not in OPTIONS[kind]:
                raise unknown_name("option", option, OPTIONS[kind], f"the {kind} URL")
        return ObjectFolder(Bucket(kind, name, tuple(pairs)), "/".join(parts))

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}".rstrip("/")

    @property
    def url(self) -> str:
        """The URL with its options."""
        query = urlencode(self.bucket.options, safe=":/")
        return f"{self}?{query}" if query else str(self)

    @property
    def is_local(self) -> bool:
        """No."""
        return False

    @property
    def name(self) -> str:
        """The last part of the prefix, or the bucket."""
        return self.key.rpartition("/")[2] or self.bucket.name

    @property
    def parent(self) -> ObjectFolder:
        """The prefix that it is in; the bucket is its own."""
        return ObjectFolder(self.bucket, self.key.rpartition("/")[0])

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(self.bucket, f"{self.key}/{safe_name(name)}".lstrip("/"))

    def names(self) -> list[str]:
        """See Folder."""
        return self._named(pafs.FileType.File)

    def folders(self) -> list[str]:
        """See Folder."""
        return self._named(pafs.FileType.Directory)

    def _named(self, kind: pafs.FileType) -> list[str]:
        return sorted(
            i.base_name for i in self._entries() if i.type == kind and not is_odd(i.base_name)
        )

    def _entries(self) -> list[pafs.FileInfo]:
        selector = pafs.FileSelector(self._path(), allow_not_found=True)
        with self._clear_errors("read"):
            found: list[pafs.FileInfo] = self.bucket.files.get_file_info(selector)
        return found

    def _path(self, name: str | None = None) -> str:
        own = f"{self.bucket.name}/{self.key}".rstrip("/")
        return own if name is None else f"{own}/{safe_name(name)}"

    def read(self, name: str, *, most: int = MOST_BYTES, follow: bool = True) -> bytes:
        """See Folder."""
        with self._clear_errors("read"), self.bucket.files.open_input_file(self._path(name)) as f:
            if f.size() > most:
                raise StoreError(too_large(f"{self}/{name}", f.size(), most))
            data: bytes = f.read()
        return data

    def open(self, name: str) -> pa.NativeFile:
        """See Folder; each read of the file asks the server for that range."""
        with self._clear_errors("read"):
            return self.bucket.files.open_input_file(self._path(name))

    def write(self, name: str, data: bytes, *, durable: bool = True, create: bool = True) -> None:
        """See Folder: one put, durable when it is answered (above some MiB: one of many parts)."""
        with self._clear_errors("write in"):
            stream = self.bucket.files.open_output_stream(self._path(name))
            # Not `with`: closing completes the object, and after a failed write it must not be.
            stream.write(data)
            stream.close()

    def delete(self, name: str) -> None:
        """See Folder."""
        try:
            with self._clear_errors("remove files from"):
                self.bucket.files.delete_file(self._path(name))
        except FileNotFoundError:
            pass

    def modified(self, name: str) -> float:
        """See Folder."""
        stamp: float = self._info(name).mtime.timestamp()
        return stamp

    def size(self, name: str) -> int:
        """See Folder."""
        return int(self._info(name).size)

    def _info(self, name: str) -> pafs.FileInfo:
        with self._clear_errors("read"):
            info = self.bucket.files.get_file_info(self._path(name))
        if info.type != pafs.FileType.File:
            raise FileNotFoundError(f"{self}/{name}")
        return info

    def check_writable(self) -> None:
        """See Folder: an object is put and removed (pyarrow leaves an empty folder marker)."""
        probe = f"{TEMPORARY}probe-{uuid.uuid4().hex}"
        self.write(probe, b"lawsweep")
        self.delete(probe)

    def clock(self) -> float:
        """See Folder: an object is put, its time read, and removed."""
        probe = f"{TEMPORARY}probe-{uuid.uuid4().hex}"
        try:
            self.write(probe, b"lawsweep")
            now = self.modified(probe)
            self.delete(probe)
        except (StoreError, FileNotFoundError):
            return time.time()
        return now

    @contextmanager
    def _clear_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"Cannot {what} {self}: {one_line(error)}. Check the bucket, the endpoint and the "
                "credentials in the environment, or set results_dir to another folder."
            ) from None


def one_line(error: BaseException) -> str:
    """What an AWS or GCS error says, without the request ids and repetitions."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r" \(Request ID: .*?\)|; Details: .*| error_info=.*", "", text)
    return text[:200].rstrip(". ")


@functools.lru_cache(maxsize=16)
def _connect(bucket: Bucket) -> pafs.FileSystem:
    """The file system of a bucket that is there and answers.

    Asked first with little patience, so that a wrong endpoint is one sentence after a few seconds.
    """
    options = dict(bucket.options)
    try:
        make = {"s3": _s3, "gs": _gs}[bucket.kind]
        first = make(bucket.name, options, FIRST_ANSWER_S, 1)
        if first.get_file_info(bucket.name).type == pafs.FileType.NotFound:
            raise StoreError(
                f"There is no bucket {bucket}, or it is not visible with these credentials. "
                "Create it, or set results_dir to another folder."
            )
        return make(bucket.name, options, ANSWER_S, ATTEMPTS)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise StoreError(
            f"Cannot reach {bucket}: {one_line(error)}. Check the endpoint, the network and the "
            "credentials in the environment, or set results_dir to another folder."
        ) from None


def _s3(bucket: str, options: dict[str, str], answer_s: float, attempts: int) -> pafs.FileSystem:
    endpoint, scheme = _endpoint(
        options, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    region = options.get("region")
    if region is None and endpoint is None:
        region = _region(bucket)
    return pafs.S3FileSystem(
        anonymous=_flag(options, "anonymous"),
        region=region,
        scheme=scheme,
        endpoint_override=endpoint,
        connect_timeout=CONNECT_S,
        request_timeout=answer_s,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        allow_delayed_open=True,  # a small object is then one request, and whole or not there
    )


@functools.lru_cache(maxsize=16)
def _region(bucket: str) -> str:
    found: str = pafs.resolve_s3_region(bucket)
    return found


def _gs(bucket: str, options: dict[str, str], answer_s: float, attempts: int) -> pafs.FileSystem:
    endpoint, scheme = _endpoint(options, None)
    return pafs.GcsFileSystem(
        anonymous=_flag(options, "anonymous"),
        scheme=scheme,
        endpoint_override=endpoint,
        retry_time_limit=timedelta(seconds=answer_s),
    )


def _endpoint(options: dict[str, str], default: str | None) -> tuple[str | None, str]:
    """Host and port, and the scheme, which may stand before them."""
    text = options.get("endpoint_override") or default
    scheme = options.get("scheme", "https")
    if text and "://" in text:
        scheme, _, text = text.partition("://")
    if scheme not in ("http", "https"):
        raise StoreError(f"The scheme of an endpoint is http or https, got {scheme!r}.")
    return (text.rstrip("/") if text else None), scheme


def _flag(options: dict[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "false"):
        raise StoreError(f"{name} in the URL of results_dir is true or false, got {value!r}.")
    return value == "true"
