"""Bench of the NIC's times, in cycles: docs/packet_walk.md tells them."""

from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import FIRST, LAST, Bench, Driver
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

RESET_CYCLES = {16: 143, 32: 155}
"""From the last octet of a reset, as ESP, to the pin, by octets of the key."""
PASS_CYCLES = {
    "another EtherType": 21,
    "TCP, shortest": 41,
    "TCP, longest": 41,
    "UDP": 49,
    "UDP 4500": 53,
}
"""From the first octet of a frame on the wire to its first towards the host."""


class Beats(Driver):
    """Cycles of the first and the last beat that moved on a stream."""

    def __init__(self, bench: Bench, name: str) -> None:
        super().__init__(bench)
        self.first = self.last = 0
        self._port = [
            getattr(bench.dut, f"{name}__{part}") for part in ("payload", "valid", "ready")
        ]

    def sample(self) -> None:
        payload, valid, ready = self._port
        if valid.value == 1 and ready.value == 1:
            if int(payload.value) & FIRST:
                self.first = self.bench.cycle
            if int(payload.value) & LAST:
                self.last = self.bench.cycle


@cocotb.test()
async def times(dut: Any) -> None:
    """A reset to its pin, a question to its answer, a passed frame to the host."""
    pair = NicPair(dut)
    wire_rx, wire_tx, host_tx = (Beats(pair.bench, n) for n in ("wire_rx", "wire_tx", "host_tx"))
    for tag, key_octets in enumerate((16, 32), 1):
        await pair.start()
        sa = SaKeys.draw(pair.rng, key_octets)
        await pair.stage(sa)
        station = Station(sa)
        for name, message in (("presence ping", nf.asf(nf.PING)), ("commit", nf.commit(sa.spi_in))):
            await pair.wire(station.protect(message), Counter.DELIVERED)
            dut._log.info(
                "RESULT latency: AES-%d, %s: %d cycles from its last octet to the answer's first, "
                "%d to its last",
                *(8 * key_octets, name, wire_tx.first - wire_rx.last, wire_tx.last - wire_rx.last),
            )
        await pair.wire(station.protect(nf.asf(nf.RESET, tag=tag)), Counter.DELIVERED)
        (edge,) = (edge for edge in pair.pins.edges if edge.level)
        cycles = edge.cycle - wire_rx.last
        dut._log.info(
            "RESULT latency: AES-%d, reset: %d cycles from its last octet to the pin",
            *(8 * key_octets, cycles),
        )
        assert (edge.name, cycles) == ("pin_reset", RESET_CYCLES[key_octets])
    delays = {}
    for name, frame in {
        "another EtherType": nf.ethernet(nf.ETHERTYPE_LOCAL, bytes(46)),
        "TCP, shortest": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.TCP, bytes(20))),
        "TCP, longest": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.TCP, bytes(1480))),
        "UDP": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.UDP, nf.udp(53, bytes(40)))),
        "UDP 4500": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.UDP, nf.udp(4500, bytes(40)))),
    }.items():
        await pair.wire(frame, Counter.PASSED)
        delays[name] = host_tx.first - wire_rx.first
        dut._log.info("RESULT latency: passed frame, %s: %d cycles", name, delays[name])
    assert delays == PASS_CYCLES
    await pair.bench.finish()
