"""The published files of channel directions: what NumPy writes is read, what could do harm is refused."""

from __future__ import annotations

import io
import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.fs3 import read_fs3, read_mean_std, write_published
from storage.numpy_files import read_npy, read_pickled_arrays, write_npy

LAYERS = (4, 4, 6)


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 5))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def statistics(seed: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(seed)
    means = [random.normal(size=width).astype(np.float32) for width in LAYERS]
    return means, [abs(array) + 1 for array in means]


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return len(ours) == len(theirs) and all(
        a.dtype == np.float32 and np.array_equal(a, b.astype(np.float32))
        for a, b in zip(ours, theirs, strict=True)
    )


def test_both_files_survive_the_way_out_and_back(tmp_path):
    rows, (means, stds) = unit_rows(14), statistics()
    write_published(str(tmp_path / "out"), rows, means, stds)
    assert np.array_equal(read_fs3(str(tmp_path / "out/fs3.npy")), rows)
    found = read_mean_std(str(tmp_path / "out/S_mean_std"))
    assert same(found[0], means) and same(found[1], stds)
    with pytest.raises(StorageError, match=r"fs3\.npy is there already"):
        write_published(str(tmp_path / "out"), rows, means, stds)


def test_other_programs_read_what_is_written(tmp_path):
    means, stds = statistics()
    write_published(str(tmp_path), unit_rows(14), means, stds)
    data = (tmp_path / "S_mean_std").read_bytes()
    assert b"numpy._core" not in data  # the address that NumPy 1 does not know
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = pickle.loads(data)
    assert same(theirs[0], means) and same(theirs[1], stds)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_every_pickle_protocol_and_byte_order_is_read(tmp_path, protocol, dtype):
    arrays = [
        np.arange(6, dtype=dtype).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3)),
    ]
    (tmp_path / "p").write_bytes(pickle.dumps([arrays, arrays], protocol=protocol))
    found = read_pickled_arrays(str(tmp_path / "p"))
    assert same(found[0], arrays) and same(found[1], arrays)


class Attack:
    def __init__(self, call, *arguments):
        self.answer = (call, arguments)

    def __reduce__(self):
        return self.answer


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda canary: Attack(os.system, f"touch {canary}"), "system"),
        (lambda canary: [[np.zeros(3), Attack(eval, f"open('{canary}', 'w')")], []], "eval"),
        (lambda canary: Attack(getattr, "text", "upper"), "getattr"),
        (lambda canary: [[np.array([Attack(os.system, f"touch {canary}")], dtype=object)], []], "system"),
        (lambda canary: [[np.zeros(2, dtype=np.int64)], [np.zeros(2)]], "i8"),
        (lambda canary: [[np.array(["a"], dtype=object)], []], "O8"),
        (lambda canary: {"mean": np.zeros(2)}, "list of lists"),
        (lambda canary: [[1.0], [2.0]], "no array"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_is_refused_by_name_and_does_nothing(tmp_path, make, name, protocol):
    canary = tmp_path / "canary"
    (tmp_path / "p").write_bytes(pickle.dumps(make(canary), protocol=protocol))
    with pytest.raises(StorageError, match=name):
        read_pickled_arrays(str(tmp_path / "p"))
    assert not canary.exists()


def test_a_pickle_cannot_ask_for_more_memory_than_it_has_bytes(tmp_path):
    (tmp_path / "memo").write_bytes(b"\x80\x02]r\xff\xff\xff\xff.")
    (tmp_path / "bytes").write_bytes(b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.")
    for name in ("memo", "bytes"):
        with pytest.raises(StorageError, match="cannot be read as a pickle"):
            read_pickled_arrays(str(tmp_path / name))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_one_clear_error_or_still_sound(tmp_path, data):
    sound = bytearray(pickle.dumps([[np.ones(3, np.float32)], [np.ones(3, np.float32)]]))
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "p").write_bytes(bytes(sound[: data.draw(st.integers(0, len(sound)))]))
    try:
        found = read_pickled_arrays(str(tmp_path / "p"))
    except StorageError as error:
        assert "\n" not in str(error)
    else:
        assert all(array.dtype == np.float32 for part in found for array in part)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", "is no .npy file"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 512), }\n"),
            "cut off or damaged",
        ),
        (header("__import__('os').system('false')\n"), "is no .npy file"),
    ],
)
def test_broken_npy_files_are_named(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(StorageError, match=message):
        read_npy(str(tmp_path / "a.npy"))


def test_npy_files_of_objects_and_integers_are_refused(tmp_path):
    for array, kind in ((np.array([{}], dtype=object), "object"), (np.arange(3), "int64")):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        (tmp_path / "a.npy").write_bytes(buffer.getvalue())
        with pytest.raises(StorageError, match=kind):
            read_npy(str(tmp_path / "a.npy"))
    with pytest.raises(StorageError, match="no such file"):
        read_npy(str(tmp_path / "none.npy"))


def test_rows_without_a_direction_become_zeros_and_other_lengths_are_refused(tmp_path):
    rows = unit_rows(4)
    rows[2] = np.nan
    write_npy(str(tmp_path / "fs3.npy"), rows)
    assert not read_fs3(str(tmp_path / "fs3.npy"))[2].any()
    rows[3] *= 2
    write_npy(str(tmp_path / "fs3.npy"), rows)
    with pytest.raises(StorageError, match="row 3 has the length 2 "):
        read_fs3(str(tmp_path / "fs3.npy"))
    write_npy(str(tmp_path / "fs3.npy"), rows[0])
    with pytest.raises(StorageError, match=r"shape \(5,\)"):
        read_fs3(str(tmp_path / "fs3.npy"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[np.ones(2)]], "wanted are two"),
        ([[np.ones(2)], [np.ones(3)]], "layer 0 has 2 means and 3 standard deviations"),
        ([[np.ones(2)], [-np.ones(2)]], "layer 0 holds values that are no means"),
        ([[np.array([1, np.nan])], [np.ones(2)]], "layer 0 holds values that are no means"),
    ],
)
def test_statistics_that_make_no_sense_are_named(tmp_path, content, message):
    (tmp_path / "s").write_bytes(pickle.dumps(content))
    with pytest.raises(StorageError, match=message):
        read_mean_std(str(tmp_path / "s"))
