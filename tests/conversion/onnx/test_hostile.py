"""Files that are damaged, wrong, or made to harm: refused with the file's name, before memory is taken."""

import random

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper

from kernelearn import load_model
from kernelearn.conversion.onnx import from_onnx
from kernelearn.errors import FormatError
from tests.conversion.onnx.graphs import model, node, numbers, single


def dense():
    """x times a kernel, whose tensor a test makes wrong."""
    return single("MatMul", numbers(2, 3), [numbers(3, 4)], opset=13)


def refused(proto, text, folder=None):
    if folder is None:
        with pytest.raises(FormatError, match=text):
            from_onnx(proto)
        return
    path = folder / "m.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    with pytest.raises(FormatError, match=text) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_what_is_no_model_is_told(tmp_path):
    good, noise = dense().SerializeToString(), b"\x08\x08" + random.Random(0).randbytes(500)
    for content in (
        good[:-20],
        good[: len(good) // 2],
        b"\x08\x08",
        noise,
    ):
        refused(content, "damaged|no ONNX model|has|uses|gives", tmp_path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing.onnx")
    with pytest.raises(FormatError, match="no ONNX model, or an empty one"):
        from_onnx(b"")


@pytest.mark.parametrize(
    "dims,text",
    [
        ([-1, 4], r"has the shape \(-1, 4\)"),
        ([3, 5], r"of shape \(3, 5\) has 48 bytes"),
        ([1 << 40, 1 << 40], "take more than"),
        ([1 << 20, 1 << 20], "take more than"),
        ([1] * 20, "has the shape"),
    ],
)
def test_shapes_are_compared_with_what_is_there(dims, text):
    proto = dense()
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    refused(proto, text)


def test_lists_of_numbers_are_counted():
    proto = dense()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 11)
    refused(proto, "has 11 numbers")


def test_types_that_are_not_read():
    for kind in (TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.COMPLEX64, 99):
        proto = dense()
        proto.graph.initializer[0].data_type = kind
        refused(proto, "are not read")


def test_names_are_given_once_and_before_they_are_used():
    def two(first, second):
        return model([node("Relu", first, outputs=("a",)), node("Relu", second, outputs=("y",))], (2, 3))

    refused(two("y", "a"), "before anything gives it")  # a circle
    refused(two("nothing", "a"), "before anything gives it")
    proto = model([node("Relu", "x", outputs=("y",)), node("Relu", "x", outputs=("y",))], (2, 3))
    refused(proto, "which is there already")
    proto = dense()
    proto.graph.initializer.append(proto.graph.initializer[0])
    refused(proto, "no name of its own")
    refused(model([node("Relu", "x", outputs=("z",))], (2, 3)), "nothing gives the output 'y'")


def test_what_would_bring_code_or_operators_of_others():
    refused(model([node("Relu", "x", domain="com.microsoft")], (2, 3)), "the operators of domain")
    refused(model([node("Gradient", "x")], (2, 3)), "Gradient has no counterpart")
    proto = dense()
    proto.functions.add(name="mine")
    refused(proto, "functions of its own")
    inner = helper.make_graph([node("Relu", "x")], "inner", [], [])
    refused(model([node("If", "x", then_branch=inner, else_branch=inner)], (2, 3)), "graphs inside of nodes")


def test_attributes_are_taken_as_they_are_known():
    proto = model([node("Softmax", "x", axis=1)], (2, 3))
    proto.graph.node[0].attribute.append(proto.graph.node[0].attribute[0])
    refused(proto, "has the attribute 'axis' twice")
    proto = model([node("Softmax", "x", axis="first")], (2, 3))
    refused(proto, "is of another kind")
    proto = model([node("Softmax", "x")], (2, 3))
    proto.graph.node[0].attribute.append(AttributeProto(name="axis", ref_attr_name="x", type=2))
    refused(proto, "of a kind that is not read")


def nested(depth):
    """If in If in If: bytes, because the package itself refuses to build it."""

    def field(number, content):
        size, head = len(content), bytes([number << 3 | 2])
        length = b""
        while size >= 128:
            length += bytes([size & 127 | 128])
            size >>= 7
        return head + length + bytes([size]) + content

    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + bytes([20 << 3, 1, 5])
        graph = field(1, field(4, b"If") + field(5, attribute))
    return b"\x08\x08" + field(8, bytes([2 << 3, 13])) + field(7, graph)


def test_deep_nesting_ends_in_a_message(tmp_path):
    for depth in (3, 200, 4_000):
        refused(nested(depth), "damaged|graphs inside|If", tmp_path)


def external(folder, **entries):
    proto = dense()
    tensor = proto.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return proto, content


def test_tensors_in_files_of_the_folder_are_read(tmp_path):
    proto, content = external(tmp_path, location="inner/w.bin", offset="5", length="48")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "w.bin").write_bytes(b"12345" + content + b"more")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    made = load_model(tmp_path / "m.onnx")
    assert np.array_equal(made.layers[-1].get_weights()[0], np.frombuffer(content, "f4").reshape(3, 4))
    refused(proto, "in a way that is not read")  # bytes alone have no folder


@pytest.mark.parametrize(
    "entries,text",
    [
        ({"location": "/etc/hostname"}, "only files in the folder"),
        ({"location": "../w.bin"}, "only files in the folder"),
        ({"location": "a/../../w.bin"}, "only files in the folder"),
        ({"location": "..\\w.bin"}, "only files in the folder"),
        ({"location": "C:\\w.bin"}, "only files in the folder"),
        ({"location": ""}, "in a way that is not read"),
        ({"location": "none.bin"}, "which is not there"),
        ({"location": "link.bin"}, "is a link"),
        ({"location": "away/w.bin"}, "is a link"),
        ({"location": "."}, "a folder|is not there"),
        ({"location": "short.bin"}, "ends before the tensor"),
        ({"location": "w.bin", "offset": "1"}, "ends before the tensor"),
        ({"location": "w.bin", "offset": "-1"}, "which is no place"),
        ({"location": "w.bin", "length": "40"}, "wants 48 bytes"),
        ({"location": "w.bin", "length": "9" * 30}, "which is no place"),
        ({"location": "w.bin", "__class__": "x"}, "in a way that is not read"),
    ],
)
def test_tensors_elsewhere_are_not_read(tmp_path, entries, text):
    folder = tmp_path / "folder"
    folder.mkdir()
    proto, content = external(folder, **entries)
    (tmp_path / "w.bin").write_bytes(content)
    (folder / "w.bin").write_bytes(content)
    (folder / "short.bin").write_bytes(content[:-1])
    (folder / "link.bin").symlink_to(folder / "w.bin")
    (folder / "away").symlink_to(tmp_path)
    refused(proto, text, folder)


def test_constants_that_would_fill_the_memory_are_refused():
    huge = np.array([1 << 20, 1 << 20])
    constant = node("ConstantOfShape", "huge", outputs=("c",))
    refused(model([constant, node("Add", "x", "c")], (2, 3), {"huge": huge}), "too large")
    spread = node("Expand", "one", "huge", outputs=("c",))
    given = {"huge": huge, "one": np.ones(1, np.float32)}
    refused(model([spread, node("Add", "x", "c")], (2, 3), given), "too large")
    steps = node("Range", "zero", "end", "one", outputs=("c",))
    given = {"zero": np.array(0), "end": np.array(1 << 40), "one": np.array(1)}
    refused(model([steps, node("Add", "x", "c")], (2, 3), given), "too large")


def test_values_that_would_fill_the_memory_are_refused():
    proto = single("Flatten", numbers(2, 3, 4, 5))
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1 << 40
    refused(proto, "more than")
    x = numbers(2, 3, 4, 5)
    refused(single("Tile", x, [np.array([1, 1, 1 << 12, 1 << 13])]), "too many|more than")
    refused(single("Pad", x, [np.array([0, 0, 1 << 30, 0, 0, 0, 0, 0])]), "with pads")
    refused(single("Pad", x, [np.array([0, 0, 1 << 19, 1 << 19, 0, 0, 0, 0])]), "more than")
    refused(single("Resize", x, [None, np.array([1, 1, 1e6, 1e6], np.float32)]), "pixels")


def test_a_weight_is_not_rounded_in_silence():
    proto = single("MatMul", numbers(2, 3), [np.full((3, 4), 1 / 3)], opset=13)
    refused(proto, "would be rounded to float32")
    from_onnx(single("MatMul", numbers(2, 3), [np.full((3, 4), 0.5)], opset=13))


def test_messages_name_the_file_the_operator_and_the_node(tmp_path):
    proto = model([node("LSTM", "x", name="memory")], (2, 3))
    with pytest.raises(FormatError, match="LSTM 'memory'"):
        from_onnx(proto)
    refused(proto, "LSTM 'memory': the operator LSTM has no counterpart", tmp_path)
