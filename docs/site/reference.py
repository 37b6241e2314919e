"""What pages say by reference is read off the package: public names, fields, verbs.

A comment on a page of its own line stands for it, invisible where the page is read as it is:

    <!-- names: Study, open, kernels.train -->     signatures and docstrings, as the sources say
    <!-- fields: ntk_min_eig -->                   params and metrics of an experiment, a table each
    <!-- verbs -->                                 the help of every verb
    <!-- notebook: edge.ipynb -->                  its cells, without outputs

Sources are parsed, not imported: neither torch nor Ray is loaded.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("lawsweep", "lawsweep.kernels")
COMMENT = re.compile(r"^<!-- (names|fields|verbs|notebook)(?:: (.*?))? -->$", re.M | re.S)
_CODE = re.compile(r"(``.+?``|`.+?`)", re.S)
_MARKUP = re.compile(r"([\\*_<>\[\]|$#~])")
Found = ast.FunctionDef | ast.ClassDef


def public_names() -> dict[str, str]:
    """Each public name, as the page writes it, and the module that is its home."""
    names = {}
    for package in PACKAGES:
        found = importlib.import_module(package)
        inside = package.removeprefix("lawsweep").lstrip(".")
        for name, home in found._HOME.items():
            module = home if home.startswith("lawsweep.") else f"{package}.{home}"
            names[f"{inside}.{name}".lstrip(".")] = module
    return names


@cache
def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"Expected a module of the package, got {module}.")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Of a module, those under ``if`` and ``else`` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from _statements([*statement.body, *statement.orelse])


def definition(module: str, name: str) -> tuple[str, Found]:
    """Where a name is defined, and its definition: the last one, behind those of overloads."""
    found = None
    for statement in _statements(_tree(module).body):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            found = module, statement
        elif isinstance(statement, ast.ImportFrom) and statement.module and not found:
            for alias in statement.names:
                if name == (alias.asname or alias.name):
                    found = definition(statement.module, alias.name)
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            value = statement.value
            if isinstance(value, ast.Name):
                found = definition(module, value.id)
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                first = value.args[0] if value.args else None
                if isinstance(first, ast.Attribute):  # a method of Study, as a function
                    found = module, _of_a_method(module, name, first)
                elif first is None:  # one object of a class, with its methods
                    found = module, copy.copy(definition(module, value.func.id)[1])
                    found[1].name = name
    if found is None:
        raise ValueError(f"Expected a function or a class {name} in {module}. Name its home.")
    return found


def _of_a_method(module: str, name: str, method: ast.Attribute) -> ast.FunctionDef:
    """The function that opens a sweep and calls this method of Study."""
    owner = ast.unparse(method.value)
    body = definition(module, owner)[1].body
    found = next(s for s in body if getattr(s, "name", "") == method.attr)
    assert isinstance(found, ast.FunctionDef)
    made = copy.deepcopy(found)
    made.name = name
    made.args.args[0] = ast.arg("sweep", ast.parse("Sweep | Study | str", mode="eval").body)
    said = f"Opens the sweep, then does what ``{owner}.{method.attr}`` does."
    made.body = [ast.Expr(ast.Constant(said))]
    return made


def markdown(docstring: str) -> str:
    """A docstring as a page has it: its words are words, its indented blocks are code."""
    lines = []
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith("    "):
            lines.append(line)
            continue
        parts = _CODE.split(line)
        parts[::2] = [_MARKUP.sub(r"\\\1", p) for p in parts[::2]]
        lines.append("".join(parts).replace("::", ":"))
    return "\n".join(lines)


def _signature(found: Found) -> str:
    if isinstance(found, ast.FunctionDef):
        arguments = found.args
        if arguments.args and arguments.args[0].arg in ("self", "cls"):
            arguments = ast.arguments(**{**vars(arguments), "args": arguments.args[1:]})
        returns = f" -> {ast.unparse(found.returns)}" if found.returns else ""
        return f"({ast.unparse(arguments)}){returns}"
    made = next((s for s in found.body if getattr(s, "name", "") == "__init__"), None)
    if made is not None:
        return _signature(made).partition(" -> ")[0]
    if any("dataclass" in ast.unparse(d) for d in found.decorator_list):
        fields = [
            ast.unparse(s).replace(" = ", "=")
            for s in found.body
            if isinstance(s, ast.AnnAssign) and "ClassVar" not in ast.unparse(s.annotation)
        ]
        return f"({', '.join(fields)})"
    return ""


def _described(name: str, found: Found, depth: int) -> Iterator[str]:
    fence = "`" * depth
    kind = "class" if isinstance(found, ast.ClassDef) else "function"
    kind = "data" if kind == "class" and found.name.islower() else kind
    said = ast.get_docstring(found)
    if not said:
        raise ValueError(f"Expected a docstring of {name}. Write one.")
    yield f"{fence}{{py:{kind}}} {name}{_signature(found)}\n{markdown(said)}\n"
    if isinstance(found, ast.ClassDef):
        for member in found.body:
            if not isinstance(member, ast.FunctionDef) or member.name.startswith("_"):
                continue
            if not (words := ast.get_docstring(member)):
                continue
            plain = any(ast.unparse(d).endswith("property") for d in member.decorator_list)
            head = f"{{py:property}} {member.name}" if plain else f"{{py:method}} {member.name}"
            inner = "`" * (depth - 1)
            signature = "" if plain else _signature(member)
            yield f"{inner}{head}{signature}\n{markdown(words)}\n{inner}\n"
    yield f"{fence}\n"


def names(text: str) -> str:
    """Signatures and docstrings of the names of a comment."""
    homes = public_names()
    parts = []
    for name in (n.strip() for n in text.replace("\n", " ").split(",")):
        module, _, last = name.rpartition(".")
        if name.startswith("lawsweep."):  # by its whole path: what public names return
            shown = last
        else:
            module, shown = homes[name], f"lawsweep.{name}"
        parts += _described(shown, definition(module, last)[1], 6)
    return "\n".join(parts)


def _cell(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def fields(name: str) -> str:
    """Params, what must hold of them, and metrics of an experiment."""
    from lawsweep.cli.verbs.starting.describe import Described, _shown
    from lawsweep.core.registry import find_experiment

    told = Described(find_experiment(name), None).to_dict()
    lines = [f"`{name}`, version {told['version']}: {_cell(told['about'])}", ""]
    lines += ["| param | type | default | meaning |", "|---|---|---|---|"]
    for said in told["params"]:
        kind = "; ".join(filter(None, (said["type"], said["range"], _unit(said))))
        default = f"`{_shown(said['default'])}`" if "default" in said else "must be given"
        lines.append(f"| `{said['name']}` | {_cell(kind)} | {default} | {_cell(said['meaning'])} |")
    if told["constraints"]:
        lines += ["", "Must hold: " + ", ".join(f"`{c}`" for c in told["constraints"]) + "."]
    lines += ["", "| metric | type | meaning |", "|---|---|---|"]
    for said in (*told["metrics"], *told["arrays"]):
        kind = "; ".join(filter(None, (said["type"], _unit(said))))
        lines.append(f"| `{said['name']}` | {_cell(kind)} | {_cell(said['meaning'])} |")
    return "\n".join(lines)


def _unit(said: dict[str, Any]) -> str:
    return "" if said["unit"] in ("", "1") else f"in {said['unit']}"


def verbs() -> str:
    """The help of every verb, by section, and the exit codes."""
    import click

    from lawsweep.cli.main import EXIT_CODES, cli
    from lawsweep.cli.verbs import sections

    parts = []
    above = click.Context(cli, info_name="lawsweep", max_content_width=96)
    for title, found in sections():
        parts.append(f"## {title}\n")
        for verb in found:
            context = click.Context(verb, info_name=str(verb.name), parent=above)
            context.terminal_width = 96
            parts.append(f"### {verb.name}\n\n```text\n{verb.get_help(context)}\n```\n")
    codes = inspect.cleandoc(EXIT_CODES.replace("\b", "").partition(":")[2])
    parts.append(f"## Exit codes\n\n```text\n{codes}\n```\n")
    return "\n".join(parts)


def notebook(file: str) -> str:
    """The cells of a notebook beside the pages."""
    place = Path(__file__).parent.parent / file
    parts = []
    for cell in json.loads(place.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    return "\n\n".join(parts)


def filled(text: str) -> str:
    """The page with what its comments stand for."""
    made = {"names": names, "fields": fields, "verbs": lambda _: verbs(), "notebook": notebook}
    return COMMENT.sub(lambda m: made[m[1]](m[2] or ""), text)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx asks an extension for this."""

    def read(app: Any, page: str, source: list[str]) -> None:
        if "<!-- " in source[0]:
            source[0] = filled(source[0])

    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
