"""House rules that no linter knows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_NAMES = {"read_pickle", "to_pickle", "allow_pickle"}


def unsafe(tree: ast.Module) -> Iterator[str]:
    """Yield each way in which a module could run code hidden in data."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.split(".")[0] in UNSAFE_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE_MODULES:
                yield module
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if name in UNSAFE_NAMES:
                yield name
            case _:
                pass


def test_nothing_is_unpickled(
    modules: dict[str, ast.Module], test_modules: dict[str, ast.Module], scripts: dict[str, ast.Module]
) -> None:
    """No source can load a pickle or anything built on it: data never runs."""
    everything = modules | test_modules | scripts
    assert {name: found for name, tree in everything.items() if (found := list(unsafe(tree)))} == {}


def test_unsafe_loads_are_seen() -> None:
    """The search finds each way in: a module, a part of it, a function and a switch."""
    source = "import pickle\nfrom joblib import load\nframe.to_pickle(x)\nnumpy.load(x, allow_pickle=True)\n"
    assert sorted(unsafe(ast.parse(source))) == ["allow_pickle", "joblib", "pickle", "to_pickle"]


def only_reexports(tree: ast.Module) -> bool:
    """Tell whether a module is a docstring, imports and an `__all__` that lists exactly what they bring."""
    imported: set[str] = set()
    exported: set[str] = set()
    for position, node in enumerate(tree.body):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) if position == 0:
                pass
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                imported |= {alias.asname or alias.name for alias in names}
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                exported |= {ast.literal_eval(element) for element in elements}
            case _:
                return False
    return imported == exported


def test_inits_only_reexport(packages: list[Path]) -> None:
    """An `__init__.py` holds no code: a docstring, imports, and an `__all__` that lists them."""
    inits = [path for package in packages for path in package.rglob("__init__.py")]
    assert [path for path in inits if not only_reexports(ast.parse(path.read_text("utf-8")))] == []


def test_every_test_states_its_fact(test_modules: dict[str, ast.Module]) -> None:
    """Every test function has a docstring that states the fact it pins."""
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in test_modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not is_fixture(node)
        and not (ast.get_docstring(node) or "").strip()
    ]
    assert silent == []


def is_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_test_files_have_unique_names(test_modules: dict[str, ast.Module]) -> None:
    """No two test files share a name: each is a module of its own for the type checkers."""
    names = [Path(path).name for path in test_modules]
    assert sorted(names) == sorted(set(names))


def test_make_targets_are_documented(root: Path) -> None:
    """CONTRIBUTING.md names every target of the Makefile."""
    targets = re.findall(r"^([a-z-]+):.*##", (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    contributing = (root / "CONTRIBUTING.md").read_text("utf-8")
    assert [target for target in targets if f"`make {target}`" not in contributing] == []
    assert targets


def test_skips_in_documents_take_effect(root: Path) -> None:
    """Every `not run` mark in the documents gives a reason and stands directly above a block."""
    mark = re.compile(r"<!--\s*not run.*", re.IGNORECASE)
    whole = re.compile(r"<!-- not run: \S.* -->\n\s*(```|~~~)")
    texts = {
        path.name: path.read_text("utf-8") for path in [*root.glob("README.md"), *root.glob("docs/**/*.md")]
    }
    loose = [
        f"{name}: {found[0]}"
        for name, text in texts.items()
        for found in mark.finditer(text)
        if not whole.match(text, found.start())
    ]
    assert loose == []
