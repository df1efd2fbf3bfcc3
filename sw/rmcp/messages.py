"""RMCP/ASF messages, and those of our own, as octets and as values.

`RmcpMessage` is the envelope (sequence, tag) around one body; `RmcpAck` is an acknowledgement.
docs/rmcp.md has every message octet by octet.

Source: DSP0136 3.2.2 to 3.2.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from spec import rmcp as facts
from spec.headers import ASF, RMCP
from spec.host import HostState
from spec.layout import Header
from spec.rmcp import AsfType, CommitResult, OemType, SystemState
from spec.sa import BankState

SEQUENCE_MAX = 0xFE
"""Highest sequence number that asks for an ACK; FFh asks for none."""
TAG_MAX = 0xFE
"""Highest tag of a request; FFh marks a message that has no answer (DSP0136 3.2.2.3)."""

_E = TypeVar("_E", bound=IntEnum)


class RmcpError(ValueError):
    """Octets that are no RMCP message we know. The text says why; it never quotes the octets."""


@dataclass(frozen=True, slots=True)
class PowerData:
    """What a reset, power-up or power-cycle may carry: boot options.

    Parameters
    ----------
    enterprise : int
        Whose special commands these are; ASF's own by default.
    special_command, special_parameter, boot_options, oem_parameters : int
        As in DSP0136 3.2.4.1. The NIC keeps them for the host's firmware.
    """

    enterprise: int = facts.ASF_ENTERPRISE
    special_command: int = 0
    special_parameter: int = 0
    boot_options: int = 0
    oem_parameters: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """10h: reset the host."""

    data: PowerData | None = None


@dataclass(frozen=True, slots=True)
class PowerUp:
    """11h: switch the host on, or wake it."""

    data: PowerData | None = None


@dataclass(frozen=True, slots=True)
class PowerDown:
    """12h: switch the host off at once."""


@dataclass(frozen=True, slots=True)
class PowerCycle:
    """13h: switch the host off, and on again."""

    data: PowerData | None = None


@dataclass(frozen=True, slots=True)
class PresencePing:
    """80h: is anyone there?"""


@dataclass(frozen=True, slots=True)
class PresencePong:
    """40h, answer to 80h.

    Parameters
    ----------
    enterprise, oem : int
        Enterprise number of the OEM part, and that part.
    entities : int
        Bit 7: IPMI; low nibble 1: ASF 1.0.
    interactions : int
        Bit 7: the RSP security extensions are supported.
    """

    enterprise: int = facts.ASF_ENTERPRISE
    oem: int = 0
    entities: int = facts.PONG_ENTITIES
    interactions: int = facts.PONG_INTERACTIONS


@dataclass(frozen=True, slots=True)
class CapabilitiesRequest:
    """81h: what can you do?"""


@dataclass(frozen=True, slots=True)
class CapabilitiesResponse:
    """41h, answer to 81h.

    Parameters
    ----------
    enterprise, oem : int
        Enterprise number of the OEM part, and that part.
    special_commands, system, firmware : int
        Bit maps of DSP0136 3.2.4.4.
    """

    enterprise: int = facts.ASF_ENTERPRISE
    oem: int = 0
    special_commands: int = facts.CAPABILITIES_SPECIAL_COMMANDS
    system: int = facts.CAPABILITIES_SYSTEM
    firmware: int = facts.CAPABILITIES_FIRMWARE


@dataclass(frozen=True, slots=True)
class SystemStateRequest:
    """82h: in what state is the host?"""


@dataclass(frozen=True, slots=True)
class SystemStateResponse:
    """42h, answer to 82h.

    Parameters
    ----------
    state : int
        0 to 15; `spec.rmcp.SystemState` names those that our NIC sends.
    watchdog_expired : bool
        The host's heartbeat stopped.
    """

    state: int = SystemState.S0
    watchdog_expired: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """OEM 80h: make the READY bank with this inbound SPI active."""

    spi: int


@dataclass(frozen=True, slots=True)
class Committed:
    """OEM 40h, answer to Commit. Under the new SA if `result` is OK: that is the proof."""

    spi: int
    result: CommitResult


@dataclass(frozen=True, slots=True)
class SaStatusRequest:
    """OEM 81h: which SAs do you hold?"""


@dataclass(frozen=True, slots=True)
class SaStatusResponse:
    """OEM 41h, answer to SaStatusRequest.

    Parameters
    ----------
    bank_a_state, bank_b_state : BankState
        The two banks.
    under_bank : int
        The bank that authenticated the request; 0 is bank A.
    host_state : HostState
        The host as the NIC sees it: finer than 42h.
    bank_a_spi, bank_b_spi : int
        The NIC's inbound SPIs; 0 where the bank is EMPTY.
    """

    bank_a_state: BankState
    bank_b_state: BankState
    under_bank: int
    host_state: HostState
    bank_a_spi: int
    bank_b_spi: int


@dataclass(frozen=True, slots=True)
class Zeroise:
    """OEM 82h: empty every bank of every context; an administrator's."""


@dataclass(frozen=True, slots=True)
class Zeroising:
    """OEM 42h, answer to Zeroise, and the last one under any SA."""


PowerCommand = Reset | PowerUp | PowerDown | PowerCycle
Query = PresencePing | CapabilitiesRequest | SystemStateRequest | Commit | SaStatusRequest | Zeroise
Request = PowerCommand | Query
Response = (
    PresencePong
    | CapabilitiesResponse
    | SystemStateResponse
    | Committed
    | SaStatusResponse
    | Zeroising
)
Body = Request | Response


@dataclass(frozen=True, slots=True)
class RmcpAck:
    """An RMCP acknowledgement of the message with this sequence number."""

    sequence: int


@dataclass(frozen=True, slots=True)
class RmcpMessage:
    """One message with its envelope.

    Parameters
    ----------
    sequence : int
        0 to 254, or 255: no ACK wanted.
    tag : int
        0 to 254; a response carries its request's.
    body : Request or Response
        What it says.
    """

    sequence: int
    tag: int
    body: Body


RESPONSE_TO: dict[type[Request], type[Response]] = {
    PresencePing: PresencePong,
    CapabilitiesRequest: CapabilitiesResponse,
    SystemStateRequest: SystemStateResponse,
    Commit: Committed,
    SaStatusRequest: SaStatusResponse,
    Zeroise: Zeroising,
}
"""The response each query ends with; power commands have none and end with their ACK."""


def parse(data: bytes, *, enterprise: int = facts.OEM_ENTERPRISE_DEFAULT) -> RmcpMessage | RmcpAck:
    """The message in a UDP payload.

    Octets behind the ASF data are ignored, and so is what reserved octets hold. Raises RmcpError
    for whatever is not a whole message of a type in this module. Of `enterprise`s, ASF's own
    has precedence.

    Source: DSP0136 3.2.2.2, 3.2.2.3.
    """
    if len(data) < RMCP.octets:
        raise RmcpError(f"{len(data)} octets are less than an RMCP header")
    header = RMCP.unpack(data)
    if header["version"] != facts.RMCP_VERSION:
        raise RmcpError(f"RMCP version {header['version']}")
    if header["reserved_class"] or header["message_class"] != facts.RMCP_CLASS_ASF:
        raise RmcpError(f"message class {header['message_class']}")
    if header["ack"]:
        return RmcpAck(header["sequence"])
    rest = data[RMCP.octets :]
    if len(rest) < ASF.octets:
        raise RmcpError("shorter than an ASF header")
    asf = ASF.unpack(rest)
    octets = rest[ASF.octets : ASF.octets + asf["data_octets"]]
    if len(octets) < asf["data_octets"]:
        raise RmcpError("ASF data is cut short")
    parser = None
    if asf["enterprise"] == facts.ASF_ENTERPRISE:
        parser = _ASF_PARSERS.get(asf["type"])
    elif asf["enterprise"] == enterprise:
        parser = _OEM_PARSERS.get(asf["type"])
    if parser is None:
        raise RmcpError(f"type {asf['type']:#04x} of enterprise {asf['enterprise']} is unknown")
    return RmcpMessage(header["sequence"], asf["tag"], parser(octets))


def build(
    message: RmcpMessage | RmcpAck, *, enterprise: int = facts.OEM_ENTERPRISE_DEFAULT
) -> bytes:
    """The UDP payload of a message; raises ValueError for a value out of its field's range."""
    if isinstance(message, RmcpAck):
        return RMCP.pack(
            version=facts.RMCP_VERSION,
            sequence=message.sequence,
            ack=1,
            message_class=facts.RMCP_CLASS_ASF,
        )
    kind, data = _encode(message.body)
    head = RMCP.pack(
        version=facts.RMCP_VERSION,
        sequence=message.sequence,
        message_class=facts.RMCP_CLASS_ASF,
    )
    asf = ASF.pack(
        enterprise=facts.ASF_ENTERPRISE if isinstance(kind, AsfType) else enterprise,
        type=kind,
        tag=message.tag,
        data_octets=len(data),
    )
    return head + asf + data


def _fields(header: Header, data: bytes) -> dict[str, int]:
    if len(data) != header.octets:
        raise RmcpError(f"{header.name} of {len(data)} octets, not {header.octets}")
    return header.unpack(data)


def _enum(kind: type[_E], value: int) -> _E:
    try:
        return kind(value)
    except ValueError:
        raise RmcpError(f"{kind.__name__} {value} is unknown") from None


def _nothing(data: bytes) -> None:
    if data:
        raise RmcpError(f"{len(data)} octets of data where there must be none")


def _bare(kind: type[_Bare]) -> Callable[[bytes], Body]:
    def parser(data: bytes) -> Body:
        _nothing(data)
        return kind()

    return parser


def _power(kind: type[_Power]) -> Callable[[bytes], Body]:
    def parser(data: bytes) -> Body:
        return kind(PowerData(**_fields(facts.POWER_DATA, data)) if data else None)

    return parser


def _parse_pong(data: bytes) -> Body:
    values = _fields(facts.PONG_DATA, data)
    values.pop("reserved")
    return PresencePong(**values)


def _parse_capabilities(data: bytes) -> Body:
    values = _fields(facts.CAPABILITIES_DATA, data)
    values.pop("reserved")
    return CapabilitiesResponse(**values)


def _parse_state(data: bytes) -> Body:
    values = _fields(facts.SYSTEM_STATE_DATA, data)
    expired = bool(values["watchdog_state"] & facts.WATCHDOG_EXPIRED)
    return SystemStateResponse(values["system_state"] & 0xF, expired)


def _parse_commit(data: bytes) -> Body:
    return Commit(_fields(facts.COMMIT_DATA, data)["spi"])


def _parse_committed(data: bytes) -> Body:
    values = _fields(facts.COMMITTED_DATA, data)
    return Committed(values["spi"], _enum(CommitResult, values["result"]))


def _parse_sa_status(data: bytes) -> Body:
    values = _fields(facts.SA_STATUS_DATA, data)
    return SaStatusResponse(
        bank_a_state=_enum(BankState, values["bank_a_state"]),
        bank_b_state=_enum(BankState, values["bank_b_state"]),
        under_bank=values["under_bank"],
        host_state=_enum(HostState, values["host_state"]),
        bank_a_spi=values["bank_a_spi"],
        bank_b_spi=values["bank_b_spi"],
    )


_Bare = (
    PowerDown
    | PresencePing
    | CapabilitiesRequest
    | SystemStateRequest
    | SaStatusRequest
    | Zeroise
    | Zeroising
)
_Power = Reset | PowerUp | PowerCycle

_ASF_PARSERS: dict[int, Callable[[bytes], Body]] = {
    AsfType.RESET: _power(Reset),
    AsfType.POWER_UP: _power(PowerUp),
    AsfType.POWER_DOWN: _bare(PowerDown),
    AsfType.POWER_CYCLE: _power(PowerCycle),
    AsfType.PRESENCE_PONG: _parse_pong,
    AsfType.CAPABILITIES_RESPONSE: _parse_capabilities,
    AsfType.SYSTEM_STATE_RESPONSE: _parse_state,
    AsfType.PRESENCE_PING: _bare(PresencePing),
    AsfType.CAPABILITIES_REQUEST: _bare(CapabilitiesRequest),
    AsfType.SYSTEM_STATE_REQUEST: _bare(SystemStateRequest),
}
_OEM_PARSERS: dict[int, Callable[[bytes], Body]] = {
    OemType.COMMITTED: _parse_committed,
    OemType.SA_STATUS_RESPONSE: _parse_sa_status,
    OemType.COMMIT: _parse_commit,
    OemType.SA_STATUS_REQUEST: _bare(SaStatusRequest),
    OemType.ZEROISE: _bare(Zeroise),
    OemType.ZEROISING: _bare(Zeroising),
}


def _encode_power(data: PowerData | None) -> bytes:
    if data is None:
        return b""
    return facts.POWER_DATA.pack(
        enterprise=data.enterprise,
        special_command=data.special_command,
        special_parameter=data.special_parameter,
        boot_options=data.boot_options,
        oem_parameters=data.oem_parameters,
    )


def _encode(body: Body) -> tuple[AsfType | OemType, bytes]:
    match body:
        case Reset(data):
            return AsfType.RESET, _encode_power(data)
        case PowerUp(data):
            return AsfType.POWER_UP, _encode_power(data)
        case PowerDown():
            return AsfType.POWER_DOWN, b""
        case PowerCycle(data):
            return AsfType.POWER_CYCLE, _encode_power(data)
        case PresencePing():
            return AsfType.PRESENCE_PING, b""
        case PresencePong():
            return AsfType.PRESENCE_PONG, facts.PONG_DATA.pack(
                enterprise=body.enterprise,
                oem=body.oem,
                entities=body.entities,
                interactions=body.interactions,
            )
        case CapabilitiesRequest():
            return AsfType.CAPABILITIES_REQUEST, b""
        case CapabilitiesResponse():
            return AsfType.CAPABILITIES_RESPONSE, facts.CAPABILITIES_DATA.pack(
                enterprise=body.enterprise,
                oem=body.oem,
                special_commands=body.special_commands,
                system=body.system,
                firmware=body.firmware,
            )
        case SystemStateRequest():
            return AsfType.SYSTEM_STATE_REQUEST, b""
        case SystemStateResponse(state, expired):
            if not 0 <= state <= 0xF:
                raise ValueError(f"system state {state} exceeds 4 bits")
            watchdog = facts.WATCHDOG_EXPIRED if expired else 0
            return AsfType.SYSTEM_STATE_RESPONSE, facts.SYSTEM_STATE_DATA.pack(
                system_state=state, watchdog_state=watchdog
            )
        case Commit(spi):
            return OemType.COMMIT, facts.COMMIT_DATA.pack(spi=spi)
        case Committed(spi, result):
            return OemType.COMMITTED, facts.COMMITTED_DATA.pack(spi=spi, result=result)
        case SaStatusRequest():
            return OemType.SA_STATUS_REQUEST, b""
        case Zeroise():
            return OemType.ZEROISE, b""
        case Zeroising():
            return OemType.ZEROISING, b""
        case SaStatusResponse():
            return OemType.SA_STATUS_RESPONSE, facts.SA_STATUS_DATA.pack(
                bank_a_state=body.bank_a_state,
                bank_b_state=body.bank_b_state,
                under_bank=body.under_bank,
                host_state=body.host_state,
                bank_a_spi=body.bank_a_spi,
                bank_b_spi=body.bank_b_spi,
            )
