"""The simulation of a snapshot, in a small form, beside what can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.speed.snapshot import (
    RESULT,
    Assumed,
    Measured,
    dollars,
    merge_tables,
    render,
    simulate,
    sources_of_part,
)

MEASURED = Measured.read()
SMALL = Assumed(files=400, nodes=2, cores=4, hosts=100_000, pages=1e6, boot_s=10.0, load_s=1.0)


def test_measured_figures_come_from_stored_results() -> None:
    assert 20 < MEASURED.mb_per_cpu_s < 60
    assert MEASURED.requests_a_shard == pytest.approx((64 - 4 * (4 + 6)) / 4)
    assert MEASURED.merge_us == pytest.approx(7.0)
    assert 1 < MEASURED.range_us < 50
    assert 1 <= MEASURED.longest_range < 3
    assert 0.4 < MEASURED.second_pass < 0.7 < MEASURED.two_passes


def test_what_goes_well_takes_what_the_cpu_takes() -> None:
    found = simulate(MEASURED, SMALL)
    cpu = SMALL.files * SMALL.file_mb * SMALL.content_per_stored / MEASURED.mb_per_cpu_s
    least = cpu / 8
    assert least * 0.97 < found.seconds - 11 < least * 1.1
    assert found.redone == found.losses == 0
    assert found.waiting < 0.01
    assert found.read_tb == pytest.approx(SMALL.files * 1e8 / 1e12, rel=0.05)
    assert found.written_tb == found.read_tb
    assert found.reads == pytest.approx(
        SMALL.files * (12.5 + MEASURED.requests_a_shard / 2), rel=0.1
    )
    assert simulate(MEASURED, SMALL) == found
    assert dollars(found, SMALL) > found.cpu_hours * SMALL.dollars_a_core_hour


def test_each_fault_costs_what_it_should() -> None:
    well = simulate(MEASURED, SMALL)
    slow = simulate(MEASURED, replace(SMALL, slow=1.0))
    assert slow.seconds - 11 == pytest.approx(2 * (well.seconds - 11), rel=0.05)
    lost = simulate(MEASURED, replace(SMALL, loss_an_hour=0.999999999))
    assert lost.losses > 0
    assert 0 < lost.redone <= SMALL.cores * lost.losses
    assert lost.seconds > well.seconds
    assert lost.written_tb == pytest.approx(well.written_tb)
    throttled = simulate(MEASURED, replace(SMALL, store_requests=2.0))
    requests = throttled.reads + throttled.writes
    assert throttled.seconds - 11 == pytest.approx(requests / 2.0, rel=0.05)
    assert throttled.waiting > 0.5
    narrow = simulate(MEASURED, replace(SMALL, store_gb=0.05))
    assert narrow.seconds - 11 == pytest.approx(
        (narrow.read_tb + narrow.written_tb) / 5e-5, rel=0.05
    )


def test_the_tables_of_parts_are_no_larger_than_all_of_it() -> None:
    part = sources_of_part(SMALL)
    assert SMALL.hosts / SMALL.nodes < part < SMALL.hosts
    merge = merge_tables(MEASURED, SMALL)
    assert merge.rows == pytest.approx(part * SMALL.nodes)
    assert merge.one_core_s == pytest.approx(merge.rows * MEASURED.merge_us / 1e6)


def test_a_range_a_node_takes_its_share_of_the_rows() -> None:
    large = replace(Assumed(), nodes=16)
    one, all_of_it = merge_tables(MEASURED, replace(large, nodes=1)), merge_tables(MEASURED, large)
    cost = MEASURED.range_us / 1e6 * MEASURED.longest_range
    assert one.ranges_s == pytest.approx(one.rows * cost, rel=0.05)
    assert all_of_it.ranges_s == pytest.approx(all_of_it.rows / 16 * cost, rel=0.1)


def test_the_stored_result_is_of_these_figures() -> None:
    stored, small = RESULT.read_text(), render(MEASURED, SMALL)
    measured = stored[stored.index("| measured") : stored.index("| assumed")]
    assert measured in small
