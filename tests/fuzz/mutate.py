"""Damage: bytes changed at random, and the same with checksums made right again afterwards.

Each function takes the good bytes and a `random.Random` and gives damaged ones.
"""

import copy
import gzip
import io
import json
import math
import struct
import zipfile
import zlib

from kernelearn.formats import native

INTERESTING = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\1")
WRONG = (None, True, -1, 0, 1, 2.5, 10**6, 10**30, 1e308, math.nan, "", "x", [], [[]], {}, [None], {"x": 1})


def some_bytes(content, random):
    """One to three changes anywhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _one_change(changed, random)
    return bytes(changed)


def _one_change(changed, random):
    place = random.randrange(len(changed) + 1)
    count = min(random.choice((1, 1, 2, 4, 8, 64)), len(changed) - place)
    kind = random.randrange(7)
    if kind == 0 and place < len(changed):
        changed[place] ^= 1 << random.randrange(8)
    elif kind == 1:
        changed[place : place + count] = random.randbytes(count)
    elif kind == 2:
        value = random.choice(INTERESTING)
        changed[place : place + len(value)] = value
    elif kind == 3:
        del changed[place : place + count]
    elif kind == 4:
        changed[place:place] = changed[place : place + count]
    elif kind == 5:
        del changed[place:]
    else:
        other = random.randrange(len(changed) + 1)
        changed[place : place + count] = changed[other : other + count]


def member_of_zip(content, random):
    """Damage inside one member, or to its name, in a zip that is right otherwise."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(about, archive.read(about)) for about in archive.infolist()]
    chosen = random.randrange(len(members))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number, (about, data) in enumerate(members):
            name, method = about.filename, about.compress_type
            if number == chosen and random.random() < 0.15:
                name = some_bytes(name.encode(), random).decode(errors="replace").replace("\0", "") or "x"
            elif number == chosen:
                data = some_bytes(data, random)
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return target.getvalue()


def inside_of_zip(damages):
    """Damage to the members whose names end so, by the functions given for them."""

    def damage(content, random):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(about, archive.read(about)) for about in archive.infolist()]
        fitting = [
            (number, changed)
            for number, (about, _) in enumerate(members)
            for end, changed in damages.items()
            if about.filename.endswith(end)
        ]
        chosen, changed = random.choice(fitting)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for number, (about, data) in enumerate(members):
                data = changed(data, random) if number == chosen else data
                archive.writestr(zipfile.ZipInfo(about.filename), data, about.compress_type)
        return target.getvalue()

    return damage


def inside_of_gzip(content, random):
    """Damage to what was packed."""
    return gzip.compress(some_bytes(gzip.decompress(content), random), 1, mtime=0)


def header_of_tar(content, random):
    """Damage to a header of a tar, its checksum made right."""
    is_packed = content[:2] == b"\x1f\x8b"
    changed = bytearray(gzip.decompress(content) if is_packed else content)
    headers = [at for at in range(0, len(changed) - 511, 512) if changed[at + 257 : at + 262] == b"ustar"]
    start = random.choice(headers)
    changed[start : start + 500] = some_bytes(changed[start : start + 500], random)[:500].ljust(500, b"\0")
    changed[start + 148 : start + 156] = b" " * 8
    changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    return gzip.compress(bytes(changed), 1, mtime=0) if is_packed else bytes(changed)


def chunk_of_png(content, random):
    """Damage to one chunk of a PNG, to its pixels as they are before packing too; checksums made right."""
    chunks, at = [], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    chosen = random.randrange(len(chunks))
    kind, data = chunks[chosen]
    if kind == b"IDAT" and random.random() < 0.5:
        data = zlib.compress(some_bytes(zlib.decompress(data), random))
    else:
        data = some_bytes(data, random)
    chunks[chosen] = (kind, data)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def header_of_safetensors(content, random):
    """One value of the header changed, or of the config in its metadata; its length made right."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if random.random() < 0.5:
        config = json_value(json.loads(header["__metadata__"]["kernelearn"]), random)
        header["__metadata__"]["kernelearn"] = json.dumps(config)
    else:
        header = json_value(header, random)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def json_value(value, random):
    """A copy with one value, or one key, that is something else."""
    changed = copy.deepcopy(value)
    places = list(_places(changed))
    inner, key = random.choice(places)
    if isinstance(inner, dict) and random.random() < 0.1:
        del inner[key]
    elif isinstance(inner[key], int) and random.random() < 0.5:
        inner[key] = inner[key] * random.choice((-1, 2, 10**3, 10**7)) + random.choice((0, 1, -1))
    else:
        inner[key] = copy.deepcopy(random.choice(WRONG))
    return changed


def _places(value):
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def own_format(path):
    """Damage to a value of the JSON, or to the numbers, of a file of the own format at `path`."""
    config, arrays = native.read(path)

    def damage(_, random):
        target = path.with_name("crafted.kernelearn")
        if random.random() < 0.85:
            native.write(target, json_value(config, random), arrays)
        else:
            name = random.choice(list(arrays))
            other = arrays[name].reshape(-1)[: random.choice((0, 1, 2, 7))]
            native.write(target, config, {**arrays, name: other.astype(random.choice("fdi?F"))})
        return target.read_bytes()

    return damage


def manifest(content, random):
    """Damage to a value of a manifest, its checksum made right."""
    values = json.loads(content)
    keys = ("run", "generation", "about", "segments")
    inner = json_value({key: values[key] for key in keys}, random)
    checksum = zlib.crc32(json.dumps(inner, sort_keys=True).encode())
    return json.dumps({**values, **inner, "checksum": checksum}).encode()


def events(content, random):
    """Damage to a value of one event, the checksum of its line made right."""
    lines = content.splitlines()
    chosen = random.randrange(len(lines))
    text = json.dumps(json_value(json.loads(lines[chosen].partition(b" ")[2]), random)).encode()
    lines[chosen] = f"{zlib.crc32(text):08x} ".encode() + text
    return b"\n".join(lines) + b"\n"


def json_file(content, random):
    """Damage to one value of a JSON file."""
    return json.dumps(json_value(json.loads(content), random)).encode()


def header_of_record(record_bytes):
    """Damage to the header of one record of a recording, the checksum of the header made right."""

    def damage(content, random):
        changed = bytearray(content)
        start = random.randrange(len(changed) // record_bytes) * record_bytes
        head = bytearray(some_bytes(bytes(changed[start : start + 60]), random)[:60].ljust(60, b"\0"))
        changed[start : start + 64] = head + struct.pack("<I", zlib.crc32(bytes(head)))
        return bytes(changed)

    return damage
