"""Who may import whom. The rules are data; the syntax trees are walked, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "app").rglob("*.py"))
}

LAYERS: Final = (
    ("app.errors", "app.settings"),
    ("app.retry", "app.audio", "app.logs", "app.trace", "app.turns", "app.failures"),
    ("app.breaker", "app.gate"),
    ("app.engines",),
    ("app.studio", "app.store", "app.mixdown"),
    ("app.jobs",),
    ("app.metrics",),
    ("app.web", "app.client", "app.serving"),
    ("app.making",),
    ("app.cli",),
    ("app",),
)
"""From the ground up; a module may import those below its layer, and its own."""

ONLY_IMPORTED_BY: Final = {
    "flask": ("app", "app.web"),
    "flask_openapi3": ("app", "app.web"),
    "flask_openapi3_swagger": ("app.web",),
    "werkzeug": ("app.web",),
    "requests": ("app.engines.huggingface.transport", "app.client"),
    "urllib3": ("app.engines.huggingface.transport",),
    "numpy": ("app.engines.composer.render", "app.mixdown"),
    "soxr": ("app.mixdown",),
    "soundfile": ("app.audio", "app.engines.composer.render.sampler"),
    "mido": ("app.engines.composer.midi",),
    "pydantic_settings": ("app.settings",),
    "dbos": ("app.jobs.workflow", "app.jobs.songs", "app.jobs.executor"),
    "sqlalchemy": (
        "app.jobs.database",
        "app.jobs.tables",
        "app.jobs.records",
        "app.jobs.sections",
        "app.jobs.training",
        "app.jobs.workflow",
        "app.jobs.executor",
    ),
    "psycopg": ("app.jobs.database",),
    "obstore": ("app.store",),
    "prometheus_client": ("app.metrics",),
    "redis": ("app.breaker", "app.web.tally"),
    "limits": ("app.web.tally",),
    "flask_cors": ("app.web.edge",),
    "gunicorn": ("app.serving.worker",),
}
"""Libraries with one home each, so that exchanging one is an edit in one place."""

IMPORTED_LATE: Final = ("soundfile", "flask", "flask_openapi3")
"""Libraries that a module outside `web` imports inside its functions only: they are heavy."""

COMES_WITHOUT: Final = {
    "app.web.generate": ("numpy", "soundfile", "mido", "app.engines.composer.score"),
    "app.engines": ("numpy", "soundfile", "mido", "app.engines.composer.score"),
    "app.engines.composer.score": ("numpy", "soundfile", "mido"),
    "app.engines.composer.midi": ("numpy", "soundfile"),
    "app.jobs": ("dbos", "sqlalchemy", "obstore"),
    "app.web.jobs": ("dbos", "sqlalchemy", "obstore"),
    "app.web.failures": ("dbos", "sqlalchemy", "obstore", "app.failures"),
    "app.cli": ("dbos", "sqlalchemy", "obstore", "flask", "app.failures"),
    "app.failures": ("numpy", "flask", "pydantic", "msgspec", "requests", "email", "app.engines"),
    "app.jobs.records": ("dbos", "psycopg"),
    "app.store": ("obstore",),
    "app.serving.worker": ("flask", "werkzeug"),
    "app.metrics": ("prometheus_client", "dbos", "sqlalchemy"),
    "app.breaker": ("redis",),
}
"""What an import does not bring along, however long the way: a service carries it once a piece or a job needs it."""


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield each name that the module imports, and whether it does so as soon as it is imported itself."""
    root = tree(module)
    late = {
        id(inner)
        for node in ast.walk(root)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where a name comes from"
            yield node.module or "", id(node) not in late
            for alias in node.names:
                if f"{node.module}.{alias.name}" in MODULES:
                    yield f"{node.module}.{alias.name}", id(node) not in late


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_within(module: str, package: str) -> bool:
    """Tell whether the module is the package or a part of it; `app` itself stands for `app/__init__.py` alone."""
    return module == package or (package != "app" and module.startswith(f"{package}."))


def layer(module: str) -> int:
    found = [height for height, names in enumerate(LAYERS) if any(is_within(module, name) for name in names)]
    assert found, f"{module} belongs to no layer; add it to LAYERS"
    return found[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    for imported, _ in imports(module):
        if imported in MODULES and imported != "app":
            assert layer(imported) <= layer(module), f"{module} imports {imported}, which is built on it"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("app.engines.")])
def test_an_engine_does_not_know_the_others(module: str) -> None:
    own = ".".join(module.split(".")[:3])
    for imported, _ in imports(module):
        if imported.startswith("app.engines.") and imported != "app.engines.engine":
            assert is_within(imported, own), f"{module} imports {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_a_library_has_one_home(module: str) -> None:
    for imported, _ in imports(module):
        homes = ONLY_IMPORTED_BY.get(imported.split(".")[0])
        assert homes is None or any(is_within(module, home) for home in homes), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [module for module in MODULES if not is_within(module, "app.web")])
def test_heavy_libraries_are_imported_where_they_are_used(module: str) -> None:
    for imported, at_once in imports(module):
        assert not (at_once and imported.split(".")[0] in IMPORTED_LATE), f"{module} imports {imported} at once"


@pytest.mark.parametrize("module", COMES_WITHOUT)
def test_what_only_some_need_is_not_imported_before(module: str) -> None:
    imported, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in MODULES and name not in imported:
            waiting += [each for each, at_once in imports(name) if at_once]
            waiting.append(name.rpartition(".")[0])  # a package is imported before its modules
        imported.add(name)

    assert not [name for name in imported if any(is_within(name, each) for each in COMES_WITHOUT[module])]


def test_settings_and_errors_are_leaves() -> None:
    for module in ("app.settings", "app.errors"):
        assert not [imported for imported, _ in imports(module) if imported.startswith("app")]


@pytest.mark.parametrize("module", [module for module in MODULES if module != "app.settings"])
def test_only_the_settings_read_the_environment(module: str) -> None:
    root = tree(module)
    attributes = [
        node.attr
        for node in ast.walk(root)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    ]
    names = [
        alias.name
        for node in ast.walk(root)
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    ]

    assert not {"environ", "environb", "getenv", "getenvb"} & {*attributes, *names}


@pytest.mark.parametrize("module", [module for module in MODULES if module != "app.cli"])
def test_nothing_is_printed(module: str) -> None:
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]

    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("module", MODULES)
def test_no_exception_is_caught_without_naming_it(module: str) -> None:
    handlers = [node for node in ast.walk(tree(module)) if isinstance(node, ast.ExceptHandler)]

    assert all(handler.type is not None for handler in handlers)


def test_the_rules_are_about_modules_that_exist() -> None:
    homes = {home for homes in ONLY_IMPORTED_BY.values() for home in homes}

    assert homes | set(COMES_WITHOUT) <= set(MODULES)
