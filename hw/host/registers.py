"""The register bus: adapter from `spec.registers` to gateware."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spec.layout import Access, Register
from spec.registers import ADDRESS_BITS, REGISTERS

__all__ = ["BusSignature", "RegisterBank"]


def BusSignature() -> wiring.Signature:
    """The register bus: one cycle of `w_stb` writes, one of `r_stb` reads.

    `r_data` is valid in the cycle after `r_stb`, and a read sees
    every earlier write. `addr` is an octet address; its low two bits are
    ignored. The bus never waits.
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


class RegisterBank(wiring.Component):
    """Every register of `spec.registers` as signals.

    A register that the bus reads takes its value from `values`; one that the bus writes shows in
    `writes`. There is no storage here, and no path from a WO register to `r_data`
    (`SEC: SAD.KEY_WRITE_ONLY`). An address without a register reads as zero and takes no write.

    Attributes
    ----------
    bus : BusSignature, in
    values : struct, in
        For each RO or RW register its value (an array where it has several).
    stb : struct, out
        For each WO or RW register: strobe, one bit for each of its addresses, in the cycle in
        which `address` and `data` hold the write.
    """

    def __init__(self):
        readable = [r for r in REGISTERS if r.access is not Access.WO]
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
                "address": Out(ADDRESS_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        address = self.bus.addr & ~3
        m.d.comb += [self.address.eq(address), self.data.eq(self.bus.w_data)]

        def addresses(register: Register):
            for index in range(register.count):
                yield index, register.address + 4 * index

        with m.If(self.bus.r_stb):
            with m.Switch(self.address):
                for register in REGISTERS:
                    if register.access is Access.WO:
                        continue
                    for index, number in addresses(register):
                        with m.Case(number):
                            value = self.values[register.name.lower()][index]
                            m.d.sync += self.bus.r_data.eq(value)
                with m.Default():
                    m.d.sync += self.bus.r_data.eq(0)
        for register in REGISTERS:
            if register.access is Access.RO:
                continue
            for index, number in addresses(register):
                stb = self.stb[register.name.lower()]
                m.d.comb += stb[index].eq(self.bus.w_stb & (self.address == number))
        return m
