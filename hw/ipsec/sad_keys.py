"""What the SAD has the key stores do: expand the keys of a bank, or clear its slots."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import auth_slot, key_slot
from hw.ipsec.sad_stage import StageNeeds
from hw.lowest_set import lowest_set
from spec.sa import ALL_BANKS

__all__ = ["ORDERS", "KeyWork"]


_KEY, _AUTH = range(2 * ALL_BANKS), range(4 * ALL_BANKS)
ORDERS = {
    "key_expand": data.StructLayout({"stb": 1, "slot": _KEY, "aes256": 1, "decrypt": 1}),
    "key_zeroise": data.StructLayout({"stb": 1, "slot": _KEY}),
    "auth_expand": data.StructLayout({"stb": 1, "slot": _AUTH, "sha_1": 1}),
    "auth_zeroise": data.StructLayout({"stb": 1, "slot": _AUTH}),
}
"""Ports to the stores."""


class KeyWork(wiring.Component):
    """Works through the slots of a bank in both stores: two of the AES store, four of HMAC's.

    Clearing comes first, and puts an end to expanding. SEC: CRYPTO.ZEROISE.

    Attributes
    ----------
    dirty, cleaned : Signal, in, out
        For each bank: its slots are to be cleared; they are, which is said once.
    expand, bank, needs : in
        The slots of `bank` are to be expanded as `needs` says, all of which stays until `expanded`
        or `dirty`.
    expanded : Signal, out
        Strobe, while `expand`.
    key_expand, key_zeroise, auth_expand, auth_zeroise : struct, out
        To the stores.
    keys_busy, auth_busy : Signal, in
        A store is at work. May be up two cycles after the order at the latest.
    """

    def __init__(self):
        super().__init__(
            {
                "dirty": In(ALL_BANKS),
                "cleaned": Out(ALL_BANKS),
                "expand": In(1),
                "bank": In(range(ALL_BANKS)),
                "needs": In(StageNeeds),
                "expanded": Out(1),
                **{name: Out(layout) for name, layout in ORDERS.items()},
                "keys_busy": In(1),
                "auth_busy": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        busy = Signal()
        m.d.sync += busy.eq(self.keys_busy | self.auth_busy)
        step = Signal(2)  # outbound, outer
        bank = Signal(range(ALL_BANKS))
        outbound, outer = step
        needs = self.needs
        zeroises, expands = Signal(), Signal()
        m.d.sync += [
            self.key_zeroise.stb.eq(zeroises & ~outer),
            self.auth_zeroise.stb.eq(zeroises),
            self.key_expand.stb.eq(expands & needs.key & ~outer),
            self.auth_expand.stb.eq(expands & Mux(outer, needs.outer, needs.auth)),
            self.key_expand.slot.eq(key_slot(bank, outbound)),
            self.key_expand.aes256.eq(needs.aes256),
            self.key_expand.decrypt.eq(needs.decrypt & ~outbound),
            self.key_zeroise.slot.eq(key_slot(bank, outbound)),
            self.auth_expand.slot.eq(auth_slot(bank, outbound, outer)),
            self.auth_expand.sha_1.eq(needs.sha_1 & ~outer),
            self.auth_zeroise.slot.eq(auth_slot(bank, outbound, outer)),
        ]
        unclean, dirty_bank = lowest_set(m, self.dirty)
        with m.FSM(name="work"):
            with m.State("idle"):
                m.d.sync += [step.eq(0), bank.eq(Mux(unclean, dirty_bank, self.bank))]
                with m.If(unclean):
                    m.next = "zeroise"
                with m.Elif(self.expand):
                    m.next = "expand"
            with m.State("zeroise"):
                m.d.comb += zeroises.eq(1)
                m.next = "zeroise given"
            with m.State("zeroise given"):
                m.next = "zeroise started"
            with m.State("zeroise started"):
                m.next = "zeroising"
            with m.State("zeroising"):
                with m.If(~busy):
                    m.d.sync += step.eq(step + 1)
                    m.next = "zeroise"
                    with m.If(step.all()):
                        m.d.comb += self.cleaned.eq(Cat(bank == n for n in range(ALL_BANKS)))
                        m.next = "cleaned"
            with m.State("cleaned"):
                m.next = "idle"
            with m.State("expand"):
                m.d.comb += expands.eq(self.expand)
                m.next = "expand given"
            with m.State("expand given"):
                m.next = "expand started"
            with m.State("expand started"):
                m.next = "expanding"
            with m.State("expanding"):
                with m.If(unclean | ~self.expand):
                    m.next = "idle"
                with m.Elif(~busy):
                    m.d.sync += step.eq(step + 1)
                    m.next = "expand"
                    with m.If(step.all()):
                        m.d.comb += self.expanded.eq(1)
                        m.next = "done"
            with m.State("done"):
                with m.If(~self.expand | unclean):
                    m.next = "idle"
        return m
