"""Image folders and zips of them: one folder per class, with or without train/test/val folders above.

A zip is read in place and never unpacked to disk. Small sets are decoded once and kept as uint8; larger
ones are decoded batch by batch.
"""

import collections
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kernelearn._optional import require
from kernelearn.data.archives import open_zip, read_member
from kernelearn.data.dataset import Dataset
from kernelearn.data.images import Header, decode, header_of, is_picture
from kernelearn.data.ragged import agreed
from kernelearn.data.sources.common import Parts, ReadOptions, assemble, local_name
from kernelearn.data.stores import PictureStore, cached_if_small
from kernelearn.errors import DataError
from kernelearn.formats.foreign import is_utf8, open_plain, printable, read_plain

_ROLES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")
# What the list of sources says of it.
ACCEPTED = (("an image folder, or a zip", "folder/<class>/picture.png, also below train/ and test/ or val/"),)


@dataclass(frozen=True)
class Tree:
    """A folder or zip as a list of names, and how to read one of them.

    Attributes:
        root: what to call it in messages.
        files: names relative to the root, with forward slashes.
        folders: names of all folders, with and without files.
        read: name -> bytes.
        open: name -> an open file, of which a picture's header can be read without the rest.
    """

    root: str
    files: list[str]
    folders: list[str]
    read: Callable[[str], bytes]
    open: Callable[[str], BinaryIO]


@dataclass(frozen=True)
class Picture:
    """One picture of a part: its name in the tree and its class."""

    name: str
    label: int


def matches(source: object) -> bool:
    """Whether `source` is a zip or a folder (tried last, so any folder)."""
    return isinstance(source, Path) and (source.is_dir() or source.suffix.lower() == ".zip")


def read(source: Path, options: ReadOptions) -> Parts:
    """Pictures by class and part.

    Raises: DataError for pictures outside a class folder, empty classes, classes that only the test part
        has, mixed sizes without `resize`, and unreadable files.
    """
    require("PIL.Image", "reading picture files")
    tree = _folder_tree(source) if source.is_dir() else _zip_tree(source, options.max_bytes)
    prefix = _common_folder(tree)
    roles = _roles(tree, prefix)
    trees = {role: _classes(tree, folder) for role, folder in roles.items()}
    class_names = _class_names(trees, tree, options)
    names = [name for classes in trees.values() for names in classes.values() for name in names]
    headers = _headers(tree, names, options)
    common = _common_header(headers, options)
    parts: dict[str, Dataset | None] = {
        role: _dataset(tree, _pictures(classes, class_names, tree), class_names, headers, common, options)
        for role, classes in trees.items()
    }
    return assemble(local_name(source), parts, _other_files(tree))


def save_image_folder(
    path: str | Path, x: np.ndarray, labels: Sequence[int], class_names: Sequence[str], suffix: str = ".png"
) -> None:
    """Write uint8 images (n, h, w, 1 or 3) as `path/<class>/<number><suffix>`, a folder that `load` reads."""
    pil = require("PIL.Image", "writing picture files")
    for number, (image, label) in enumerate(zip(np.asarray(x), labels)):
        folder = Path(path) / class_names[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        pil.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{number:06d}{suffix}")


def _folder_tree(root: Path) -> Tree:
    files: list[str] = []
    folders: list[str] = []
    for name, is_dir in _walk(root):
        if not is_utf8(name):
            raise DataError(f"{root} has a name that is not UTF-8: {printable(name)}. Rename it.")
        (folders if is_dir else files).append(name)

    def read_file(name: str) -> bytes:
        return read_plain(_present(root / name))

    def open_file(name: str) -> BinaryIO:
        return open_plain(_present(root / name))

    return Tree(str(root), sorted(files), sorted(folders), read_file, open_file)


def _present(path: Path) -> Path:
    """The path, if there is a file. Raises: DataError."""
    if not path.exists():
        raise DataError(f"{path} is not there. Is it a broken link, or was it removed since?")
    return path


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """(name below the root, whether it is a folder) of everything, links followed once."""
    seen = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not _is_clutter(name)]
        seen.add(real)
        prefix = "" if place == str(root) else Path(place).relative_to(root).as_posix() + "/"
        yield from ((prefix + name, True) for name in folders)
        yield from ((prefix + name, False) for name in files if not _is_clutter(name))


def _zip_tree(path: Path, max_bytes: int) -> Tree:
    archive = open_zip(path, max_bytes)
    members = [
        m for m in archive.infolist() if not any(_is_clutter(part) for part in m.filename.split("/") if part)
    ]
    files = sorted({member.filename for member in members if not member.is_dir()})
    folders = {member.filename.rstrip("/") for member in members if member.is_dir()}
    for name in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))

    def read_file(name: str) -> bytes:
        return read_member(archive, name)

    def open_file(name: str) -> BinaryIO:
        return io.BytesIO(read_file(name))

    return Tree(str(path), files, sorted(folders), read_file, open_file)


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in _CLUTTER


def _other_files(tree: Tree) -> list[str]:
    others = [name for name in tree.files if not is_picture(name)]
    if not others:
        return []
    return [f"{len(others)} files are not pictures and were left out, for example {others[0]}."]


def _common_folder(tree: Tree) -> str:
    """The one folder that everything lies in, as zips often have it: "" or "name/"."""
    prefix = ""
    while True:
        top = _children(tree, prefix)
        only = top[0] if len(top) == 1 else None
        if only is None or only.lower() in _ROLES or not _children(tree, f"{prefix}{only}/"):
            return prefix
        if any(
            is_picture(name) and "/" not in name[len(prefix) :]
            for name in tree.files
            if name.startswith(prefix)
        ):
            return prefix
        prefix += only + "/"


def _children(tree: Tree, prefix: str) -> list[str]:
    """Names of the folders directly in `prefix`."""
    inside = (name[len(prefix) :] for name in tree.folders if name.startswith(prefix))
    return [name for name in inside if name and "/" not in name]


def _roles(tree: Tree, prefix: str) -> dict[str, str]:
    """role -> folder: train, test and validation folders where they exist, else everything is one part."""
    top = _children(tree, prefix)
    roles: dict[str, str] = {}
    known = [_ROLES.get(name.lower()) for name in top]
    if "train" not in known and (not known or None in known):
        return {"train": prefix}
    for name in top:
        role = _ROLES.get(name.lower())
        if role is None:
            raise DataError(
                f"{tree.root} has folders for its parts and beside them {name!r}, which is none of "
                f"{', '.join(sorted(_ROLES))}. Move it away, or give the folder of one part."
            )
        if role in roles:
            raise DataError(
                f"{tree.root} has two folders for the {role} part: {roles[role]} and {prefix}{name}/. "
                "Put their pictures into one."
            )
        roles[role] = f"{prefix}{name}/"
    return roles


def _classes(tree: Tree, folder: str) -> dict[str, list[str]]:
    """class -> pictures, at any depth below the class's folder."""
    classes: dict[str, list[str]] = {name: [] for name in _children(tree, folder)}
    loose = []
    for name in tree.files:
        if not name.startswith(folder) or not is_picture(name):
            continue
        inside = name[len(folder) :]
        if "/" in inside:
            classes[inside.partition("/")[0]].append(name)
        else:
            loose.append(name)
    place = f"{tree.root}/{folder}".rstrip("/")
    if loose:
        raise DataError(
            f"{len(loose)} pictures, for example {loose[0]}, lie in {place} outside any class. Put each "
            "into a folder named after its class: folder/<class>/picture.png."
        )
    if not any(classes.values()):
        raise DataError(
            f"{place} holds nothing to train on. Expected one folder of pictures per class, IDX files, "
            f"CIFAR .bin files or .npy files; found {_listing(tree, folder)}."
        )
    return classes


def _listing(tree: Tree, folder: str) -> str:
    names = [name for name in (*tree.folders, *tree.files) if name.startswith(folder)]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "nothing"


def _class_names(trees: dict[str, dict[str, list[str]]], tree: Tree, options: ReadOptions) -> list[str]:
    """Classes in order: those the user names, else the sorted folders of the training part."""
    if options.class_names is not None:
        return list(options.class_names)
    classes = trees.get("train") or next(iter(trees.values()))
    empty = sorted(name for name, pictures in classes.items() if not pictures)
    if empty:
        raise DataError(
            f"{tree.root} has classes without a picture: {', '.join(empty[:10])}. Remove these folders or "
            "fill them."
        )
    if len(classes) < 2:
        raise DataError(
            f"{tree.root} has one class only, {next(iter(classes))!r}; there is nothing to tell apart. "
            "Expected folder/<class>/picture.png with at least two classes (or give class_names=)."
        )
    return sorted(classes)


def _pictures(classes: dict[str, list[str]], class_names: list[str], tree: Tree) -> list[Picture]:
    unknown = sorted(name for name, pictures in classes.items() if name not in class_names and pictures)
    if unknown:
        raise DataError(
            f"{tree.root} has a part with the classes {', '.join(unknown[:10])}, which are not among the "
            f"known classes {', '.join(class_names[:20])}. Move them away, or name all classes with "
            "class_names=."
        )
    labels = {name: index for index, name in enumerate(class_names)}
    return [Picture(name, labels[label]) for label in sorted(classes) for name in classes[label]]


def _headers(tree: Tree, names: list[str], options: ReadOptions) -> dict[str, Header]:
    """Name of each picture -> what its header says.

    Raises: DataError naming unreadable files.
    """
    with ThreadPoolExecutor(options.workers) as pool:
        sizes = list(pool.map(lambda name: _header(tree, name), names))
    broken = [size for size in sizes if isinstance(size, DataError)]
    if broken:
        listed = "\n  ".join(map(str, broken[:5]))
        raise DataError(f"{len(broken)} of {len(sizes)} files cannot be read as pictures:\n  {listed}")
    return {name: size for name, size in zip(names, sizes) if not isinstance(size, DataError)}


def _common_header(headers: dict[str, Header], options: ReadOptions) -> Header:
    """Channels of all pictures, whether any is deep, and their size: of the first, where each keeps its own.

    Raises: DataError if sizes differ and `resize` does not say what to do.
    """
    every = list(headers.values())
    channels = options.channels or max(header.channels for header in every)
    deep = any(header.is_deep for header in every)
    if options.resize is not None:
        return Header(*options.resize, channels, deep)
    counts = collections.Counter(header[:2] for header in every)
    if len(counts) > 1 and not options.keeps_sizes:
        raise _mixed_sizes(list(headers), every, counts)
    return Header(*every[0][:2], channels, deep)


def _header(tree: Tree, name: str) -> Header | DataError:
    try:
        with tree.open(name) as file:
            return header_of(file, name)
    except DataError as error:
        return error


def _mixed_sizes(
    names: list[str], shapes: list[Header], counts: collections.Counter[tuple[int, int]]
) -> DataError:
    (usual, number), *_ = counts.most_common()
    other = next(index for index, shape in enumerate(shapes) if shape[:2] != usual)
    return DataError(
        f"The pictures have {len(counts)} different sizes: {number} of {len(names)} are {usual[0]} x "
        f"{usual[1]} (height x width), but {names[other]} is {shapes[other][0]} x {shapes[other][1]}. Give "
        f"resize=({usual[0]}, {usual[1]}) or another size to bring them to one, or resize='keep' for a "
        "network of any size."
    )


def _dataset(
    tree: Tree,
    pictures: list[Picture],
    class_names: list[str],
    headers: dict[str, Header],
    common: Header,
    options: ReadOptions,
) -> Dataset:
    names = [picture.name for picture in pictures]
    size = None if options.resize is None else common[:2]
    shapes = np.array([(*(size or headers[name][:2]), common.channels) for name in names], np.int64)
    shape = agreed(shapes.tolist())

    def fetched(row: int) -> bytes:
        return tree.read(names[row])

    def decoded(content: bytes, row: int) -> np.ndarray:
        return decode(content, common.channels, size, names[row])

    several = shapes if None in shape else None
    store = PictureStore(fetched, decoded, len(names), shape, options.workers, common.is_deep, several)
    labels = np.array([picture.label for picture in pictures], dtype=np.int64)
    return Dataset(cached_if_small(store, options.cache_bytes), labels, class_names=class_names)
