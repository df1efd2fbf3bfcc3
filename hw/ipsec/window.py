"""Anti-replay window with extended sequence numbers, one per bank."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ReplayWindow"]

_SHIFT_FAST = 8


class ReplayWindow(wiring.Component):
    """Checks a sequence number against a bank's window, and moves that window afterwards.

    `check_stb` takes (`bank`, `esn`, `sequence`), which stay stable until the packet is done;
    three cycles later `old`, `duplicate` and `high` are right and stay so. `update_stb`, raised
    only after the ICV was right, moves the window; it takes up to 16 cycles, with `busy` raised
    from the next cycle on. `load_stb` begins a bank anew.

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

        # Rank 1: the bank's state. Rank 2: differences. Rank 3: the answer.
        step = Signal(2)
        edge = Signal(64)
        seen = Signal(width)
        behind = Signal(32)
        ahead = Signal(32)
        is_behind = Signal()
        m.d.sync += step.eq(step << 1 | self.check_stb)
        with m.If(self.check_stb):
            m.d.sync += [edge.eq(edges[self.bank]), seen.eq(maps[self.bank])]
        with m.If(step[0]):
            m.d.sync += [
                behind.eq(edge[:32] - self.sequence),
                ahead.eq(self.sequence - edge[:32]),
                is_behind.eq(self.sequence <= edge[:32]),
            ]
        in_window = Signal()
        with m.If(step[1]):
            high = Signal(33)
            with m.If(self.esn):
                with m.If(behind[width.bit_length() - 1 :] == 0):
                    m.d.comb += [in_window.eq(1), high.eq(edge[32:] - ~is_behind)]
                with m.Else():
                    m.d.comb += high.eq(edge[32:] + (is_behind & (self.sequence != edge[:32])))
                m.d.sync += self.old.eq(high[32])
            with m.Else():
                m.d.comb += in_window.eq(
                    is_behind & (behind[width.bit_length() - 1 :] == 0),
                )
                m.d.sync += self.old.eq(is_behind & ~in_window)
            zero = (self.sequence == 0) & (high[:32] == 0)
            m.d.sync += [
                self.high.eq(high),
                self.duplicate.eq(
                    zero | (in_window & seen.bit_select(behind[: width.bit_length() - 1], 1))
                ),
            ]

        # Moving: right of the edge the map is shifted, eight places and then one place a cycle.
        shift_left = Signal(range(width + 1))
        shifting = Signal()
        moved_bank = Signal.like(self.bank)
        moves = Signal()
        m.d.comb += [
            moves.eq(Mux(self.esn, behind[width.bit_length() - 1 :] != 0, ~is_behind)),
            self.busy.eq(shifting),
        ]
        with m.If(self.update_stb):
            m.d.sync += moved_bank.eq(self.bank)
            with m.If(moves):
                m.d.sync += [
                    shifting.eq(1),
                    shift_left.eq(Mux(ahead >= width, width, ahead)),
                    edges[self.bank].eq(self.sequence | self.high << 32),
                ]
            with m.Else():
                m.d.sync += maps[self.bank].bit_select(behind[: width.bit_length() - 1], 1).eq(1)
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
        with m.If(self.load_stb):
            m.d.sync += [edges[self.load_bank].eq(self.load_edge), maps[self.load_bank].eq(1)]
        return m
