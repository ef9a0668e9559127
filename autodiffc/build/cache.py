"""The content-addressed cache of compiled code.

Think of it as a dictionary on disk from a key (a hash of everything that decides the result) to a
folder of files, the *entry*. Four promises:

- An entry is whole or absent. It is built in a staging folder beside the entries and moved into
  place by one atomic rename, so an interrupted build leaves nothing behind.
- One builder per key. Others that want the same key wait for its lock and then use its entry.
- An entry is checked when it is read. A file that is missing or has the wrong size (a crash before
  the disk was flushed, a hand-edited folder) makes the entry count as absent, and it is rebuilt.
- A cache folder that cannot be written never stops a build. A temporary folder of this process
  takes its place, with one warning; only if that fails too is there a `CacheError`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodiffc.errors import AutodiffcError, CacheError, CacheWarning
from autodiffc.graph.location import here

FORMAT_VERSION = 1  # part of every key and of the folder's name: raise it when the layout changes
MANIFEST = "entry.json"
STALE_AFTER_SECONDS = 3600.0  # a staging folder this old belongs to a build that was killed

Metadata = dict[str, Any]
"""What a builder wants to remember of an entry beside its files; anything JSON can hold."""

_warned_roots: set[Path] = set()


@dataclass(frozen=True)
class Entry:
    """A folder of built files; `cached` tells whether it was there already."""

    directory: Path
    metadata: Metadata
    cached: bool


def cache_key(parts: Any) -> str:
    """The key of a build: a hash of `parts`, any JSON value that tells all that decides it."""
    described = json.dumps([FORMAT_VERSION, parts], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(described.encode()).hexdigest()


def cache_directory() -> Path:
    """Where compiled code is kept: $AUTODIFFC_CACHE, or the user's cache folder."""
    configured = os.environ.get("AUTODIFFC_CACHE")
    if configured:
        return Path(configured).expanduser().absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("autodiffc", appauthor=False))


def open_cache() -> Cache:
    """The cache in the configured folder; nothing is written before something is built."""
    return Cache(cache_directory())


class Cache:
    """The entries under one folder."""

    def __init__(self, root: Path, *, is_fallback: bool = False) -> None:
        self.root = root
        self._is_fallback = is_fallback
        version = root / f"v{FORMAT_VERSION}"
        self._entries, self._staging, self._locks = (
            version / part for part in ("entries", "staging", "locks")
        )

    def get_or_build(self, key: str, build: Callable[[Path], Metadata]) -> Entry:
        """The entry of `key`; where it is absent, `build` is called to fill a fresh folder."""
        found = self.find(key)
        if found:
            return found
        try:
            with self._lock(key):
                return self.find(key) or self._build(key, build)
        except AutodiffcError:
            raise
        except OSError as error:
            if self._is_fallback:
                raise _no_room(self.root, error) from error
            return self._fallback(error).get_or_build(key, build)

    def find(self, key: str) -> Entry | None:
        """The entry of `key` if it is there and undamaged."""
        directory = self._entries / key
        try:
            manifest = json.loads((directory / MANIFEST).read_bytes())
            whole = all(
                (directory / name).stat().st_size == size
                for name, size in manifest["files"].items()
            )
            return Entry(directory, dict(manifest["metadata"]), cached=True) if whole else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # absent, or a manifest that is not one

    def discard(self, key: str) -> None:
        """Forget the entry of `key`."""
        shutil.rmtree(self._entries / key, ignore_errors=True)

    def size_bytes(self) -> int:
        """The bytes of all files under the folder."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(OSError):  # another process may be cleaning up
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def check_writable(self) -> OSError | None:
        """Why the folder cannot be written, or None if it can."""
        try:
            self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self._staging) as file:
                file.write(b"\0")
        except OSError as error:
            return error
        return None

    def _build(self, key: str, build: Callable[[Path], Metadata]) -> Entry:
        """Build in a staging folder, then move it into place."""
        for parent in (self._entries, self._staging):
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_stale()
        staging = Path(tempfile.mkdtemp(prefix=f"{key[:16]}-", dir=self._staging))
        try:
            metadata = build(staging)
            _write_manifest(staging, metadata)
            self._publish(staging, key)
        finally:  # also on Ctrl-C; after the rename there is nothing left to remove
            shutil.rmtree(staging, ignore_errors=True)
        return Entry(self._entries / key, metadata, cached=False)

    def _publish(self, staging: Path, key: str) -> None:
        """Rename `staging` to the entry of `key`, in place of a damaged one."""
        try:
            staging.rename(self._entries / key)
        except OSError:
            # Something stands there: an entry of a builder that the lock did not hold back (file
            # systems without locks exist), which serves as well, or a damaged one, which must go.
            if self.find(key):
                return
            self.discard(key)
            staging.rename(self._entries / key)

    def _remove_stale(self) -> None:
        """Remove staging folders of builds that were killed."""
        oldest = time.time() - STALE_AFTER_SECONDS
        for folder in self._staging.iterdir():
            with contextlib.suppress(OSError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Hold the lock of `key`; the kernel lets go of it should this process die."""
        from filelock import FileLock

        self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(self._locks / f"{key}.lock", poll_interval=0.02)
        try:
            lock.acquire()
        except NotImplementedError:  # no locks here: builds may be repeated, never mixed up
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _fallback(self, error: OSError) -> Cache:
        """The temporary cache of this process; warns once that it is in use."""
        _warn_unwritable(self.root, str(error))
        try:
            return Cache(_temporary_root(os.getpid()), is_fallback=True)
        except OSError as second:
            raise _no_room(Path(tempfile.gettempdir()), second) from second


def _write_manifest(directory: Path, metadata: Metadata) -> None:
    """List the entry's files with their sizes."""
    files = {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    manifest = {"files": files, "metadata": metadata}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def _warn_unwritable(root: Path, reason: str) -> None:
    """Warn that a temporary folder stands in for `root`, once per process."""
    if root in _warned_roots:
        return
    _warned_roots.add(root)
    text = (
        f"the cache of compiled code in {root} cannot be written ({reason}); models are compiled "
        "anew in each process. Set AUTODIFFC_CACHE to a folder that can be written"
    )
    user = here()
    file, line = (user.file, user.line) if user else (__file__, 1)
    warnings.warn_explicit(text, CacheWarning, file, line)


@functools.cache
def _temporary_root(process: int) -> Path:
    """The folder that `process`, this one, uses where the cache cannot be written."""
    root = Path(tempfile.mkdtemp(prefix="autodiffc-"))

    def remove() -> None:
        if os.getpid() == process:  # a forked child inherits this hook, not the folder
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root


def _no_room(directory: Path, error: OSError) -> CacheError:
    """The error for a machine on which no folder can be written."""
    try:
        free = f"{shutil.disk_usage(directory).free:,} bytes free"
    except OSError:
        free = "free bytes unknown"
    return CacheError(
        f"compiled code cannot be written to {directory}: {error.strerror or error}",
        found=f"{free} in {directory}",
        expected="a folder that can be written, with some megabytes of room",
        help="free some space, or set AUTODIFFC_CACHE and TMPDIR to folders that can be written",
    )
