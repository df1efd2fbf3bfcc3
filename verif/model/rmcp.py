"""RMCP and ASF messages: which ones the NIC knows, and the octets of its answers."""

from __future__ import annotations

from dataclasses import dataclass

from spec import rmcp as facts
from spec.counters import Counter
from spec.headers import ASF, RMCP
from spec.rmcp import AsfType, OemType, Role

POWER_COMMANDS: tuple[AsfType, ...] = (
    AsfType.RESET,
    AsfType.POWER_UP,
    AsfType.POWER_DOWN,
    AsfType.POWER_CYCLE,
)
ASF_REQUESTS: dict[int, tuple[int, ...]] = {
    AsfType.RESET: (0, facts.POWER_DATA.octets),
    AsfType.POWER_UP: (0, facts.POWER_DATA.octets),
    AsfType.POWER_DOWN: (0,),
    AsfType.POWER_CYCLE: (0, facts.POWER_DATA.octets),
    AsfType.PRESENCE_PING: (0,),
    AsfType.CAPABILITIES_REQUEST: (0,),
    AsfType.SYSTEM_STATE_REQUEST: (0,),
}
"""Requests of enterprise 4542, and the lengths their data may have."""
OEM_REQUESTS: dict[int, tuple[int, ...]] = {
    OemType.COMMIT: (facts.COMMIT_DATA.octets,),
    OemType.SA_STATUS_REQUEST: (0,),
    OemType.ZEROISE: (0,),
}
"""Requests of our own enterprise, likewise."""


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed request.

    Parameters
    ----------
    sequence, tag : int
        RMCP sequence number and ASF message tag.
    type : AsfType or OemType
        What is asked.
    data : bytes
        ASF data, of a length that is right for the type.
    """

    sequence: int
    tag: int
    type: AsfType | OemType
    data: bytes

    @property
    def role(self) -> Role:
        """The least role that may send it."""
        # The two kinds share numbers, and an IntEnum equals its number: ask for the kind first.
        if isinstance(self.type, AsfType):
            has_options = self.type in POWER_COMMANDS and self.data
            return Role.ADMINISTRATOR if has_options else Role.OPERATOR
        return Role.ADMINISTRATOR if self.type is OemType.ZEROISE else Role.OPERATOR


def parse(message: bytes, enterprise: int) -> Request | Counter:
    """A request, or the reason to drop the message.

    Octets behind the ASF data are ignored, reserved octets are not looked at. Should `enterprise`
    be ASF's own number, ASF's types count.

    Source: DSP0136 3.2.2.2, 3.2.2.3, 3.2.4.
    """
    if len(message) < RMCP.octets:
        return Counter.DROP_RMCP_MALFORMED
    header = RMCP.unpack(message)
    if header["version"] != facts.RMCP_VERSION or header["ack"]:
        return Counter.DROP_RMCP_MALFORMED
    if header["reserved_class"] or header["message_class"] != facts.RMCP_CLASS_ASF:
        return Counter.DROP_RMCP_UNKNOWN
    rest = message[RMCP.octets :]
    if len(rest) < ASF.octets:
        return Counter.DROP_RMCP_MALFORMED
    asf = ASF.unpack(rest)
    kind: AsfType | OemType
    if asf["enterprise"] == facts.ASF_ENTERPRISE and asf["type"] in ASF_REQUESTS:
        kind, lengths = AsfType(asf["type"]), ASF_REQUESTS[asf["type"]]
    elif asf["enterprise"] == enterprise != facts.ASF_ENTERPRISE and asf["type"] in OEM_REQUESTS:
        kind, lengths = OemType(asf["type"]), OEM_REQUESTS[asf["type"]]
    else:
        return Counter.DROP_RMCP_UNKNOWN
    data = rest[ASF.octets :]
    if asf["data_octets"] > len(data) or asf["data_octets"] not in lengths:
        return Counter.DROP_RMCP_MALFORMED
    return Request(header["sequence"], asf["tag"], kind, data[: asf["data_octets"]])


def acknowledge(sequence: int) -> bytes:
    """The RMCP ACK of a message with this sequence number (DSP0136 3.2.2.2.1)."""
    return RMCP.pack(
        version=facts.RMCP_VERSION,
        sequence=sequence,
        ack=1,
        message_class=facts.RMCP_CLASS_ASF,
    )


def response(enterprise: int, kind: AsfType | OemType, tag: int, data: bytes) -> bytes:
    """A response with the request's tag; it wants no ACK (DSP0136 3.2.2.2, 3.2.2.3)."""
    return (
        RMCP.pack(
            version=facts.RMCP_VERSION,
            sequence=facts.RMCP_NO_ACK_SEQUENCE,
            message_class=facts.RMCP_CLASS_ASF,
        )
        + ASF.pack(enterprise=enterprise, type=kind, tag=tag, data_octets=len(data))
        + data
    )
