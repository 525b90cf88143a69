"""What every store must do: be made, written in parts, gone on with, survive its writer, name what is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import STORES, Latents, Store, data_files, work

from storage.errors import PlanMismatch, StorageError, StoreCorrupt

SCRIPT = Path(__file__).parents[1] / "support" / "interrupted.py"


@pytest.fixture(params=sorted(STORES))
def kind(request) -> type[Store]:
    return STORES[request.param]


@pytest.fixture
def store(kind, tmp_path) -> Store:
    return kind(str(tmp_path / "store"))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory) -> dict[str, Path]:
    """A finished store of every kind, to be looked at only."""
    found = {}
    for name, kind in STORES.items():
        found[name] = tmp_path_factory.mktemp("whole") / name
        work(kind(str(found[name])))
    return found


def use(store: Store) -> list[np.ndarray]:
    """Read everything that there is: finishing comes last, for it writes some files anew."""
    found = store.read()
    store.finish()
    return found


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_made_once_and_gone_on_with(store, wholes, kind):
    assert not store.exists()
    store.create()
    assert store.exists() and store.missing() == [0, 1]
    store.write([1])
    assert store.missing() == [0]
    work(store)
    work(store)
    assert store.missing() == []
    same(store.read(), kind(str(wholes[kind.__name__.lower()])).read())


def test_another_computation_is_refused_and_named(store):
    store.create()
    with pytest.raises(PlanMismatch, match=r"weights\.generator was abc, is xyz") as caught:
        store.open(weights={"generator": "xyz"})
    assert "\n" not in str(caught.value) and store.uri in str(caught.value)
    store.open()


def test_two_of_other_fingerprints_keep_apart(kind, tmp_path):
    one, two = kind(str(tmp_path / "1")), kind(str(tmp_path / "2"))
    one.create(seed=1)
    two.create(seed=2)
    one.open(seed=1)
    two.open(seed=2)
    with pytest.raises(PlanMismatch, match="seed was 2, is 1"):
        two.open(seed=1)


def test_a_part_written_again_counts_once(store, wholes, kind):
    work(store)
    store.write([0])
    store.finish()
    same(store.read(), kind(str(wholes[kind.__name__.lower()])).read())


@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_a_lost_or_cut_file_is_not_taken_for_nothing(store, how):
    work(store)
    for file in data_files(Path(store.uri)):
        sound = file.read_bytes()
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(b"" if how == "empty" else sound[: len(sound) // 2])
        marks_a_part = file.suffix == ".parquet" or "done" in file.parts
        if how == "missing" and marks_a_part:
            assert len(store.missing()) == 1, "without its mark a part never happened"
        elif "done" in file.parts and isinstance(store, Latents):
            use(store)  # that the file is there is the mark; what is in it says nothing
        else:
            with pytest.raises(StoreCorrupt) as caught:
                use(store)
            assert str(file) in str(caught.value) and "\n" not in str(caught.value)
        file.write_bytes(sound)


@pytest.mark.parametrize("name", sorted(STORES))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found_and_its_file_named(wholes, name, data):
    store = STORES[name](str(wholes[name]))
    file = data.draw(st.sampled_from(data_files(wholes[name])))
    sound = file.read_bytes()
    damaged = bytearray(sound)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    whole = store.read()
    file.write_bytes(damaged)
    try:
        # a byte that says nothing may change: the name of the program that wrote it
        same(use(store), whole)
        found = None
    except StoreCorrupt as error:
        found = str(error)
    finally:
        file.write_bytes(sound)
    assert found is None or (str(file) in found and "\n" not in found)
    assert found is not None or name == "metrics" or (name == "latents" and "done" in file.parts)


def test_nothing_there_is_one_line(store):
    with pytest.raises(StorageError) as caught:
        store.read()
    assert store.uri in str(caught.value) and "\n" not in str(caught.value)


def test_a_writer_killed_at_any_moment_ends_with_the_same_numbers(kind, wholes, tmp_path):
    name = kind.__name__.lower()
    done = subprocess.run(
        [sys.executable, SCRIPT, name, tmp_path], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    stores = sorted(path for path in tmp_path.iterdir() if path.is_dir() and path.name.isdigit())
    # a store of directions: at least 11 renames for the descriptions; 5 per block, 3 to finish
    assert len(stores) >= {"directions": 25, "latents": 8, "metrics": 2}[name]
    expected = kind(str(wholes[name])).read()
    for path in stores:
        same(kind(str(path)).read(), expected)
