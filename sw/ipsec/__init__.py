"""The station's data plane in user space: ESP and AH with every suite of the NIC."""

from sw.ipsec.ah import AhInbound, AhOutbound
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
    DropReason,
    IpsecError,
    PacketDroppedError,
    SequenceExhaustedError,
    SequenceReuseError,
)
from sw.ipsec.esp import EspInbound, EspOutbound
from sw.ipsec.inside import AddressPair, OpenedDatagram
from sw.ipsec.material import DATA_PLANE_SUITES, ESP_SUITES, AhMaterial, EspMaterial
from sw.ipsec.packet import PacketInbound, PacketOutbound
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
    "ESP_SUITES",
    "PORT_DISCOVERY",
    "AddressPair",
    "AhInbound",
    "AhMaterial",
    "AhOutbound",
    "DataPlaneError",
    "DropReason",
    "Endpoint",
    "EspInbound",
    "EspMaterial",
    "EspOutbound",
    "EspPacket",
    "IkeMessage",
    "InboundTable",
    "IpsecError",
    "Keepalive",
    "OpenedDatagram",
    "PacketDroppedError",
    "PacketInbound",
    "PacketOutbound",
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
