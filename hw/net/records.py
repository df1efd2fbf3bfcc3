"""Who sent what: addresses of senders, kept from the parser until an answer is built."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.eth.fifo import COLLISION_FREE_MEMORY
from hw.ipsec.layouts import RECORD_OCTETS, TOKENS
from hw.mgmt.alerts import HELD_TOKENS, HeldToken

__all__ = ["ASKER_TOKEN", "TAKEN_TOKENS", "SenderRecords"]

TAKEN_TOKENS = 32
"""Records of packets that nothing has looked at yet: more than may wait in the taken buffer."""
_KEPT_TOKENS = 32
_KEPT_BITS = 5
_COPY_DELAY = 2
ASKER_TOKEN = _KEPT_TOKENS - 1
"""The record of the one who may wait for the host's MAC address."""


class SenderRecords(wiring.Component):
    """Two rings of records, so that no flood of refused packets can take a record in use.

    The parser writes octet by octet into the next record of the first ring; `taken` makes it that
    of a taken packet, `asked` that of one who asks for the host's MAC address, and both go on to
    the next. Only a packet that passed every check short of cryptography gets a record in the
    second ring: `keep` copies it there, under the number `kept`, in 34 cycles, and as many more as
    `inner` is written. The second ring is used up in the order in which answers leave, and holds
    more records than packets may be under way behind the check.

    Attributes
    ----------
    write_stb, write_offset, write_data : Signal, in
        From the parser.
    token : Signal, out
        Number in the first ring of the frame that is being parsed.
    taken, asked : Signal, in
        Strobes: it was taken; it asks for the host, and is to be answered.
    keep, keep_token : Signal, in
        Strobe, while `keep_ready`: copy that record. `kept` is the number that it gets.
    inner_stb, inner_token, inner_offset, inner_data : Signal, in
        What was inside of the protection, by number in the second ring.
    held : array of HeldToken, in
        Records in the second ring that stay as they are: `keep` goes past them
        (`SEC: ALERT.WAY_KEPT`).
    read_token, read_inner, read_offset : Signal, in; read_data : Signal, out
        An octet of a record in the second ring, two cycles later.
    """

    write_stb: In(1)
    write_offset: In(range(RECORD_OCTETS))
    write_data: In(8)
    token: Out(range(TAKEN_TOKENS))
    taken: In(1)
    asked: In(1)
    keep: In(1)
    keep_token: In(range(TAKEN_TOKENS))
    keep_ready: Out(1)
    kept: Out(range(TOKENS))
    inner_stb: In(1)
    inner_token: In(range(TOKENS))
    inner_offset: In(range(RECORD_OCTETS))
    inner_data: In(8)
    held: In(data.ArrayLayout(HeldToken, HELD_TOKENS))
    read_token: In(range(TOKENS))
    read_inner: In(1)
    read_offset: In(range(RECORD_OCTETS))
    read_data: Out(8)

    def elaborate(self, platform):
        m = Module()
        attrs = {"ram_style": "block"}
        taken = Memory(shape=8, depth=TAKEN_TOKENS * RECORD_OCTETS, init=[], attrs=attrs)
        kept = Memory(shape=8, depth=_KEPT_TOKENS * 2 * RECORD_OCTETS, init=[], attrs=attrs)
        for name, ring in (("taken_ring", taken), ("kept_ring", kept)):
            # Nobody asks for a record while it is written.
            m.submodules[name] = around = Module()
            around.submodules[COLLISION_FREE_MEMORY] = ring
        writer, copier = taken.write_port(), taken.read_port(transparent_for=())
        keeper, reader = kept.write_port(), kept.read_port(transparent_for=())

        m.d.comb += [
            writer.en.eq(self.write_stb),
            writer.addr.eq(Cat(self.write_offset, self.token)),
            writer.data.eq(self.write_data),
        ]
        asker_waits = Signal()
        asker_token = Signal.like(self.token)
        with m.If(self.taken | self.asked):
            m.d.sync += self.token.eq(self.token + 1)
        with m.If(self.asked):
            m.d.sync += [asker_waits.eq(1), asker_token.eq(self.token)]

        # Read in one cycle, in its register in the next, and then written; all stand still for the
        # other writer.
        source = Signal.like(self.token)
        target = Signal(range(_KEPT_TOKENS))
        count = Signal(range(RECORD_OCTETS + _COPY_DELAY))
        copied = Signal(8, reset_less=True)  # as the output register of block RAM is
        copies, goes_on = Signal(), Signal()
        is_free, is_held = Signal(), Signal()
        following = Mux(self.kept == ASKER_TOKEN - 1, 0, self.kept + 1)
        offset = (count - _COPY_DELAY)[: self.write_offset.shape().width]
        m.d.comb += [
            goes_on.eq(~self.inner_stb),
            copier.addr.eq(Cat(count[: self.write_offset.shape().width], source)),
            copier.en.eq(goes_on),
            self.keep_ready.eq(~copies & ~asker_waits & is_free),
        ]
        # Whether the next record is free is known a cycle after it became the next.
        m.d.sync += is_free.eq(~is_held)
        m.d.comb += is_held.eq(
            Cat(held.valid & (held.token == self.kept) for held in self.held).any()
        )
        with m.If(is_held):
            m.d.sync += [self.kept.eq(following), is_free.eq(0)]
        with m.If(goes_on):
            m.d.sync += copied.eq(copier.data)
        with m.If(copies):
            with m.If(goes_on):
                m.d.sync += count.eq(count + 1)
                with m.If(count == RECORD_OCTETS + _COPY_DELAY - 1):
                    m.d.sync += [copies.eq(0), count.eq(0)]
        with m.Elif(asker_waits):
            m.d.sync += [copies.eq(1), source.eq(asker_token), target.eq(ASKER_TOKEN)]
            m.d.sync += asker_waits.eq(self.asked)
        with m.Elif(self.keep):
            m.d.sync += [copies.eq(1), source.eq(self.keep_token), target.eq(self.kept)]
            m.d.sync += [self.kept.eq(following), is_free.eq(0)]
        with m.If(self.inner_stb):
            m.d.comb += [
                keeper.en.eq(1),
                keeper.addr.eq(Cat(self.inner_offset, Const(1, 1), self.inner_token[:_KEPT_BITS])),
                keeper.data.eq(self.inner_data),
            ]
        with m.Else():
            m.d.comb += [
                keeper.en.eq(copies & (count >= _COPY_DELAY)),
                keeper.addr.eq(Cat(offset, Const(0, 1), target)),
                keeper.data.eq(copied),
            ]
        m.d.comb += [
            reader.addr.eq(
                Cat(self.read_offset, self.read_inner, self.read_token[:_KEPT_BITS]),
            ),
            reader.en.eq(1),
        ]
        m.d.sync += self.read_data.eq(reader.data)
        return m
