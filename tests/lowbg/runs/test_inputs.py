from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbg.errors import ConfigError
from lowbg.formats import endings, has_known_ending
from lowbg.runs.inputs import Discovery, Shard, discover, safe_name, survey
from lowbg.storage.left_out import LeftOutKind


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return root


def left_out(found: Discovery, *kinds: LeftOutKind) -> list[str]:
    """The paths of what is left out for one of these reasons."""
    return [each.path for each in found.left_out if each.kind in kinds]


def may_be_data(found: Discovery) -> list[str]:
    return left_out(found, *(kind for kind in LeftOutKind if kind.may_be_data))


def names(*inputs: str | Path, output: Path | None = None) -> list[str]:
    return [shard.name for shard in discover([str(i) for i in inputs], output=output)]


def test_a_directory_is_walked_in_order_with_the_rest_reported(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b/z.jsonl.zst",
        "b/a.PARQUET",
        "a.jsonl",
        "b.json.gz",
        "c/d/e.ndjson.xz",
        "f.pq",
        "README.md",
        "notes",
        "b/_SUCCESS",
        ".hidden.jsonl",
        ".lowbg/state.json",
    )
    found = survey([str(tmp_path)])
    assert [shard.name for shard in found.shards] == [
        "a.jsonl",
        "b/a.PARQUET",
        "b/z.jsonl.zst",
        "b.json.gz",
        "c/d/e.ndjson.xz",
        "f.pq",
    ]
    assert may_be_data(found) == [str(tmp_path / "notes")]
    metadata = {str(tmp_path / "README.md"), str(tmp_path / "b" / "_SUCCESS")}
    assert set(left_out(found, LeftOutKind.METADATA)) == metadata
    assert found.shards[0].path == str(tmp_path / "a.jsonl")
    assert found.shards[0].size == len("a.jsonl")


@pytest.mark.parametrize("ending", endings())
def test_known_endings(ending: str) -> None:
    assert has_known_ending(f"a{ending}")
    assert not has_known_ending(f"a{ending}.tmp")


def test_a_file_may_be_called_anything(tmp_path: Path) -> None:
    make(tmp_path, "dump", "x[1].jsonl", "x1.jsonl")
    assert names(tmp_path / "dump") == ["dump"]
    # A path that exists is no pattern.
    assert names(tmp_path / "x[1].jsonl") == ["x[1].jsonl"]


def test_globs(tmp_path: Path) -> None:
    make(
        tmp_path, "a/1.jsonl", "a/b/2.jsonl", "a/b/c/3.jsonl", "a/notes.txt", "p/part-0", "p/part-1"
    )
    assert names(f"{tmp_path}/a/*.jsonl") == ["1.jsonl"]
    assert names(f"{tmp_path}/a/**/*.jsonl") == ["1.jsonl", "b/2.jsonl", "b/c/3.jsonl"]
    assert names(f"{tmp_path}/*/b/*.jsonl") == ["a/b/2.jsonl"]
    assert names(f"{tmp_path}/p/part-*") == ["part-0", "part-1"]
    found = survey([f"{tmp_path}/a/*"])
    assert [s.name for s in found.shards] == ["1.jsonl", "b/2.jsonl", "b/c/3.jsonl"]
    assert may_be_data(found) == [str(tmp_path / "a" / "notes.txt")]


def test_stdin() -> None:
    (shard,) = discover(["-"])
    assert (shard.path, shard.name, shard.size) == ("-", "stdin", 0)
    assert len(discover(["-", "-"])) == 1


@pytest.mark.parametrize("given_twice", ["a.jsonl", "./a.jsonl", "sub/../a.jsonl", "link.jsonl"])
def test_one_file_by_two_spellings_is_one_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_twice: str
) -> None:
    make(tmp_path, "a.jsonl", "sub/x")
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert names("a.jsonl", given_twice) == ["a.jsonl"]
    assert names(".", "a.jsonl") == ["a.jsonl"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jsonl", "b/2.jsonl", "z.jsonl")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    found = survey([str(tmp_path)])
    assert [s.name for s in found.shards] == ["a/1.jsonl", "b/2.jsonl", "z.jsonl"]
    assert set(may_be_data(found)) == {
        f"{tmp_path}/{name}" for name in ("a/up/", "b/a/", "gone.jsonl", "self")
    }
    with pytest.raises(ConfigError, match="self"):
        discover([str(tmp_path / "self")])


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="the system has no /dev/fd")
def test_what_a_shell_substitutes_is_named_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "63").touch()
    ends = [end for _ in range(2) for end in os.pipe()]
    try:
        one, two = f"/dev/fd/{ends[2]}", f"/proc/self/fd/{ends[0]}"
        shards = discover([one, str(tmp_path / "63"), two])
    finally:
        for end in ends:
            os.close(end)
    assert [(shard.path, shard.name) for shard in shards] == [
        (one, "pipe-1"),
        (str(tmp_path / "63"), "63"),
        (two, "pipe-2"),
    ]


def test_a_pipe_in_a_directory_does_not_block(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert names(tmp_path) == ["a.jsonl"]
    (shard,) = discover([str(tmp_path / "pipe.jsonl")])
    assert shard.size == 0


def test_colliding_names_get_their_directory(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jsonl", "a/2.jsonl", "b/1.jsonl", "c/3.jsonl", "x/a/1.jsonl")
    assert names(tmp_path / "a", tmp_path / "b", tmp_path / "c") == [
        "a/1.jsonl",
        "a/2.jsonl",
        "b/1.jsonl",
        "3.jsonl",
    ]
    assert names(tmp_path / "a" / "1.jsonl", tmp_path / "b" / "1.jsonl") == [
        "a/1.jsonl",
        "b/1.jsonl",
    ]
    with pytest.raises(ConfigError, match=r"a/1\.jsonl and .*x/a/1\.jsonl"):
        discover([str(tmp_path / "a"), str(tmp_path / "x" / "a")])


def test_the_output_directory_is_not_read(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jsonl", "in/out/human/a.jsonl")
    out = tmp_path / "in" / "out"
    found = survey([str(tmp_path / "in")], output=out)
    assert [s.name for s in found.shards] == ["a.jsonl"]
    assert left_out(found, LeftOutKind.OUTPUT) == [f"{out}/"]
    assert len(found.left_out) == 1
    with pytest.raises(ConfigError, match="both input and output"):
        discover([str(tmp_path / "in")], output=tmp_path / "in")
    for inside in ("in/out/human", "in/out/human/a.jsonl", "in/out/*/a.jsonl"):
        with pytest.raises(ConfigError, match="inside the output"):
            discover([str(tmp_path / inside)], output=out)


@pytest.mark.parametrize(
    ("given_input", "words"),
    [
        ("absent.jsonl", "absent.jsonl: no such file"),
        ("absent/*.jsonl", "nothing matches"),
        ("empty", "no shards in .*empty"),
        ("memory://absent/a.jsonl", "memory://absent"),
        ("memory://absent/*.jsonl", "no such file"),
        ("nosuch://bucket/a", "nosuch"),
        ("a\x00b", "not a usable path|no such file"),
        ("a" * 5000, "not a usable path|no such file"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_input: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        discover([given_input])


def test_no_shards_names_what_was_there(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(b"id,text\n")
    with pytest.raises(ConfigError, match=r"2 other files, such as .*a\.csv: a CSV table"):
        discover([str(tmp_path)])
    with pytest.raises(ConfigError, match="no inputs"):
        discover([])


def test_of_an_output_directory_only_the_data_is_read(tmp_path: Path) -> None:
    run = ("manifest.json", "report.json", "report.html", "quarantine/a.jsonl.jsonl")
    data = ("human/a.jsonl", "human/manifest.json", "ai/a.jsonl", "manifest.jsonl")
    make(tmp_path, *(f"old/{name}" for name in (*run, *data)), "b.jsonl", "report.json")
    (tmp_path / "old" / ".lowbg").mkdir()
    (tmp_path / "old" / ".lowbg" / "run.json").touch()
    wanted = ["b.jsonl", *(f"old/{name}" for name in sorted(data)), "report.json"]
    found = survey([str(tmp_path)])
    assert [shard.name for shard in found.shards] == wanted
    written = left_out(found, LeftOutKind.OUTPUT)
    assert len(written) == 4  # The quarantine as a whole.
    assert len(found.left_out) == len(written)
    assert sorted(names(str(tmp_path / "old"))) == sorted(data)
    assert [shard.name for shard in survey([f"file://{tmp_path}"]).shards] == wanted


def test_urls() -> None:
    import fsspec

    for name in ("a.jsonl", "sub/b.jsonl.zst", "sub/_SUCCESS", ".x/c.jsonl"):
        with fsspec.open(f"memory://shards/{name}", "wb") as file:
            file.write(b"12345")
    found = survey(["memory://shards"])
    assert [(s.name, s.size) for s in found.shards] == [("a.jsonl", 5), ("sub/b.jsonl.zst", 5)]
    assert left_out(found, LeftOutKind.METADATA) == ["memory:///shards/sub/_SUCCESS"]
    with fsspec.open(found.shards[1].path, "rb") as file:
        assert file.read() == b"12345"
    assert names("memory://shards/sub/b.jsonl.zst") == ["b.jsonl.zst"]
    assert names("memory://shards/**/*.zst") == ["sub/b.jsonl.zst"]
    assert names("https://example.org/data/a.jsonl.gz?token=1") == ["a.jsonl.gz"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.jsonl", "a/b.jsonl"),
        ("/etc/passwd", "etc/passwd"),
        ("../../a", "%2E%2E/%2E%2E/a"),
        ("a/./b//c", "a/b/c"),
        ("a\nb", "a%0Ab"),
        ("a\x1b[31mb", "a%1B[31mb"),
        ("a\u202egpj.exe", "a%E2%80%AEgpj.exe"),
        ("a\u200db", "a\u200db"),
        ("é 100%", "é 100%"),
        ("a\udcffb", "a%FFb"),
        ("..", "%2E%2E"),
        ("", "shard"),
        ("/", "shard"),
    ],
)
def test_safe_name(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(
    st.text(st.one_of(st.sampled_from("./\\\n\udc80"), st.characters(codec="utf-8")), max_size=30)
)
def test_no_name_escapes(name: str) -> None:
    safe = safe_name(name)
    path = PurePosixPath(safe)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert path.parts
    assert all(c >= " " and c != "\x7f" for c in safe)
    safe.encode("utf-8")
    assert safe_name(safe) == safe


def test_unusual_names_on_disk_are_read(tmp_path: Path) -> None:
    make(tmp_path, "a\nb.jsonl")
    (tmp_path / os.fsdecode(b"c\xff.jsonl")).write_bytes(b"x")
    found = discover([str(tmp_path)])
    assert sorted(s.name for s in found) == ["a%0Ab.jsonl", "c%FF.jsonl"]
    assert all(Path(s.path).is_file() for s in found)


@pytest.mark.parametrize(
    ("path", "partition"),
    [
        ("/d/date=2021-01-01/x.jsonl", {"date": "2021-01-01"}),
        ("/d/lang=en/dt=2021%2F01%2F01/x=1.jsonl", {"lang": "en", "dt": "2021/01/01"}),
        ("s3://bucket/date=2020/date=2021/part-0.parquet", {"date": "2021"}),
        ("/d/date=__HIVE_DEFAULT_PARTITION__/=x/a=/b.jsonl", {}),
        ("-", {}),
    ],
)
def test_directories_name_fields_as_hive_does(path: str, partition: dict[str, str]) -> None:
    assert Shard(path, "x", 0).partition == partition


def test_a_partition_does_not_depend_on_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "date=2021-05-01").mkdir()
    monkeypatch.chdir(tmp_path / "date=2021-05-01")
    assert Shard("x.jsonl", "x", 0).partition == {"date": "2021-05-01"}


METADATA = (
    "_SUCCESS",
    "_metadata",
    "_temporary/0/part-0.jsonl",
    "_delta_log/00.json",
    "_part-1.jsonl",
    "dataset_infos.json",
    "train/dataset_info.json",
    "train/state.json",
)
DATA = ("_day=1/a.jsonl", "part-0.jsonl", "state.json", "train/a.jsonl")


def test_metadata_of_data_sets_is_no_shard(tmp_path: Path) -> None:
    make(tmp_path, *METADATA, *DATA)
    found = survey([str(tmp_path)])
    assert [shard.name for shard in found.shards] == list(DATA)
    assert may_be_data(found) == []
    folders = ("_temporary/", "_delta_log/")
    metadata = {*folders, *(name for name in METADATA if not name.startswith(folders))}
    assert {each.path for each in found.left_out} == {f"{tmp_path}/{name}" for name in metadata}
    assert names(str(tmp_path / "*.json*")) == ["part-0.jsonl", "state.json"]
    assert names(str(tmp_path / "dataset_infos.json")) == ["dataset_infos.json"]
    assert names(str(tmp_path / "_part-*")) == ["_part-1.jsonl"]


def test_metadata_at_a_url_is_no_shard() -> None:
    import fsspec

    for name in (*METADATA, *DATA):
        with fsspec.open(f"memory://metadata/{name}", "wb") as file:
            file.write(b"{}")
    found = survey(["memory://metadata"])
    assert sorted(shard.name for shard in found.shards) == list(DATA)
    assert len(left_out(found, LeftOutKind.METADATA)) == len(METADATA)
    assert names("memory://metadata/_part-*") == ["_part-1.jsonl"]
    found = survey(["memory://metadata"], exclude=["train", "*.txt"])
    assert set(left_out(found, LeftOutKind.EXCLUDED)) == {
        f"memory:///metadata/train/{name}"
        for name in ("a.jsonl", "dataset_info.json", "state.json")
    }


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.jsonl", ["b/c.json", "d/e/f.json"]),
        ("b", ["a.jsonl", "d/e/f.json"]),
        ("d/e/", ["a.jsonl", "b/a.jsonl", "b/c.json"]),
        ("d/*", ["a.jsonl", "b/a.jsonl", "b/c.json"]),
        ("b/*.jsonl", ["a.jsonl", "b/c.json", "d/e/f.json"]),
        ("*/a.jsonl", ["a.jsonl", "b/c.json", "d/e/f.json"]),
        ("/a.jsonl", ["b/c.json", "d/e/f.json"]),
        ("A.jsonl", ["a.jsonl", "b/a.jsonl", "b/c.json", "d/e/f.json"]),
    ],
)
def test_what_is_excluded(pattern: str, left: list[str], tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "b/a.jsonl", "b/c.json", "d/e/f.json", "README.md")
    found = survey([str(tmp_path)], exclude=[pattern, "*.md"])
    assert [shard.name for shard in found.shards] == left
    assert len(left_out(found, LeftOutKind.EXCLUDED)) == len(found.left_out) == 5 - len(left)


def test_without_any_shard_left_the_message_names_what_was_excluded(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    with pytest.raises(ConfigError, match=r"1 other file, such as .*a\.jsonl: excluded"):
        survey([str(tmp_path)], exclude=["*"])


@pytest.mark.parametrize(
    "name",
    ["a.jl", "a.jsonlines.gzip", "a.ldjson.zstd", "a.jsonl.zstd", "a.json.bzip2", "a.parq",
     "a.parquet.gzip", "A.JSONL.GZIP"],
)  # fmt: skip
def test_other_endings_that_are_read(name: str, tmp_path: Path) -> None:
    make(tmp_path, name)
    assert names(tmp_path) == [name]


LEFT_OUT = {
    "a.jsonl.lz4": (b"?", LeftOutKind.ENDING, "lz4 -dc {} | lowbg filter -"),
    "a.jsonl.bak": (b'{"text": ""}\n', LeftOutKind.ENDING, "holds JSONL; name the file to read it"),
    "part-0": (b"PAR1 PAR1", LeftOutKind.ENDING, "has no ending, though it holds Parquet"),
    "a.txt": (b"Some text\n", LeftOutKind.ENDING, "'.txt' is of no format that is read"),
    "a.zip": (b"PK\x03\x04", LeftOutKind.ENDING, "unzip -p {} | lowbg filter -"),
    "b.jsonl.dvc": (b"outs:\n", LeftOutKind.BROKEN_LINK, "a DVC pointer: .*; dvc pull {}"),
    "a.jsonl.dvc": (b"outs:\n", LeftOutKind.METADATA, "describes data"),
    "LICENSE": (b"MIT", LeftOutKind.METADATA, "by its name"),
    "SHA256SUMS": (b"0", LeftOutKind.METADATA, "by its name"),
    "DONE": (b"", LeftOutKind.METADATA, "empty"),
}


def test_each_file_that_is_left_out_has_its_reason(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    for name, (content, _, _) in LEFT_OUT.items():
        (tmp_path / name).write_bytes(content)
    found = survey([str(tmp_path)])
    assert [shard.name for shard in found.shards] == ["a.jsonl"]
    told = {Path(each.path).name: each for each in found.left_out}
    assert {name: each.kind for name, each in told.items()} == {
        name: kind for name, (_, kind, _) in LEFT_OUT.items()
    }
    for name, (_, _, words) in LEFT_OUT.items():
        assert re.search(
            words.format(re.escape(str(tmp_path / name))).replace("|", "[|]"), told[name].reason
        )


@pytest.mark.parametrize("given_as", ["{}", "{}/*.jsonl"])
def test_what_is_linked_and_not_there_is_told(given_as: str, tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    (tmp_path / "b.jsonl").symlink_to("../.git/annex/objects/SHA256E-s9--0.jsonl")
    (tmp_path / "c.jsonl").symlink_to("/home/me/.cache/dvc/cache/files/md5/0")
    (tmp_path / "d.jsonl").symlink_to("gone")
    found = survey([given_as.format(tmp_path)])
    assert [shard.name for shard in found.shards] == ["a.jsonl"]
    assert [each.kind for each in found.left_out] == [LeftOutKind.BROKEN_LINK] * 3
    annex, dvc, plain = [each.reason for each in found.left_out]
    assert annex.endswith(f"the data has not been fetched; git annex get {tmp_path}/b.jsonl")
    assert dvc.endswith(f"the data has not been fetched; dvc pull {tmp_path}/c.jsonl")
    assert plain == "a broken link to gone"
    with pytest.raises(ConfigError, match=r"d\.jsonl: a broken link to gone"):
        discover([str(tmp_path / "d.jsonl")])


def test_a_second_link_to_a_file_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a/x.jsonl")
    (tmp_path / "a" / "y.jsonl").symlink_to("x.jsonl")
    (tmp_path / "a" / "z.jsonl").hardlink_to(tmp_path / "a" / "x.jsonl")
    (tmp_path / "latest").symlink_to("a")
    found = survey([str(tmp_path)])
    assert [shard.name for shard in found.shards] == ["a/x.jsonl"]
    told = {each.path: each.reason for each in found.left_out}
    assert {each.kind for each in found.left_out} == {LeftOutKind.SAME_FILE}
    assert told[f"{tmp_path}/a/z.jsonl"] == f"the same as {tmp_path}/a/x.jsonl, which is read"
    assert set(told) == {f"{tmp_path}/{name}" for name in ("a/y.jsonl", "a/z.jsonl", "latest/")}


def test_an_input_without_a_name_is_not_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    assert [shard.name for shard in discover(["."])] == ["a.jsonl"]
    with pytest.raises(ConfigError, match="without a name"):
        discover([""])
