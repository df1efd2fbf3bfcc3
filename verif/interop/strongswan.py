"""strongSwan's daemon in the guest, configured and looked into through vici, its own interface."""

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import vici
from vici.exception import CommandException

from verif.interop.guest import GUEST, Guest, GuestError

__all__ = ["KernelKeys", "StrongSwan", "TheirChild", "TheirSa", "kernel_keys"]

VICI_PORT = 4502
CONFIG = "/run/strongswan.conf"
LOG = "/run/charon.log"
START_SECONDS = 30.0
# What a packaged strongSwan loads by itself, less what has no use here.
PLUGINS = (
    *("random", "nonce", "x509", "revocation", "constraints", "pubkey", "pkcs1", "pkcs8", "pem"),
    *("openssl", "hmac", "kdf", "drbg", "chapoly", "gmp", "kernel-netlink", "socket-default"),
    *("counters", "vici"),
)
# A peer that does not answer is given up after some 7 seconds.
SETTINGS = f"""charon-systemd {{
  load = {" ".join(PLUGINS)}
  retransmit_base = 1.5
  retransmit_timeout = 1.0
  retransmit_tries = 3
  half_open_timeout = 5
  cookie_threshold = 3
  block_threshold = 0
  delete_rekeyed = yes
  delete_rekeyed_delay = 0
  plugins {{ vici {{ socket = tcp://{GUEST}:{VICI_PORT} }} }}
  filelog {{ one {{
    path = {LOG}
    default = 1
    ike = 2
    flush_line = yes
  }} }}
}}
"""


@dataclass(frozen=True)
class TheirChild:
    """A Child SA as strongSwan has it."""

    name: str
    state: str
    protocol: str
    mode: str
    spi_in: int
    spi_out: int
    encap: bool
    esn: bool


@dataclass(frozen=True)
class TheirSa:
    """An IKE SA as strongSwan has it."""

    name: str
    id: int
    state: str
    spi_i: str
    spi_r: str
    initiator: bool
    algorithms: tuple[str, ...]
    """Cipher with key length, integrity algorithm, PRF, group, as far as there are."""
    remote_port: int
    children: tuple[TheirChild, ...]

    @property
    def established(self) -> bool:
        """Whether it stands."""
        return self.state == "ESTABLISHED"


class StrongSwan:
    """The daemon. Every call that waits for a peer is to be awaited."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._pid = 0

    def start(self) -> None:
        """Start the daemon, and wait until it answers; raises GuestError."""
        self._guest.request("write", path=CONFIG, text=SETTINGS)
        self._pid = self._guest.start(
            "/usr/sbin/charon-systemd", {"STRONGSWAN_CONF": CONFIG}, "/run/charon.out"
        )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.version()
            except OSError as error:
                if time.monotonic() > end:
                    raise GuestError(f"strongSwan does not start: {self.log()}") from error
                time.sleep(0.05)
            else:
                return

    @staticmethod
    def _session() -> vici.Session:
        wire = socket.create_connection((GUEST, VICI_PORT), timeout=60)
        return vici.Session(wire)

    def _call(self, what: Callable[[vici.Session], Any]) -> Any:
        session = self._session()
        try:
            return what(session)
        finally:
            session.transport.socket.close()

    def version(self) -> str:
        """Its own."""
        return str(self._call(lambda session: session.version())["version"].decode())

    def log(self) -> str:
        """What it said since the last `reset`."""
        return self._guest.run(f"cat {LOG}")

    def load(self, connection: Mapping[str, Any], *, name: str = "interop") -> None:
        """Load a connection, in the words of swanctl.conf."""
        self._call(lambda session: session.load_conn({name: dict(connection)}))

    def share(self, key: bytes, owners: Iterable[str]) -> None:
        """Load a pre-shared key."""
        words = {"type": "IKE", "data": key, "owners": list(owners)}
        self._call(lambda session: session.load_shared(words))

    def trust(self, certificate: bytes) -> None:
        """Load a CA's certificate (DER)."""
        words = {"type": "X509", "flag": "CA", "data": certificate}
        self._call(lambda session: session.load_cert(words))

    def private_key(self, key: bytes) -> None:
        """Load a private key (PKCS #8, DER)."""
        self._call(lambda session: session.load_key({"type": "any", "data": key}))

    def reset(self) -> None:
        """Forget everything: connections, credentials, SAs; nobody is told."""

        def work(session: vici.Session) -> None:
            for sa in self.sas():
                words = {"ike-id": str(sa.id), "force": "yes", "timeout": "-1"}
                list(session.terminate(words))
            for name in session.get_conns()["conns"]:
                session.unload_conn({"name": name})
            session.clear_creds()
            session.reset_counters({})

        self._call(work)
        end = time.monotonic() + 10
        while self.sas():
            if time.monotonic() > end:
                raise GuestError(f"strongSwan does not let go of {self.sas()}")
            time.sleep(0.02)
        self._guest.run("ip xfrm state flush")
        self._guest.run("ip xfrm policy flush")
        self._guest.run(f"truncate -s 0 {LOG}")

    def sas(self) -> list[TheirSa]:
        """Its IKE SAs with their Child SAs."""
        listed = self._call(lambda session: list(session.list_sas()))
        return [_sa(name, words) for one in listed for name, words in one.items()]

    def counters(self) -> dict[str, int]:
        """Messages of each kind that it has counted since the last `reset`."""
        counted = self._call(lambda session: session.get_counters({}))["counters"]
        totals: dict[str, int] = {}
        for one in counted.values():
            totals |= {name: int(value) for name, value in one.items()}
        return totals

    def freeze(self) -> None:
        """Have it do nothing, as if it hung."""
        self._guest.run(f"kill -STOP {self._pid}")

    def thaw(self) -> None:
        """Have it go on."""
        self._guest.run(f"kill -CONT {self._pid}")

    async def initiate(self, *, child: str = "interop", timeout_s: float = 20.0) -> str:
        """Have it negotiate; returns "" or, where it fails, its own words."""

        def work(session: vici.Session) -> str:
            words = {"child": child, "timeout": str(int(1000 * timeout_s)), "init-limits": "no"}
            try:
                list(session.initiate(words))
            except CommandException as error:
                return str(error)
            return ""

        return str(await asyncio.to_thread(self._call, work))

    async def rekey(self, **which: str) -> None:
        """Have it rekey `ike=NAME` or `child=NAME`; raises if there is none."""
        done = await asyncio.to_thread(self._call, lambda session: session.rekey(which))
        if int(done["matches"]) < 1:
            raise GuestError(f"strongSwan has nothing to rekey: {which}")

    async def terminate(self, **which: str) -> None:
        """Have it delete `ike=NAME` or `child=NAME`, and wait for that."""
        await asyncio.to_thread(self._call, lambda session: list(session.terminate(which)))


def _sa(name: str, words: Mapping[str, Any]) -> TheirSa:
    text = {key: value.decode() for key, value in words.items() if isinstance(value, bytes)}
    cipher = text.get("encr-alg", "") + (
        f"-{text['encr-keysize']}" if "encr-keysize" in text else ""
    )
    algorithms = (cipher, *(text.get(key, "") for key in ("integ-alg", "prf-alg", "dh-group")))
    return TheirSa(
        name=name,
        id=int(text["uniqueid"]),
        state=text["state"],
        spi_i=text["initiator-spi"],
        spi_r=text["responder-spi"],
        initiator=text.get("initiator") == "yes",
        algorithms=tuple(one for one in algorithms if one),
        remote_port=int(text.get("remote-port", 0)),
        children=tuple(
            _child({key: value.decode() for key, value in one.items() if isinstance(value, bytes)})
            for one in words.get("child-sas", {}).values()
        ),
    )


def _child(text: Mapping[str, str]) -> TheirChild:
    return TheirChild(
        name=text["name"],
        state=text["state"],
        protocol=text.get("protocol", ""),
        mode=text.get("mode", ""),
        spi_in=int(text.get("spi-in", "0"), 16),
        spi_out=int(text.get("spi-out", "0"), 16),
        encap=text.get("encap") == "yes",
        esn=text.get("esn") == "1",
    )


SPI = re.compile(r"\bproto esp spi (0x[0-9a-f]+) ")
ALGORITHM = re.compile(r"(?m)^\s+(aead|enc|auth-trunc) (\S+) (?:0x([0-9a-f]+))?(?: (\d+))?$")


@dataclass(frozen=True)
class KernelKeys:
    """Algorithms and keys of an SA in a kernel.

    `algorithms` are named as the kernel does, the cipher first, with the octets of the ICV;
    `keymat` is key, salt, and HMAC key.
    """

    algorithms: str
    keymat: bytes = field(repr=False)


def kernel_keys(states: str) -> dict[int, KernelKeys]:
    """Of `ip xfrm state`: each ESP SA by its SPI."""
    found = {}
    for block in re.split(r"(?m)^(?=src )", states):
        spi = SPI.search(block)
        # The kernel lists the HMAC before the cipher.
        parts = sorted(ALGORITHM.findall(block), key=lambda part: part[0] == "auth-trunc")
        if spi is not None:
            found[int(spi[1], 16)] = KernelKeys(
                " ".join(f"{name} {icv}".rstrip() for _, name, _, icv in parts),
                b"".join(bytes.fromhex(key) for _, _, key, _ in parts),
            )
    return found
