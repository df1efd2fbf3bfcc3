"""Tests of sw.config and sw.config_values: every key checked, every fault told in words."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sw import config
from sw.config import (
    ADDITIONAL_NAMES,
    GROUP_NAMES,
    IKE_SUITE_NAMES,
    PSK_FILE_MAX_OCTETS,
    PSK_MIN_OCTETS,
    TABLES,
    AgentConfig,
    ConfigError,
    ServedStation,
    StationConfig,
    ike_policy,
    load_agent,
    load_station,
    mac_octets,
    read_psk,
)
from sw.ike import Group, IkePolicy, IkeSuite
from sw.ike.groups import DH_GROUPS, KEM_GROUPS

ROOT = Path(__file__).resolve().parents[3]
STATION = {"identity": '"station.example"', "address": '"192.0.2.1"'}
AGENT = {
    "identity": '"host.example"',
    "station_identity": '"station.example"',
    "psk_file": '"/etc/holdfast/psk"',
    "address": '"192.0.2.10"',
    "mac": '"02:00:00:00:00:10"',
    "nic_socket": '"/run/nic"',
}
LOADERS: dict[str, Callable[..., StationConfig | AgentConfig]] = {
    "station": load_station,
    "agent": load_agent,
}
GOOD = {"station": STATION, "agent": AGENT}


def document(table: str, **changes: str) -> str:
    """A good table, with TOML texts put in; None as text leaves a key out."""
    values = GOOD[table] | changes
    return "\n".join([f"[{table}]", *(f"{key} = {text}" for key, text in values.items() if text)])


@pytest.fixture
def load(tmp_path):
    """Writes a document, and loads a table of it."""

    def run(table: str, text: str | bytes) -> StationConfig | AgentConfig:
        path = tmp_path / "holdfast.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return LOADERS[table](path)

    return run


def test_the_least_station_has_the_documented_defaults(load) -> None:
    loaded = load("station", document("station"))
    assert loaded == StationConfig(identity="station.example", address="192.0.2.1")
    assert loaded.encapsulation == "raw"


def test_the_least_agent_and_a_file_with_both_tables(load) -> None:
    both = document("agent") + "\n" + document("station")
    assert load("agent", both).mac == "02:00:00:00:00:10"
    assert load("station", both).identity == "station.example"


def test_whole_numbers_will_do_for_seconds(load) -> None:
    value = load("station", document("station", poll_period_s="2")).poll_period_s
    assert value == 2.0
    assert isinstance(value, float)


# --- the file -----------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_station(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch) -> None:
    assert "No such file" in refusal(tmp_path / "missing.toml")
    assert "directory" in refusal(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "symbolic links" in refusal(tmp_path / "loop")

    def refuse(*_args: object, **_more: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "Permission denied" in refusal(tmp_path / "holdfast.toml")


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xfe[station]",
        b"[station\n",
        b"[station]\nidentity = 'a'\nidentity = 'b'\n",
        b"[station]\n[station]\n",
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"\0",
    ],
    ids=["utf-8", "bracket", "key twice", "table twice", "deep", "digits", "nul"],
)
def test_what_is_no_toml(load, octets: bytes) -> None:
    with pytest.raises(ConfigError, match=r"holdfast\.toml is no TOML: .*docs/config\.md"):
        load("station", octets)


@pytest.mark.parametrize("text", ["", "station = 5", "[[station]]", "[agent]"])
def test_a_file_without_the_table(load, text: str) -> None:
    with pytest.raises(ConfigError, match=r"holdfast\.toml has no table \[station\]"):
        load("station", text)


# --- keys ---------------------------------------------------------------------------------------


def test_an_unknown_table_and_a_near_miss(load) -> None:
    with pytest.raises(ConfigError, match=r"key staton; did you mean station\? .*\[agent\]"):
        load("station", "[staton]\n")
    with pytest.raises(ConfigError, match=r"unknown table or key colour\. There"):
        load("station", "colour = 1\n" + document("station"))


@pytest.mark.parametrize("table", TABLES)
def test_a_near_miss_of_any_key_names_the_right_one(load, table: str) -> None:
    for entry in dataclasses.fields(TABLES[table]):
        wrong = entry.name[:-1] + "x" + entry.name[-1]
        with pytest.raises(ConfigError, match=rf"{table}\.{wrong}; did you mean {entry.name}\?"):
            load(table, document(table, **{wrong: "1"}))


def test_an_unknown_key_lists_those_there_are(load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("station", document("station", colour='"blue"'))
    assert "holdfast.toml: unknown key station.colour. " in str(caught.value)
    for entry in dataclasses.fields(StationConfig):
        assert entry.name in str(caught.value)


def test_control_characters_of_a_key_do_not_reach_the_terminal(load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("station", document("station") + '\n"\\u001b[2J" = 1')
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("table", TABLES)
def test_a_required_key_is_missed_with_its_meaning(load, table: str) -> None:
    for entry in dataclasses.fields(TABLES[table]):
        if entry.default is dataclasses.MISSING:
            with pytest.raises(ConfigError) as caught:
                load(table, document(table, **{entry.name: ""}))
            assert f"{table}.{entry.name} is missing" in str(caught.value)
            assert entry.metadata["doc"] in str(caught.value)


WRONG_TYPES = {
    "bool": ("1", '"true"', "[true]", "{}"),
    "int": ("true", "1.0", '"5"', "[5]", "{a = 1}", "1979-05-27"),
    "float": ("true", '"5"', "[5]", "{}", "nan", "inf", "-inf", "07:32:00"),
    "str": ("5", "true", '["a"]', "{}", "1979-05-27T07:32:00Z"),
    "tuple[ServedStation, ...]": ('"x"', "1", "true", "{}", "[1]", "[[]]", '["a"]'),
    "tuple[str, ...]": ('"x25519"', "[]", "[1]", '["no such"]', "[[]]", "[{a = 1}]", "{}"),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_refuses_wrong_types(load, table: str) -> None:
    for entry in dataclasses.fields(TABLES[table]):
        for text in WRONG_TYPES[str(entry.type)]:
            with pytest.raises(ConfigError, match=rf"toml: {table}\.{entry.name}: .*; give "):
                load(table, document(table, **{entry.name: text}))


@pytest.mark.parametrize("table", TABLES)
def test_every_number_has_its_limits(load, table: str) -> None:
    for entry in dataclasses.fields(TABLES[table]):
        low, high = entry.metadata["low"], entry.metadata["high"]
        if low is None:
            assert entry.type not in ("int", "float")
            continue
        step = 1 if entry.type == "int" else 0.001
        for value in (low - step, high + step, -(10**30), 10**30):
            with pytest.raises(ConfigError, match=rf"{table}\.{entry.name}: .* from .* to "):
                load(table, document(table, **{entry.name: str(value)}))
        # Both ends are allowed, but for keys that have to fit another.
        if entry.name not in ("heartbeat_s", "heartbeat_window_s"):
            for value in (low, high):
                loaded = load(table, document(table, **{entry.name: str(value)}))
                assert getattr(loaded, entry.name) == value


def test_a_list_takes_each_name_once(load) -> None:
    with pytest.raises(ConfigError, match=r"station\.suites: .*each at most once"):
        load("station", document("station", suites='["aes-gcm-128", "aes-gcm-128"]'))
    loaded = load("station", document("station", suites='["aes-gcm-128"]', groups='["p256"]'))
    assert (loaded.suites, loaded.groups) == (("aes-gcm-128",), ("p256",))


@pytest.mark.parametrize("table", ["station", "agent"])
def test_every_suite_and_group_of_ike_has_its_name(load, table: str) -> None:
    ike_suites, groups = json.dumps([*IKE_SUITE_NAMES]), json.dumps([*GROUP_NAMES])
    policy = ike_policy(load(table, document(table, ike_suites=ike_suites, groups=groups)))
    assert policy.suites == tuple(IkeSuite)
    assert set(policy.groups) == DH_GROUPS
    assert len(policy.groups) == len(DH_GROUPS)
    with pytest.raises(ConfigError, match=rf"{table}\.ike_suites: .*aes-gcm-256-prf-sha-384"):
        load(table, document(table, ike_suites='["aes-gcm-256"]'))
    default = ike_policy(load(table, document(table)))
    assert default == IkePolicy(additional=(Group.ML_KEM_768, Group.NONE))
    names = json.dumps([*ADDITIONAL_NAMES])
    policy = ike_policy(load(table, document(table, additional_key_exchange=names)))
    assert set(policy.additional) == KEM_GROUPS | {Group.NONE}
    for bad in ("[]", '["x25519"]', '["ml-kem-512"]'):
        with pytest.raises(ConfigError, match=rf"{table}\.additional_key_exchange"):
            load(table, document(table, additional_key_exchange=bad))


NOBODY = str(IPv4Address(0))
WRONG_TEXTS = [
    ("station", "address", ["", "host", "192.0.2", "192.0.2.256", "::1", NOBODY, "224.0.0.1"]),
    ("agent", "address", ["255.255.255.255", NOBODY, " 192.0.2.1", "192.0.2.1/24"]),
    ("agent", "mac", ["", "02-00-00-00-00-10", "0200:0000:0010", "02:00:00:00:00:+1"]),
    (
        "agent",
        "mac",
        ["02:00:00:00:00: 1", "02:00:00:00:00", "02:00:00:00:00:10:20", "01:00:5e:00:00:01"],
    ),
    ("agent", "mac", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:1٣"]),
    ("station", "identity", ["", " ", "a b", "höst", "a\\n", "x" * 256]),
    ("agent", "station_identity", ["", "a b", "\\u007f"]),
    ("station", "store", ["", ".", "/", "..", "a/..", "a\\u0000b"]),
    ("station", "key_file", ["", "."]),
    ("station", "control_socket", ["", "/"]),
    ("agent", "psk_file", ["/"]),
    ("station", "identity", ["x=", "CN=", "=y"]),
    ("station", "rsa_padding", ["", "none"]),
    ("agent", "nic_socket", ["/", "a\\u0000b"]),
    ("station", "encapsulation", ["", "RAW", "tcp"]),
    ("station", "log_level", ["", "loud"]),
]


@pytest.mark.parametrize(("table", "key", "texts"), WRONG_TEXTS)
def test_texts_of_the_wrong_kind(load, table: str, key: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ConfigError, match=rf"toml: {table}\.{key}: .*; give "):
            load(table, document(table, **{key: f'"{text}"'}))


def test_a_fault_is_told_shortly_however_big_the_value(load) -> None:
    for text in ("0x" + "f" * 20_000, '"' + "x" * 50_000 + '"', str([[1]] * 10_000)):
        with pytest.raises(ConfigError, match=r"station\.ike_sends") as caught:
            load("station", document("station", ike_sends=text))
        assert len(str(caught.value)) < 1000
    with pytest.raises(ConfigError, match=r"station\.esn"):
        load("station", document("station") + "\nesn" + ".a" * 3000 + " = 1")


CERTIFICATE = {
    "certificate_file": '"/c"',
    "private_key_file": '"/k"',
    "ca_file": '"/a"',
}


@pytest.mark.parametrize("table", ["station", "agent"])
def test_certificate_key_and_ca_come_together(load, table: str) -> None:
    loaded = load(table, document(table, **CERTIFICATE))
    assert (loaded.certificate_file, loaded.rsa_padding) == ("/c", "pss")
    for missing in CERTIFICATE:
        some = {key: text for key, text in CERTIFICATE.items() if key != missing}
        with pytest.raises(ConfigError, match=rf"toml: {table}\..* is given, but {missing} is not"):
            load(table, document(table, **some))
    with pytest.raises(ConfigError, match="but certificate_file and private_key_file and ca_file"):
        load(table, document(table, crl_file='"/r"'))


def test_each_station_has_a_way_to_prove_itself(load) -> None:
    with pytest.raises(ConfigError, match=r"agent: say how station\.example .*psk_file"):
        load("agent", document("agent", psk_file=""))
    assert load("agent", document("agent", psk_file="", **CERTIFICATE)).psk_file == ""
    other = '\n[[agent.other_stations]]\nidentity = "b.example"\ncontext = 1\n'
    with pytest.raises(ConfigError, match=r"other_stations\[1\]: say how b\.example"):
        load("agent", document("agent") + other)
    assert load("agent", document("agent", **CERTIFICATE) + other).stations[1].psk_file == ""


def test_the_way_to_the_nic_is_one(load) -> None:
    for changes in ({"nic_socket": ""}, {"nic_serial": '"/dev/ttyUSB0"'}):
        with pytest.raises(ConfigError, match="nic_socket and nic_serial"):
            load("agent", document("agent", **changes))
    serial = document("agent", nic_socket='""', nic_serial='"/dev/ttyUSB0"')
    assert load("agent", serial).nic_serial == "/dev/ttyUSB0"


def test_the_window_is_longer_than_the_heartbeat(load) -> None:
    for window in ("2.0", "1.9"):
        with pytest.raises(ConfigError, match=r"agent\.heartbeat_window_s"):
            load("agent", document("agent", heartbeat_s="2.0", heartbeat_window_s=window))


OTHER = {"identity": '"standby.example"', "psk_file": '"/etc/holdfast/psk2"', "context": "1"}


def others(*changes: dict[str, str]) -> str:
    """A good agent, and a further station for each set of changes."""
    lines = [document("agent")]
    for change in changes:
        lines.append("[[agent.other_stations]]")
        lines += [f"{key} = {text}" for key, text in (OTHER | change).items() if text]
    return "\n".join(lines)


def test_further_stations(load) -> None:
    loaded = load("agent", others({}, {"identity": '"third.example"', "context": "3"}))
    assert [(one.identity, one.context, one.role) for one in loaded.stations] == [
        ("station.example", 0, "operator"),
        ("standby.example", 1, "operator"),
        ("third.example", 3, "operator"),
    ]
    assert [one.psk_file for one in loaded.stations] == [
        "/etc/holdfast/psk",
        "/etc/holdfast/psk2",
        "/etc/holdfast/psk2",
    ]
    assert len(load("agent", document("agent")).stations) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"identity": ""}, r"other_stations\[2\]\.identity is missing; give a host name"),
        ({"colour": "1"}, r"unknown key agent\.other_stations\[2\]\.colour\. The keys"),
        ({"contekt": "1"}, r"\[2\]\.contekt; did you mean context\?"),
        ({"context": "0"}, r"other_stations\[2\]\.context: 0 is not allowed; .* from 1 to 3"),
        ({"context": "4"}, r"other_stations\[2\]\.context: 4 is not allowed; .* from 1 to 3"),
        ({"role": '"king"'}, r"other_stations\[2\]\.role: 'king' is not allowed; give one of"),
        ({"identity": '"station.example"'}, r"\[2\]\.identity: station\.example is the identity"),
        ({"identity": '"standby.example"'}, r"\[2\]\.identity: standby\.example is the identity"),
        ({"context": "1"}, r"other_stations\[2\]\.context: 1 is the context .* free: 2, 3"),
    ],
)
def test_a_further_station_that_cannot_be(load, change: dict[str, str], told: str) -> None:
    good = {"identity": '"third.example"', "context": "2"}
    with pytest.raises(ConfigError, match=rf"holdfast\.toml: .*{told}"):
        load("agent", others({}, good | change))


@pytest.mark.parametrize("table", TABLES)
def test_the_ports_of_ike_are_two(load, table: str) -> None:
    with pytest.raises(ConfigError, match=rf"{table}\.natt_port is 500"):
        load(table, document(table, natt_port="500"))


# --- any document -------------------------------------------------------------------------------

NAMES = sorted({f.name for kind in TABLES.values() for f in dataclasses.fields(kind)})
SCALARS = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=16).map(str),
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=20).map(
        lambda text: '"' + re.sub(r'["\\\x7f]', "-", text) + '"'
    ),
    st.sampled_from(['"192.0.2.1"', '"a.b"', '"02:00:00:00:00:01"', "1979-05-27", "nan", '"raw"']),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[" + ", ".join(parts) + "]")
        | inner.map(lambda text: "{a = " + text + "}")
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(NAMES) | st.text("abcé .\x1b", max_size=5).map(lambda key: f"'{key}'")


@st.composite
def documents(draw: st.DrawFn) -> str:
    """TOML, mostly: good tables with keys put in, replaced or left out."""
    lines = []
    for table in draw(st.permutations(sorted(TABLES)))[: draw(st.integers(0, 2))]:
        values: dict[str, str] = dict(GOOD[table]) if draw(st.booleans()) else {}
        values.update(draw(st.dictionaries(KEYS, VALUES, max_size=3)))
        lines += [f"[{table}]", *(f"{key} = {text}" for key, text in values.items())]
    return "\n".join(lines)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=documents() | st.text(max_size=80), table=st.sampled_from(sorted(TABLES)))
def test_any_document_gives_a_config_or_an_error_with_the_file(load, text: str, table: str) -> None:
    try:
        loaded = load(table, text.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        told = str(error)
    else:
        assert isinstance(loaded, TABLES[table])
        return
    where = rf"is no TOML|unknown table or key|has no table \[{table}\]|: .*\b{table}[.:]"
    assert re.search(rf"/holdfast\.toml:? ?({where})", told), told


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(octets=st.binary(max_size=60))
def test_any_octets_give_an_error_with_the_file(load, octets: bytes) -> None:
    with pytest.raises(ConfigError, match=r"holdfast\.toml"):
        load("station", octets)


@given(st.text(max_size=20) | st.from_regex(r"[0-9a-g]{2}(:[0-9A-G]{2}){5}", fullmatch=True))
def test_a_mac_address_is_six_octets_or_an_error(text: str) -> None:
    try:
        octets = mac_octets(text)
    except ValueError:
        return
    assert octets.hex(":") == text.lower()
    assert octets[0] & 1 == 0


# --- the document -------------------------------------------------------------------------------


def documented(page: str) -> dict[str, list[str]]:
    """The keys in the tables of docs/config.md, read as a person does."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in page.splitlines():
        if heading := re.fullmatch(r"## `\[+([\w.]+)\]+`", line):
            table = heading[1]
            found[table] = []
        elif table and (row := re.match(r"\| `(\w+)` \| .+ \| .+ \| .+ \|$", line)):
            found[table].append(row[1])
    return found


def test_every_key_is_documented_and_no_other() -> None:
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    kinds = TABLES | {"agent.other_stations": ServedStation}
    assert documented(page) == {
        table: [entry.name for entry in dataclasses.fields(kind)] for table, kind in kinds.items()
    }
    for name in re.findall(r"`(\w+_\w+)`", page):
        assert name in NAMES, name


def test_the_document_is_todays(tmp_path) -> None:
    page = ROOT / "docs/config.md"
    copy = tmp_path / "config.md"
    copy.write_text(page.read_text(encoding="utf-8").replace("3600.0", "7.0"), encoding="utf-8")
    config.update_document(copy)
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), (
        "type: python -m sw.config"
    )


def test_the_examples_of_the_document_can_be_loaded(load) -> None:
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    station, agent = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert load("station", station).identity == "station.example.com"
    assert load("agent", agent).station_identity == "station.example.com"


# --- the pre-shared key -------------------------------------------------------------------------


@pytest.fixture
def psk(tmp_path):
    """Writes a key file."""

    def write(octets: bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "psk"
        path.write_bytes(octets)
        path.chmod(mode)
        return path

    return write


def psk_refusal(path: Path, *secrets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_psk(path)
    text = str(caught.value)
    assert str(path) in text
    assert not any(secret in text.replace(str(path), "") for secret in secrets)
    return text


def test_psk_is_read_without_the_white_space_at_its_ends(psk) -> None:
    assert read_psk(psk(b" \t0123456789abcdef\r\n")).reveal() == b"0123456789abcdef"
    assert read_psk(str(psk(b"0123456789 abcdef", 0o400))).reveal() == b"0123456789 abcdef"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666, 0o777])
def test_psk_that_others_may_use_is_refused(psk, monkeypatch, mode: int) -> None:
    """SEC: STATION.PSK_FILE_MODE: none of its octets is even read."""
    path = psk(b"secret-secret-secret", mode)

    def no_read(_fd: int, _octets: int) -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr(os, "read", no_read)
    assert f"(mode {mode:04o}); type: chmod 0600" in psk_refusal(path, "secret-secret")


@pytest.mark.parametrize("octets", [b"", b" \n", b"s" * (PSK_MIN_OCTETS - 1), b"s" * 15 + b"\n\n"])
def test_psk_too_short(psk, octets: bytes) -> None:
    text = psk_refusal(psk(octets), "sss")
    assert f"has {len(octets.strip())} octets; it needs {PSK_MIN_OCTETS}" in text


def test_psk_too_long_is_another_file(psk) -> None:
    assert len(read_psk(psk(b"s" * PSK_FILE_MAX_OCTETS))) == PSK_FILE_MAX_OCTETS
    assert "longer than" in psk_refusal(psk(b"s" * (PSK_FILE_MAX_OCTETS + 1)), "sss")


def test_psk_that_is_no_file_is_refused_and_does_not_hold_us_up(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        assert "is no file" in psk_refusal(path)
    assert "No such file" in psk_refusal(tmp_path / "missing")
    (tmp_path / "loop").symlink_to("loop")
    assert "symbolic links" in psk_refusal(tmp_path / "loop")


def test_psk_file_leaves_no_descriptor_open(psk) -> None:
    descriptors = Path("/proc/self/fd")
    before = len([*descriptors.iterdir()])
    read_psk(psk(b"0123456789abcdef"))
    psk_refusal(psk(b"0123456789abcdef", 0o644))
    psk_refusal(psk(b""))
    assert len([*descriptors.iterdir()]) == before
