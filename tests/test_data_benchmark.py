"""What the table of data speed says of its own numbers."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "data.py"


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(BENCHMARK))


def rows(benchmark, **changes):
    rates = {
        **{benchmark["READ"][kind]: 500.0 for kind in ("images", "videos")},
        **{benchmark["DECODE"][kind]: 40.0 for kind in ("images", "videos")},
        **{benchmark["TAKE"][kind]: 38.0 for kind in ("images", "videos")},
        benchmark["AVERAGE"]: 38.0,
        benchmark["FLOW"]: 4.0,
        benchmark["ENCODE"]: 2.0,
        benchmark["STORE"]: 100.0,
        benchmark["KEEP"]: 95.0,
        benchmark["built"]("images", 2): 2.4,
        benchmark["built"]("videos", 2): 2.4,
    }
    return [{"name": name, "rate": rate} for name, rate in (rates | changes).items()]


def test_what_binds_is_told_from_the_rows(benchmark):
    images, videos, paths = benchmark["bounds"](rows(benchmark), 2)
    # Two cores decode 80 a second, and builds make 2.4; videos' decoders have both already.
    assert "3 % of the samples that the decoder alone" in images
    assert "6 % of the samples that the decoder alone" in videos
    # 1/38 + 1/38 + 1/4 + 1/2 seconds for a sample.
    spent = "decoding 3 %, averaging 3 %, flow and guidance 31 %, encoding and writing 62 %"
    assert f"the processor does ({spent})" in images
    assert "decoding of images 95 %, decoding of videos 95 %, writing 95 %" in paths


def test_a_disk_that_binds_is_named(benchmark):
    slow = rows(benchmark, **{benchmark["STORE"]: 2.5})
    assert "96 % of the samples that writing to the disk alone" in next(
        benchmark["bounds"](slow, 2)
    )
    assert next(benchmark["bounds"](slow, 2)).endswith("writing to the disk binds.")
