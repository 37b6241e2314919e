"""Which code makes the rows: an experiment's module and the local modules that it imports.

Local is what lies in no installed package and not in the standard library; of lawsweep itself the
experiments and the kernels.  Nothing is imported or run for it: files are found where Python
would find them, and their imports are read, those inside functions too.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from lawsweep.core.code.objects import described
from lawsweep.core.experiment import Experiment

MOST_FILES = 2_000
_OWN = ("lawsweep.kernels", "lawsweep.experiments")
_OBJECT = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*\Z")  # module:name


@dataclass(frozen=True)
class Source:
    """The files an experiment is made of, ``pkg/helpers.py`` to content.

    What is in no file (a notebook's function) stands under ``__main__`` with its text.
    ``named``: modules that params name, ``activation: module:function``.
    """

    files: Mapping[str, bytes]
    named: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Names what the code says: blank lines, comments and docstrings do not count."""
        said = "".join(f"{n} {meaning(self.files[n])}\n" for n in sorted(self.files))
        return _hash(said.encode())

    def record(self) -> dict[str, Any]:
        """For the launch record: the digest, and of each file the hash and what it says."""
        each = {n: [_hash(data), meaning(data)] for n, data in sorted(self.files.items())}
        named = {"named": list(self.named)} if self.named else {}
        return {"digest": self.digest, "files": each, **named}

    def local(self) -> dict[str, bytes]:
        """The files that are not lawsweep's own."""
        return {n: data for n, data in self.files.items() if not n.startswith("lawsweep/")}


def named_in(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that the params of a launch named, from what its record says of its code."""
    return tuple(str(n) for n in record.get("named") or ())


def source_of(experiment: Experiment, modules: Iterable[str] = ()) -> Source:
    """All code that an experiment's function and fused form are made of, as far as it is found.

    ``modules``: others that its runs compute with, such as those of the user's own that params
    name (``Plan.own_modules``).
    """
    return _Reader().read(experiment, modules)


@dataclass
class OtherCode:
    """Compares recorded code with today's, reading no more than it must."""

    experiment: Experiment
    _now: Source | None = field(default=None)
    _known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def changed(self, record: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Files that say something else today; none where it is the same code.

        None where the record does not say which code it was.
        """
        digest, files = record.get("digest"), record.get("files")
        if not isinstance(digest, str) or not isinstance(files, Mapping):
            return None
        if digest not in self._known:
            then = {str(n): v[1] for n, v in files.items() if isinstance(v, list) and len(v) == 2}
            same = self._untouched(files)
            self._known[digest] = () if same else self._differing(digest, then, named_in(record))
        return self._known[digest]

    def today(self, named: Sequence[str] = ()) -> Source:
        """The code as it is now; ``named``: with these modules, that a launch's params named."""
        if named:
            return source_of(self.experiment, named)
        if self._now is None:
            self._now = source_of(self.experiment)
        return self._now

    def _untouched(self, files: Mapping[str, Any]) -> bool:
        """Whether each file is the same to the byte: then so are its imports."""
        reader = _Reader()
        for name, told in files.items():
            module = str(name).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            path = reader.locate(module)
            if path is None or not isinstance(told, list) or not told:
                return False
            try:
                if _hash(path.read_bytes()) != told[0]:
                    return False
            except OSError:
                return False
        return bool(files)

    def _differing(
        self, digest: str, then: Mapping[str, str], named: Sequence[str]
    ) -> tuple[str, ...]:
        found = self.today(named)  # as these are today
        if found.digest == digest:
            return ()
        now = {n: meaning(data) for n, data in found.files.items()}
        return tuple(sorted(n for n in {*then, *now} if then.get(n) != now.get(n))) or ("?",)


class _Reader:
    def __init__(self) -> None:
        self._folders: dict[str, list[str] | None] = {"": None}  # where a package's modules are

    def read(self, experiment: Experiment, modules: Iterable[str] = ()) -> Source:
        functions = [f for f in (experiment.function, experiment.fused) if f is not None]
        loose: dict[str, bytes] = {}
        named = tuple(modules)
        queue = [*experiment.imports, *named]
        for function in functions:
            if experiment.of_command:
                loose |= function.sources()  # type: ignore[attr-defined]  # a Command's
                continue
            module = str(getattr(function, "__module__", ""))
            if module == "__main__" or self.locate(module) is None:
                kinds = (experiment.params_type, experiment.metrics_type)
                text, imported = described((function, *kinds))
                name = getattr(function, "__qualname__", type(function).__name__)
                loose[f"__main__/{name}"] = text.encode("utf-8", "backslashreplace")
                queue += imported
            else:
                queue += [module, *_bound(module)]
        return Source({**self._reached(queue), **loose}, named)

    def _reached(self, queue: list[str]) -> dict[str, bytes]:
        seen: set[str] = set()
        found: dict[str, bytes] = {}
        while queue and len(found) < MOST_FILES:
            name = queue.pop()
            if name in seen:
                continue
            seen.add(name)
            path = self.locate(name)
            parent = name.rpartition(".")[0]
            if parent:
                queue.append(parent)
            if path is None or not _is_local(name, path):
                continue
            try:
                data = path.read_bytes()
            except OSError:
                continue
            is_package = path.name == "__init__.py"
            found[name.replace(".", "/") + ("/__init__.py" if is_package else path.suffix)] = data
            if path.suffix == ".py":
                queue += imports_in(data, name if is_package else parent)
        return found

    def locate(self, name: str) -> Path | None:
        """The file of a module, which is not imported; None where it has none."""
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None):
            return Path(str(loaded.__file__))
        parent = name.rpartition(".")[0]
        if parent and self._search(parent) is None:
            return None
        try:
            spec = PathFinder.find_spec(name, self._search(parent))
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        self._folders.setdefault(name, list(spec.submodule_search_locations or ()) or None)
        return Path(spec.origin) if spec.has_location and spec.origin else None

    def _search(self, package: str) -> list[str] | None:
        """Folders a package's modules are looked for in; None: ``sys.path``, or no package."""
        if package not in self._folders:
            loaded = getattr(sys.modules.get(package), "__path__", None)
            self._folders[package] = list(loaded) if loaded is not None else None
            if loaded is None:
                del self._folders[package]
                self.locate(package)
        return self._folders.setdefault(package, None)


def _bound(module: str) -> Iterator[str]:
    """Modules of what a loaded module has at hand, however it came by it."""
    loaded = sys.modules.get(module)
    for value in list(vars(loaded).values()) if loaded is not None else ():
        if isinstance(value, type(sys)):
            yield value.__name__
        elif isinstance(home := getattr(value, "__module__", None), str):
            yield home


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[n]).resolve() for n in ("stdlib", "platstdlib")})


def _is_local(name: str, path: Path) -> bool:
    if name.partition(".")[0] == "lawsweep":
        return name.startswith(_OWN)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not any(path.resolve().is_relative_to(p) for p in _installed())


def imports_in(data: bytes, package: str) -> list[str]:
    """Names that may be modules, of the imports written in a file of ``package``."""
    found: list[str] = []
    for level, module, names in _parsed(data)[1]:
        above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
        base = [*above, *([module] if module else [])]
        found += [".".join(base), *(".".join([*base, name]) for name in names)]
    return list(dict.fromkeys(n for n in found if n))


def meaning(data: bytes) -> str:
    """A digest of what Python code says, the same under every version of Python that reads it."""
    return _parsed(data)[0]


@lru_cache(maxsize=4096)
def _parsed(data: bytes) -> tuple[str, tuple[tuple[int, str, tuple[str, ...]], ...]]:
    """What a file says, as a digest, and its imports: (level, module, names)."""
    said: list[str] = []
    found: list[tuple[int, str, tuple[str, ...]]] = []
    try:
        _say(ast.parse(data), said, found)
    except (SyntaxError, ValueError, RecursionError):
        return _hash(data), ()
    return _hash("\n".join(said).encode("utf-8", "surrogatepass")), tuple(found)


def _import(node: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    if isinstance(node, ast.Import):
        yield from ((0, alias.name, ()) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.level, node.module or "", tuple(alias.name for alias in node.names)
    elif isinstance(node, ast.Call) and node.args:  # import_module("helpers")
        called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        first = node.args[0]
        if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
            yield 0, str(first.value), ()
    elif isinstance(node, ast.Constant) and (named := _OBJECT.match(str(node.value))):
        yield 0, named.group(1), ()  # what a table names, to be loaded when it is asked for


_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SILENT = frozenset({"ctx", "kind", "type_ignores", "type_comment"})


def _say(node: Any, said: list[str], found: list[tuple[int, str, tuple[str, ...]]]) -> None:
    """Names and values of a tree, without places and without fields that are empty."""
    said.append(type(node).__name__)
    found.extend(_import(node))
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _SILENT:
            continue
        said.append(name)
        if name == "body" and isinstance(node, _WITH_DOCSTRING) and _is_text(value[0]):
            value = value[1:]
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, ast.AST):
                _say(one, said, found)
            else:
                said.append(repr(one))
    said.append(".")


def _is_text(node: Any) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
