"""Loading a model file: a Python file that defines `model`, or `models` (a list).

The file runs in a module namespace of its own, with its folder on `sys.path`, so that models may be
split over files that import each other. What goes wrong in it is shown where it happened in the
user's code, not in ours.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType

from autodiffc.dsl.model import Model
from autodiffc.errors import (
    AutodiffcError,
    ModelFileError,
    ModelFileNotFoundError,
    SourceLocation,
)
from autodiffc.graph.location import located

_MODULE = "autodiffc_model_file"
_PACKAGE = Path(__file__).resolve().parent.parent


def load_models(path: str | Path) -> dict[str, Model]:
    """The models of a file, by name."""
    found = load_file(path)
    return found if isinstance(found, dict) else {found.name: found}


def load_file(path: str | Path) -> Model | dict[str, Model]:
    """What a file defines: its `model`, or its `models` by name."""
    file = Path(path)
    module = run_file(file)
    models = _defined_models(file, module)
    return _by_name(file, models) if hasattr(module, "models") else models[0]


def _by_name(file: Path, models: Sequence[Model]) -> dict[str, Model]:
    found: dict[str, Model] = {}
    for model in models:
        if model.name in found:
            raise ModelFileError(
                f"two models of {file} are called {model.name!r}",
                expected="a name of its own for each model",
                loc=model.loc,
            )
        found[model.name] = model
    return found


def load_model(path: str | Path) -> Model:
    """The one model of a file; several are an error that lists them."""
    models = load_models(path)
    if len(models) > 1:
        raise ModelFileError(
            f"{path} defines several models",
            found=", ".join(models),
            expected="one model",
            help="give the file a single `model`",
        )
    (model,) = models.values()
    return model


def run_file(file: Path) -> ModuleType:
    """Executes a model file and returns its namespace."""
    source = _read(file)
    linecache.checkcache(str(file))  # the file may have changed since an earlier load
    module = ModuleType(_MODULE)
    module.__file__ = str(file)
    try:
        code = compile(source, str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax_error(file, error) from error
    except ValueError as error:  # null bytes
        raise ModelFileError(f"{file} is not a Python file", found=str(error)) from error
    with _importable(module, file.resolve().parent):
        try:
            exec(code, module.__dict__)
        except AutodiffcError:
            raise
        except (Exception, SystemExit) as error:
            raise _raised(file, error) from error
    return module


def _read(file: Path) -> bytes:
    if not file.exists():
        raise ModelFileNotFoundError(
            f"the model file {file} does not exist",
            found=_similar_files(file),
            expected="a Python file that defines `model`",
        )
    if file.is_dir():
        raise ModelFileError(
            f"the model file {file} is a directory",
            found="a directory",
            expected="a Python file that defines `model`",
        )
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"the model file {file} cannot be read", found=error.strerror or str(error)
        ) from error


def _similar_files(file: Path) -> str:
    if not file.parent.is_dir():
        return f"no directory {file.parent} either"
    others = sorted(p.name for p in file.parent.glob("*.py"))[:8]
    return "in its directory: " + (", ".join(others) if others else "no Python file")


@contextmanager
def _importable(module: ModuleType, folder: Path) -> Iterator[None]:
    """The module is known by name (dataclasses ask for it), its folder is searched first."""
    before = sys.modules.get(_MODULE)
    sys.modules[_MODULE] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        del sys.modules[_MODULE]
        if before is not None:
            sys.modules[_MODULE] = before


# --- What the file defines ---


def _defined_models(file: Path, module: ModuleType) -> Sequence[Model]:
    if hasattr(module, "models"):
        return _model_list(file, module.models)
    if not hasattr(module, "model"):
        near = [k for k, v in vars(module).items() if isinstance(v, Model)]
        raise ModelFileError(
            f"{file} defines no model",
            found=f"a model called {near[0]!r}" if near else "neither `model` nor `models`",
            expected='model = ad.Model("name", outputs={...})',
            help=f"rename {near[0]!r} to `model`" if near else None,
            loc=SourceLocation(str(file), _last_line(file)),
        )
    if not isinstance(module.model, Model):
        raise _wrong_type(file, "model", module.model, "an ad.Model")
    return (module.model,)


def _model_list(file: Path, models: object) -> Sequence[Model]:
    if isinstance(models, dict):
        models = list(models.values())
    if not isinstance(models, list | tuple) or not models:
        raise _wrong_type(file, "models", models, "a list of ad.Model")
    for model in models:
        if not isinstance(model, Model):
            raise _wrong_type(file, "models", model, "a list of ad.Model, nothing else in it")
    return models


def _wrong_type(file: Path, name: str, value: object, expected: str) -> ModelFileError:
    return ModelFileError(
        f"`{name}` in {file} is not what it should be",
        found=f"{value!r} ({type(value).__name__})",
        expected=expected,
        loc=_assignment(file, name),
    )


def _assignment(file: Path, name: str) -> SourceLocation | None:
    """Where a variable is last assigned in the file."""
    import ast

    found = None
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            found = located(str(file), node.lineno, node.col_offset, node.end_col_offset)
    return found


def _last_line(file: Path) -> int:
    return max(1, len(file.read_bytes().splitlines()))


# --- What the file did wrong ---


def _syntax_error(file: Path, error: SyntaxError) -> ModelFileError:
    end = error.end_offset if error.end_lineno == error.lineno else None
    loc = SourceLocation(str(file), error.lineno or 1, max(1, error.offset or 1), end)
    return ModelFileError(
        f"{file} is not valid Python",
        found=f"{type(error).__name__}: {error.msg}",
        expected="a Python file that defines `model`",
        loc=loc,
    )


def _raised(file: Path, error: BaseException) -> ModelFileError:
    if isinstance(error, SyntaxError):  # of a file that the model file imports
        return _syntax_error(Path(error.filename or file), error)
    text = str(error)
    return ModelFileError(
        f"the model file {file} raised {type(error).__name__}",
        found=f"{type(error).__name__}: {text}" if text else type(error).__name__,
        expected="a file that runs to its end",
        loc=_users_line(error.__traceback__),
    )


def _users_line(trace: TracebackType | None) -> SourceLocation | None:
    """The innermost line of the user's own code: not of this package, nor of installed ones."""
    found = None
    for summary in traceback.extract_tb(trace):
        path = Path(summary.filename)
        foreign = _PACKAGE in path.resolve().parents or "site-packages" in path.parts
        if foreign or summary.filename.startswith("<") or _is_standard(path):
            continue
        end = summary.end_colno if summary.end_lineno == summary.lineno else None
        found = located(summary.filename, summary.lineno or 1, summary.colno or 0, end)
    return found


def _is_standard(path: Path) -> bool:
    import sysconfig

    return Path(sysconfig.get_paths()["stdlib"]) in path.parents
