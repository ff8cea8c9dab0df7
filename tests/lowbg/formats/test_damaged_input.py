"""What happens to every record of a damaged shard, from `filter_shards` to the files on disk."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lowbg.config import Compression, ExecutorName, Existing, RunConfig
from lowbg.errors import ConfigError
from lowbg.jobs.filter import FilterJob, FilterStreamJob, filter_shards, filter_stream
from lowbg.runs.inputs import discover
from lowbg.runs.job import Outcome
from lowbg.runs.manifest import verify

# People wrote it, and it is on every machine.
PROSE = topics["exceptions"]


def record(i: int, text: object = PROSE) -> bytes:
    return json.dumps({"id": f"doc-{i}", "text": text}).encode() + b"\n"


GOOD = [record(0), record(1), record(2)]


@dataclass(frozen=True)
class Case:
    """A shard's lines; which of them are kept as they are, and why each other is set aside."""

    name: str
    lines: list[bytes]
    rejected: dict[int, str] = field(default_factory=dict)
    unscored: int = 0
    blank: set[int] = field(default_factory=set)
    lenient: int = 0


CASES = [
    Case("sound", GOOD),
    Case("broken line", [GOOD[0], b'{"id": "x", "text": \n', GOOD[1]], {1: "invalid_json"}),
    Case("text after the object", [GOOD[0], b'{"text": "a"} tail\n'], {1: "invalid_json"}),
    Case("invalid UTF-8", [GOOD[0], b'{"text": "caf\xe9"}\n', GOOD[1]], {1: "invalid_utf8"}),
    Case("missing text", [b'{"id": "x", "body": "a"}\n', GOOD[0]], {0: "missing_text"}),
    Case("null text", [GOOD[0], b'{"text": null}\n'], {1: "null_text"}),
    Case("number as text", [GOOD[0], b'{"text": 42}\n'], {1: "text_not_string"}),
    Case("list as text", [GOOD[0], b'{"text": ["a", "b"]}\n'], {1: "text_not_string"}),
    Case("NaN as text", [GOOD[0], b'{"text": NaN}\n'], {1: "text_not_string"}),
    Case("NaN beside text", [record(0)[:-2] + b', "score": NaN}\n', GOOD[1]], lenient=1),
    Case("empty text", [GOOD[0], b'{"text": ""}\n', GOOD[1]], unscored=1),
    Case("blank text", [GOOD[0], b'{"text": "   "}\n'], unscored=1),
    Case(
        "not an object",
        [GOOD[0], b"[1, 2]\n", b'"a"\n', b"7\n", b"null\n"],
        dict.fromkeys(range(1, 5), "not_an_object"),
    ),
    Case("byte-order mark", [b"\xef\xbb\xbf" + GOOD[0], GOOD[1]]),
    Case("CRLF", [line.replace(b"\n", b"\r\n") for line in GOOD]),
    Case("lone surrogate", [GOOD[0], b'{"text": "\\ud800 alone"}\n'], unscored=1, lenient=1),
    Case("no line end at the end", [GOOD[0], GOOD[1].rstrip(b"\n")]),
    Case("blank lines", [GOOD[0], b"\n", b"  \r\n", GOOD[1]], blank={1, 2}),
    Case("empty file", []),
    Case("only bad lines", [b"{\n", b"\xff\n"], {0: "invalid_json", 1: "invalid_utf8"}),
    Case("deep nesting", [GOOD[0], b'{"text":' + b"[" * 100_000 + b"\n"], {1: "invalid_json"}),
    Case("duplicate keys", [b'{"text": 1, "text": "last one wins"}\n'], unscored=1),
    Case("a huge number", [record(0)[:-2] + b', "n": ' + b"9" * 400 + b"}\n"], lenient=1),
    Case("NUL bytes", [GOOD[0], b"\0" * 40 + b"\n"], {1: "invalid_json"}),
]

CODECS: dict[str, tuple[str, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "none": ("", lambda b: b, lambda b: b),
    "gzip": (".gz", gzip.compress, gzip.decompress),
    "zstd": (
        ".zst",
        zstandard.compress,
        lambda b: zstandard.ZstdDecompressor().stream_reader(b).read(),
    ),
    "bz2": (".bz2", bz2.compress, bz2.decompress),
    "xz": (".xz", lzma.compress, lzma.decompress),
}  # fmt: skip


def run(inputs: Path, out: Path, config: RunConfig | None = None, **options: object) -> Outcome:
    job = FilterJob(
        tuple(discover([str(inputs)], output=out)),
        out,
        config or RunConfig(),
        executor=ExecutorName.SERIAL,
        **options,  # type: ignore[arg-type]
    )
    return filter_shards(job)


def quarantined(out: Path, shard: str) -> list[dict[str, object]]:
    path = out / "quarantine" / f"{shard}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_record_of_a_damaged_shard_is_somewhere(case: Case, tmp_path: Path) -> None:
    source = tmp_path / "in" / "part.jsonl"
    source.parent.mkdir()
    source.write_bytes(b"".join(case.lines))
    out = tmp_path / "out"

    outcome = run(source.parent, out)

    kept = [
        line for i, line in enumerate(case.lines) if i not in case.rejected and i not in case.blank
    ]
    assert (out / "human" / "part.jsonl").read_bytes() == b"".join(kept)
    assert (out / "ai" / "part.jsonl").read_bytes() == b""
    rows = quarantined(out, "part.jsonl")
    assert [row["reason"] for row in rows] == list(case.rejected.values())
    assert [base64.b64decode(str(row["raw"])).rstrip(b"\r\n") for row in rows] == [
        case.lines[i].rstrip(b"\r\n") for i in case.rejected
    ]
    assert [row["line"] for row in rows] == [i + 1 for i in case.rejected]
    starts = [sum(map(len, case.lines[:i])) for i in case.rejected]
    assert [row["offset"] for row in rows] == starts
    assert all("part.jsonl" in str(row["error"]) for row in rows)
    counted = outcome.shards[0].statistics.documents()
    assert counted["quarantined"] == len(case.rejected)
    assert counted["unscored"] == case.unscored
    assert outcome.shards[0].records == len(kept) + len(case.rejected)
    assert (outcome.shards[0].lenient, outcome.shards[0].blank) == (case.lenient, len(case.blank))
    assert outcome.complete


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("named", ["by its codec", "plainly"])
def test_kept_lines_survive_every_codec(codec: str, named: str, tmp_path: Path) -> None:
    ending, compress, decompress = CODECS[codec]
    lines = b"".join(record(i) for i in range(50))
    name = "part.jsonl" + (ending if named == "by its codec" else "")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(compress(lines))

    outcome = run(tmp_path / "in", tmp_path / "out")

    assert decompress((tmp_path / "out" / "human" / name).read_bytes()) == lines
    assert outcome.complete


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2", "xz"])
def test_whole_records_of_a_cut_stream_are_kept_and_the_rest_is_named(
    codec: str, tmp_path: Path
) -> None:
    ending, compress, decompress = CODECS[codec]
    # Numbers from a fixed recurrence: text that doesn't compress away.
    lines = [record(i, f"{PROSE} {' '.join(str(pow(i + 7, k, 10**9 + 7)) for k in range(400))}")
             for i in range(400)]  # fmt: skip
    whole = compress(b"".join(lines))
    name = f"part.jsonl{ending}"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(whole[: len(whole) * 2 // 3])

    outcome = run(tmp_path / "in", tmp_path / "out")

    kept = decompress((tmp_path / "out" / "human" / name).read_bytes())
    count = kept.count(b"\n")
    assert 0 < count < len(lines)
    assert kept == b"".join(lines[:count])
    rows = quarantined(tmp_path / "out", name)
    assert [row["reason"] for row in rows] in ([], ["cut"])
    if rows:
        assert lines[count].startswith(base64.b64decode(str(rows[0]["raw"])))
    assert not outcome.complete
    assert outcome.shards[0].records == count + len(rows)
    assert any(name in problem.message for problem in outcome.shards[0].problems)


def test_a_cut_parquet_file_is_named_and_the_other_shards_go_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": [PROSE] * 50}), tmp_path / "in" / "a.parquet")
    data = (tmp_path / "in" / "a.parquet").read_bytes()
    (tmp_path / "in" / "a.parquet").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "in" / "b.jsonl").write_bytes(b"".join(GOOD))

    outcome = run(tmp_path / "in", tmp_path / "out")

    assert [shard.complete for shard in outcome.shards] == [False, True]
    assert "a.parquet" in outcome.shards[0].problems[0].message
    assert (tmp_path / "out" / "human" / "b.jsonl").read_bytes() == b"".join(GOOD)
    assert not (tmp_path / "out" / "human" / "a.parquet").exists()


def test_parquet_rows_keep_schema_nesting_metadata_and_compression(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("text", pa.string(), metadata={"note": "the text"}),
            pa.field("meta", pa.struct([("tags", pa.list_(pa.string())), ("n", pa.int16())])),
            pa.field("stamp", pa.timestamp("us", tz="UTC")),
        ],
        metadata={"owner": "somebody"},
    )
    rows = [
        {"text": None if i == 3 else PROSE, "meta": {"tags": ["a", None], "n": i}, "stamp": i}
        for i in range(10)
    ]
    (tmp_path / "in").mkdir()
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "in" / "part.parquet", compression="gzip")

    outcome = run(tmp_path / "in", tmp_path / "out")

    human = pq.ParquetFile(tmp_path / "out" / "human" / "part.parquet")
    stored = pq.ParquetFile(tmp_path / "in" / "part.parquet")
    assert human.schema_arrow.equals(stored.schema_arrow, check_metadata=True)
    assert human.schema_arrow.metadata[b"owner"] == b"somebody"
    assert human.metadata.row_group(0).column(0).compression == "GZIP"
    kept = [i for i in range(10) if i != 3]
    assert human.read().to_pylist() == table.take(kept).to_pylist()
    [row] = quarantined(tmp_path / "out", "part.parquet")
    assert row["reason"] == "null_text"
    assert row["record"] == 3
    raw = pa.ipc.open_stream(base64.b64decode(str(row["raw"]))).read_all()
    assert raw.to_pylist() == table.take([3]).to_pylist()
    assert outcome.shards[0].records == 10


def test_rows_with_views_are_kept_and_quarantined_as_others_are(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts = pa.array([PROSE, None, PROSE], pa.string_view())
    extra = pa.array([b"a" * 20, None, b"b"], pa.binary_view())
    pq.write_table(pa.table({"text": texts, "extra": extra}), tmp_path / "in" / "part.parquet")
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert outcome.complete
    kept = pq.read_table(tmp_path / "out" / "human" / "part.parquet")
    assert kept.to_pylist() == [{"text": PROSE, "extra": b} for b in (b"a" * 20, b"b")]
    [row] = quarantined(tmp_path / "out", "part.parquet")
    assert row["reason"] == "null_text"


def test_an_output_inside_the_input_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_bytes(b"".join(GOOD))
    out = tmp_path / "out"
    first = run(tmp_path, out)
    second = run(tmp_path, out, existing=Existing.OVERWRITE)
    assert [shard.shard for shard in first.shards] == [shard.shard for shard in second.shards]


def test_an_input_inside_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_bytes(b"".join(GOOD))
    with pytest.raises(ConfigError, match=r"part\.jsonl|output"):
        run(tmp_path / "part.jsonl", tmp_path)
    assert (tmp_path / "part.jsonl").read_bytes() == b"".join(GOOD)


def test_an_output_that_holds_a_run_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "part.jsonl").write_bytes(b"".join(GOOD))
    run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(ConfigError, match='existing="overwrite"'):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        run(tmp_path / "in", tmp_path / "out", existing=Existing.OVERWRITE)
    assert (tmp_path / "out" / "human" / "part.jsonl").exists()


def test_a_line_above_the_limit_is_set_aside_unread(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    long = record(9, "x" * 300_000)
    (tmp_path / "in" / "part.jsonl").write_bytes(GOOD[0] + long + GOOD[1])
    outcome = run(
        tmp_path / "in", tmp_path / "out", RunConfig(max_record_bytes=100_000, batch_bytes=20_000)
    )
    assert (tmp_path / "out" / "human" / "part.jsonl").read_bytes() == GOOD[0] + GOOD[1]
    [row] = quarantined(tmp_path / "out", "part.jsonl")
    assert row["reason"] == "too_large"
    assert long.startswith(base64.b64decode(str(row["raw"])))
    assert outcome.shards[0].records == 3


@pytest.mark.parametrize("compression", list(Compression))
def test_outputs_are_compressed_as_asked(compression: Compression, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "part.jsonl.gz").write_bytes(gzip.compress(b"".join(GOOD)))
    run(tmp_path / "in", tmp_path / "out", RunConfig(compression=compression))
    codec = {"keep": "gzip"}.get(compression.value, compression.value)
    ending, _, decompress = CODECS[codec]
    written = (tmp_path / "out" / "human" / f"part.jsonl{ending}").read_bytes()
    assert decompress(written) == b"".join(GOOD)


def test_what_is_kept_of_a_long_line_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "part.jsonl").write_bytes(GOOD[0] + record(9, "x" * 9000) + GOOD[1])
    kept = []
    for batch_bytes in (700, 5000, 4 << 20):
        out = tmp_path / str(batch_bytes)
        run(tmp_path / "in", out, RunConfig(max_record_bytes=4000, batch_bytes=batch_bytes))
        kept.append((out / "quarantine" / "part.jsonl.jsonl").read_bytes())
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize("link", ["folder", "file", "url"])
def test_a_link_into_the_output_is_refused_before_anything_is_removed(
    link: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "part.jsonl").write_bytes(b"".join(GOOD))
    out = tmp_path / "out"
    run(tmp_path / "in", out)
    (tmp_path / "links").mkdir()
    source = tmp_path / "links"
    if link == "folder":
        (source / "h").symlink_to(out / "human")
    elif link == "file":
        (source / "h.jsonl").symlink_to(out / "human" / "part.jsonl")
    given = f"file://{out}/human" if link == "url" else str(source)
    with pytest.raises(ConfigError, match="inside the output"):
        discover([given], output=out)
    assert (out / "human" / "part.jsonl").read_bytes() == b"".join(GOOD)


def test_a_shard_without_the_text_column_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"content": [PROSE]}), tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "b.jsonl").write_bytes(b"".join(GOOD))
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert [shard.complete for shard in outcome.shards] == [False, True]
    assert "content" in outcome.shards[0].problems[0].message
    assert "`fields.text`" in outcome.shards[0].problems[0].message
    assert (tmp_path / "out" / "manifest.json").exists()


def test_several_inputs_in_one_stream_join_cleanly(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a.jsonl").write_bytes(mark + GOOD[0] + GOOD[1].rstrip(b"\n"))
    (tmp_path / "b.jsonl").write_bytes(mark + GOOD[2])
    stream = io.BytesIO()
    shards = discover([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    filter_stream(FilterStreamJob(tuple(shards), RunConfig(), human=stream))
    assert stream.getvalue() == mark + b"".join(GOOD)


def test_a_name_as_long_as_a_file_may_have_has_a_quarantine(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = ["n" * 249 + end for end in (".jsonl", "o.json")]
    for name in names:
        (tmp_path / "in" / name).write_bytes(GOOD[0] + b"broken\n")
    out = tmp_path / "out"
    outcome = run(tmp_path / "in", out)
    assert outcome.complete
    assert len(list((out / "quarantine").iterdir())) == len(names)
    assert verify(out) == []
