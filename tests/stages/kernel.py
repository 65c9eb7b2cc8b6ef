"""Fetches Debian's stock kernel without installing it, keeps what a guest needs of it, and packs initial file systems."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from proof import Proof, Skipped, program

META_PACKAGE = "linux-image-amd64"
FETCH_S = 150
NEEDED = ("drivers/net/can", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "net/core/failover.ko", "drivers/virtio",
          "net/can", "net/9p", "fs/9p", "fs/netfs", "fs/fscache", "fs/overlayfs", "lib", "drivers/usb/core")  # fmt: skip


class Kernel(NamedTuple):
    """The image, and the folder `lib/modules/VERSION` with the modules kept."""

    image: Path
    modules: Path


def fetch(cache: Path, proof: Proof) -> Kernel:
    """The kernel of this machine's Debian release, downloaded once."""
    folder = cache / "kernel"
    package = _package()
    done = folder / f"{package}.done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _download(package, folder, proof)
        done.touch()
    image = next(folder.glob("boot/vmlinuz-*"))
    return Kernel(image, folder / "lib" / "modules" / image.name.removeprefix("vmlinuz-"))


def initial_files(kernel: Kernel, names: tuple[str, ...], files: Mapping[str, Path | bytes]) -> bytes:
    """A compressed initial file system: busybox, the modules named with what they need, in the order of loading, and `files`."""
    order = list(_load_order(kernel.modules, names))
    contents: dict[str, bytes] = {"bin/busybox": Path(program("busybox")).read_bytes()}
    contents["order"] = "".join(f"{Path(one).name.removesuffix('.xz')}\n" for one in order).encode()
    for one in order:
        raw = (kernel.modules / one).read_bytes()
        contents[Path(one).name.removesuffix(".xz")] = lzma.decompress(raw) if one.endswith(".xz") else raw
    for name, content in files.items():
        contents[name] = content if isinstance(content, bytes) else content.read_bytes()
    return gzip.compress(_newc(contents), 1)


def _package() -> str:
    ask = [program("apt-cache"), "depends", META_PACKAGE]
    # a fresh machine has no package lists, or only old ones
    for prepare in ((), (program("apt-get"), "-qq", "update")):
        if prepare:
            subprocess.run(prepare, capture_output=True, timeout=FETCH_S, check=False)
        shown = subprocess.run(ask, text=True, capture_output=True, check=False)
        if found := re.search(r"Depends: (linux-image-\d\S*)", shown.stdout):
            return found[1]
    raise Skipped(f"apt knows no {META_PACKAGE}: {shown.stderr.strip() or 'no such package'}")


def _download(package: str, folder: Path, proof: Proof) -> None:
    proof.say(f"fetching {package}")
    command = [program("apt-get"), "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        got = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"{package} did not arrive within {FETCH_S} s") from error
    archives = list(folder.glob("*.deb"))
    if got.returncode or not archives:
        raise Skipped(f"{package} cannot be downloaded: {got.stderr.strip()[-300:]}")
    _unpack(archives[0], folder)
    archives[0].unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Only what `NEEDED` names is kept: the whole package is 400 MB."""
    wanted = ["./boot/vmlinuz-*", "./lib/modules/*/modules.*", "./usr/lib/modules/*/modules.*"]
    for root in ("./lib", "./usr/lib"):
        wanted += [f"{root}/modules/*/kernel/{one}*" for one in NEEDED]
    with subprocess.Popen([program("dpkg-deb"), "--fsys-tarfile", archive], stdout=subprocess.PIPE) as source:
        # a pattern of the other layout of /lib matches nothing, which tar calls an error
        taken = [program("tar"), "-x", "-C", str(folder), "--wildcards", "--no-same-owner", *wanted]
        subprocess.run(taken, stdin=source.stdout, stderr=subprocess.DEVNULL, check=False)
    if not (folder / "lib").exists() and (folder / "usr" / "lib").exists():
        (folder / "usr" / "lib").rename(folder / "lib")
    images = list(folder.glob("boot/vmlinuz-*"))
    if not images:
        raise Skipped(f"{archive.name} holds no kernel image")
    version = images[0].name.removeprefix("vmlinuz-")
    subprocess.run([program("depmod"), "-b", folder, version], check=True)


def _load_order(modules: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Paths below `modules`, dependencies first, each once."""
    needs = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, others = line.partition(":")
        needs[re.sub(r"\.ko(\.xz)?$", "", Path(path).name).replace("-", "_")] = [*reversed(others.split()), path]
    loaded = set()
    for name in names:
        if name not in needs:
            raise Skipped(f"the kernel has no module {name}")
        for path in needs[name]:
            if path not in loaded:
                loaded.add(path)
                yield path


def _newc(contents: Mapping[str, bytes]) -> bytes:
    """The cpio archive that the kernel unpacks: every file executable, the folders they need before them."""
    folders = {str(parent) for name in contents for parent in Path(name).parents if parent != Path()}
    entries = [(name, 0o040755, b"") for name in sorted(folders)]
    entries += [(name, 0o100755, content) for name, content in contents.items()]
    packed = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        packed += b"070701" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
        packed += bytes(-len(packed) % 4) + content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)
