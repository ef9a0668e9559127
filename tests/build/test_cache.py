"""The cache's promises: whole or absent, one builder per key, checked, never in the way."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest

from autodiffc.build import cache as cache_module
from autodiffc.build.cache import Cache, Metadata, cache_directory, cache_key, open_cache
from autodiffc.errors import CacheError, CompilerFailed


def build_file(directory: Path) -> Metadata:
    (directory / "product").write_text("content")
    return {"note": "built"}


def never(directory: Path) -> Metadata:
    raise AssertionError("built although it is cached")


def staged(folder: Path) -> list[Path]:
    return list((folder / "v1" / "staging").iterdir())


def test_key_depends_on_content_and_not_on_order() -> None:
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert cache_key({"a": 1, "b": 2}) != cache_key({"a": 2, "b": 1})
    assert cache_key(["ab", "c"]) != cache_key(["a", "bc"])


def test_second_request_builds_nothing(cache_folder: Path) -> None:
    first = open_cache().get_or_build("key", build_file)
    second = open_cache().get_or_build("key", never)
    assert (first.cached, second.cached) == (False, True)
    assert second.metadata == {"note": "built"}
    assert (second.directory / "product").read_text() == "content"
    assert cache_folder in second.directory.parents


def test_failing_build_leaves_nothing(cache_folder: Path) -> None:
    def fail(directory: Path) -> Metadata:
        (directory / "half").write_text("half")
        raise CompilerFailed("no")

    with pytest.raises(CompilerFailed):
        open_cache().get_or_build("key", fail)
    assert staged(cache_folder) == []
    assert open_cache().find("key") is None


def test_interrupted_build_leaves_nothing(cache_folder: Path) -> None:
    def interrupt(directory: Path) -> Metadata:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache().get_or_build("key", interrupt)
    assert staged(cache_folder) == []
    assert not open_cache().get_or_build("key", build_file).cached  # and the lock is free


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest", "no manifest", "not a dict"])
def test_damaged_entry_is_rebuilt(damage: str) -> None:
    directory = open_cache().get_or_build("key", build_file).directory
    product, manifest = directory / "product", directory / "entry.json"
    if damage == "truncate":
        product.write_text("")
    elif damage == "remove":
        product.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text("[]")
    entry = open_cache().get_or_build("key", build_file)
    assert not entry.cached
    assert (entry.directory / "product").read_text() == "content"
    assert open_cache().get_or_build("key", never).cached


def test_threads_build_a_key_once() -> None:
    built: list[int] = []

    def slow(directory: Path) -> Metadata:
        built.append(1)
        time.sleep(0.1)
        return build_file(directory)

    threads = [
        threading.Thread(target=lambda: open_cache().get_or_build("key", slow)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_without_locks_the_loser_takes_the_winners_entry(cache_folder: Path) -> None:
    cache = open_cache()

    def overtaken(directory: Path) -> Metadata:
        cache._build("key", build_file)  # what a second builder does meanwhile
        return build_file(directory)

    entry = cache._build("key", overtaken)
    assert (entry.directory / "product").read_text() == "content"
    assert staged(cache_folder) == []


def test_old_staging_folders_are_removed(cache_folder: Path) -> None:
    open_cache().get_or_build("key", build_file)
    old, young = (cache_folder / "v1" / "staging" / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
    long_ago = time.time() - 2 * cache_module.STALE_AFTER_SECONDS
    os.utime(old, (long_ago, long_ago))
    open_cache().get_or_build("other key", build_file)
    assert staged(cache_folder) == [young]


def test_unwritable_folder_warns_once_and_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTODIFFC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="cannot be written") as caught:
        entry = open_cache().get_or_build("key", build_file)
    assert str(tmp_path / "file" / "cache") in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        assert open_cache().get_or_build("key", never).cached  # the folder serves as the cache
        open_cache().get_or_build("other key", build_file)
    assert (entry.directory / "product").read_text() == "content"


def test_folder_that_can_only_be_read_still_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    open_cache().get_or_build("key", build_file)

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_cache().get_or_build("key", never).cached


def test_full_disk_falls_back_then_names_folder_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(cache_module, "_temporary_root", lambda process: temporary / "autodiffc")
    roots: list[Path] = []

    def full(directory: Path) -> Metadata:
        roots.append(directory)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.warns(RuntimeWarning, match="No space left"), pytest.raises(CacheError) as caught:
        open_cache().get_or_build("key", full)
    assert len(roots) == 2  # the cache, then the temporary folder
    assert isinstance(caught.value, OSError)
    message = str(caught.value)
    assert "No space left on device" in message
    assert str(temporary / "autodiffc") in message
    assert "bytes free" in message
    assert "AUTODIFFC_CACHE" in message


def test_no_temporary_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache_module._temporary_root.cache_clear()
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.warns(RuntimeWarning), pytest.raises(CacheError, match="No space left on device"):
        open_cache().get_or_build("key", build_file)


def test_directory_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTODIFFC_CACHE", "relative")
    assert cache_directory() == Path.cwd() / "relative"
    monkeypatch.delenv("AUTODIFFC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_directory().name == "autodiffc"


def test_size_and_writability(tmp_path: Path, cache_folder: Path) -> None:
    cache = open_cache()
    assert cache.size_bytes() == 0
    cache.get_or_build("key", build_file)
    assert cache.size_bytes() >= len("content")
    assert cache.check_writable() is None
    (tmp_path / "file").write_text("")
    assert isinstance(Cache(tmp_path / "file").check_writable(), OSError)
