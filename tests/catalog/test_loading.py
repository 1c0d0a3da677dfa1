"""Strict YAML 1.2 and errors with file:line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from planner.catalog import loading
from planner.catalog.catalog import Catalog
from planner.catalog.loading import Layer, merge_layers, read_layer
from planner.catalog.schema import BY_FOLDER, EfficiencyPatch
from planner.errors import CatalogError, ScenarioError, UnknownNameError

Write = Callable[..., Path]


@pytest.fixture(params=["c", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the C parser and with the pure Python one."""
    if request.param == "python":
        monkeypatch.setattr(loading, "yaml_reader", lambda pure=True: YAML(typ="safe", pure=True, plug_ins=[]))
    return str(request.param)


def read(tmp_path: Path, content: str | bytes) -> Layer:
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_layer(path)


def test_yaml_1_2_scalars(tmp_path: Path, parser: str) -> None:
    text = "a: 1e9\nb: no\nc: on\nd: 010\ne: 12:30:45\nf: 2025-06-01\ng: 1_000\nh: ~\ni: 3.35 TB/s\nj: 'no'\nk: 0o10\n"
    assert read(tmp_path, text).data == {
        "a": 1e9, "b": "no", "c": "on", "d": 10, "e": "12:30:45", "f": datetime.date(2025, 6, 1),
        "g": 1000, "h": None, "i": "3.35 TB/s", "j": "no", "k": 8,
    }  # fmt: skip


def test_a_byte_order_mark_and_crlf_are_read(tmp_path: Path, parser: str) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: x\r\n").data == {"a": 1, "b": "x"}


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key 'a'"),
        ("a:\n  b: 1\n  b: 1\n", 3, "duplicate key 'b'"),
        ("a: 1\nb: c: d\n", 2, "not YAML"),
        ("a: [1\n", 2, "not YAML"),
        ("- 1\n- 2\n", 1, "got a list"),
        ("just text\n", 1, "got a str"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"a: 1\nb: \x01\n", 2, "not YAML"),
        ("a: 1\nb: x\u2028y\n", 2, "odd line break (U+2028)"),
        ("a: 1\n---\nb: 2\n", 2, "more than one document"),
        ("%YAML 1.1\n---\na: yes\n", 1, "%YAML"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tags"),
        ("a: 1\nb: *nothing\n", 2, "alias"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys"),
        ("a: &x {b: *x}\n", 1, "aliases"),
        ("a: 1\n2: 3\n", 2, "not text"),
        ("a:\n  - {b: 1}\n  - {1: 2}\n", 3, "not text"),
        ("a: 1\nb: 2025-13-45\n", 2, "month"),
    ],
)
def test_what_is_refused_names_its_line(
    tmp_path: Path, parser: str, content: str | bytes, line: int, words: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        read(tmp_path, content)
    assert caught.value.where == f"{tmp_path}/file.yaml:{line}"
    assert words in caught.value.what
    assert caught.value.exit_code == 2


def test_aliases_that_multiply_are_refused(tmp_path: Path, parser: str) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(CatalogError, match="aliases"):
        read(tmp_path, "\n".join(lines))


def test_a_plain_alias_is_read(tmp_path: Path, parser: str) -> None:
    assert read(tmp_path, "a: &x {b: 1}\nc: *x\n").data == {"a": {"b": 1}, "c": {"b": 1}}


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(CatalogError, match="cannot read") as caught:
            read_layer(path)
        assert caught.value.where == str(path)


def test_the_error_class_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(ScenarioError):
        read_layer(tmp_path / "scenario.yaml", error=ScenarioError)


def test_lines_of_keys_and_items(tmp_path: Path, parser: str) -> None:
    layer = read(tmp_path, "# comment\na: 1\nb:\n  c: {d: 2,\n      e: 3}\nf:\n  - 1\n  - 2\ng.h:\n  i: 1\n")
    assert layer.line_of(("a",)) == 2
    assert layer.line_of(("b", "c")) == 4
    assert layer.line_of(("b", "c", "e")) == 5
    assert layer.line_of(("f", 1)) == 8
    assert layer.line_of(("g.h", "i")) == 10
    assert layer.line_of(("b", "x")) is None
    assert layer.line_of(("a", "x")) is None


_TEXT = st.text(st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=("Cs", "Cc")), max_size=20)
_SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
)
_KEYS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)
_MAPPINGS = st.dictionaries(
    _KEYS, st.recursive(_SCALARS, lambda s: st.lists(s, max_size=3) | st.dictionaries(_KEYS, s, max_size=3)), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(_MAPPINGS)
def test_both_parsers_read_json_as_json_does(data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False)
    assert loading.parsed(text, "load") == YAML(typ="safe", pure=True, plug_ins=[]).load(text) == data


@settings(max_examples=200, deadline=None)
@given(st.text("abyno0123789.:-+_eE?*&|>%@`'\"#,[]{} TGB/s", min_size=1, max_size=12))
def test_what_both_parsers_read_they_read_alike(value: str) -> None:
    text = f"a: {value}\nb:\n  - {value}\n"
    try:
        data = YAML(typ="safe", plug_ins=[]).load(text)
        pure = YAML(typ="safe", pure=True, plug_ins=[]).load(text)
    except (YAMLError, ValueError):
        return
    assert repr(data) == repr(pure)


def test_what_the_c_parser_refuses_wrongly_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "a: {b: sure?}\n").data == {"a": {"b": "sure?"}}
    assert read(tmp_path, "a: {b: sure?}\nc: 1\n").line_of(("c",)) == 2


_FLAT = st.dictionaries(_KEYS, st.integers() | st.dictionaries(_KEYS, st.integers(), max_size=3), max_size=4)


@settings(max_examples=60, deadline=None)
@given(_FLAT, _FLAT)
def test_merging_keeps_every_leaf_of_the_upper_layer(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    layers = [Layer(Path(str(n)), "", {"source": f"s{n}", "kind": "quote", **d}) for n, d in enumerate((lower, upper))]
    merged = merge_layers(layers)
    for key, value in upper.items():
        if key in ("source", "kind", "notes", "provenance"):
            continue
        if isinstance(value, dict):
            assert value.items() <= merged[key].items()
        else:
            assert merged[key] == value
    for key in lower.keys() - upper.keys():
        assert merged[key] == lower[key]


# Schema errors of one file.


def broken(write: Write, base: dict[str, Path], text: str, name: str = "accelerators/chip-one.yaml") -> CatalogError:
    """Return the error of an overlay file whose content is given."""
    catalog = Catalog([write({name: text})], builtin=base)
    with pytest.raises(CatalogError) as caught:
        catalog.get(BY_FOLDER[name.split("/")[0]], Path(name).stem)
    return caught.value


HEAD = "source: my notes\nkind: estimate\n"


def test_unknown_field_offers_near_misses(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "memory_bandwith: 4 TB/s\n")
    assert str(error).startswith(f"{error.where}: memory_bandwith: unknown field\n  did you mean: memory_bandwidth")
    assert str(error.where).endswith("mycat/accelerators/chip-one.yaml:3")


def test_unknown_nested_field(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "scale_up:\n  bandwith: 4 TB/s\n")
    assert (error.what, error.suggestions[0]) == ("scale_up.bandwith: unknown field", "bandwidth")
    assert str(error.where).endswith(":4")


def test_python_names_of_fields_are_not_read_from_files(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "memory_bytes: 80 GB\n")
    assert (error.what, error.suggestions) == ("memory_bytes: unknown field", ["memory"])


def test_wrong_unit(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "memory_bandwidth: 40 GB\n")
    assert error.what == "memory_bandwidth: expected a bandwidth, got 'GB', which is a data size (got '40 GB')"
    assert error.fix == "write it like 400 Gbit/s or 50 GB/s"
    assert str(error.where).endswith(":3")


def test_missing_unit(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "tdp: 700\n")
    assert "a power needs its unit" in error.what


def test_unknown_precision_is_named_with_its_line(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "peak:\n  bf17: 3 TFLOP/s\n")
    assert error.what.startswith("peak.bf17: 'bf17' is not one of fp32, bf16")
    assert "bf16" in error.suggestions
    assert str(error.where).endswith(":4")


def test_several_errors_are_all_told(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "tdp: 700 GB\nmemorie: 80 GB\npeak: 3\n")
    text = str(error)
    assert len(error.also) == 2
    for line, words in ((3, "tdp: expected a power"), (4, "memorie: unknown field; did you mean"), (5, "peak: ")):
        assert f"chip-one.yaml:{line}: {words}" in text
    assert error.to_record()["also"] == error.also


@pytest.mark.parametrize("field", ["source", "kind"])
def test_missing_source_or_kind_of_a_complete_file(write: Write, base: dict[str, Path], field: str) -> None:
    lines = base["accelerators"].joinpath("chip-one.yaml").read_text().splitlines(keepends=True)
    error = broken(write, base, "".join(x for x in lines if not x.startswith(field)), "accelerators/chip-two.yaml")
    assert error.what == f"{field}: missing field"
    assert str(error.where).endswith("chip-two.yaml:1")
    assert error.fix


@pytest.mark.parametrize(
    ("field", "text"), [("source", "kind: quote\ntdp: 1 W\n"), ("kind", "source: xyz\ntdp: 1 W\n")]
)
def test_missing_source_or_kind_of_an_overlay(write: Write, base: dict[str, Path], field: str, text: str) -> None:
    error = broken(write, base, text)
    assert error.what == f"{field}: missing field"
    assert str(error.where).endswith("mycat/accelerators/chip-one.yaml:1")


def test_bad_kind_of_source(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, "source: xyz\nkind: qoute\ntdp: 1 W\n")
    assert error.what.startswith("kind: 'qoute' is not one of")
    assert error.suggestions[0] == "quote"
    assert str(error.where).endswith(":2")


def test_a_file_does_not_name_itself(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "name: chip-one\n")
    assert error.what == "name: not a field of this file"
    assert str(error.where).endswith(":3")


def test_an_incomplete_new_entry_offers_the_name_that_may_have_been_meant(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "tdp: 600 W\n", "accelerators/chip-on.yaml")
    assert error.what.endswith("missing field")
    assert "chip-one.yaml" in str(error.fix)
    assert "must be complete" in str(error.rule)


def test_errors_inside_a_union_name_the_field(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "attention:\n  n_heads: many\n", "models/model-one.yaml")
    assert error.what.startswith("attention.n_heads: ")
    assert str(error.where).endswith(":4")


def test_an_unknown_attention_is_refused(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "attention:\n  type: gqb\n", "models/model-one.yaml")
    assert (
        error.what == "attention.type: 'gqb' is not one of mha, gqa, mqa, mla, compressed, gated-delta, kda, "
        "lightning, mamba1, mamba2, short-convolution"
    )
    assert str(error.where).endswith(":4")


def test_a_rule_between_fields_names_their_mapping(write: Write, base: dict[str, Path]) -> None:
    error = broken(write, base, HEAD + "attention:\n  n_kv_heads: 8\n", "models/model-one.yaml")
    assert error.what == "attention: 32 heads with 8 KV heads are gqa, not mha"
    assert str(error.where).endswith("mycat/models/model-one.yaml:3")


def test_unknown_name_offers_near_misses(base: dict[str, Path]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        Catalog(builtin=base).accelerator("chip-on", where="box.yaml:3")
    assert caught.value.suggestions == ["chip-one"]
    assert caught.value.where == "box.yaml:3"


def test_overrides_of_a_runtime_read_units() -> None:
    """A patch of efficiencies reads its quantities as the full set does."""
    patch = EfficiencyPatch.model_validate(
        {"kernel_launch": "5 us", "link": "40 %"}, context={"from_file": True}, by_alias=True, by_name=False
    )
    assert patch.kernel_launch_s == pytest.approx(5e-6)  # type: ignore[attr-defined]
    assert patch.link == pytest.approx(0.4)  # type: ignore[attr-defined]
