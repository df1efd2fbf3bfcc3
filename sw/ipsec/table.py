"""The station's inbound SAs, found by SPI."""

from __future__ import annotations

from collections import Counter

from spec.headers import ESP
from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.esp import EspInbound
from sw.ipsec.inside import OpenedDatagram


class InboundTable:
    """Opens whatever ESP packet comes, under the SA that its SPI names.

    Source: RFC 4301 4.1, RFC 4303 3.4.2.
    """

    def __init__(self) -> None:
        self._sas: dict[int, EspInbound] = {}
        self._unclaimed: Counter[DropReason] = Counter()
        self._removed: Counter[DropReason] = Counter()

    def add(self, sa: EspInbound) -> None:
        """Begin to receive under an SA; raises ValueError if its SPI is taken."""
        if sa.spi in self._sas:
            raise ValueError(f"inbound SPI {sa.spi:#010x} is taken")
        self._sas[sa.spi] = sa

    def remove(self, spi: int) -> None:
        """Stop to receive under an SA; its drops stay counted. Unknown SPIs are ignored."""
        sa = self._sas.pop(spi, None)
        if sa is not None:
            self._removed.update(sa.drops)

    def __contains__(self, spi: int) -> bool:
        return spi in self._sas

    def get(self, spi: int) -> EspInbound | None:
        """The SA with this inbound SPI, if there is one."""
        return self._sas.get(spi)

    @property
    def drops(self) -> dict[DropReason, int]:
        """Packets dropped, by reason, over all SAs that ever were in the table."""
        total = self._unclaimed + self._removed
        for sa in self._sas.values():
            total.update(sa.drops)
        return dict(total)

    def open(self, packet: bytes) -> OpenedDatagram:
        """What an ESP packet holds; raises PacketDroppedError, and counts the reason."""
        if len(packet) < ESP.octets:
            reason = DropReason.LENGTH
        else:
            sa = self._sas.get(ESP.unpack(packet)["spi"])
            if sa is not None:
                return sa.open(packet)
            reason = DropReason.UNKNOWN_SPI
        self._unclaimed[reason] += 1
        raise PacketDroppedError(reason)
