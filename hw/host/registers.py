"""The register bus: adapter from `spec.registers` to gateware."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spec.layout import Access, Register
from spec.registers import ADDRESS_BITS, BY_NAME, REGISTERS

__all__ = ["READ_CYCLES", "BusSignature", "RegisterBank"]

READ_CYCLES = 3
"""From `r_stb` of the register bus to `r_data`."""

_GROUP_BITS = 5
"""Bits of an octet address within a group of registers that one multiplexer serves."""


def BusSignature() -> wiring.Signature:
    """The register bus: one cycle of `w_stb` writes, one of `r_stb` reads.

    `r_data` is valid READ_CYCLES after `r_stb`, and a read sees every earlier write. `addr` is an
    octet address; its low two bits are ignored. The bus never waits.
    """
    return wiring.Signature(
        {
            "addr": Out(ADDRESS_BITS),
            "w_data": Out(32),
            "w_stb": Out(1),
            "r_stb": Out(1),
            "r_data": In(32),
        }
    )


_COUNTERS = BY_NAME["COUNTERS"]


class RegisterBank(wiring.Component):
    """Every register of `spec.registers` as signals.

    A register that the bus reads takes its value from `values`; one that the bus writes shows in
    `writes`. There is no storage here, and no path from a WO register to `r_data`
    (`SEC: SAD.KEY_WRITE_ONLY`). An address without a register reads as zero and takes no write.

    Attributes
    ----------
    bus : BusSignature, in
    values : struct, in
        For each RO or RW register but COUNTERS its value (an array where it has several).
    counter : Signal, out; counter_value : Signal, in
        Which of COUNTERS is asked for, and its value a cycle later.
    stb : struct, out
        For each WO or RW register: strobe, one bit for each of its addresses, in the cycle in
        which `address` and `data` hold the write.
    """

    def __init__(self):
        readable = [r for r in REGISTERS if r.access is not Access.WO and r is not _COUNTERS]
        writable = [r for r in REGISTERS if r.access is not Access.RO]
        super().__init__(
            {
                "bus": In(BusSignature()),
                "values": In(
                    data.StructLayout(
                        {r.name.lower(): data.ArrayLayout(32, r.count) for r in readable}
                    )
                ),
                "stb": Out(data.StructLayout({r.name.lower(): r.count for r in writable})),
                "counter": Out(range(_COUNTERS.count)),
                "counter_value": In(32),
                "address": Out(ADDRESS_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        address = self.address
        w_stb = Signal()
        m.d.sync += [
            address.eq(self.bus.addr & ~3),
            self.data.eq(self.bus.w_data),
            w_stb.eq(self.bus.w_stb),
        ]

        def addresses(register: Register):
            for index in range(register.count):
                yield index, register.address + 4 * index

        # Two ranks: the word of each group of registers, then the group.
        groups: dict[int, dict[int, Value]] = {}
        for register in REGISTERS:
            if register.access is not Access.WO and register is not _COUNTERS:
                for index, number in addresses(register):
                    value = self.values[register.name.lower()][index]
                    groups.setdefault(number >> _GROUP_BITS, {})[number] = value
        group = Signal(ADDRESS_BITS - _GROUP_BITS)
        words = {number: Signal(32, name=f"group_{number}") for number in groups}
        m.d.sync += [group.eq(address >> _GROUP_BITS), self.bus.r_data.eq(0)]
        for number, members in groups.items():
            m.d.sync += words[number].eq(0)
            with m.Switch(address[:_GROUP_BITS]):
                for member, value in members.items():
                    with m.Case(member & ((1 << _GROUP_BITS) - 1)):
                        m.d.sync += words[number].eq(value)
        # Those of the counters come from their memory, as late.
        m.d.comb += self.counter.eq((address - _COUNTERS.address)[2:])
        first, end = _COUNTERS.address, _COUNTERS.address + 4 * _COUNTERS.count
        is_counter = Signal()
        m.d.sync += is_counter.eq((address >= first) & (address < end))
        with m.If(is_counter):
            m.d.sync += self.bus.r_data.eq(self.counter_value)
        with m.Switch(group):
            for number, word in words.items():
                with m.Case(number):
                    m.d.sync += self.bus.r_data.eq(word)
        for register in REGISTERS:
            if register.access is Access.RO:
                continue
            for index, number in addresses(register):
                stb = self.stb[register.name.lower()]
                m.d.comb += stb[index].eq(w_stb & (address == number))
        return m
