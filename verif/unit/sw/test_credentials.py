"""Certificates from the configuration, from `holdfast pki` to an SA between station and agent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sw.agent.service import station_peers
from sw.config import AgentConfig, ConfigError, StationConfig
from sw.credentials import load_certificates
from sw.ike.config import Peer
from sw.ike.secret import Secret
from sw.pki import authority
from sw.station.service import Station
from verif.unit.sw.pki.ca import CA, make
from verif.unit.sw.station.lan import HOST_IP
from verif.unit.sw.station.scene import World, play_scene

CONFIG = StationConfig(identity="station.example", address="192.0.2.1")
AGENT = AgentConfig(
    identity="host.example",
    station_identity="station.example",
    address="192.0.2.10",
    mac="02:00:00:00:00:10",
    nic_socket="nic",
)


class Pki:
    """A CA, with certificates for both ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC)
        authority.init(folder / "ca", "CA", "p256", 10, 5, self.now)
        for name in ("station", "host"):
            self.issue(name, f"{name}.example")

    def issue(self, name: str, identity: str, ca: str = "ca", **how: Any) -> None:
        """NAME.key and NAME.crt."""
        key = authority.make_key(self.folder / f"{name}.key", "p256")
        out = self.folder / f"{name}.crt"
        when = how.get("now", self.now)
        authority.issue(self.folder / ca, identity, key, out, how.get("days", 5), when)

    def keys(self, name: str, **changes: str) -> dict[str, Any]:
        """Of the configuration."""
        values: dict[str, Any] = {
            "certificate_file": str(self.folder / f"{name}.crt"),
            "private_key_file": str(self.folder / f"{name}.key"),
            "ca_file": str(self.folder / "ca/ca.crt"),
            "crl_file": str(self.folder / "ca/ca.crl"),
        }
        return values | changes


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    folder = tmp_path / "pki"
    folder.mkdir()
    return Pki(folder)


def test_without_the_keys_there_are_none() -> None:
    assert load_certificates(CONFIG) is None


def test_of_the_keys_an_agent_has_a_peer_by_certificate(pki: Pki) -> None:
    (peer,) = station_peers(replace(AGENT, **pki.keys("host")))
    assert peer.psk is None
    assert peer.certificates is not None
    assert peer.certificates.pss
    assert peer.certificates.crls() is not None
    loaded = load_certificates(replace(AGENT, **pki.keys("host", crl_file="", rsa_padding="pkcs1")))
    assert loaded is not None
    assert not loaded.pss
    assert loaded.crls() is None


def test_a_station_with_a_pre_shared_key_beside_them(pki: Pki, tmp_path: Path) -> None:
    psk = tmp_path / "psk"
    psk.write_bytes(bytes(range(65, 90)))
    psk.chmod(0o600)
    (peer,) = station_peers(replace(AGENT, psk_file=str(psk), **pki.keys("host")))
    assert isinstance(peer, Peer)
    assert peer.psk is not None
    assert peer.certificates is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"private_key_file": "host.key"}, "is not that of the first certificate"),
        ({"certificate_file": "host.crt", "private_key_file": "host.key"}, "cannot prove that we"),
        ({"certificate_file": "none.crt"}, "the certificate .*none.crt is not there"),
        ({"private_key_file": "none.key"}, "cannot read the private key .*none.key"),
        ({"ca_file": "none.crt"}, "the CA certificate .*none.crt is not there"),
        ({"crl_file": "none.crl"}, "cannot read the CRL .*none.crl"),
        ({"certificate_file": "ca/ca.crt", "private_key_file": "ca/ca.key"}, "is that of a CA"),
    ],
)
def test_what_cannot_be_used_is_told_at_the_start(
    pki: Pki, change: dict[str, str], words: str
) -> None:
    paths = {key: str(pki.folder / name) for key, name in change.items()}
    with pytest.raises(ConfigError, match=words):
        load_certificates(replace(CONFIG, **pki.keys("station", **paths)))


def test_certificates_that_no_peer_would_take_are_told_at_the_start(pki: Pki) -> None:
    file = pki.folder / "station.crt"
    extension = x509.SubjectKeyIdentifier(bytes(4000))
    long = make("Sub", None, (*CA, extension)).certificate.public_bytes(Encoding.PEM)
    file.write_bytes(file.read_bytes() + 7 * long)
    with pytest.raises(ConfigError, match=r"station\.crt .* octets, .* peers take 24576 in all"):
        load_certificates(replace(CONFIG, **pki.keys("station")))


# --- station and agent ----------------------------------------------------------------------------

Play = Callable[[Callable[[World], Any]], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    def run(scene: Callable[[World], Any]) -> None:
        async def whole() -> None:
            await play_scene(World(tmp_path, "udp"), monkeypatch.setattr, scene)

        asyncio.run(whole())

    return run


async def begin(world: World, pki: Pki, host: str = "host", **changes: str) -> None:
    """Both ends start; the host is taken in by certificate."""
    await world.boot(psk_file="", **pki.keys(host, **changes))
    config = replace(world.station_config, **pki.keys("station"))
    world.station = Station(config)
    await world.station.start()
    world.station.add_host("host", HOST_IP, "host.example", Secret(b""))


def test_an_sa_by_certificate_and_again_after_a_restart(play: Play, pki: Pki) -> None:
    async def scene(world: World) -> None:
        await begin(world, pki)
        await world.proven(1)
        await world.station.stop()
        await world.start_station(refresh_period_s=0.3, **pki.keys("station"))
        assert world.session.host.by_certificate
        await world.proven(2)

    play(scene)


def _refused(play: Play, caplog: pytest.LogCaptureFixture, begins: Any, *words: str) -> None:
    async def scene(world: World) -> None:
        await begins(world)
        await world.until(lambda: all(one in caplog.text for one in words))
        assert not world.banks()
        assert world.session.machine.proven is None

    with caplog.at_level(logging.INFO):
        play(scene)


def test_expired_certificate_of_the_station(
    play: Play, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("station.key", "station.crt"):
        (pki.folder / name).unlink()
    old = pki.now - timedelta(days=3)
    authority.init(pki.folder / "old", "CA", "p256", 10, 5, old)
    pki.issue("station", "station.example", "old", now=old, days=1)
    ca = str(pki.folder / "old/ca.crt")

    async def begins(world: World) -> None:
        await begin(world, pki, ca_file=ca, crl_file="")

    words = ("has expired on", "host.example does not take our proof")
    _refused(play, caplog, begins, *words)


def test_revoked_certificate_of_the_station(
    play: Play, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    authority.revoke(pki.folder / "ca", str(pki.folder / "station.crt"), 5, pki.now)
    _refused(play, caplog, lambda world: begin(world, pki), "CN=station.example was revoked on")


def test_a_host_by_certificate_needs_one_of_ours(play: Play, pki: Pki) -> None:
    async def scene(world: World) -> None:
        await begin(world, pki)
        await world.station.stop()
        world.station = Station(world.station_config)
        with pytest.raises(ConfigError, match=r"host host .* station\.certificate_file"):
            await world.station.start()
        await world.station.stop()
        await world.start_station(**pki.keys("station"))
        await world.station.stop()

        # And it is not taken in by a station that has none.
        psk_only = replace(world.station_config, store=world.station_config.store + "2")
        world.station = Station(psk_only)
        await world.station.start()
        with pytest.raises(ConfigError, match=r"station\.certificate_file"):
            world.station.add_host("host", HOST_IP, "host.example", Secret(b""))
        assert not world.station.names()

    play(scene)
