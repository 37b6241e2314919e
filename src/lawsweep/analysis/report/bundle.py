"""The plotting library of the page: Vega-Lite as one script, out of a wheel and not the network.

``vl-convert-python`` carries Vega, Vega-Lite and vega-embed; putting them together takes it some
seconds, so the script is kept in the user's cache, a file a version.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from importlib.metadata import version
from pathlib import Path

# What the script leaves on the page.  A file that does not end in it was cut short.
_NAMES = "window.vegaEmbed=vegaEmbed;window.vega=vega;"
_END = "/* whole */\n"


@functools.cache
def plotting_script() -> str | None:
    """Vega-Lite and what it needs, about 0.9 MB of JavaScript; None where it cannot be loaded.

    Pages then show their figures as pictures.
    """
    try:
        import vl_convert
    except ImportError:  # a platform without a wheel
        return None
    kept = cache_folder() / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        script = kept.read_text(encoding="utf-8")
        if script.endswith(_END):
            return script
    script = str(vl_convert.javascript_bundle(_NAMES)).replace("</script", "<\\/script") + _END
    temporary = kept.with_name(f".{kept.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):  # a home that cannot be written: made again next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(script, encoding="utf-8")
        temporary.replace(kept)
    return script


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/lawsweep``, or ``~/.cache/lawsweep``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "lawsweep"
