"""The host's driver of the NIC: registers by name, and the ways to reach them."""

from sw.nic.driver import (
    NO_IP6,
    BootRequest,
    Capabilities,
    ClearPortSetting,
    HostStatus,
    NicDriver,
    Policy,
    SaStatus,
)
from sw.nic.errors import (
    CapabilityError,
    NicError,
    SadBadSpiError,
    SadBusyError,
    SadError,
    SadForbiddenError,
    SadIncompleteError,
    SadTimeoutError,
    SadUnknownCommandError,
    SadUnsupportedError,
    TransportError,
    WrongNicError,
)
from sw.nic.sa import StagedAh, StagedSa
from sw.nic.transport import RegisterTransport, SerialTransport, UnixSocketTransport

__all__ = [
    "NO_IP6",
    "BootRequest",
    "Capabilities",
    "CapabilityError",
    "ClearPortSetting",
    "HostStatus",
    "NicDriver",
    "NicError",
    "Policy",
    "RegisterTransport",
    "SaStatus",
    "SadBadSpiError",
    "SadBusyError",
    "SadError",
    "SadForbiddenError",
    "SadIncompleteError",
    "SadTimeoutError",
    "SadUnknownCommandError",
    "SadUnsupportedError",
    "SerialTransport",
    "StagedAh",
    "StagedSa",
    "TransportError",
    "UnixSocketTransport",
    "WrongNicError",
]
