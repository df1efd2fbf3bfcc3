"""What IKE remembers of a Child SA once its keys are handed over."""

from __future__ import annotations

from dataclasses import dataclass

from spec.suites import Suite
from sw.ike.constants import ESP_SPI_OCTETS
from sw.ike.selectors import TrafficSelector


@dataclass(slots=True)
class ChildSa:
    """A pair of ESP SAs, without keys. Our inbound SPI is its name."""

    spi_in: int
    spi_out: int
    suite: Suite
    esn: bool
    transport: bool
    ts_local: tuple[TrafficSelector, ...]
    ts_remote: tuple[TrafficSelector, ...]
    rekeyed_spi: int | None = None
    deleting: bool = False
    """Our Delete for it is queued or under way."""
    announced: bool = True
    """Whether the caller was told of it; not so for a redundant one (RFC 7296 2.8.1)."""


def spi_octets(spi: int) -> bytes:
    """An ESP SPI as it stands on the wire."""
    return spi.to_bytes(ESP_SPI_OCTETS, "big")
