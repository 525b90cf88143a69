"""Files that want to be executed: refused by name, and nothing of them ran."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_files import PersistentModule, nvlabs_generator, write_nvlabs_pickle
from reference import arrays

from styleclip.checkpoints import load_generator, load_torch_file, save_native
from styleclip.checkpoints.mappers import MapperCard, load_mapper
from styleclip.errors import CheckpointError


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def attacks(canary: Path) -> dict[str, object]:
    touch = f"touch {canary}"
    return {
        "system": Calls(os.system, touch),
        "eval": Calls(builtins.eval, f"open({str(canary)!r}, 'w')"),
        "exec": Calls(builtins.exec, f"open({str(canary)!r}, 'w')"),
        "getattr chain": Calls(getattr, Calls(__import__, "os"), "system"),
        "nested": {"deep": [({"deeper": Calls(os.system, touch)},)]},
        "open": Calls(open, str(canary), "w"),
        "torch.load": Calls(torch.load, str(canary)),
    }


NAMES = sorted(attacks(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_that_calls_something_is_refused_by_name(name, canary, tmp_path):
    network = PersistentModule("Generator", _parameters=attacks(canary)[name])
    path = write_nvlabs_pickle(tmp_path / "network.pkl", network)
    with pytest.raises(CheckpointError, match=r"asks for '[\w.]+', .*refused"):
        load_generator(path)
    assert not canary.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_torch_file_that_calls_something_is_refused_by_name(name, zipped, canary, tmp_path):
    path = tmp_path / "network.pt"
    torch.save({"g_ema": attacks(canary)[name]}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"asks for .*refused"):
        load_generator(path)
    assert not canary.exists()


def test_source_inside_a_pickle_is_never_run(canary, tmp_path):
    source = f"open({str(canary)!r}, 'w').close()"
    state = {name: value for name, value in arrays("a_nvlabs_state_dict.npz").items()}
    generator = load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(state, source)))
    assert generator.resolution == 32 and not canary.exists()


def test_a_tensor_inside_a_pickle_cannot_carry_a_call(canary, tmp_path):
    """The bytes of a storage are a pickle of their own."""
    inner = pickle.dumps(Calls(os.system, f"touch {canary}"))
    network = PersistentModule("Generator", _parameters=Calls(torch.storage._load_from_bytes, inner))
    with pytest.raises(CheckpointError):
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", network))
    assert not canary.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x0bcollections.\x85R.",
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.",
        b"\x80\x02cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02(S'true'\nios\nsystem\n.",
        b"\x80\x02ccollections\nOrderedDict\n)R}(X\x0c\x00\x00\x00__setstate__cos\nsystem\nub.",
        b"\x80\x04P0\n.",
        b"\x80\x04\x82\x01.",
    ],
    ids=["stack global", "dotted name", "global", "inst", "build", "persistent id", "extension"],
)
def test_opcodes_that_reach_for_names_are_refused(code, tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(code)
    with pytest.raises(CheckpointError):
        load_generator(path)


def test_what_a_file_does_to_its_stand_ins_is_forgotten(tmp_path):
    """BUILD may set attributes of what a pickle holds: the next file must not feel it."""
    text = b"X\x05\x00\x00\x00value"
    poison = b"\x80\x02cdnnlib.util\nEasyDict\n(N}X\x07\x00\x00\x00__len__" + text + b"stb."
    path = tmp_path / "poison.pkl"
    path.write_bytes(poison)
    with pytest.raises(CheckpointError):
        load_generator(path)
    state = {name: value for name, value in arrays("a_nvlabs_state_dict.npz").items()}
    assert (
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", nvlabs_generator(state))).resolution
        == 32
    )


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    network = PersistentModule("Generator")
    small = torch.zeros(4)
    network.state["_parameters"]["weight"] = Calls(
        torch._utils._rebuild_tensor_v2, small._typed_storage(), 0, (10**9, 10**9), (0, 0), False, {}
    )
    with pytest.raises(CheckpointError, match="storage of 4 numbers"):
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", network))


def test_zip_bombs_are_refused(tmp_path):
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    assert packed.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"compressed, which torch\.save never does"):
        load_torch_file(packed)
    lying = tmp_path / "lying.pt"
    torch.save({"a": torch.zeros(100)}, lying)
    data = bytearray(lying.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 2**31)
    lying.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="promises"):
        load_torch_file(lying)


def test_a_module_that_contains_itself_ends(tmp_path):
    network = PersistentModule("Generator")
    network.state["_modules"]["again"] = {"x": 1}
    code = pickle.dumps({"G_ema": {}})
    assert code
    loop = nvlabs_generator({"a." * 40 + "weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="without end"):
        load_generator(write_nvlabs_pickle(tmp_path / "network.pkl", loop))


def test_tensorflow_pickles_say_what_to_do(tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(b"\x80\x02cdnnlib.tflib.network\nNetwork\n)R.")
    with pytest.raises(CheckpointError, match=r"legacy\.py"):
        load_generator(path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("valid")
    small = {
        "mapping.fc0.weight": torch.randn(4, 4),
        "synthesis.b4.conv1.weight": torch.randn(2, 2, 3, 3),
    }
    torch.save({"g_ema": small}, folder / "zip.pt")
    torch.save({"g_ema": small}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    pickled = write_nvlabs_pickle(folder / "network.pkl", nvlabs_generator(small))
    return {path.name: path.read_bytes() for path in (folder / "zip.pt", folder / "legacy.pt", pickled)}


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "network.pkl"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_one_clear_error(valid, tmp_path, name, data):
    """Cut short or with any bytes changed: the file is never more than a CheckpointError."""
    content = bytearray(valid[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path / name
    path.write_bytes(bytes(content[:cut] if data.draw(st.booleans()) else content))
    with pytest.raises(CheckpointError) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_a_configuration_of_a_giant_is_refused_before_it_takes_memory(tmp_path):
    """A few hundred bytes may describe a network of terabytes: shapes are compared before anything is allocated."""
    card = MapperCard(attribute="x", target="x", generator="x")
    shape = {"space": "levels", "w_dim": 4_000_000, "levels": ["coarse"], "widths": []}
    config = {"shape": shape, "card": asdict(card)}
    save_native(
        tmp_path / "giant.safetensors", "mapper", config, {"networks.coarse.0.bias": torch.zeros(1, 1)}
    )
    with pytest.raises(CheckpointError, match=r"giant\.safetensors: "):
        load_mapper(tmp_path / "giant.safetensors")
    config = {"shape": shape | {"w_dim": 4}, "card": asdict(card) | {"target": 5}}
    save_native(tmp_path / "card.safetensors", "mapper", config, {"x": torch.zeros(1)})
    with pytest.raises(
        CheckpointError, match=r"card\.safetensors: its configuration makes no mapper .*target"
    ):
        load_mapper(tmp_path / "card.safetensors")


def test_a_whole_generator_of_nvlabs_code_says_what_to_do(tmp_path):
    """PTI writes torch.save(G): a class of NVlabs' persistence module."""
    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = type(
        "_reconstruct_persistent_obj", (), {"__module__": module.__name__}
    )
    sys.modules |= {"torch_utils": types.ModuleType("torch_utils"), module.__name__: module}
    try:
        torch.save(module._reconstruct_persistent_obj(), tmp_path / "pti.pt")
    finally:
        del sys.modules["torch_utils"], sys.modules[module.__name__]
    with pytest.raises(CheckpointError, match=r"torch\.save\(G\)"):
        load_generator(tmp_path / "pti.pt")


def test_a_name_with_a_line_break_is_still_one_line(tmp_path):
    (tmp_path / "network.pkl").write_bytes(b"\x80\x04\x8c\x03a\nb\x94\x8c\x01c\x94\x93.")
    with pytest.raises(CheckpointError) as caught:
        load_generator(tmp_path / "network.pkl")
    assert "\n" not in str(caught.value) and "refused" in str(caught.value)


def test_one_number_that_stands_for_a_giant_is_refused(tmp_path):
    torch.save({"g_ema": {"style.1.weight": torch.zeros(1).expand(10**6, 10**6)}}, tmp_path / "giant.pt")
    with pytest.raises(CheckpointError, match=r"giant\.pt: holds a tensor of .* more data than the file has"):
        load_generator(tmp_path / "giant.pt")
