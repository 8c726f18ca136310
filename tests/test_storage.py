"""Files are whole or absent: failures, full disks, killed writers and read-only folders."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from kernelearn import storage
from kernelearn.errors import StorageError
from kernelearn.storage import absolute, atomic_write, check_writable, clean_temporaries, readable_size


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def can_mount() -> bool:
    """Whether a subprocess can make a file system of its own, which nobody else sees."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "-r", "true"], capture_output=True).returncode == 0


requires_mount = pytest.mark.skipif(not can_mount(), reason="needs private mounts (Linux, unshare -m -r)")


def test_the_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "a" / "b.txt"
    for content in (b"first", b"second"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert files_in(path.parent) == ["b.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"new" * 100_000)
        raise error
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["b.txt"]


def test_nothing_is_visible_before_the_end(tmp_path):
    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new" * 100_000)
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" * 100_000


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    path, link = tmp_path / "b.txt", tmp_path / "latest"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_long_names_work(tmp_path):
    path = tmp_path / ("x" * 240)
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_of_that_name_is_reported(tmp_path):
    with pytest.raises(StorageError, match="a folder of that name exists"), atomic_write(tmp_path):
        pass


def test_a_file_in_the_way_is_reported(tmp_path):
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(StorageError, match="a file is in the way"), atomic_write(tmp_path / "run" / "b.txt"):
        pass
    with pytest.raises(StorageError, match="should be a folder, but a file is in the way"):
        check_writable(tmp_path / "run")


def test_a_write_that_the_system_refuses_is_one_clear_error(tmp_path):
    """A limit on file size makes the kernel itself refuse the write, also for an administrator."""
    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        refused = pytest.raises(StorageError, match="disk is full or a size limit is reached")
        with refused as caught, atomic_write(path) as file:
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["b.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_end_is_one_clear_error(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match="disk is full"), atomic_write(tmp_path / "b.txt") as file:
        file.write(b"x")
    assert files_in(tmp_path) == []


def test_errors_of_the_caller_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "b.txt"):
        (tmp_path / "absent").read_bytes()


IN_A_SMALL_FILE_SYSTEM = """
import os, sys
from kernelearn.errors import StorageError
from kernelearn.storage import atomic_write, check_writable
folder = sys.argv[1]
{body}
"""


def in_small_file_system(tmp_path: Path, options: str, body: str) -> str:
    """Output of a Python body that runs with a tmpfs mounted on a folder of its own."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    script = IN_A_SMALL_FILE_SYSTEM.format(body=body)
    command = f'mount -t tmpfs -o {options} none "$1" && exec "$2" -c "$3" "$1"'
    arguments = ["unshare", "-m", "-r", "sh", "-c", command, "sh", str(folder), sys.executable, script]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@requires_mount
def test_a_really_full_disk(tmp_path):
    body = """
with atomic_write(folder + "/b.txt") as file:
    file.write(b"old")
try:
    check_writable(folder, 10_000_000)
except StorageError as error:
    print(error)
try:
    with atomic_write(folder + "/b.txt") as file:
        file.write(b"x" * 10_000_000)
except StorageError as error:
    print(error)
print(open(folder + "/b.txt").read(), os.listdir(folder))
"""
    lines = in_small_file_system(tmp_path, "size=64k", body).splitlines()
    assert "needs 10.0 MB, but only 61.4 kB are free" in lines[0]
    assert "disk is full" in lines[1]
    assert lines[2] == "old ['b.txt']"


@requires_mount
def test_a_really_read_only_folder(tmp_path):
    body = """
for attempt in (check_writable, lambda f: atomic_write(f + "/b.txt").__enter__()):
    try:
        attempt(folder)
    except StorageError as error:
        print(error)
"""
    lines = in_small_file_system(tmp_path, "ro", body).splitlines()
    assert len(lines) == 2
    assert "permission denied" in lines[0] or "read-only file system" in lines[0]
    assert "read-only file system" in lines[1]


def test_a_folder_without_permission_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="permission denied"):
        check_writable(tmp_path)


def test_a_folder_that_refuses_the_probe_is_reported(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    with pytest.raises(StorageError, match="read-only file system"):
        check_writable(tmp_path)


def test_too_little_space_is_reported_with_both_sizes(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 4_000_000))
    with pytest.raises(StorageError, match=r"needs 12\.3 MB, but only 4\.0 MB are free"):
        check_writable(tmp_path, 12_300_000)
    check_writable(tmp_path, 4_000_000)


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    check_writable(tmp_path / "runs" / "one", 1000)
    assert files_in(tmp_path / "runs" / "one") == []


KILLED_WRITER = """
import os, signal, sys
from kernelearn.storage import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_a_killed_process_are_cleaned(tmp_path):
    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)])
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    assert len(files_in(tmp_path)) == 2, "the killed process should have left its temporary file"
    with atomic_write(path) as file:
        file.write(b"new")
    assert files_in(tmp_path) == ["b.txt"]


def test_files_of_running_writers_are_not_cleaned(tmp_path):
    with atomic_write(tmp_path / "b.txt") as file:
        file.write(b"mine")
        other = tmp_path / f".b.txt.{storage._host()}-{os.getppid()}-0.kernelearn-tmp"
        elsewhere = tmp_path / ".b.txt.00000000-999999999-0.kernelearn-tmp"
        for path in (other, elsewhere):
            path.write_bytes(b"theirs")
        assert clean_temporaries(tmp_path) == []
    os.utime(elsewhere, (0, 0))
    assert clean_temporaries(tmp_path) == [elsewhere], "of another machine, but far too old to be in use"
    assert (tmp_path / "b.txt").read_bytes() == b"mine"


def test_a_leftover_with_our_own_process_id_is_cleaned(tmp_path):
    leftover = tmp_path / f".b.txt.{storage._host()}-{os.getpid()}-77.kernelearn-tmp"
    leftover.write_bytes(b"half")
    assert clean_temporaries(tmp_path) == [leftover]


def test_only_our_own_temporaries_are_touched(tmp_path):
    for name in ("notes.tmp", ".hidden", "x.kernelearn-tmp"):
        (tmp_path / name).write_bytes(b"keep")
    assert clean_temporaries(tmp_path) == []
    assert clean_temporaries(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")],
)
def test_readable_size(count, text):
    assert readable_size(count) == text


def test_folders_that_were_made_for_nothing_go(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError), atomic_write(tmp_path / "there" / "new" / "deep" / "a.txt") as file:
        file.write(b"half")
        raise ValueError
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with atomic_write(tmp_path / "new" / "deep" / "a.txt") as file:
        file.write(b"whole")
    assert (tmp_path / "new" / "deep" / "a.txt").read_bytes() == b"whole"


def test_absolute_follows_links_and_never_goes_round_in_circles(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    root = absolute(tmp_path)
    assert absolute(tmp_path / "link" / ".." / "there" / "new") == root / "there" / "new"
    assert absolute(tmp_path / "circle") == root / "circle"
    assert absolute(str(tmp_path / "circle" / "inside")) == root / "circle" / "inside"
