"""The NIC's model as a function of a value: load a state, do one thing, read the state back.

Only this module knows how the model keeps its banks.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

from spec.headers import ETHERTYPE_IPV4
from spec.host import HEARTBEAT_MAGIC, HEARTBEAT_STOP, HostState
from spec.registers import BY_NAME
from spec.sa import BankState
from sw.nic import NicDriver, StagedSa
from verif.model import NicModel, ToWire
from verif.model.sad import Bank
from verif.model.window import ReplayWindow
from verif.modelcheck.words import (
    HOST_IP,
    HOST_MAC,
    STATION_IP,
    SUITE,
    TO_NIC,
    TO_STATION,
    Answer,
    Packet,
    esp_of_frame,
    frame_to_nic,
    key_of,
    open_esp,
    read_answer,
    sa_of,
    salt_of,
    spi_of,
)

ADDRESSES = {
    ("HOST_MAC_HI", 0): HOST_MAC >> 32,
    ("HOST_MAC_LO", 0): HOST_MAC & 0xFFFFFFFF,
    ("HOST_IP", 0): int(HOST_IP),
}
NO_BANK = (0, int(BankState.EMPTY))
NO_NUMBERS = (-1, 0, -1)
"""Of an SA that no bank holds."""
TIMED = (BankState.READY, BankState.ACTIVE, BankState.RETIRING)


class NicState(NamedTuple):
    """The NIC without its sequence numbers.

    Parameters
    ----------
    banks : tuple
        (SA, state) of each bank; SA 0 where none is written.
    authorised : bool
        POLICY.station_authorised.
    alive : bool
        The last heartbeat still counts.
    configured : bool
        It was told the host's addresses.
    """

    banks: tuple[tuple[int, int], ...] = (NO_BANK, NO_BANK)
    authorised: bool = False
    alive: bool = False
    configured: bool = False

    @property
    def proven(self) -> int:
        """The SA of the PROVEN bank; 0 if there is none."""
        return next((sa for sa, state in self.banks if state == BankState.PROVEN), 0)

    @property
    def timed(self) -> bool:
        """A timer runs."""
        return any(state in TIMED for _, state in self.banks)

    @property
    def keyed(self) -> tuple[int, ...]:
        """The SAs whose keys are expanded."""
        return tuple(sa for sa, state in self.banks if sa and state > BankState.STAGED)


Numbers = dict[int, tuple[int, int, int]]
"""By SA: right edge, bitmap, last outbound number."""


class KeyMeaningError(Exception):
    """A bank holds a key that is not the one of its SPI."""


class Nic:
    """One model, loaded anew for each thing that it does."""

    def __init__(self) -> None:
        self.model = NicModel(ack_ms=1, grace_ms=1, contexts=1)
        self._templates: dict[int, Bank] = {}

    def _template(self, sa: int) -> Bank:
        """A bank as the driver writes it for an SA."""
        if sa not in self._templates:
            scratch = NicModel(contexts=1)
            NicDriver(_Registers(scratch)).stage_sa(
                StagedSa.from_keymat(
                    spi_in=spi_of(sa, TO_NIC),
                    spi_out=spi_of(sa, TO_STATION),
                    suite=SUITE,
                    peer_ip=STATION_IP,
                    keymat_in=key_of(sa, TO_NIC) + salt_of(sa, TO_NIC),
                    keymat_out=key_of(sa, TO_STATION) + salt_of(sa, TO_STATION),
                )
            )
            self._templates[sa] = next(b for b in scratch.sad.banks if b.spi_in)
        return self._templates[sa]

    def load(self, state: NicState, numbers: Numbers) -> NicModel:
        """The model in this state."""
        model = self.model
        for place, (sa, bank_state) in enumerate(state.banks):
            bank = Bank(state=BankState(bank_state))
            if sa:
                template = self._template(sa)
                bank.staged = dict(template.staged)
                if bank_state > BankState.STAGED:
                    right, bitmap, sent = numbers[sa]
                    bank.inbound = copy.copy(template.inbound)
                    bank.outbound = copy.copy(template.outbound)
                    bank.window = ReplayWindow(right, True, model.sad.window)
                    bank.window.bitmap = bitmap
                    bank.tx_sequence = sent
            model.sad.banks[place] = bank
        policy = {f.name: 1 << f.lsb for f in BY_NAME["POLICY"].fields}
        model.bus.clear_policy()
        if state.authorised:
            model.bus_write("POLICY", policy["station_authorised"])
        for (name, index), value in ADDRESSES.items():
            model.bus_write(name, value if state.configured else 0, index)
        model.host.heartbeat(HEARTBEAT_MAGIC if state.alive else HEARTBEAT_STOP)
        return model

    def read(self) -> tuple[NicState, Numbers]:
        """The state that the model is in; raises KeyMeaningError."""
        model = self.model
        banks, numbers = [], {}
        for bank in model.sad.banks:
            sa = sa_of(bank.spi_in)
            banks.append((sa, int(bank.state)))
            if bank.state > BankState.STAGED:
                assert bank.window is not None
                numbers[sa] = (bank.window.right, bank.window.bitmap, bank.tx_sequence)
                self._check_keys(sa, bank)
            elif sa and bank.staged != self._template(sa).staged:
                raise KeyMeaningError(f"SA {sa} is staged with other keys than IKE agreed on")
        state = NicState(
            tuple(banks),
            model.bus.policy("station_authorised"),
            model.host_state is HostState.OS_UP,
            model.bus_read("HOST_IP") == int(HOST_IP),
        )
        return state, numbers

    @staticmethod
    def _check_keys(sa: int, bank: Bank) -> None:
        assert bank.inbound is not None
        assert bank.outbound is not None
        if (bank.inbound.key, bank.outbound.key) != (
            key_of(sa, TO_NIC),
            key_of(sa, TO_STATION),
        ):
            raise KeyMeaningError(f"the bank of SA {sa} holds another SA's key")

    # --- what happens to it -----------------------------------------------------------------------

    def receive(
        self, state: NicState, numbers: Numbers, packet: Packet
    ) -> tuple[NicState, Numbers, list[Answer], bool]:
        """A packet arrives, and then once more.

        Returns
        -------
        tuple
            State and numbers after it, its answers, and whether it was refused the second time.
        """
        model = self.load(state, numbers)
        frame = frame_to_nic(packet)
        outputs = model.wire_receive(frame)
        after = self.read()
        answers = []
        for output in outputs:
            if isinstance(output, ToWire) and output.frame[12:14] == ETHERTYPE_IPV4.to_bytes(2):
                sa, number, payload = open_esp(esp_of_frame(output.frame), TO_STATION)
                answers.append(Answer(sa, number, *read_answer(payload)))
        again = [out for out in model.wire_receive(frame) if isinstance(out, ToWire)]
        return *after, answers, not again and self.read() == after

    def expire(self, state: NicState, numbers: Numbers) -> tuple[NicState, Numbers]:
        """The timer that runs is over."""
        self.load(state, numbers).advance(1)
        after, numbers = self.read()
        return after._replace(alive=state.alive), numbers


class _Registers:
    """A register transport onto a model."""

    def __init__(self, model: NicModel) -> None:
        self.model = model

    def read(self, addr: int) -> int:
        """Read a register."""
        return self.model.bus_read(addr)

    def write(self, addr: int, value: int) -> None:
        """Write a register."""
        self.model.bus_write(addr, value)

    def close(self) -> None:
        """There is nothing to close."""
