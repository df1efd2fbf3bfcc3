"""The register bus: adapter from `spec.registers` to gateware."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
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


_IN_MEMORY = {"counter": BY_NAME["COUNTERS"], "event": BY_NAME["EVENT"]}
"""Arrays that lie in memories elsewhere, and the names of their ports."""


class RegisterBank(wiring.Component):
    """Every register of `spec.registers` as signals.

    A register that the bus reads takes its value from `values`; one that the bus writes shows in
    `writes`. There is no storage here, and no path from a WO register to `r_data`
    (`SEC: SAD.KEY_WRITE_ONLY`). An address without a register reads as zero and takes no write.

    Attributes
    ----------
    bus : BusSignature, in
    values : struct, in
        For each RO or RW register but COUNTERS and EVENT its value (an array where it has several).
    counter, event : Signal, out; counter_value, event_value : Signal, in
        Which of COUNTERS or EVENT is asked for, and its value a cycle later; 0 where there is none.
    stb : struct, out
        For each WO or RW register: strobe, one bit for each of its addresses, in the cycle in
        which `address` and `data` hold the write.
    write : Signal, out
        The same for whatever address.
    """

    def __init__(self):
        in_memory = _IN_MEMORY.values()
        readable = [r for r in REGISTERS if r.access is not Access.WO and r not in in_memory]
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
                **{name: Out(range(array.count)) for name, array in _IN_MEMORY.items()},
                **{f"{name}_value": In(32) for name in _IN_MEMORY},
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        address = self.address
        m.d.sync += [
            address.eq(self.bus.addr & ~3),
            self.data.eq(self.bus.w_data),
            self.write.eq(self.bus.w_stb),
        ]

        def addresses(register: Register):
            for index in range(register.count):
                yield index, register.address + 4 * index

        # Two ranks: the word of each group of registers, 0 if another is asked for, then their OR.
        groups: dict[int, dict[int, Value]] = {}
        for register in REGISTERS:
            if register.access is not Access.WO and register not in _IN_MEMORY.values():
                for index, number in addresses(register):
                    value = self.values[register.name.lower()][index]
                    groups.setdefault(number >> _GROUP_BITS, {})[number] = value
        words = {number: Signal(32, name=f"group_{number}") for number in groups}
        for number, members in groups.items():
            m.d.sync += words[number].eq(0)
            with m.Switch(address[:_GROUP_BITS]):
                for member, value in members.items():
                    with m.Case(member & ((1 << _GROUP_BITS) - 1)):
                        m.d.sync += words[number].eq(value)
            elsewhere = Signal(name=f"not_group_{number}")
            m.d.sync += elsewhere.eq(self.bus.addr[_GROUP_BITS:] != number)
            with m.If(elsewhere):
                m.d.sync += words[number].eq(0)
        # Those of the others come from their memories, as late.
        r_data = Const(0, 32)
        for name, array in _IN_MEMORY.items():
            bits = 2 + (array.count - 1).bit_length()
            is_asked = Signal(name=f"is_{name}")
            m.d.sync += is_asked.eq(address[bits:] == array.address >> bits)
            m.d.comb += getattr(self, name).eq(address[2:bits])
            r_data = r_data | Mux(is_asked, getattr(self, f"{name}_value"), 0)
        for word in words.values():
            r_data = r_data | word
        m.d.sync += self.bus.r_data.eq(r_data)
        for register in REGISTERS:
            if register.access is Access.RO:
                continue
            for index, number in addresses(register):
                stb = self.stb[register.name.lower()]
                hit = self.bus.addr[2:] == number >> 2
                m.d.sync += stb[index].eq(self.bus.w_stb & hit)
        return m
