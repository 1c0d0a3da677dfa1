"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from planner.errors import OutputError
from planner.export.files import write_together, write_whole

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def test_text_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_whole(path, "één\n")
    assert path.read_bytes() == "één\n".encode()
    write_whole(str(path), b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    before = os.umask(0o027)
    try:
        write_whole(path, "a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        write_whole(path, "b")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_directly() -> None:
    write_whole("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_no_folder_a_folder_and_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path / "none" / "out", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "out", "is not a folder"),
    ):
        with pytest.raises(OutputError, match=words) as caught:
            write_whole(path, "x")
        assert caught.value.where == str(path)
        assert caught.value.exit_code == 2


@pytest.mark.skipif(AS_ROOT, reason="root may write anywhere")
def test_permissions(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (tmp_path / "read-only").write_text("old")
    (tmp_path / "read-only").chmod(0o444)
    locked.chmod(0o555)
    for path in (locked / "out", tmp_path / "read-only"):
        with pytest.raises(OutputError):
            write_whole(path, "x")
    assert (tmp_path / "read-only").read_text() == "old"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "out"
    path.write_text("old")
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder would allow it; this runs for root too, whom permissions do not stop."""
    path = tmp_path / "out"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(OutputError, match="read-only"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_files_that_belong_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "prices" / "a.yaml"
    old.parent.mkdir()
    old.write_text("before")
    files = {old: "after", tmp_path / "prices" / "b.yaml": "b", tmp_path / "new" / "deep" / "c.yaml": "c"}
    real, calls = os.replace, iter(range(9))

    def full(source: str, target: str) -> None:
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_together(files)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.yaml", "prices"]
    assert old.read_text() == "before"
    write_together(files)
    assert [path.read_text() for path in files] == ["after", "b", "c"]
