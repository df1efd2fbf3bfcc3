"""The command engine: what turns an authenticated RMCP message into pins and answers."""

from __future__ import annotations

from dataclasses import dataclass

from spec import rmcp as facts
from spec.counters import Counter
from spec.rmcp import AsfType, OemType, Role, SystemState
from spec.sa import BANKS
from verif.model import rmcp
from verif.model.host import HostMonitor
from verif.model.pins import PinSequencer
from verif.model.sad import Sad


@dataclass(frozen=True, slots=True)
class Answer:
    """A message to the sender of the request.

    Parameters
    ----------
    bank : int or None
        The bank it goes out under; None: in clear.
    message : bytes
        UDP payload.
    """

    bank: int | None
    message: bytes


class CommandEngine:
    """Carries out requests.

    Parameters
    ----------
    sad, host, pins
        What it acts on.
    """

    def __init__(self, sad: Sad, host: HostMonitor, pins: PinSequencer) -> None:
        self.sad = sad
        self.host = host
        self.pins = pins
        self.enterprise = facts.OEM_ENTERPRISE_DEFAULT
        self.boot: bytes | None = None
        """Power data of the last command that boots the host, until the firmware has taken it."""
        self.zeroises = False
        """All is to be emptied once the answers are out."""
        self.clear_everything = False
        """CLEAR_PORT says EVERYTHING, and POLICY nothing against it."""
        self._tags: dict[tuple[int | None, int], int] = {}
        """Tag of the last power command, by context (None: in clear) and RMCP sequence number; it
        outlives every SA."""

    def handle(self, message: bytes, under: int | None) -> tuple[Counter, list[Answer]]:
        """Acts on a UDP payload that came under bank `under`, or in clear (None).

        Returns
        -------
        tuple
            The counter the frame ends under, and the answers in their order: ACK, then response.
        """
        request = rmcp.parse(message, self.enterprise)
        if isinstance(request, Counter):
            return request, []
        if under is None and not self._in_clear(request.type):
            return Counter.DROP_CLEAR_POLICY, []
        if request.role > self._role(under):
            return Counter.DROP_RMCP_ROLE, []
        answers = []
        if request.sequence != facts.RMCP_NO_ACK_SEQUENCE:
            answers.append(Answer(under, rmcp.acknowledge(request.sequence)))
        if request.type in rmcp.POWER_COMMANDS:
            self._power(request, None if under is None else under // BANKS)
        else:
            answers.append(self._answer(request, under))
        return Counter.DELIVERED, answers

    def _role(self, under: int | None) -> Role:
        """What the sender of a message may do."""
        if under is not None and self.sad.banks[under].administrator:
            return Role.ADMINISTRATOR
        return Role.OPERATOR

    def _in_clear(self, kind: AsfType | OemType) -> bool:
        """Whether this may come in clear."""
        if isinstance(kind, OemType):
            return False
        if kind in (AsfType.PRESENCE_PING, AsfType.CAPABILITIES_REQUEST):
            return True
        return self.clear_everything

    def _power(self, request: rmcp.Request, context: int | None) -> None:
        assert isinstance(request.type, AsfType)
        if self._tags.get((context, request.sequence)) == request.tag:
            return  # a retransmission: acknowledged again, done once
        self._tags[context, request.sequence] = request.tag
        if request.type is not AsfType.POWER_DOWN:
            self.boot = request.data or None
        self.pins.command(request.type)

    def _answer(self, request: rmcp.Request, under: int | None) -> Answer:
        # The two kinds share numbers, and an IntEnum equals its number: ask for the kind first.
        if isinstance(request.type, OemType):
            assert under is not None
            return self._oem_answer(request, under)
        match request.type:
            case AsfType.PRESENCE_PING:
                kind, data = (
                    AsfType.PRESENCE_PONG,
                    facts.PONG_DATA.pack(
                        enterprise=facts.ASF_ENTERPRISE,
                        entities=facts.PONG_ENTITIES,
                        interactions=facts.PONG_INTERACTIONS,
                    ),
                )
            case AsfType.CAPABILITIES_REQUEST:
                kind, data = (
                    AsfType.CAPABILITIES_RESPONSE,
                    facts.CAPABILITIES_DATA.pack(
                        enterprise=facts.ASF_ENTERPRISE,
                        special_commands=facts.CAPABILITIES_SPECIAL_COMMANDS,
                        system=(
                            facts.CAPABILITIES_SYSTEM_CLEAR
                            if self.clear_everything
                            else facts.CAPABILITIES_SYSTEM
                        ),
                        firmware=facts.CAPABILITIES_FIRMWARE,
                    ),
                )
            case AsfType.SYSTEM_STATE_REQUEST:
                kind, data = (
                    AsfType.SYSTEM_STATE_RESPONSE,
                    facts.SYSTEM_STATE_DATA.pack(
                        system_state=self._system_state(),
                        watchdog_state=facts.WATCHDOG_EXPIRED * self.host.watchdog_expired,
                    ),
                )
            case _:
                raise ValueError(f"{request.type!r} has no answer")
        return Answer(under, rmcp.response(facts.ASF_ENTERPRISE, kind, request.tag, data))

    def _oem_answer(self, request: rmcp.Request, under: int) -> Answer:
        match request.type:
            case OemType.SA_STATUS_REQUEST:
                kind, data = OemType.SA_STATUS_RESPONSE, self._sa_status(under)
            case OemType.COMMIT:
                spi = facts.COMMIT_DATA.unpack(request.data)["spi"]
                result, under = self.sad.commit(spi, under)
                kind, data = OemType.COMMITTED, facts.COMMITTED_DATA.pack(spi=spi, result=result)
            case OemType.ZEROISE:
                kind, data = OemType.ZEROISING, b""
                self.zeroises = True
            case _:
                raise ValueError(f"{request.type!r} has no answer")
        return Answer(under, rmcp.response(self.enterprise, kind, request.tag, data))

    def _system_state(self) -> SystemState:
        if self.host.off_in:
            return SystemState.SOFT_OFF
        return SystemState.SLEEPING if self.host.sleep_in else SystemState.S0

    def _sa_status(self, under: int) -> bytes:
        first = under - under % BANKS
        bank_a, bank_b = self.sad.banks[first : first + BANKS]
        return facts.SA_STATUS_DATA.pack(
            bank_a_state=bank_a.state,
            bank_b_state=bank_b.state,
            under_bank=under % BANKS,
            host_state=self.host.state(self.sad.proven),
            bank_a_spi=bank_a.spi_in,
            bank_b_spi=bank_b.spi_in,
        )
