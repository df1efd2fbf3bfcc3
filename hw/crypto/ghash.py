"""GHASH, one octet a cycle, as the octets arrive.

With Z = Y ^ X, octet j of Z being z(j), the next Y is the sum of z(j) * x^(8j) * H. This core keeps
G = x^120 * H and computes, from the first octet on, acc = acc * x^-8 + z(j) * G: after 16 octets
acc is the product. So one constant factor serves all octets, and the result is there at once after
the last of them.

Source: SP 800-38D 6.4.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.tables import BLOCK_BITS, BLOCK_OCTETS, ghash_shift, linear

__all__ = ["Ghash"]


def _sums(power: int) -> list[int]:
    """Which bits of a block, as a mask, are summed in each bit of it times x to the `power`."""
    columns = [ghash_shift(1 << place, power) for place in range(BLOCK_BITS)]
    return [
        sum(1 << place for place, column in enumerate(columns) if column >> bit & 1)
        for bit in range(BLOCK_BITS)
    ]


class Ghash(wiring.Component):
    """GHASH of whole blocks, fed octet by octet.

    Contract: an octet each cycle, without pause between blocks; `y` holds the new value two
    cycles after the one in which the 16th octet of a block was given. After `load` it takes 15
    cycles until the next factor is `ready`; meanwhile the hash goes on under the present one.
    There is no backpressure. Zero padding and the length block are the user's to send.

    Attributes
    ----------
    load : In(1)
        Takes `h`, and makes the next factor of it; not again before `begin`.
    h : In(128)
        The hash subkey; lane 0 is its first octet.
    ready : Out(1)
        1 once the next factor is made; stays 1 until `begin`.
    begin : In(1)
        Takes the next factor into use, and starts from Y = 0.
    stb : In(1)
        `octet` is the next octet.
    octet : In(8)
    clear : In(1)
        Forgets the factor in use and the state. SEC: GCM.STATE_CLEARED.
    y : Out(128)
        The hash of the whole blocks given since `begin`; defined between blocks.
    """

    load: In(1)
    h: In(BLOCK_BITS)
    ready: Out(1)
    begin: In(1)
    stb: In(1)
    octet: In(8)
    clear: In(1)
    y: Out(BLOCK_BITS)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        # G times each power of x that a bit of an octet may stand for. Where it was reduced, a bit
        # is a sum of bits of G; each different sum has its own register.
        sums: dict[int, int] = {}
        multiples = [
            [sums.setdefault(sum_, len(sums)) for sum_ in _sums(power)] for power in range(8)
        ]
        factor = Signal(len(sums))
        next_factor = Signal(BLOCK_BITS)
        product = Signal(BLOCK_BITS)
        shift_count = Signal(range(BLOCK_OCTETS))
        position = Signal(range(BLOCK_OCTETS))
        at_end = Signal()
        loaded = Signal()

        # The octet is summed with that of the hash which it meets, and multiplied a cycle later.
        z = Signal(8)
        stb, ends = Signal(), Signal()  # of the octet in `z`
        moved = linear(lambda value: ghash_shift(value, -8), product)
        # Bit 7 of an octet is its lowest power of x. The sum of a bit is a tree, not a chain.
        total = Cat(
            Cat(
                *(factor[places[bit]] & z[7 - power] for power, places in enumerate(multiples)),
                moved[bit],
            ).xor()
            for bit in range(BLOCK_BITS)
        )
        y_next = Signal(BLOCK_BITS)
        at_ends = ends.replicate(BLOCK_BITS)
        m.d.comb += y_next.eq((Mux(stb, self.y >> 8, self.y) & ~at_ends) | (total & at_ends))
        with m.If(stb):
            m.d.sync += product.eq(total & ~at_ends)
        m.d.sync += [
            self.y.eq(y_next),
            stb.eq(self.stb),
            ends.eq(self.stb & at_end),
            z.eq(self.octet ^ y_next[:8]),
        ]
        with m.If(self.stb):
            m.d.sync += [position.eq(position + 1), at_end.eq(position == BLOCK_OCTETS - 2)]
        with m.If(shift_count != 0):
            m.d.sync += [
                shift_count.eq(shift_count - 1),
                next_factor.eq(linear(lambda value: ghash_shift(value, 8), next_factor)),
            ]
        m.d.comb += self.ready.eq(loaded & (shift_count == 0))
        with m.If(self.load):
            m.d.sync += [next_factor.eq(self.h), shift_count.eq(BLOCK_OCTETS - 1), loaded.eq(1)]
        with m.If(self.begin | self.clear):
            m.d.sync += [product.eq(0), self.y.eq(0), z.eq(0)]
            m.d.sync += [position.eq(0), at_end.eq(0), stb.eq(0), ends.eq(0)]
        with m.If(self.begin):
            m.d.sync += [
                factor.eq(Cat((next_factor & sum_).xor() for sum_ in sums)),
                next_factor.eq(0),
                loaded.eq(0),
            ]
        with m.If(self.clear):
            m.d.sync += factor.eq(0)
        return m
