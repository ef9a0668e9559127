"""The folder that `autodiffc compile -o` writes, and loading a model from it.

    NAME.c  NAME.h  NAME_data.c     the C, the last one for large constants
    libNAME.so                      the library, without Python in it
    _NAME.cpython-….so              the Python module
    manifest.json                   what the model takes and gives, how it was built, the files

Each file replaces an older one by a rename, the manifest last: a reader or a process that has the
old library loaded never meets half a file. What an earlier build wrote here and this one does not
is removed, so that the folder holds one build.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autodiffc.build.module import extension_suffix, open_files
from autodiffc.errors import ArgumentError, BuildError, ModelFileError, ModelFileNotFoundError
from autodiffc.runtime.compiled import Compiled

MANIFEST = "manifest.json"
EMIT = ("c", "lib", "module", "all")

_loaded: dict[Path, str] = {}  # what this process has loaded, and the hash of its content


# --- Writing ---


def choose_files(
    name: str, sources: Mapping[str, str], library: Path | None, module: Path | None, emit: str
) -> dict[str, bytes]:
    """The content of the files that `emit` asks for, by name."""
    if emit not in EMIT:
        raise ArgumentError(
            "there is no such kind of output",
            found=repr(emit),
            expected="one of " + ", ".join(EMIT),
        )
    files: dict[str, bytes] = {}
    if emit in ("c", "all"):
        files |= {file: text.encode() for file, text in sources.items()}
    if emit in ("lib", "all") and library is not None:
        header = f"{name}.h"
        files |= {header: sources[header].encode(), library.name: library.read_bytes()}
    if emit in ("module", "all") and module is not None:
        files[module.name] = module.read_bytes()
    return files


def write_output(
    directory: str | Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> list[Path]:
    """Writes the files and the manifest, which lists them; returns their paths."""
    folder = Path(directory)
    listed = {**manifest, "files": sorted(files)}
    text = json.dumps(listed, indent=2, sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stale = set(_files_of(folder)) - files.keys()
        for name, content in files.items():
            _replace(folder / name, content)
        _replace(folder / MANIFEST, text.encode())
        for name in stale:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(
            f"the output folder {folder} cannot be written",
            found=error.strerror or str(error),  # not the temporary file's name
            expected="a folder that can be written",
            help="choose another with -o (or output=)",
        ) from error
    return [folder / name for name in (*files, MANIFEST)]


def _files_of(folder: Path) -> list[str]:
    """What the manifest there says an earlier build wrote; plain names only."""
    try:
        names = json.loads((folder / MANIFEST).read_bytes())["files"]
        return [n for n in names if isinstance(n, str) and Path(n).name == n]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _replace(path: Path, content: bytes) -> None:
    """Writes beside `path`, then renames."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        # mkstemp makes files private; these are for everyone whom the folder admits
        os.chmod(temporary, 0o755 if path.suffix == ".so" else 0o644)
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too must leave no litter
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


# --- Loading ---


def load_output(directory: str | Path) -> Compiled:
    """The model in a folder written by `autodiffc compile -o`, or `ad.compile(output=...)`."""
    folder = Path(directory)
    manifest = read_manifest(folder)
    name = str(manifest.get("prefix"))
    library = folder / f"lib{name}.so"
    module = folder / f"_{name}{extension_suffix()}"
    if not library.is_file() and not module.is_file():
        raise ModelFileError(
            f"{folder} holds no compiled library of {name}",
            found=", ".join(sorted(p.name for p in folder.iterdir())),
            expected=f"{library.name} or {module.name}",
            help="compile with --emit all",
        )
    with tempfile.TemporaryDirectory(prefix="autodiffc-load-") as spare:
        usable = _fresh(module, Path(spare)) if module.is_file() else None
        cdef = str(manifest.get("cdef", ""))
        ffi, lib = open_files(f"_{name}", usable, _fresh(library, Path(spare)), cdef)
    return Compiled(ffi, lib, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What an earlier build wrote of itself."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise (ModelFileNotFoundError if missing else ModelFileError)(
            f"{folder} is not a folder with a compiled model",
            found=f"{path}: {error.strerror}",
            expected="a folder that `autodiffc compile -o` wrote",
            help=f"ad.compile({str(folder)!r}) compiles a model file"
            if folder.suffix == ".py"
            else None,
        ) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(path, f"a JSON {type(found).__name__}")
    return found


def _damaged(path: Path, found: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged", found=found, expected="a JSON object", help="compile the model again"
    )


def _fresh(path: Path, spare: Path) -> Path:
    """`path`, or a copy in `spare` where this process has loaded something else from there.

    The dynamic linker knows libraries by path and would hand out the old one again.
    """
    if not path.is_file():
        return path
    key = path.resolve()
    digest = hashlib.sha256(key.read_bytes()).hexdigest()
    if _loaded.setdefault(key, digest) == digest:
        return key
    copy = spare / path.name
    shutil.copyfile(key, copy)
    return copy
