"""The page of a sweep while it runs: served on this machine, made anew as rows come in.

It reads, and nothing else: no launch waits for it, and nothing is written.  Only 127.0.0.1 is
listened on.  The address holds a random word, as other people of the machine could ask too, and a
request must name the address as its host: a page from elsewhere that had its own name point here
(DNS rebinding) is refused.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import threading
import zlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.secrets import hide
from lawsweep.study.opening import Opened
from lawsweep.study.progress import certificate, status
from lawsweep.study.questions import open_own_folder
from lawsweep.study.reading.reporting import gather
from lawsweep.study.reading.rows import frame

EVERY_S = 2.0  # between two questions of the page


class Watched:
    """A study's page as its table stands; made once a state of the table."""

    def __init__(self, opened: Opened, typed: str):
        self._opened, self._typed = opened, typed
        self._lock = threading.Lock()  # a study is one thread's at a time
        self._stamp, self._page = "", ("", "")  # stamp of a page, page

    def state(self) -> Mapping[str, str]:
        """``stamp`` of what there is, and ``line``: how far the sweep is."""
        with self._lock:
            return self._look()

    def page(self) -> str:
        """The whole page; what it cannot read or make it says in place of it."""
        from lawsweep.analysis.report.markup import section, text
        from lawsweep.analysis.report.page import document, render

        with self._lock:
            stamp = self._look()["stamp"]
            if self._page[0] == stamp and self._page[1]:
                return self._page[1]
            try:
                folder = open_own_folder(self._opened.sweep, self._opened.plan)
                launches = folder.launch_records()
                facts = gather(self._opened, self._typed, frame(self._opened), launches)
                made = render(facts, stamp=stamp, every_s=EVERY_S)
            except Exception as error:  # noqa: BLE001  (rows are being written: it may pass)
                if self._page[1]:
                    return self._page[1]
                said = f'<p class="note bad">The page cannot be made now: {text(_said(error))}</p>'
                body = section("result", "Result", [said])
                return document(self._opened.sweep.name, body, stamp="none", every_s=EVERY_S)
            self._page = stamp, made
            return made

    def _look(self) -> Mapping[str, str]:
        try:
            if not self._opened.known.is_current():
                self._opened.refresh()
            found = status(self._opened)
            line = certificate(found.statuses, found.planned)
            alive = sorted(str(x.get("launch_id")) for x in found.launches)
            seen = [sorted(self._opened.known.parts), sorted(found.statuses.items()), alive]
        except (LawsweepError, OSError) as error:
            return {"stamp": self._stamp, "line": f"cannot be read now: {_said(error)}"}
        self._stamp = f"{zlib.crc32(json.dumps(seen).encode()):08x}"
        ended = "nothing is running" if found.missing else "done"
        where = f"{found.running:,} running" if alive else ended
        return {"stamp": self._stamp, "line": f"{line} · {where}"}


class Server:
    """Serves a Watched on a port of 127.0.0.1; ``url`` is where.

    Raises InvalidValueError for a port that cannot be had.
    """

    def __init__(self, watched: Watched, port: int = 0):
        word = secrets.token_urlsafe(12)

        class Handler(_Handler):
            prefix, source = f"/{word}/", watched

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise InvalidValueError(
                f"Port {port} of 127.0.0.1 cannot be listened on ({error.strerror or error}). Give "
                "another, or none: a free one is taken then."
            ) from None
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/{word}/"

    def serve(self) -> None:
        """Answer until ``close`` is called, or the thread is interrupted."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def close(self) -> None:
        """End ``serve``, of another thread."""
        self._server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    prefix: str
    source: Watched
    server: ThreadingHTTPServer
    server_version, sys_version = "lawsweep", ""

    def do_GET(self) -> None:
        """The page and its state, to who knows the address."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return self._give(403, "text/plain", "This address is for 127.0.0.1 alone.")
        path = self.path.partition("?")[0].encode("utf-8", "replace")
        page, state = f"{self.prefix}page.html", f"{self.prefix}state.json"
        if hmac.compare_digest(path, state.encode()):
            return self._give(200, "application/json", hide(json.dumps(self.source.state())))
        known = (hmac.compare_digest(path, p.encode()) for p in (self.prefix, page))
        if any([*known]):
            return self._give(200, "text/html", self.source.page())
        return self._give(404, "text/plain", "There is no such page; use the address as printed.")

    def _give(self, code: int, kind: str, text: str) -> None:
        data = text.encode("utf-8", "replace")
        with contextlib.suppress(ConnectionError):  # the reader went away
            self.send_response(code)
            for name, value in (
                ("Content-Type", f"{kind}; charset=utf-8"),
                ("Content-Length", str(len(data))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Content-Security-Policy", "frame-ancestors 'none'"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for what a person should see."""


def _said(error: Exception) -> str:
    return hide(
        str(error) if isinstance(error, LawsweepError) else f"{type(error).__name__}: {error}"
    )
