"""Damaged files, a few of the many that benchmarks/robustness/fuzz.py makes."""

import sys
from pathlib import Path

import pytest

ROBUSTNESS = Path(__file__).parents[1] / "benchmarks" / "robustness"
CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(ROBUSTNESS))
    import fuzz
    import mutations

    yield fuzz, mutations
    sys.path.remove(str(ROBUSTNESS))


@pytest.mark.parametrize(("kind", "count"), [("photos", 120), ("videos", 60)])
def test_damaged_files_give_a_result_or_a_sentence(modules, kind, count):
    fuzz, _ = modules
    assert fuzz.fuzz(kind, count, seed=2024, every=0, say=lambda *_: None) == []


def test_whole_files_are_read(modules, tmp_path):
    fuzz, mutations = modules
    (folder := tmp_path / "wholes").mkdir()
    (place := tmp_path / "one").mkdir()
    for kind, wholes in (("photos", mutations.photos()), ("videos", mutations.videos(folder))):
        for name, data in wholes.items():
            path = place / name
            path.write_bytes(data)
            assert fuzz.attempt(kind, path, False) == "read", name
            path.unlink()


def test_what_was_found(modules, tmp_path):
    """Files that made a fault once, kept by the option --keep; none has so far."""
    fuzz, _ = modules
    for path in sorted(CORPUS.glob("*")):
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        kind = path.name.partition("-")[0]
        assert not fuzz.attempt(kind, copy, False).startswith("fault"), path.name
        copy.unlink()
