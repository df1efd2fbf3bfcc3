"""Anti-replay windows with extended sequence numbers, in blocks of a small memory."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hw.eth.fifo import COLLISION_FREE_MEMORY
from hw.lowest_set import lowest_set

__all__ = ["ReplayWindow"]

BLOCK = 16
WINDOW_MAX = 1024
# Above so many bits the blocks go to block RAM.
_SMALL_BITS = 1024


class ReplayWindow(wiring.Component):
    """Says whether numbers are new to a window, and moves that window once they are proven.

    One operation at a time: the one whose strobe is up in a cycle with `busy` 0 is taken, with
    `index`, `esn`, `sequence` and `given_high` of that cycle. A strobe that meets `busy` is not
    taken and must stay up; two strobes at once are not allowed.

    - `check_stb`: which number is meant by the half that was sent, and whether it is new.
      `done` is up DONE_CYCLES later, with `high`, `old` and `duplicate`; they stay as they are
      until the next operation is taken. `busy` falls in the cycle after `done`.
    - `recheck_stb`: the same for a number whose high half is known from a check, against the
      window as it is now; `high` is `given_high`.
    - `update_stb`, only after the ICV was right: marks the number, and moves the window if the
      number is right of it. There is no `done`; `busy` falls at most DONE_CYCLES + 3 cycles after
      the strobe, and one more for each block of the ring. A number that is old by now changes
      nothing. Who waited for `busy` makes sure that the SA is still the one of the recheck.

    `load_stb` begins the window `load_index` anew: `load_edge` is its right edge T and counts as
    seen, and nothing else does. It may be raised in any cycle, and for several windows one after
    the other; `busy` is up until they are clear. An update of that window that is under way comes
    to nothing. With `load_full`, which stays until `busy` falls, all numbers left of the edge count
    as seen as well; then the edge must be the last number of a block.

    A number w places left of T is in the window for 0 <= w < `window`: exactly that many, although
    blocks are cleared as a whole, because the ring of blocks is twice as long. The high half that
    is not sent follows from T alone: right of T, or in the window, whichever is nearer. Without
    ESN it is 0, and no number follows the last.

    Parameters
    ----------
    windows : int
        How many.
    window : int
        Width in packets, a power of two, at least a block and at most 1024.
    half_bits : int
        Bits of each half of a number: 32 but in tests that try them all.
    block : int
        Bits of a block, a power of two.

    Attributes
    ----------
    high : Signal, out
        Upper half of the number.
    old, duplicate : Signal, out
        Left of the window, or beyond the last number there is; or seen before, or number 0. Never
        both; if neither, the number is new.

    Source: RFC 4303 3.4.3 and appendix A2; RFC 6479.
    """

    DONE_CYCLES = 7
    """From the cycle that takes a check or recheck to that of `done`."""

    def __init__(
        self, *, windows: int = 4, window: int = 64, half_bits: int = 32, block: int = BLOCK
    ) -> None:
        if windows < 1:
            raise ValueError(f"windows must be at least 1, not {windows!r}")
        if block < 2 or block & (block - 1):
            raise ValueError(f"block must be a power of two from 2, not {block!r}")
        if not block <= window <= WINDOW_MAX or window & (window - 1):
            raise ValueError(
                f"window must be a power of two from {block} (a block) to {WINDOW_MAX}, "
                f"not {window!r}"
            )
        if 1 << half_bits < 2 * window:
            raise ValueError(
                f"half_bits must be such that two windows fit a half, not {half_bits!r}"
            )
        self._windows = windows
        self._window = window
        self._half_bits = half_bits
        self._block = block
        super().__init__(
            {
                "index": In(range(windows)),
                "esn": In(1),
                "sequence": In(half_bits),
                "given_high": In(half_bits),
                "check_stb": In(1),
                "recheck_stb": In(1),
                "update_stb": In(1),
                "busy": Out(1),
                "done": Out(1),
                "high": Out(half_bits),
                "old": Out(1),
                "duplicate": Out(1),
                "load_stb": In(1),
                "load_index": In(range(windows)),
                "load_edge": In(2 * half_bits),
                "load_full": In(1),
            }
        )

    @property
    def windows(self) -> int:
        """How many windows."""
        return self._windows

    @property
    def window(self) -> int:
        """Width in packets."""
        return self._window

    @property
    def blocks(self) -> int:
        """Blocks in the ring of one window."""
        return 2 * self._window // self._block

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        half = self._half_bits
        within = self._window.bit_length() - 1
        bit_bits = self._block.bit_length() - 1
        ring_bits = self.blocks.bit_length() - 1

        m.submodules.edges = edges = memory.Memory(
            shape=2 * half, depth=self._windows, init=[], attrs={"ram_style": "distributed"}
        )
        edge_write, edge_read = edges.write_port(), edges.read_port(domain="comb")
        depth = self._windows * self.blocks
        small = depth * self._block <= _SMALL_BITS
        seen = memory.Memory(
            shape=self._block,
            depth=depth,
            init=[],
            attrs={"ram_style": "distributed" if small else "block"},
        )
        # What is read while an operation writes is not used.
        m.submodules[COLLISION_FREE_MEMORY] = seen
        seen_write, seen_read = seen.write_port(), seen.read_port(transparent_for=())

        # What was taken.
        index = Signal.like(self.index)
        sequence, given_high = Signal(half), Signal(half)
        esn, is_recheck, is_update = Signal(), Signal(), Signal()
        number_block = sequence[bit_bits : bit_bits + ring_bits]
        take = Signal()
        steps = Signal(self.DONE_CYCLES - 1)
        m.d.sync += steps.eq(Cat(take, steps))

        # Where the number stands, a small piece a cycle: the bank's state; differences of the low
        # halves; what they mean; the high half; what that means.
        edge_low, edge_high = Signal(half), Signal(half)
        behind = Signal(half)
        is_right, is_zero, is_near, is_far = (Signal() for _ in range(4))
        was_seen, is_inside = Signal(), Signal()
        one_less, one_more = Signal(), Signal()
        word = Signal(self._block)
        high = Signal(half + 1)
        m.d.comb += [
            edge_read.addr.eq(index),
            seen_read.addr.eq(Cat(number_block, index)),
            seen_read.en.eq(1),
        ]
        with m.If(steps[0]):
            m.d.sync += [
                edge_low.eq(edge_read.data[:half]),
                edge_high.eq(Mux(esn, edge_read.data[half:], 0)),
            ]
        with m.If(steps[1]):
            m.d.sync += [
                Cat(behind, is_right).eq(edge_low - sequence),
                word.eq(seen_read.data),
                is_zero.eq(sequence == 0),
            ]
        with m.If(steps[2]):
            m.d.sync += [
                is_near.eq(~behind[within:].any()),
                # The number is ahead by 2 ** half - behind, which is a window or more.
                is_far.eq(~(behind[within:].all() & behind[:within].any())),
                was_seen.eq(word.bit_select(sequence[:bit_bits], 1)),
            ]
        with m.If(steps[3]):
            m.d.sync += [
                is_inside.eq(is_near & (esn | ~is_right)),
                one_less.eq(esn & is_near & is_right),
                one_more.eq(esn & ~is_near & ~is_right),
            ]
        with m.If(steps[4]):
            m.d.sync += high.eq(edge_high + one_less.replicate(half + 1) + one_more)
        found_high = Signal(half)
        beyond, differs = Signal(), Signal()
        m.d.comb += found_high.eq(high[:half])
        # A check found its number in the window, or right of it and nearer than a half; since then
        # the window only went right. So where the low half means another number now, the number
        # that was meant is left of the window.
        m.d.comb += [
            differs.eq((is_recheck | is_update) & (found_high != given_high)),
            beyond.eq(Mux(esn, high[half], ~is_right & ~is_inside)),
        ]
        with m.If(steps[5]):
            m.d.sync += [
                self.high.eq(found_high),
                self.old.eq(beyond | differs),
                self.duplicate.eq(
                    ~beyond & ~differs & is_inside & (was_seen | is_zero & (found_high == 0))
                ),
            ]

        # A load only leaves its edge and a bit; the blocks are cleared when no operation is.
        pending, loads = Signal(self._windows), Signal()
        free = Signal(init=1)
        clears, moves, full = Signal(), Signal(), Signal()
        place = Signal(bit_bits + ring_bits)
        pointer, stop = Signal(ring_bits), Signal(ring_bits)
        edge_block = edge_low[bit_bits : bit_bits + ring_bits]
        leaves_block = Signal()
        m.d.comb += take.eq(free & (self.check_stb | self.recheck_stb | self.update_stb))
        with m.If(free):
            m.d.sync += [
                index.eq(self.index),
                esn.eq(self.esn),
                sequence.eq(self.sequence),
                given_high.eq(self.given_high),
                is_recheck.eq(self.recheck_stb),
                is_update.eq(self.update_stb),
            ]
        void = Signal()  # the window of the operation is to be loaded
        m.d.sync += [
            self.done.eq(0),
            void.eq(pending.bit_select(index, 1) | (self.load_stb & (self.load_index == index))),
        ]
        m.d.comb += leaves_block.eq(~is_inside & (is_far | (number_block != edge_block)))
        m.d.comb += seen_write.addr.eq(Cat(place[bit_bits:], index))
        due, next_load = lowest_set(m, pending)
        with m.FSM(name="operation"):
            with m.State("IDLE"):
                with m.If(loads):
                    m.d.sync += index.eq(next_load)
                    with m.If(due):
                        m.d.sync += pending.bit_select(next_load, 1).eq(0)
                        m.next = "LOAD"
                with m.Elif(take):
                    m.d.sync += free.eq(0)
                    m.next = "FIND"
            with m.State("LOAD"):
                m.d.sync += [
                    place.eq(edge_read.data[: len(place)]),
                    pointer.eq(0),
                    stop.eq(self.blocks - 1),
                    moves.eq(0),
                    clears.eq(1),
                    full.eq(self.load_full),
                    loads.eq(pending.any()),
                ]
                m.next = "CLEAR"
            with m.State("FIND"):
                with m.If(steps[5]):
                    m.d.sync += self.done.eq(~is_update)
                    m.next = "FOUND"
            with m.State("FOUND"):
                m.d.sync += [
                    pointer.eq(edge_block + 1),
                    stop.eq(Mux(is_far, edge_block, number_block)),
                    place.eq(sequence),
                    moves.eq(~is_inside),
                    full.eq(0),
                    clears.eq(leaves_block),
                ]
                with m.If(~is_update | self.old):
                    m.d.sync += free.eq(~loads)
                    m.next = "IDLE"
                with m.Elif(leaves_block):
                    m.next = "CLEAR"
                with m.Else():
                    m.next = "MARK"
            with m.State("CLEAR"):
                m.d.comb += [
                    seen_write.en.eq(1),
                    seen_write.addr.eq(Cat(pointer, index)),
                    seen_write.data.eq(full.replicate(self._block)),
                ]
                m.d.sync += pointer.eq(pointer + 1)
                with m.If(pointer == stop):
                    m.next = "MARK"
            with m.State("MARK"):
                # The one port that writes edges is the load's first. With what is loaded by now
                # this number has nothing to do.
                m.d.comb += seen_write.data.eq(
                    Mux(clears, full.replicate(self._block), word)
                    | (1 << place[:bit_bits])[: self._block]
                )
                with m.If(~self.load_stb):
                    with m.If(~void):
                        m.d.comb += [seen_write.en.eq(1), edge_write.en.eq(moves)]
                    m.d.sync += free.eq(~loads)
                    m.next = "IDLE"
        m.d.comb += [
            self.busy.eq(~free),
            edge_write.addr.eq(index),
            edge_write.data.eq(Cat(sequence, self.high)),
        ]
        with m.If(self.load_stb):
            m.d.comb += [
                edge_write.en.eq(1),
                edge_write.addr.eq(self.load_index),
                edge_write.data.eq(self.load_edge),
            ]
            m.d.sync += [pending.bit_select(self.load_index, 1).eq(1), loads.eq(1), free.eq(0)]
        return m
