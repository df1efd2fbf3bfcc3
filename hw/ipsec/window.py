"""Anti-replay window with extended sequence numbers, one per bank."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReplayWindow"]

_SHIFT_FAST = 8


class ReplayWindow(wiring.Component):
    """Checks a sequence number against a bank's window, and moves that window afterwards.

    `check_stb` takes (`bank`, `esn`, `sequence`), which stay stable until the packet is done;
    four cycles later `old`, `duplicate` and `high` are right and stay so. `update_stb`, raised
    only after the ICV was right, moves the window; it takes up to 17 cycles, with `busy` raised
    from the next cycle on. `load_stb` begins a bank anew; it is so two cycles later.

    A number w places left of the right edge T is in the window for 0 <= w < `window`. The high
    half that is not sent follows from T alone: right of T, or in the window, whichever is nearer.

    Parameters
    ----------
    banks : int
        Number of windows.
    window : int
        Width in packets, a power of two from 8 to 1024.

    Attributes
    ----------
    high : Signal, out
        Inferred bits 63:32 of the number; 0 without ESN.
    old, duplicate : Signal, out
        Left of the window (or beyond the last number there is); seen before, or number 0.

    Source: RFC 4303 3.4.3 and appendix A2.
    """

    def __init__(self, *, banks: int, window: int):
        if banks < 1:
            raise ValueError(f"banks must be at least 1, not {banks}")
        if window not in (8, 16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(f"window must be a power of two from 8 to 1024, not {window}")
        self._banks = banks
        self._window = window
        super().__init__(
            {
                "bank": In(range(banks)),
                "esn": In(1),
                "sequence": In(32),
                "check_stb": In(1),
                "update_stb": In(1),
                "busy": Out(1),
                "high": Out(32),
                "old": Out(1),
                "duplicate": Out(1),
                "load_stb": In(1),
                "load_bank": In(range(banks)),
                "load_edge": In(64),
            }
        )

    @property
    def window(self) -> int:
        """Width in packets."""
        return self._window

    def elaborate(self, platform):
        m = Module()
        width = self._window
        edges = Array(Signal(64, name=f"edge_{n}") for n in range(self._banks))
        maps = Array(Signal(width, name=f"seen_{n}") for n in range(self._banks))

        # Rank 1: the bank's state. Rank 2: differences. Rank 3: where the number stands. Rank 4:
        # the answer, and what a move would do.
        step = Signal(3)
        moves = Signal()
        shift_by = Signal(range(width + 1))
        edge = Signal(64)
        seen = Signal(width)
        behind = Signal(32)
        ahead = Signal(32)
        is_behind, is_edge = Signal(), Signal()
        m.d.sync += step.eq(step << 1 | self.check_stb)
        with m.If(self.check_stb):
            m.d.sync += [edge.eq(edges[self.bank]), seen.eq(maps[self.bank])]
        with m.If(step[0]):
            m.d.sync += [
                behind.eq(edge[:32] - self.sequence),
                ahead.eq(self.sequence - edge[:32]),
                is_behind.eq(self.sequence <= edge[:32]),
                is_edge.eq(self.sequence == edge[:32]),
            ]
        near = Signal()
        in_window = Signal()
        was_seen, is_zero = Signal(), Signal()
        high = Signal(33)
        place = behind[: width.bit_length() - 1]
        m.d.comb += near.eq(behind[width.bit_length() - 1 :] == 0)
        with m.If(step[1]):
            m.d.sync += [
                is_zero.eq(self.sequence == 0),
                was_seen.eq(seen.bit_select(place, 1)),
                shift_by.eq(Mux(ahead >= width, width, ahead)),
            ]
            with m.If(self.esn):
                m.d.sync += [in_window.eq(near), moves.eq(~near)]
                with m.If(near):
                    m.d.sync += high.eq(edge[32:] - ~is_behind)
                with m.Else():
                    m.d.sync += high.eq(edge[32:] + (is_behind & ~is_edge))
            with m.Else():
                m.d.sync += [in_window.eq(is_behind & near), moves.eq(~is_behind), high.eq(0)]
        with m.If(step[2]):
            m.d.sync += [
                self.high.eq(high),
                self.old.eq(Mux(self.esn, high[32], is_behind & ~in_window)),
                self.duplicate.eq((is_zero & (high[:32] == 0)) | (in_window & was_seen)),
            ]

        # Moving: right of the edge the map is shifted, eight places and then one place a cycle.
        shift_left = Signal(range(width + 1))
        shifting = Signal()
        updating = Signal()
        moved_bank = Signal.like(self.bank)
        m.d.comb += self.busy.eq(updating | shifting)
        m.d.sync += [updating.eq(self.update_stb), moved_bank.eq(self.bank)]
        with m.If(shifting | updating):
            m.d.sync += moved_bank.eq(moved_bank)
        with m.If(updating):
            with m.If(moves):
                m.d.sync += [
                    shifting.eq(1),
                    shift_left.eq(shift_by),
                    edges[moved_bank].eq(Cat(self.sequence, self.high)),
                ]
            with m.Else():
                m.d.sync += maps[moved_bank].bit_select(place, 1).eq(1)
        with m.If(shifting):
            with m.If(shift_left >= _SHIFT_FAST):
                m.d.sync += [
                    maps[moved_bank].eq(maps[moved_bank] << _SHIFT_FAST),
                    shift_left.eq(shift_left - _SHIFT_FAST),
                ]
            with m.Elif(shift_left != 0):
                m.d.sync += [
                    maps[moved_bank].eq(maps[moved_bank] << 1),
                    shift_left.eq(shift_left - 1),
                ]
            with m.Else():
                m.d.sync += [maps[moved_bank].eq(maps[moved_bank] | 1), shifting.eq(0)]
        load_stb, load_bank = Signal(), Signal.like(self.load_bank)
        load_edge = Signal(64)
        m.d.sync += [
            load_stb.eq(self.load_stb),
            load_bank.eq(self.load_bank),
            load_edge.eq(self.load_edge),
        ]
        with m.If(load_stb):
            m.d.sync += [edges[load_bank].eq(load_edge), maps[load_bank].eq(1)]
        return m
