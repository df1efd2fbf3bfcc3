"""The station's data plane: RMCP under every SA held, and presence in clear.

Source: RFC 4303 (raw), RFC 3948 (in UDP); the seed's policy (UDP, port 664).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from spec.headers import PORT_RMCP_SECURED
from spec.pet import PORT_SNMP_TRAP
from spec.store import LEAP
from sw.ipsec import (
    Endpoint,
    EspInbound,
    EspMaterial,
    EspOutbound,
    InboundTable,
    IpsecError,
    PacketDroppedError,
    RawEspTransport,
    SequenceReservation,
    UdpDatagram,
    UdpSelector,
    UdpSelectorSet,
    UdpTransport,
)
from sw.station.records import SaRecord

LOG = logging.getLogger("holdfast.station.plane")
SendUdp = Callable[[bytes, Endpoint], None]
LEAP_AFTER = 2
"""Packets in a row that nothing answered, after which numbers are skipped for the first time."""
LEAP_GROWTH = 4
"""Each further time after so many times as many."""


@dataclass(slots=True)
class _Sa:
    """An SA.

    `unheard` counts packets sent since one was answered; when it is `leap_at` numbers are skipped.
    """

    record: SaRecord
    inbound: EspInbound
    outbound: EspOutbound
    unheard: int = 0
    leap_at: int = LEAP_AFTER

    def leap(self) -> None:
        """Skip LEAP numbers where a NIC that lost its power may be the reason of the silence."""
        if self.unheard == self.leap_at:
            self.leap_at *= LEAP_GROWTH
            if self.outbound.sequences.leap(LEAP):
                LOG.info(
                    "SA with SPI %#010x: %d packets were not answered; in case its NIC lost its "
                    "power, %d numbers are skipped",
                    self.record.spi_out,
                    self.unheard,
                    LEAP,
                )
        self.unheard += 1

    def heard(self) -> None:
        """A packet was answered."""
        self.unheard, self.leap_at = 0, LEAP_AFTER


class Plane:
    """Every SA of every host.

    A NIC that lost its power and has a store goes on under its SA, with a window up to LEAP numbers
    to the right of what it had accepted: it hears only who skips as many (docs/store.md). Silence
    is all that is to be seen of that, so it is done in the middle of the repetitions of a request,
    and less and less often as the silence lasts. The numbers behind it are reserved in the store
    before one is used, as all are.

    Parameters
    ----------
    local : IPv4Address
        The station's address.
    natt_port : int
        Port of the hosts for ESP in UDP.
    rmcp_port, clear_port : int
        Source port inside ESP; port of the hosts in clear.
    reserve_block : int
        Sequence numbers reserved at a time.
    on_message : callable
        Called with inbound SPI and RMCP message, authenticated.
    on_alert : callable
        The same of what came to the port of alerts.
    on_clear : callable
        Called with an RMCP message from the clear port, and the host's address.
    """

    def __init__(
        self,
        local: IPv4Address,
        *,
        natt_port: int,
        rmcp_port: int,
        clear_port: int,
        reserve_block: int,
        on_message: Callable[[int, bytes], None],
        on_alert: Callable[[int, bytes], None],
        on_clear: Callable[[IPv4Address, bytes], None],
    ) -> None:
        self._local = local
        self._natt_port = natt_port
        if rmcp_port == PORT_SNMP_TRAP:
            raise ValueError(f"rmcp_port must not be {PORT_SNMP_TRAP}, the port of alerts")
        self._rmcp_port = rmcp_port
        self._clear_port = clear_port
        self._block = reserve_block
        self._on_message = on_message
        self._on_alert = on_alert
        self._on_clear = on_clear
        self._table = InboundTable()
        self._sas: dict[int, _Sa] = {}
        self._raw: RawEspTransport | None = None
        self._udp: SendUdp | None = None
        self._clear: UdpTransport | None = None

    async def open(self, *, raw: bool, udp: SendUdp) -> None:
        """Open the sockets; raises sw.ipsec.DataPlaneError.

        Without `raw`, and for SAs that were negotiated behind a NAT, ESP goes out by `udp`.
        """
        self._udp = udp
        if raw:
            self._raw = await RawEspTransport.open(self._local, lambda esp, _: self.receive(esp))
        self._clear = await UdpTransport.open(self._local, self._receive_clear)

    def close(self) -> None:
        """Close the sockets; harmless when repeated."""
        if self._raw is not None:
            self._raw.close()
        if self._clear is not None:
            self._clear.close()

    @property
    def drops(self) -> dict[str, int]:
        """Inbound ESP packets dropped, by reason."""
        return {reason.name: count for reason, count in self._table.drops.items()}

    def __contains__(self, spi_in: int) -> bool:
        return spi_in in self._sas

    def add(self, sa: SaRecord, reserve: Callable[[int], int]) -> None:
        """Begin to send and receive under an SA."""
        keys = sa.keys
        inbound = EspMaterial(sa.spi_in, sa.suite, keys.key_in, keys.salt_in, sa.esn, keys.auth_in)
        outbound = EspMaterial(
            sa.spi_out, sa.suite, keys.key_out, keys.salt_out, sa.esn, keys.auth_out
        )
        selector = UdpSelectorSet(
            tuple(
                UdpSelector(PORT_RMCP_SECURED, port) for port in (self._rmcp_port, PORT_SNMP_TRAP)
            )
        )
        sequences = SequenceReservation(reserve, last=outbound.sequence_max, block=self._block)
        entry = _Sa(
            sa,
            EspInbound(inbound, right_edge=sa.rx_edge, selector=selector),
            EspOutbound(outbound, sequences),
        )
        self._table.add(entry.inbound)
        self._sas[sa.spi_in] = entry

    def remove(self, spi_in: int) -> None:
        """Forget an SA; unknown ones are ignored."""
        self._table.remove(spi_in)
        self._sas.pop(spi_in, None)

    def right_edge(self, spi_in: int) -> int:
        """Highest number received under an SA."""
        return self._sas[spi_in].inbound.right_edge

    def send(self, spi_in: int, payload: bytes) -> None:
        """Send an RMCP message under an SA. What cannot be sent counts as lost, and is logged."""
        entry = self._sas[spi_in]
        sa = entry.record
        datagram = UdpDatagram(self._rmcp_port, PORT_RMCP_SECURED, payload)
        try:
            entry.leap()
            packet = entry.outbound.seal_udp(datagram, sa.local_ip, sa.peer_ip)
            if self._raw is not None and not sa.encap_udp:
                self._raw.send_esp(packet, (str(sa.peer_ip), 0))
            elif self._udp is not None:
                port = sa.peer_port if sa.encap_udp else self._natt_port
                self._udp(packet, (str(sa.peer_ip), port))
        except IpsecError as error:
            LOG.warning("SA with SPI %#010x: nothing sent: %s", sa.spi_out, error)

    def receive(self, packet: bytes) -> None:
        """An ESP packet. What does not pass every check is dropped and counted."""
        try:
            payload = self._table.open(packet)
        except PacketDroppedError as error:
            LOG.debug("ESP dropped: %s", error)
            return
        takes = self._on_message
        if payload.datagram.destination_port == PORT_SNMP_TRAP:
            takes = self._on_alert  # nobody asked for them: they tell nothing of our packets
        else:
            self._sas[payload.spi].heard()
        takes(payload.spi, payload.datagram.payload)

    def send_clear(self, address: IPv4Address, payload: bytes) -> None:
        """Send an RMCP message to a host's clear port."""
        if self._clear is not None:
            self._clear.send(payload, (str(address), self._clear_port))

    def _receive_clear(self, payload: bytes, source: Endpoint) -> None:
        if source[1] == self._clear_port:
            self._on_clear(IPv4Address(source[0]), payload)
