"""One small good file of every kind that is read, and how to read it, to a digest of what comes out."""

import gzip
import io
import json
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kernelearn import models
from kernelearn.cli.run_folder import Training
from kernelearn.data import load, load_image, save_idx
from kernelearn.errors import FormatError
from kernelearn.recording import Recorder, Run
from kernelearn.training.checkpoint import load_checkpoint, save_checkpoint
from tests.data.picture_bytes import png, tiff
from tests.fuzz import mutate
from tests.fuzz.kind import Kind, digest, file_of
from tests.fuzz.model_kinds import model_kinds, network


def make_kinds(folder: Path) -> list[Kind]:
    """All kinds, their good files written below `folder`."""
    warnings.simplefilter("ignore")
    kinds = [
        *_numpy_kinds(folder),
        *_archive_kinds(folder),
        *_pictures(folder),
        *_own_kinds(folder),
        *model_kinds(folder),
    ]
    for kind in kinds:
        kind.good = kind.path.read_bytes()
        kind.damage = {"raw": mutate.some_bytes, **kind.damage}
    return kinds


def _loaded(path: Path) -> bytes:
    data = load(path, test=False, max_bytes=1 << 26)
    return digest([*data.train.arrays(), np.array(data.class_names or [])])


def _numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    return buffer.getvalue()


def _numpy_kinds(folder: Path) -> list[Kind]:
    kinds = []
    members = {"x": _numbers(), "y": np.arange(6) % 3, "class_names": np.array(["a", "b", "c"])}
    for name, method in (("npz", zipfile.ZIP_STORED), ("npz, deflated", zipfile.ZIP_DEFLATED)):
        path = folder / name / "d.npz"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", method) as archive:
            for key, array in members.items():
                archive.writestr(f"{key}.npy", _npy(array))
        read = lambda path=path: _loaded(path)  # noqa: E731
        kinds.append(Kind(name, path, read, True, {"member": mutate.member_of_zip}))
    path = file_of(folder / "npy", "x.npy", _npy(_numbers()))
    file_of(folder / "npy", "y.npy", _npy(np.arange(6) % 3))
    kinds.append(Kind("npy", path, lambda: _loaded(path), False, {}))
    return kinds


def _records(count: int, seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(count) % 10
    return rows.tobytes()


def _archive_kinds(folder: Path) -> list[Kind]:
    kinds = []
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, picture in enumerate(_numbers()[..., 0]):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "BMP")
            archive.writestr(f"{'ab'[number % 2]}/{number}.bmp", buffer.getvalue())
    path = file_of(folder / "zip", "d.zip", packed.getvalue())
    kinds.append(Kind("zip of pictures", path, lambda: _loaded(path), True, {"member": mutate.member_of_zip}))
    for name, mode, fixes in (
        ("tar", "w", {"header": mutate.header_of_tar}),
        ("tar.gz", "w:gz", {"header": mutate.header_of_tar, "inside": mutate.inside_of_gzip}),
    ):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            texts = {"c/batches.meta.txt": "\n".join("abcdefghij").encode()}
            for member, content in {**texts, "c/data_batch_1.bin": _records(10, 1)}.items():
                about = tarfile.TarInfo(member)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        tar_path = file_of(folder / name, f"c.{name}", buffer.getvalue())
        read = lambda path=tar_path: _loaded(path)  # noqa: E731
        kinds.append(Kind(name, tar_path, read, name == "tar.gz", fixes))
    cifar = file_of(folder / "cifar", "data_batch_1.bin", _records(10, 1))
    kinds.append(Kind("CIFAR", cifar, lambda: _loaded(cifar.parent), False, {}))
    for name, end in (("IDX", ""), ("IDX, gzipped", ".gz")):
        place = folder / name
        place.mkdir()
        images = place / f"train-images-idx3-ubyte{end}"
        save_idx(images, _numbers()[..., 0])
        save_idx(place / "train-labels-idx1-ubyte", (np.arange(6) % 3).astype(np.uint8))
        if end:
            images.write_bytes(gzip.compress(gzip.decompress(images.read_bytes()), mtime=0))
        fixes = {"inside": mutate.inside_of_gzip} if end else {}
        read = lambda place=place: _loaded(place)  # noqa: E731
        kinds.append(Kind(name, images, read, bool(end), fixes))
    return kinds


def _encoded(image: Any, kind: str, **arguments: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **arguments)
    return buffer.getvalue()


def _pictures(folder: Path) -> list[Kind]:
    random = np.random.default_rng(5)
    colour = Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    tags = Image.Exif()
    tags[0x0112] = 6
    deep = random.integers(0, 65536, (6, 5, 3))
    contents = {
        "PNG": _encoded(colour, "PNG"),
        "PNG, palette": _encoded(colour.quantize(8), "PNG"),
        "PNG, 16 bits": png(deep, 6),
        "JPEG": _encoded(colour, "JPEG", exif=tags),
        "BMP": _encoded(colour, "BMP"),
        "GIF": _encoded(colour.quantize(8), "GIF"),
        "WebP": _encoded(colour, "WEBP", exif=tags.tobytes()),
        "WebP, lossless": _encoded(colour, "WEBP", lossless=True),
        "TIFF": _encoded(colour, "TIFF"),
        "TIFF, LZW": _encoded(colour, "TIFF", compression="tiff_lzw"),
        "TIFF, 16 bits": tiff(deep, ">"),
        "PPM": _encoded(colour, "PPM"),
        "PGM, 16 bits": b"P5 5 6 65535\n" + deep[..., 0].astype(">u2").tobytes(),
        "PGM, text": b"P2 5 6 999\n" + b" ".join(b"%d" % (v % 1000) for v in deep[..., 0].ravel()),
    }
    kinds = []
    for name, content in contents.items():
        path = file_of(folder / name, "a.png", content)
        read = lambda path=path: digest([load_image(path, (None, None, 3))])  # noqa: E731
        is_png = name.startswith("PNG")
        kinds.append(Kind(name, path, read, is_png, {"chunk": mutate.chunk_of_png} if is_png else {}))
    return kinds


def _own_kinds(folder: Path) -> list[Kind]:
    """Models, a checkpoint, a recording and what a training tells of itself, of one small network."""
    model, run = network(), folder / "run"
    x = _numbers().astype(np.float32) / 255
    recorder = Recorder(run, ledger_every=1)
    model.fit(x, np.arange(6) % 3, epochs=2, verbose=0, batch_size=3, callbacks=[recorder])
    return [*_saved_models(folder, model), *_records_of(run), _told_training(folder)]


def _weights(read: Any) -> bytes:
    return digest([weight.numpy() for weight in read.weights])


def _saved_models(folder: Path, model: Any) -> list[Kind]:
    saved, checkpoint = folder / "m" / "m.kernelearn", folder / "c" / "c.kernelearn"
    tensors = folder / "s" / "m.safetensors"
    model.save(saved)
    model.save(tensors)
    save_checkpoint(checkpoint, model)
    other = network()

    def restored() -> bytes:
        load_checkpoint(checkpoint, other)
        return _weights(other)

    of_header = {"header": mutate.header_of_safetensors}
    return [
        Kind("model", saved, lambda: _loaded_model(saved), True, {"value": mutate.own_format(saved)}),
        Kind("safetensors", tensors, lambda: _loaded_model(tensors), False, of_header),
        Kind("checkpoint", checkpoint, restored, True, {"value": mutate.own_format(checkpoint)}),
    ]


def _loaded_model(path: Path) -> bytes:
    return _weights(models.load_model(path))


def _records_of(run: Path) -> list[Kind]:
    """The files of a recording, any of which spoils the whole."""
    known = set[tuple[Any, ...]]()

    def recorded() -> bytes:
        return _told_apart(Run(run), known)

    record = next(run.glob("kernels-*.bin"))
    return [
        Kind("manifest", run / "manifest.json", recorded, True, {"value": mutate.manifest}),
        Kind("events", run / "events.jsonl", recorded, True, {"value": mutate.events}),
        Kind("segment", record, recorded, True, {"header": mutate.header_of_record(_record_bytes(run))}),
    ]


def _told_training(folder: Path) -> Kind:
    about = {"arguments": {"data": "x"}, "data": {"name": "x"}, "command": [], "versions": {}}
    content = json.dumps({**about, "status": "ended", "results": {}}).encode()
    path = file_of(folder / "trained", "run.json", content)

    def described() -> bytes:
        return str(Training.load(path.parent)).encode()

    return Kind("run.json", path, described, False, {"value": mutate.json_file})


def _told_apart(run: Run, known: set[tuple[Any, ...]]) -> bytes:
    """Whether all that a run gives was in the good one, whose `known` facts the first call takes down.

    Records that are missing are no fault: a run may still be growing. Those that are damaged are told of.
    """
    problems = run.check()
    if problems:
        raise FormatError("; ".join(problems))
    facts = {("event", json.dumps(event, sort_keys=True)) for event in run.events}
    for layer in run.layers:
        for weight in run.weights(layer):
            kernels = {int(step): run.kernels(layer, int(step), weight) for step in run.steps}
            facts |= {(layer, weight, step, digest([array])) for step, array in kernels.items()}
    for step in map(int, run.model_steps[-1:]):
        facts |= {("model", step, digest([weight.numpy() for weight in run.model(step).weights]))}
    for name in run.scalar_names:
        steps, values = run.scalars(name)
        facts |= {("scalar", name, int(s), repr(v)) for s, v in zip(steps, values.tolist())}
    for layer in ("conv", "dense"):
        facts |= {
            ("ledger", layer, int(s), digest([run.ledger(layer, s).gradient])) for s in run.ledger_steps
        }
        for step in map(int, run.stream_steps("state")):
            slots = run.optimizer_state(layer, step)
            facts |= {("slot", layer, step, name, digest([array])) for name, array in slots.items()}
    known |= set() if known else facts
    return b"known" if facts <= known else b"other"


def _record_bytes(run: Path) -> int:
    values = json.loads((run / "manifest.json").read_bytes())
    return int(values["segments"][0]["streams"]["kernels"]["record_bytes"])
