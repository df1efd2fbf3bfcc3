"""Tests of `holdfast station init` and `holdfast host` while no station runs."""

from __future__ import annotations

import socket

import pytest

from sw.cli import commands
from sw.cli.output import Exit
from sw.station.database import StoreLock
from verif.unit.sw.cli.place import PSK, Place


def failed(reply, code: Exit, *texts: str) -> None:
    """A failure, told as JSON on standard output and in words on standard error."""
    assert reply.code == code
    assert reply.value == {"error": reply.value["error"], "exit_code": code}
    assert reply.err.endswith(f"holdfast: {reply.value['error']}\n")
    for text in texts:
        assert text in reply.value["error"]


def test_init_makes_store_and_key_and_may_be_repeated(holdfast: Place) -> None:
    for _ in range(2):
        reply = holdfast("station", "init", "--json")
        assert reply.code == Exit.OK
        assert reply.value == {
            "store": f"{holdfast.folder}/store/station.db",
            "key_file": f"{holdfast.folder}/store/station.key",
        }
    for name in ("station.db", "station.key"):
        assert (holdfast.folder / "store" / name).stat().st_mode & 0o777 == 0o600
    assert "are there" in holdfast("station", "init").out


def test_a_host_is_added_listed_shown_and_removed(holdfast: Place) -> None:
    added = holdfast.add("host", "--json")
    assert added.code == Exit.OK
    assert (added.value["name"], added.value["address"]) == ("host", "192.0.2.10")
    assert (added.value["identity"], added.value["live"]) == ("host", False)
    assert holdfast("host", "list", "--json").value == [added.value]
    assert holdfast("host", "show", "host", "--json").value == added.value
    shown = holdfast("host", "show", "host").out.splitlines()
    assert "name               host" in shown
    assert "refresh.count      0" in shown
    listed = holdfast("host", "list").out.splitlines()
    assert listed[0].split()[:3] == ["NAME", "ADDRESS", "STATE"]
    assert listed[1].split()[:2] == ["host", "192.0.2.10"]
    removed = holdfast("host", "remove", "host", "--json")
    assert removed.value == {"name": "host", "removed": True}
    assert holdfast("host", "list", "--json").value == []
    assert holdfast("host", "list").out == "no host is in the store\n"


def test_a_host_by_certificate(holdfast: Place) -> None:
    words = ("host", "add", "host", "--address", "192.0.2.10", "--certificate")
    reply = holdfast(*words)
    assert reply.code == Exit.USAGE
    assert "host host proves itself by certificate" in reply.err
    assert "station.certificate_file" in reply.err
    text = holdfast.config.read_text(encoding="utf-8")
    keys = 'certificate_file = "c"\nprivate_key_file = "k"\nca_file = "a"\n'
    holdfast.config.write_text(text.replace("[station]", f"[station]\n{keys}"), encoding="utf-8")
    assert holdfast(*words).code == Exit.OK
    assert "not allowed with argument" in holdfast.add("b", "--certificate").err


def test_words_for_people_on_success(holdfast: Place) -> None:
    assert holdfast.add("host", "--identity", "a@b").out == (
        "host host at 192.0.2.10 is in the store\n"
    )
    assert holdfast("host", "show", "host", "--json").value["identity"] == "a@b"
    assert holdfast("host", "remove", "host").out == "host host and its SAs are forgotten\n"


def test_a_name_that_is_no_ascii(holdfast: Place) -> None:
    failed(holdfast.add("höst", "--json"), Exit.USAGE, "is no identity")
    assert holdfast.add("höst", "--identity", "host").code == Exit.OK
    assert holdfast("host", "show", "höst", "--json").value["name"] == "höst"


def test_a_host_added_twice(holdfast: Place) -> None:
    holdfast.add("one")
    failed(holdfast.add("one", "--json"), Exit.FAILED, "in the store already")
    failed(holdfast.add("two", "--identity", "a", "--json"), Exit.FAILED, "192.0.2.10")
    assert [host["name"] for host in holdfast("host", "list", "--json").value] == ["one"]


@pytest.mark.parametrize("command", [("host", "show"), ("host", "remove"), ("power", "reset")])
def test_an_unknown_host(holdfast: Place, command: tuple[str, str]) -> None:
    holdfast.add("host")
    failed(holdfast(*command, "nobody", "--json"), Exit.USAGE, "nobody", "host list")


@pytest.mark.parametrize(
    "words",
    [("host", "list"), ("host", "show", "a"), ("host", "remove", "a"), ("power", "on", "a")],
)
def test_without_a_store(holdfast: Place, words: tuple[str, ...]) -> None:
    failed(holdfast(*words, "--json"), Exit.FAILED, "there is no store", "holdfast station init")
    assert not (holdfast.folder / "store").exists()


@pytest.mark.parametrize("address", ["", "host", "192.0.2.256", "224.0.0.1", "255.255.255.255"])
def test_an_address_that_is_none(holdfast: Place, address: str) -> None:
    words = ("host", "add", "host", "--address", address, "--psk-file", str(holdfast.psk), "--json")
    failed(holdfast(*words), Exit.USAGE, "address")
    assert not (holdfast.folder / "store").exists()


@pytest.mark.parametrize("identity", ["a b", "höst", "x" * 256])
def test_an_identity_that_is_none(holdfast: Place, identity: str) -> None:
    failed(holdfast.add("host", "--identity", identity, "--json"), Exit.USAGE, "is no identity")


def test_a_key_file_that_cannot_be_used(holdfast: Place) -> None:
    holdfast.psk.chmod(0o644)
    failed(holdfast.add("host", "--json"), Exit.USAGE, "chmod 0600", str(holdfast.psk))
    holdfast.psk.chmod(0o600)
    holdfast.psk.write_text(PSK[:15], encoding="ascii")
    failed(holdfast.add("host", "--json"), Exit.USAGE, "15 octets")
    holdfast.psk.unlink()
    failed(holdfast.add("host", "--json"), Exit.USAGE, "No such file")
    holdfast.psk.mkdir()
    failed(holdfast.add("host", "--json"), Exit.USAGE, "is no file")
    assert not (holdfast.folder / "store").exists()


def test_a_store_that_another_process_uses(holdfast: Place, monkeypatch) -> None:
    holdfast.add("host")
    monkeypatch.setattr(commands, "LOCK_WAIT_S", 0.0)
    with StoreLock(holdfast.folder / "store/station.db"):
        for words in (("host", "list"), ("host", "remove", "host"), ("power", "off", "host")):
            failed(holdfast(*words, "--json"), Exit.UNAVAILABLE, "another process uses the store")
        failed(holdfast("station", "init", "--json"), Exit.UNAVAILABLE)
        failed(holdfast("station", "run", "--json"), Exit.UNAVAILABLE)
    assert len(holdfast("host", "list", "--json").value) == 1


def test_a_store_that_is_damaged(holdfast: Place) -> None:
    holdfast.add("host")
    for octets in (b"no SQLite file" * 100, b"SQLite format 3\0" + bytes(200)):
        (holdfast.folder / "store/station.db").write_bytes(octets)
        reply = holdfast("host", "list", "--json")
        failed(reply, Exit.FAILED, "station.db")


def test_a_key_that_is_missing_or_another_stores(holdfast: Place) -> None:
    holdfast.add("host")
    key = holdfast.folder / "store/station.key"
    for octets, text in (
        (b"00" * 32, "does not fit"),
        (b"zz", "no key file"),
        (b"", "no key file"),
    ):
        key.write_bytes(octets)
        failed(holdfast("host", "show", "host", "--json"), Exit.FAILED, text)
    key.unlink()
    failed(holdfast("host", "list", "--json"), Exit.FAILED, "station.key is missing")


def test_a_control_socket_that_nobody_listens_on(holdfast: Place) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(holdfast.control))
    assert holdfast.add("host").code == Exit.OK
    assert holdfast("host", "list").code == Exit.OK
    holdfast.control.unlink()
    holdfast.control.write_text("no socket", encoding="ascii")
    assert holdfast("host", "list").code == Exit.OK


def test_power_without_a_station_says_so_and_finds_no_sa(holdfast: Place) -> None:
    holdfast.add("host", "--identity", "a")
    reply = holdfast("power", "reset", "host", "--json")
    assert "no station runs" in reply.err
    assert reply.code in (Exit.REFUSED, Exit.NO_ANSWER)
    assert reply.value["exit_code"] == reply.code
    assert reply.value["result"]["acknowledged"] is False


def test_a_folder_where_the_store_cannot_be(holdfast: Place) -> None:
    (holdfast.folder / "store").write_text("in the way", encoding="ascii")
    failed(holdfast.add("host", "--json"), Exit.FAILED, "station.db")
    failed(holdfast("station", "init", "--json"), Exit.FAILED)
