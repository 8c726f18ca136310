"""One wrong part in an HDF5 file that is well formed: a link, a size, a type, a name, a text."""

import io
import json

import h5py
import numpy as np

from tests.fuzz.mutate import json_value

TYPES = (
    "f8",
    "f2",
    "i1",
    "u8",
    "?",
    "S3",
    "c8",
    "(2,)f4",
    [("x", "f4")],
    h5py.string_dtype(),
    h5py.ref_dtype,
)
SHAPES = ((), (0,), (1,), (3, 3, 2, 1), (2,) * 12, (1 << 20,))
VALUES = (
    "",
    "x",
    "\ud7ff",
    b"\xff\xfe",
    1 << 62,
    -1,
    1e308,
    [],
    ["a", "b"],
    [1, 2],
    np.zeros((3, 3)),
    b"x" * 60000,
)


def hidden_hdf5(number):
    """A file whose array other files may point to."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a"] = np.full((3, 3, 1, 2), number, np.float32)
        file["g/a"] = np.full(2, number, np.float32)
    return buffer.getvalue()


def part_of_hdf5(secret):
    """One or two parts changed; links may lead to the file `secret`."""

    def damage(content, random):
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            for _ in range(random.choice((1, 1, 2))):
                random.choice(CHANGES)(file, random, secret)
        return buffer.getvalue()

    return damage


def value_in_hdf5(content, random):
    """One value changed in a text of JSON among the attributes of the file."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        name = random.choice([n for n in file.attrs if str(file.attrs[n])[:1] == "{"])
        file.attrs[name] = json.dumps(json_value(json.loads(file.attrs[name]), random))
    return buffer.getvalue()


def _members(file, kinds=(h5py.Group, h5py.Dataset)):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kinds) else None)
    return found


def _attribute(file, random, _):
    places = [file, *(file[name] for name in _members(file))]
    places = [place for place in places if len(place.attrs)] or places
    place = random.choice(places)
    name = random.choice([*place.attrs, "name", "layer_names", "weight_names"])
    if random.random() < 0.2 and name in place.attrs:
        del place.attrs[name]
        return
    value = random.choice(VALUES)
    place.attrs[name] = np.void(value) if isinstance(value, bytes) and random.random() < 0.3 else value


def _link(file, random, secret):
    name = random.choice(_members(file) or ["new"])
    if name not in file:
        file.create_group(name)
    parent, other = file[name].parent, random.choice(["/", *_members(file)])
    key = random.choice((name.rpartition("/")[2], "new"))
    link = random.choice(
        (
            lambda: h5py.SoftLink(f"/{other}".replace("//", "/")),
            lambda: h5py.SoftLink("/nowhere"),
            lambda: h5py.ExternalLink(str(secret), random.choice(("/a", "/g", "/g/a", "/"))),
            lambda: h5py.ExternalLink(random.choice(("/etc/passwd", "../secret.h5", "x")), "/"),
            lambda: file[other],
        )
    )()
    if key in parent:
        del parent[key]
    parent[key] = link


def _array(file, random, secret):
    names = _members(file, h5py.Dataset)
    if not names:  # an earlier change took them away
        return
    name = random.choice(names)
    old = file[name]
    shape, dtype = old.shape, old.dtype
    attributes = dict(old.attrs)
    del file[name]
    kind = random.randrange(6)
    if kind == 0:
        made = file.create_dataset(name, shape, random.choice(TYPES))
    elif kind == 1:
        made = file.create_dataset(name, random.choice(SHAPES), dtype)
    elif kind == 2:
        large = (random.choice((1 << 30, 1 << 40, 1 << 62)),)
        made = file.create_dataset(name, large, dtype, chunks=(1024,), compression="gzip")
    elif kind == 3:
        outside = [(str(secret.with_suffix(".bin")), 0, 1 << 14)]
        made = file.create_dataset(name, shape or (1,), dtype, external=outside)
    elif kind == 4:
        layout = h5py.VirtualLayout(shape=(3, 3, 1, 2), dtype="f4")
        layout[:] = h5py.VirtualSource(str(secret), "a", shape=(3, 3, 1, 2))
        made = file.create_virtual_dataset(name, layout)
    else:
        fills = {"fillvalue": 1.0, "chunks": (1,) * len(shape)} if shape else {}
        filters = (
            random.choice(({"compression": "lzf"}, {"fletcher32": True}, {"scaleoffset": 2})) if shape else {}
        )
        made = file.create_dataset(name, shape, dtype, **fills, **filters)
    for key, value in attributes.items():
        made.attrs[key] = value


def _removed(file, random, _):
    names = _members(file)
    if names:
        del file[random.choice(names)]


def _moved(file, random, _):
    names = _members(file)
    if not names:
        return
    source = random.choice(names)
    target = random.choice((f"{source}x", "0", f"layers/{len(names)}", "model_weights"))
    if target not in file:
        file.move(source, target)


def _exchanged(file, random, _):
    names = _members(file, h5py.Dataset) or [""]
    one, other = random.choice(names), random.choice(names)
    if one != other:
        file.move(one, "between")
        file.move(other, one)
        file.move("between", other)


CHANGES = (_attribute, _attribute, _link, _link, _array, _array, _removed, _moved, _exchanged)
