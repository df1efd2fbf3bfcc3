"""What was staged of each bank, as its record in the flash will have it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spec.sa import ALL_BANKS
from spec.store import BODY_WORDS

__all__ = ["SaImages"]

_BANK = range(ALL_BANKS)
_WORD = range(BODY_WORDS)


class SaImages(Component):
    """Keeps the staged words of all banks, keys among them, until the bank is emptied.

    Nothing but the store reads them, and no bus leads to them (`SEC: STORE.NO_READ_BACK`). After
    `wipe` all words of that bank are 0, BODY_WORDS + 2 cycles later for each bank that is wiped.

    Attributes
    ----------
    stb, bank, index, data : Signal, in
        A word that was staged; none comes while `busy`, but up to a cycle after `wipe`.
    wipe : Signal, in
        For each bank, strobe.
    busy : Signal, out
        Some bank is being wiped; all of them are after power-on.
    read_bank, read_index : Signal, in; read_data : Signal, out
        A word, two cycles later.
    """

    def __init__(self):
        super().__init__(
            {
                "stb": In(1),
                "bank": In(_BANK),
                "index": In(_WORD),
                "data": In(32),
                "wipe": In(ALL_BANKS),
                "busy": Out(1, init=1),
                "read_bank": In(_BANK),
                "read_index": In(_WORD),
                "read_data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = len(self.index)
        m.submodules.words = words = Memory(
            shape=32, depth=ALL_BANKS << bits, init=[], attrs={"ram_style": "block"}
        )
        write, read = words.write_port(), words.read_port(transparent_for=())
        word = Signal(32, reset_less=True)  # as the output register of block RAM is
        m.d.comb += [
            read.en.eq(1),
            read.addr.eq(Cat(self.read_index, self.read_bank)),
            self.read_data.eq(word),
        ]
        m.d.sync += word.eq(read.data)

        due = Signal(ALL_BANKS, init=(1 << ALL_BANKS) - 1)
        wipes = Signal()
        bank = Signal(_BANK)
        place = Signal.like(self.index)
        m.d.sync += [due.eq(due | self.wipe), self.busy.eq(due.any() | self.wipe.any() | wipes)]
        m.d.comb += [
            write.addr.eq(Mux(wipes, Cat(place, bank), Cat(self.index, self.bank))),
            write.data.eq(Mux(wipes, 0, self.data)),
            write.en.eq(wipes | self.stb),
        ]
        with m.If(~wipes):
            m.d.sync += place.eq(0)
            with m.If(due.any()):
                m.d.sync += wipes.eq(1)
                for n in reversed(_BANK):
                    with m.If(due[n]):
                        m.d.sync += bank.eq(n)
        with m.Else():
            m.d.sync += place.eq(place + 1)
            with m.If(place == BODY_WORDS - 1):
                m.d.sync += [
                    wipes.eq(0),
                    due.eq((due & ~Cat(bank == n for n in _BANK)) | self.wipe),
                ]
        return m
