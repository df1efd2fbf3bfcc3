"""The peers, from Debian's packages: fetched with apt-get, unpacked, and never installed.

An installed strongSwan would start on the machine it is installed on. Unpacked under `.venv/cache`
it is a folder, which nobody needs root for. `python -m verif.interop.packages` fetches what is
missing; with the same packages it takes a moment.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PackageError", "fetched", "installed_version"]

CACHE = Path(__file__).resolve().parents[2] / ".venv" / "cache" / "peers"
PACKAGES = (
    "charon-systemd",
    "freeipmi-common",
    "freeipmi-tools",
    "ipmitool",
    "kmod",
    "libkmod2",
    "libcap2",
    "libcharon-extauth-plugins",
    "libfreeipmi17",
    "libgcrypt20",
    "libgmp10",
    "libgpg-error0",
    "libipmiconsole2",
    "libipmidetect0",
    "libstrongswan",
    "libstrongswan-extra-plugins",
    "libstrongswan-standard-plugins",
    "strongswan-libcharon",
    "strongswan-swanctl",
    "user-mode-linux",
)
WAIT_SECONDS = 600


class PackageError(RuntimeError):
    """The packages cannot be had; the message says why and what to do."""


def fetched() -> Path:
    """The folder with everything unpacked, fetched first if need be; raises PackageError."""
    root = CACHE / f"root-{_digest()}"
    if root.is_dir():
        return root
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise PackageError(
                f"The program {program} is missing: the peers come as packages of Debian or "
                "Ubuntu, on x86-64. Run the tests on such a system."
            )
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone():
        if not root.is_dir():
            _fetch(root)
    return root


def installed_version(root: Path, package: str) -> str:
    """The version of an unpacked package."""
    for line in (root / "versions").read_text().splitlines():
        name, version = line.split()
        if name == package:
            return version
    raise KeyError(package)


def _digest() -> str:
    return hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time fetches."""
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-q", *words],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def _download(folder: Path) -> None:
    """Bring the packages into `folder`, with the system's package lists or with own ones."""
    done = _apt(folder, "download", *PACKAGES)
    if done.returncode:
        # Without lists, or with old ones, as on a new machine: lists of our own need no root.
        state = folder / "state"
        for name in ("lists/partial", "cache/archives/partial"):
            (state / name).mkdir(parents=True)
        own = [
            *("-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"),
            *("-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=true"),
        ]
        _apt(folder, *own, "update")
        done = _apt(folder, *own, "download", *PACKAGES)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise PackageError(
            "apt-get cannot fetch the peers of the interoperability tests:\n"
            + "\n".join(words or done.stderr.splitlines()[-3:])
            + f"\nWanted: {' '.join(PACKAGES)}.\nSee that this machine reaches a mirror of Debian "
            "with these packages (`apt-get download user-mode-linux` has to work), and try again."
        )


def _fetch(root: Path) -> None:
    print("interop: fetching strongSwan and a Linux kernel, once ...", file=sys.stderr, flush=True)
    folder = CACHE / "fetching"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _download(folder)
    unpacked = folder / "root"
    unpacked.mkdir()
    versions = []
    for archive in sorted(folder.glob("*.deb")):
        fields = subprocess.run(
            ["dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(archive)],
            capture_output=True,
            text=True,
            check=True,
        )
        versions.append(fields.stdout)
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(unpacked)], check=True)
    (unpacked / "versions").write_text("\n".join(versions) + "\n")
    for old in CACHE.glob("root-*"):
        shutil.rmtree(old)
    unpacked.rename(root)
    shutil.rmtree(folder)


def main() -> int:
    """Fetch what is missing; returns the exit code."""
    try:
        fetched()
    except PackageError as error:
        print(f"interop: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
