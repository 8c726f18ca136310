"""One wrong part in an ONNX file that is well formed: a name, a size, an attribute, a type."""

from onnx import ModelProto

SIZES = (-1, 0, 1, 2, 3, 7, 255, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))


def part_of_onnx(content, random):
    """One to three parts of the message changed."""
    model = ModelProto.FromString(content)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(CHANGES)(model, random)
    return model.SerializeToString()


def _change_attribute(model, random):
    node = random.choice([n for n in model.graph.node if n.attribute] or [None])
    if node is None:
        return
    attribute = random.choice(node.attribute)
    kind = random.randrange(5)
    if kind == 0:
        attribute.type = random.randrange(15)
    elif kind == 1:
        attribute.name = random.choice(("", "axis", "pads", "auto_pad", "to", "\ud7ff", attribute.name * 2))
    elif attribute.ints and kind < 4:
        attribute.ints[random.randrange(len(attribute.ints))] = random.choice(SIZES)
    elif attribute.ints:
        attribute.ints.append(random.choice(SIZES))
    elif attribute.type == 2:
        attribute.i = random.choice(SIZES)
    elif attribute.type == 1:
        attribute.f = random.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    else:
        attribute.s = random.choice((b"", b"SAME_UPPER", b"\xff\xfe", b"x" * 1000))


def _change_tensor(model, random):
    tensor = random.choice(model.graph.initializer)
    kind = random.randrange(5)
    if kind == 0 and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice(SIZES)
    elif kind == 1:
        tensor.dims.append(random.choice(SIZES))
    elif kind == 2:
        tensor.data_type = random.randrange(30)
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: random.randrange(len(tensor.raw_data) + 1)]
    else:
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key = random.choice(("location", "offset", "length", "__class__"))
        entry.value = random.choice(("../x", "/etc/hostname", "a.onnx", "-1", "9" * 30, "\0"))


def _change_name(model, random):
    node = random.choice(model.graph.node)
    names = random.choice((node.input, node.output))
    known = [name for other in model.graph.node for name in (*other.input, *other.output)]
    if names:
        names[random.randrange(len(names))] = random.choice((*known, "", "nothing"))


def _change_node(model, random):
    nodes, place = model.graph.node, random.randrange(len(model.graph.node))
    kind = random.randrange(5)
    if kind == 0:
        nodes[place].op_type = random.choice([node.op_type for node in nodes] + ["Loop", "", "Resize", "Pad"])
    elif kind == 1:
        del nodes[place]
    elif kind == 2:
        nodes.insert(random.randrange(len(nodes)), nodes[place])
    elif kind == 3:
        nodes[place].domain = random.choice(("", "ai.onnx.ml", "x"))
    else:
        nodes[place].input.append(random.choice([tensor.name for tensor in model.graph.initializer]))


def _change_port(model, random):
    port = random.choice((*model.graph.input, *model.graph.output))
    tensor = port.type.tensor_type
    if random.random() < 0.3:
        tensor.elem_type = random.randrange(30)
    elif tensor.shape.dim:
        random.choice(tensor.shape.dim).dim_value = random.choice(SIZES)


def _change_version(model, random):
    if model.opset_import:
        model.opset_import[0].version = random.choice((*SIZES, 6, 7, 9, 11, 13, 21))


CHANGES = (_change_attribute, _change_tensor, _change_name, _change_node, _change_port, _change_version)

PLACES = (
    "../secret.bin", "link", "inner/secret.bin", "inner/../secret.bin", "./../secret.bin", "..", ".", "",
    "/etc/hostname", "/proc/self/environ", "/dev/zero", "pipe", "a.onnx", "nothing", "a.data/", "./a.data",
    "A.DATA", "\\secret.bin", "..\\secret.bin", "file:///etc/hostname", "x" * 5000, "a\0.data", "\ud7ff",
)  # fmt: skip
NUMBERS = ("-1", "0", "1", "4", "07", "1e3", " 4", "0x4", "9" * 15, "9" * 40, "", "nan", str(1 << 62), "４")


def place_of_tensor(content, random):
    """One entry of a tensor that lies in another file changed."""
    model = ModelProto.FromString(content)
    tensor = random.choice([t for t in model.graph.initializer if t.external_data])
    if random.random() < 0.2:
        _change_tensor(model, random)
    entry = random.choice(tensor.external_data)
    kind = random.randrange(10)
    if kind == 0:
        tensor.external_data.remove(entry)
    elif kind == 1:
        entry.key = random.choice(("location", "offset", "length", "checksum", "basepath", "__class__", ""))
    elif kind == 2:
        tensor.external_data.add(key="basepath", value=random.choice(PLACES))
    elif entry.key == "location":
        entry.value = random.choice(PLACES)
    else:
        entry.value = random.choice(NUMBERS)
    return model.SerializeToString()
