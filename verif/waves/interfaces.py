"""The pictures: each interface of a packet's way, in the order of docs/packet_walk.md."""

from hw.host.registers import READ_CYCLES
from verif.waves.picture import Bit, Number, Picture, StreamLanes

__all__ = ["PICTURES"]

PICTURES = {
    "passed": Picture(
        "passed",
        "a TCP frame of 60 octets passes",
        (
            StreamLanes("wire_rx"),
            StreamLanes("parser.frame"),
            Bit("host_buffer.commit"),
            StreamLanes("host_tx"),
        ),
    ),
    "taken": Picture(
        "reset",
        "a protected reset is taken",
        (
            StreamLanes("wire_rx"),
            StreamLanes("parser.body"),
            Bit("taken_buffer.commit"),
            StreamLanes("taken_meta", ("kind", "header_octets", "octets")),
        ),
    ),
    "feeder": Picture(
        "reset",
        "front and feeder read it",
        (
            StreamLanes("taken_meta", ("octets",)),
            StreamLanes("taken_buffer"),
            StreamLanes("inbound_job", ("mode", "octets")),
        ),
    ),
    "cipher_in": Picture(
        "reset",
        "the cipher decrypts it",
        (
            StreamLanes("inbound_job", ("encrypt", "aad_octets", "octets")),
            StreamLanes("inbound_i"),
            StreamLanes("inbound_o"),
            StreamLanes("inbound_tag", ()),
        ),
    ),
    "message": Picture(
        "reset",
        "from the verdict to the pin",
        (
            StreamLanes("inbound_tag", ()),
            StreamLanes("message", ("protected", "octets")),
            StreamLanes("plain"),
            Bit("pin_reset"),
        ),
    ),
    "reply": Picture(
        "ping",
        "a Presence Ping becomes a reply",
        (StreamLanes("plain"), StreamLanes("reply", ("bank", "octets"))),
    ),
    "cipher_out": Picture(
        "ping",
        "the cipher encrypts the answer",
        (
            StreamLanes("outbound_job", ("encrypt", "aad_octets", "octets")),
            StreamLanes("outbound_i"),
            StreamLanes("outbound_o"),
            StreamLanes("outbound_tag", ()),
        ),
    ),
    "sent": Picture(
        "ping",
        "the answer leaves",
        (
            StreamLanes("builder.o"),
            Bit("send_buffer.commit"),
            StreamLanes("send_buffer"),
            StreamLanes("wire_tx"),
        ),
    ),
    "bus": Picture(
        "bus",
        "HOST_IP is written, and read",
        (
            Bit("bus.w_stb"),
            Bit("bus.r_stb"),
            Number("bus.addr", 3, ("bus.w_stb", "bus.r_stb")),
            Number("bus.w_data", 8, ("bus.w_stb",)),
            Number("bus.r_data", 8, ("bus.r_stb",), READ_CYCLES),
        ),
        scale=2,
    ),
}
