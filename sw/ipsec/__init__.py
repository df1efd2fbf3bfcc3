"""The station's data plane in user space: ESP with AES-GCM, raw or in UDP."""

from sw.ipsec.encap import (
    EspPacket,
    IkeMessage,
    Keepalive,
    demultiplex,
    encapsulate_esp,
    encapsulate_ike,
)
from sw.ipsec.errors import (
    DataPlaneError,
    EspDroppedError,
    EspDropReason,
    IpsecError,
    SequenceExhaustedError,
    SequenceReuseError,
)
from sw.ipsec.esp import EspInbound, EspOutbound, EspPayload
from sw.ipsec.material import DATA_PLANE_SUITES, EspMaterial
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.table import InboundTable
from sw.ipsec.transports import (
    PORT_DISCOVERY,
    Endpoint,
    RawEspTransport,
    UdpEspTransport,
    UdpTransport,
    open_discovery,
)
from sw.ipsec.udp import UdpDatagram, UdpSelector, UdpSelectorSet

__all__ = [
    "DATA_PLANE_SUITES",
    "PORT_DISCOVERY",
    "DataPlaneError",
    "Endpoint",
    "EspDropReason",
    "EspDroppedError",
    "EspInbound",
    "EspMaterial",
    "EspOutbound",
    "EspPacket",
    "EspPayload",
    "IkeMessage",
    "InboundTable",
    "IpsecError",
    "Keepalive",
    "RawEspTransport",
    "SequenceExhaustedError",
    "SequenceReservation",
    "SequenceReuseError",
    "UdpDatagram",
    "UdpEspTransport",
    "UdpSelector",
    "UdpSelectorSet",
    "UdpTransport",
    "demultiplex",
    "encapsulate_esp",
    "encapsulate_ike",
    "open_discovery",
]
