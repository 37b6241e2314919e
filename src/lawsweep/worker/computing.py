"""What decides the last bits of a result in this process: BLAS, settings, instruction sets.

Two machines, or one machine under two settings, round otherwise; a row says under which it was
made.  torch is asked where it is loaded and never imported for it; else numpy is.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

# Environment variables that choose instructions or the order of sums.  Their values are names of
# instruction sets; what looks like anything else is no such setting and is not repeated.
SETTINGS = (
    "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "BLIS_ARCH_TYPE",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip
_NAMES = re.compile(r"[\w.,:\- ]{1,64}\Z")
_DEVICES = "lawsweep.kernels.base.devices"  # asked where it is loaded, as torch is
_known: dict[str, Computing] = {}  # by device, once torch is loaded; it never unloads


class Computing(NamedTuple):
    """The linear algebra and the instruction sets in use, each None where nobody tells."""

    blas: str | None
    instruction_set: str | None


def computing(device: str = "cpu") -> Computing:
    """What runs on ``device`` compute with here: ``MKL 2024.2; MKL_CBWR=COMPATIBLE`` and
    ``torch AVX512; MKL AVX512``, say.  Without torch what numpy tells.
    """
    if device in _known:
        return _known[device]
    torch: Any = sys.modules.get("torch")
    if torch is None:
        if "numpy" not in sys.modules:
            return Computing(None, None)
        if "" not in _known:
            _known[""] = Computing(_joined(_numpy_blas(), *settings()), _numpy_instructions())
        return _known[""]
    try:
        found = Computing(_torch_blas(torch, device), _torch_instructions(torch, device))
    except Exception:  # noqa: BLE001  (half imported, or a device in a bad state: not known)
        return Computing(None, None)
    _known[device] = found
    return found


def begin_choosing() -> None:
    """A run begins: whatever table of sizes decided before is no part of it."""
    devices = sys.modules.get(_DEVICES)
    if hasattr(devices, "begin"):
        devices.begin()  # type: ignore[union-attr]


def tables_used() -> dict[str, dict[str, Any]]:
    """The tables of sizes, by measured rates, that decided since a run began: records by id."""
    devices: Any = sys.modules.get(_DEVICES)
    return dict(devices.used()) if hasattr(devices, "used") else {}


def settings() -> list[str]:
    """``NAME=value`` of each setting in this process's environment that changes rounding."""
    given = ((name, os.environ.get(name, "")) for name in SETTINGS)
    return [f"{name}={value}" for name, value in given if _NAMES.match(value)]


def _joined(*parts: str | None) -> str | None:
    return "; ".join(p for p in parts if p) or None


def _torch_blas(torch: Any, device: str) -> str | None:
    told = torch.__config__.show()
    if mkl := re.search(r"Math Kernel Library Version ([\w.]+)", told):
        cpu = f"MKL {mkl[1]}"
    else:
        built = re.search(r"BLAS_INFO=(\w+)", told)
        cpu = {"open": "OpenBLAS"}.get(built[1], built[1]) if built else ""
    gpu = f"CUDA {torch.version.cuda}" if device.startswith("cuda") else None
    return _joined(gpu, cpu, *settings())


def _torch_instructions(torch: Any, device: str) -> str | None:
    cpu = f"torch {torch.backends.cpu.get_cpu_capability()}"
    gpu = None
    if device.startswith("cuda"):
        gpu = "sm_{}{}".format(*torch.cuda.get_device_capability(device))
    return _joined(gpu, cpu, _mkl_instructions(torch))


class _MKLVersion(ctypes.Structure):
    # MKLVersion of mkl_types.h; ``processor`` names the instructions that MKL dispatches to.
    _fields_ = [
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
        ("update", ctypes.c_int),
        ("status", ctypes.c_char_p),
        ("build", ctypes.c_char_p),
        ("processor", ctypes.c_char_p),
        ("platform", ctypes.c_char_p),
    ]


def _mkl_instructions(torch: Any) -> str | None:
    """What MKL dispatches to, as it says itself (it may differ from what the processor has)."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        ask = getattr(library, "mkl_serv_get_version", None) or library.MKL_Get_Version
        told = _MKLVersion()
        ask(ctypes.byref(told))
        text = (told.processor or b"").decode(errors="replace").replace("(R)", "")
        short = [n.replace("-", "") for n in re.findall(r"\(Intel ([\w.\-]+)\)", text)]
        return f"MKL {'+'.join(short) or text[:64]}"
    return None


def _numpy_blas() -> str | None:
    import numpy as np

    try:
        told: Any = np.show_config(mode="dicts")
        built = told["Build Dependencies"]["blas"]
        return f"{built['name']} {built['version']}".replace("scipy-openblas", "OpenBLAS")
    except (TypeError, KeyError, AttributeError):
        return None


def _numpy_instructions() -> str | None:
    import numpy as np

    simd = None
    with suppress(TypeError, KeyError, AttributeError):
        told: Any = np.show_config(mode="dicts")
        levels = told["SIMD Extensions"]
        simd = (levels.get("found") or levels.get("baseline") or [None])[-1]
    return _joined(f"numpy {simd}" if simd else None, _openblas_core(Path(np.__file__)))


def _openblas_core(numpy: Path) -> str | None:
    """The kernels that numpy's own OpenBLAS chose for this processor."""
    for path in (numpy.parent.parent / "numpy.libs").glob("libscipy_openblas*"):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            suffix = "64_" if "openblas64_" in path.name else ""
            ask = getattr(library, f"scipy_openblas_get_corename{suffix}")
            ask.restype = ctypes.c_char_p
            return f"OpenBLAS {ask().decode(errors='replace')}"
    return None
