"""Tests of sw.ipsec.transports on real sockets of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from sw.ipsec import (
    DataPlaneError,
    Endpoint,
    RawEspTransport,
    UdpEspTransport,
    UdpTransport,
    open_discovery,
)

LOCAL = IPv4Address("127.0.0.1")
ESP = bytes.fromhex("c0de0101000000010000000000000001") + bytes(20)
Queue = asyncio.Queue[tuple[str, bytes, Endpoint]]


def into(queue: Queue, kind: str) -> Callable[[bytes, Endpoint], None]:
    return lambda data, source: queue.put_nowait((kind, data, source))


def test_port_4500_is_shared_by_esp_and_ike() -> None:
    async def main() -> None:
        queue: Queue = asyncio.Queue()
        async with (
            await UdpEspTransport.open(
                LOCAL, into(queue, "esp"), into(queue, "ike"), port=0
            ) as here,
            await UdpEspTransport.open(LOCAL, into(queue, "?"), into(queue, "?"), port=0) as there,
        ):
            there.send_esp(ESP, here.local)
            there.send_keepalive(here.local)
            there.send_ike(b"an IKE message", here.local)
            assert await queue.get() == ("esp", ESP, there.local)
            assert await queue.get() == ("ike", b"an IKE message", there.local)
            assert here.ignored == 0
            assert queue.empty()
        with pytest.raises(DataPlaneError, match="closed"):
            here.send_esp(ESP, there.local)

    asyncio.run(main())


def test_rubbish_on_port_4500_is_counted() -> None:
    async def main() -> None:
        queue: Queue = asyncio.Queue()
        async with (
            await UdpEspTransport.open(
                LOCAL, into(queue, "esp"), into(queue, "ike"), port=0
            ) as here,
            await UdpTransport.open(LOCAL, into(queue, "?")) as there,
        ):
            there.send(b"\xfe", here.local)
            there.send(b"\1\2\3", here.local)
            there.send(ESP, here.local)
            assert (await queue.get())[:2] == ("esp", ESP)
            assert here.ignored == 2

    asyncio.run(main())


def test_discovery_asks_and_hears() -> None:
    async def main() -> None:
        asked: Queue = asyncio.Queue()
        heard: Queue = asyncio.Queue()
        async with (
            await UdpTransport.open(LOCAL, into(asked, "ping")) as nic,
            await open_discovery(LOCAL, into(heard, "pong")) as station,
        ):
            station.send(b"ping", nic.local)
            _, payload, source = await asked.get()
            assert (payload, source) == (b"ping", station.local)
            nic.send(b"pong", source)
            assert await heard.get() == ("pong", b"pong", nic.local)

    asyncio.run(main())


def test_a_port_in_use_is_told_in_plain_words() -> None:
    async def main() -> None:
        async with await UdpTransport.open(LOCAL, lambda _data, _source: None) as first:
            with pytest.raises(DataPlaneError, match="no other program on that port"):
                await UdpTransport.open(LOCAL, lambda _data, _source: None, port=first.local[1])

    asyncio.run(main())


def test_an_address_of_another_machine_is_told_in_plain_words() -> None:
    async def main() -> None:
        foreign = IPv4Address("192.0.2.77")
        with pytest.raises(DataPlaneError, match="belong to this machine"):
            await UdpTransport.open(foreign, lambda _data, _source: None)

    asyncio.run(main())


def may_open_raw_sockets() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 50).close()
    except PermissionError:
        return False
    return True


def test_raw_esp_travels_between_two_addresses_or_says_what_it_needs() -> None:
    async def main() -> None:
        queue: Queue = asyncio.Queue()
        if not may_open_raw_sockets():
            with pytest.raises(DataPlaneError, match="CAP_NET_RAW"):
                await RawEspTransport.open(LOCAL, into(queue, "esp"))
            return
        peer = IPv4Address("127.0.0.2")
        async with (
            await RawEspTransport.open(LOCAL, into(queue, "here")) as here,
            await RawEspTransport.open(peer, into(queue, "there")) as there,
        ):
            here.send_esp(ESP, (str(peer), 0))
            assert await queue.get() == ("there", ESP, (str(LOCAL), 0))
            there.send_esp(ESP[::-1], (str(LOCAL), 0))
            assert await queue.get() == ("here", ESP[::-1], (str(peer), 0))
            assert here.ignored == there.ignored == 0
        with pytest.raises(DataPlaneError, match="closed"):
            here.send_esp(ESP, (str(peer), 0))
        with pytest.raises(DataPlaneError, match="belong to this machine"):
            await RawEspTransport.open(IPv4Address("192.0.2.77"), into(queue, "esp"))

    asyncio.run(main())
