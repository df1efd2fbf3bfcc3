"""Sealing: what was changed does not open, and no key file is used that others may read."""

from __future__ import annotations

import os
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ike.secret import Secret
from sw.station.seal import KEY_OCTETS, Sealer, SealError, create_key_file, load_key_file

KEY = Secret(bytes(range(KEY_OCTETS)))
HEX = KEY.reveal().hex()


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_round_trip(plain: bytes, aad: bytes) -> None:
    sealer = Sealer(KEY)
    assert sealer.open(sealer.seal(Secret(plain), aad), aad).reveal() == plain


@given(st.binary(min_size=8, max_size=60))
def test_the_same_octets_are_never_sealed_alike_nor_seen(plain: bytes) -> None:
    sealer = Sealer(KEY)
    one, two = sealer.seal(Secret(plain), b""), sealer.seal(Secret(plain), b"")
    assert one != two
    assert plain not in one


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=20), st.data())
def test_each_bit_is_protected(plain: bytes, aad: bytes, data: st.DataObject) -> None:
    sealed = Sealer(KEY).seal(Secret(plain), aad)
    parts = [sealed, aad, KEY.reveal()]
    which = data.draw(st.integers(0, 2))
    bit = data.draw(st.integers(0, 8 * len(parts[which]) - 1))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(changed)
    with pytest.raises(SealError):
        Sealer(Secret(parts[2])).open(parts[0], parts[1])


@given(st.one_of(st.binary(max_size=60), st.none(), st.text(max_size=60), st.integers()))
def test_anything_else_does_not_open(rubbish: Any) -> None:
    with pytest.raises(SealError):
        Sealer(KEY).open(rubbish, b"")


@pytest.mark.parametrize("octets", [0, 16, 31, 33])
def test_key_of_another_length(octets: int) -> None:
    with pytest.raises(SealError, match="32 octets"):
        Sealer(Secret(bytes(octets)))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_a_new_key_file_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "new" / "key"
    path.parent.mkdir()
    before = os.umask(umask)
    try:
        create_key_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = load_key_file(path).seal(Secret(b"x"), b"")
    assert load_key_file(path).open(sealed, b"").reveal() == b"x"
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"mine")
    with pytest.raises(SealError, match="cannot make the key file"):
        create_key_file(path)
    assert path.read_bytes() == b"mine"


def test_what_a_killed_station_left_half_made_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "key.new").write_text("half a k")
    create_key_file(tmp_path / "key")
    load_key_file(tmp_path / "key")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """SEC: STATION.KEY_FILE_MODE."""
    path = key_file(tmp_path, HEX.encode(), mode)
    with pytest.raises(SealError, match=f"mode {mode:04o}.*chmod 0600 {path}"):
        load_key_file(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_file_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    load_key_file(key_file(tmp_path, b" " + HEX.encode() + b"\n", mode))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not hold 32 octets"),
        (HEX[:-2].encode(), "does not hold 32 octets"),
        (HEX.encode() * 2, "does not hold 32 octets"),
        (HEX.encode() * 100_000, "does not hold 32 octets"),
        (HEX[:-1].encode(), "hexadecimal"),
        (HEX[:-2].encode() + b"zz", "hexadecimal"),
        (HEX[:-2].encode() + b"\xff\xfe", "hexadecimal"),
        (bytes(range(256)), "hexadecimal"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(SealError, match=words) as caught:
        load_key_file(key_file(tmp_path, content))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert HEX[:8] not in told


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="is missing; restore it"):
        load_key_file(tmp_path / "none")
    with pytest.raises(SealError, match="no file at all"):
        load_key_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SealError, match="no file at all"):
        load_key_file(tmp_path / "pipe")
    key_file(tmp_path, HEX.encode())
    with pytest.raises(SealError, match="cannot read the key file"):
        load_key_file(tmp_path / "key" / "below")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    key_file(tmp_path, b"")
    with pytest.raises(SealError, match="cannot make the key file"):
        create_key_file(tmp_path / "key" / "below")
