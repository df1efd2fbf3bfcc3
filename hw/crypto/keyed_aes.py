"""Key store and AES core in one, the core shared between a user and the key expansion."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import AesCore, aes_request_layout, aes_result_layout, check_slots
from hw.crypto.key_expansion import expand_layout
from hw.crypto.key_store import HReadSignature, KeyStore, key_write_layout, zeroise_layout

__all__ = ["KeyedAes"]


class KeyedAes(wiring.Component):
    """AES under keys that are held here.

    Contract: as `AesCore` for `request` and `result`, and as `KeyStore` for the rest. The expansion
    of a key needs one block of AES, for H, and takes its turn with the user's. Results keep their
    order, so that a user who does not take his results delays the expansion, but never zeroisation.

    Parameters
    ----------
    slots : int
        Keys held; a power of two from 2 to 32.

    Attributes
    ----------
    request, result
        Streams as of `AesCore`; the tag of a request is ignored.
    write, expand, zeroise, busy, zeroising, done, h
        As in `KeyStore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "request": In(stream.Signature(aes_request_layout(slots=slots, tag_bits=1))),
                "result": Out(stream.Signature(aes_result_layout(tag_bits=1))),
                "write": In(key_write_layout(slots=slots)),
                "expand": In(expand_layout(slots=slots)),
                "zeroise": In(zeroise_layout(slots=slots)),
                "busy": Out(1),
                "zeroising": Out(1),
                "done": Out(1),
                "h": In(HReadSignature(slots=slots)),
            }
        )

    @property
    def slots(self) -> int:
        """Keys held."""
        return self._slots

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.key_store = key_store = KeyStore(slots=self._slots)
        m.submodules.core = core = AesCore(slots=self._slots, tag_bits=1)
        wiring.connect(m, core.key, key_store.aes)
        wiring.connect(m, wiring.flipped(self.h), key_store.h)
        m.d.comb += [
            key_store.write.eq(self.write),
            key_store.expand.eq(self.expand),
            key_store.zeroise.eq(self.zeroise),
            self.busy.eq(key_store.busy),
            self.zeroising.eq(key_store.zeroising),
            self.done.eq(key_store.done),
        ]

        # The choice holds while a request is valid, as its payload must; then the other has its
        # turn.
        of_store = Signal()
        store_request = key_store.request
        with m.If(of_store):
            m.d.comb += [
                core.i.payload.eq(store_request.payload),
                core.i.valid.eq(store_request.valid),
                store_request.ready.eq(core.i.ready),
            ]
        with m.Else():
            m.d.comb += [
                core.i.payload.eq(self.request.payload),
                core.i.valid.eq(self.request.valid),
                self.request.ready.eq(core.i.ready),
            ]
        m.d.comb += core.i.payload.tag.eq(of_store)
        with m.If(~core.i.valid | core.i.ready):
            m.d.sync += of_store.eq(store_request.valid & ~(of_store & self.request.valid))

        # The tag of a block says whose it is.
        to_store = core.o.payload.tag[0]
        m.d.comb += [
            self.result.payload.eq(core.o.payload),
            self.result.valid.eq(core.o.valid & ~to_store),
            key_store.result.payload.eq(core.o.payload),
            key_store.result.valid.eq(core.o.valid & to_store),
            core.o.ready.eq(Mux(to_store, key_store.result.ready, self.result.ready)),
        ]
        return m
