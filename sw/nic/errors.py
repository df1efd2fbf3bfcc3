"""What can go wrong between driver and NIC. Each text says what to do; none has a secret in it."""

from __future__ import annotations


class NicError(Exception):
    """Any failure to use the NIC."""


class TransportError(NicError):
    """The way to the registers failed: no answer, a closed socket, a broken line."""


class WrongNicError(NicError):
    """Not our NIC, or one with another register map than this driver's."""


class CapabilityError(NicError):
    """This NIC cannot do what was asked; nothing was staged."""


class SadError(NicError):
    """The NIC refused an SA, or did not finish with it. The proven SA is untouched."""


class SadBusyError(SadError):
    """No bank is free: one is unproven or retiring. Try again, or `abort()` the unproven one."""


class SadIncompleteError(SadError):
    """READY without a staged bank, or with a part of the SA not written."""


class SadUnsupportedError(SadError):
    """A suite or flags that this NIC does not have."""


class SadBadSpiError(SadError):
    """SPI below 256, or the inbound SPI of the other bank."""


class SadForbiddenError(SadError):
    """An administrator's SA where policy lets none come in."""


class SadUnknownCommandError(SadError):
    """The NIC does not know the command."""


class SadTimeoutError(SadError):
    """The NIC did not finish a command within the polls allowed."""
