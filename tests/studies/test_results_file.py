"""The results file: what counts as finished stays, what was torn goes, what is foreign is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from planner.errors import InputError, OutputError, ScenarioError
from planner.studies.results_file import ResultsFile

ABOUT = {"planner_version": "1", "catalog_digest": "abc", "base": {"rate": 1, "model": "m"}, "vary": {"rate": [1, 2]}}
KEYS = ["k0", "k1", "k2"]


def _filled(path: Path) -> bytes:
    with ResultsFile(path, ABOUT, KEYS) as results:
        results.add(2, {"cost": 2.5})
        results.add(0, {"cost": None, "message": "läuft\nnicht"})
    return path.read_bytes()


def test_what_was_finished_is_there_again_and_the_rest_is_added(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    before = _filled(path)
    with ResultsFile(path, ABOUT, KEYS) as results:
        assert results.rows == {2: {"cost": 2.5}, 0: {"cost": None, "message": "läuft\nnicht"}}
        results.add(1, {"cost": 1.0})
    assert path.read_bytes().startswith(before)
    assert [json.loads(line).get("row") for line in path.read_text().splitlines()] == [None, 2, 0, 1]


def test_a_file_cut_off_anywhere_loses_at_most_the_line_that_was_cut(tmp_path: Path) -> None:
    whole = _filled(tmp_path / "whole.jsonl")
    path = tmp_path / "cut.jsonl"
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in sorted({*range(0, len(whole), 19), *ends, *(end + 1 for end in ends[:-1])}):
        path.write_bytes(whole[:length])
        with ResultsFile(path, ABOUT, KEYS) as results:
            finished = max(whole[:length].count(b"\n") - 1, 0)
            assert list(results.rows) == [2, 0][:finished]
            for i in {0, 1, 2} - set(results.rows):
                results.add(i, {"cost": i})
        with ResultsFile(path, ABOUT, KEYS) as results:
            assert sorted(results.rows) == [0, 1, 2]
            assert results.n_torn == 0
        assert path.read_bytes().count(b"\n") == 4


def test_a_last_line_of_zeros_after_a_power_cut_is_dropped_and_one_before_is_not(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    whole = _filled(path)
    path.write_bytes(whole + b"\0" * 40 + b"\n")
    with ResultsFile(path, ABOUT, KEYS) as results:
        assert (sorted(results.rows), results.n_torn) == ([0, 2], 1)
    assert path.read_bytes() == whole
    first, second, third = whole.splitlines(keepends=True)
    path.write_bytes(first + b"\0" * 40 + b"\n" + third)
    with pytest.raises(ScenarioError, match="not a result of this sweep") as caught:
        ResultsFile(path, ABOUT, KEYS)
    assert caught.value.where == f"{path}:2"
    assert "--restart" in (caught.value.fix or "")
    path.write_bytes(first + second + second.replace(b"k2", b"k1"))
    with pytest.raises(ScenarioError, match="not a result of this sweep"):
        ResultsFile(path, ABOUT, KEYS)


@pytest.mark.parametrize(
    ("change", "what", "value"),
    [
        ({"planner_version": "2"}, "another version of planner", "there 1, now 2"),
        ({"catalog_digest": "xyz"}, "another catalog", "there abc, now xyz"),
        ({"base": {"rate": 3, "model": "m"}}, "another base scenario", "there {'rate': 1}, now {'rate': 3}"),
        ({"vary": {"rate": [1]}}, "another grid", "there {'rate': [1, 2]}, now {'rate': [1]}"),
        ({"extra": 1}, "another extra", "there None, now 1"),
    ],
)
def test_results_of_another_sweep_are_refused_until_told_to_restart(
    tmp_path: Path, change: dict[str, object], what: str, value: str
) -> None:
    path = tmp_path / "r.jsonl"
    before = _filled(path)
    with pytest.raises(ScenarioError) as caught:
        ResultsFile(path, ABOUT | change, KEYS)
    assert what in caught.value.what
    assert caught.value.value == value
    assert "--restart" in (caught.value.fix or "")
    assert path.read_bytes() == before
    with ResultsFile(path, ABOUT | change, KEYS, restart=True) as results:
        assert results.rows == {}
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("content", [b"my diary\n", b"my diary", b'{"schema_version": "1.0"}\n', b"[1]\n"])
def test_a_file_that_holds_something_else_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    for restart in (False, True):
        with pytest.raises(ScenarioError, match="holds no results"):
            ResultsFile(path, ABOUT, KEYS, restart=restart)
    assert path.read_bytes() == content


def test_two_sweeps_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsFile(path, ABOUT, KEYS) as results:
        results.add(0, {})
        with pytest.raises(OutputError, match="another sweep is writing"):
            ResultsFile(path, ABOUT, KEYS, restart=True)
        results.add(1, {})
    with ResultsFile(path, ABOUT, KEYS) as results:
        assert sorted(results.rows) == [0, 1]


@pytest.mark.parametrize("place", ["missing/r.jsonl", ".", "/dev/null"])
def test_where_nothing_can_be_written_says_so(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError) as caught:
        ResultsFile(tmp_path / place, ABOUT, KEYS)
    assert caught.value.where and caught.value.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        ResultsFile(tmp_path / "r.jsonl", ABOUT, KEYS)


def test_a_full_disk_is_an_error_that_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.jsonl"
    write = os.write

    def half(file: int, content: bytes) -> int:
        if b'"row": 1' in content:
            return write(file, content[:5])
        if content.startswith(b'": 1'):
            raise OSError(28, "No space left on device")
        return write(file, content)

    with ResultsFile(path, ABOUT, KEYS) as results:
        results.add(0, {})
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OutputError, match="No space left"):
            results.add(1, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [(b'"cost": 3', b'"cost": -1'), (b'"cost": 3', b'"cost": NaN'), (b"2", b"3")])
def test_a_figure_that_was_changed_after_it_was_written_is_refused(change: tuple[bytes, bytes], tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsFile(path, ABOUT, KEYS) as results:
        results.add(0, {"cost": 3.0, "n": 2})
        results.add(1, {"cost": 4.0, "n": 1})
    lines = path.read_bytes().splitlines(keepends=True)
    assert change[0] in lines[1].replace(b'"scenario"', b"")
    head, sep, tail = lines[1].rpartition(b'"checksum"')
    path.write_bytes(lines[0] + head.replace(*change) + sep + tail + lines[2])
    with pytest.raises(ScenarioError, match=r"changed after it was written|not a result") as caught:
        ResultsFile(path, ABOUT, KEYS)
    assert caught.value.where == f"{path}:2"


def test_a_file_that_could_not_be_begun_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OutputError, match="No space left"):
        ResultsFile(tmp_path / "r.jsonl", ABOUT, KEYS)
    assert list(tmp_path.iterdir()) == []
