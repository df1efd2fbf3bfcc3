"""AES encryption, three blocks in flight, one round of one of them each cycle.

A block stands in turn in three registers: `state`, the output latch of the S-box memories, and
`substituted`; the step from the last to the first is ShiftRows, MixColumns and AddRoundKey. The
registers of the three stages turn in lock step, so a block has a turn every third cycle. The key
store delivers its words with just the delay of the S-boxes. These hold each substitute also times
x, so that MixColumns is a sum of five bits.

Source: FIPS 197 5.1.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.tables import BLOCK_BITS, BLOCK_OCTETS, SBOX, mix_columns, shift_rows, xtime

__all__ = ["AesCore", "KeyReadSignature", "aes_request_layout", "aes_result_layout", "check_slots"]

ROUNDS_128 = 10
ROUNDS_256 = 14
STAGES = 3
SPACING_CYCLES = 16
MAX_SLOTS = 16


def check_slots(slots: int) -> int:
    """Checks a number of key slots.

    Raises
    ------
    ValueError
        Unless `slots` is 2, 4, 8 or 16.
    """
    if slots not in (2, 4, 8, MAX_SLOTS):
        raise ValueError(f"slots must be 2, 4, 8 or 16, not {slots!r}")
    return slots


def aes_request_layout(*, slots: int, tag_bits: int) -> data.StructLayout:
    """A `block` to encrypt (lane 0 is its first octet), key `slot`, `aes256`, and a `tag`."""
    return data.StructLayout(
        {"block": BLOCK_BITS, "slot": range(slots), "aes256": 1, "tag": tag_bits}
    )


def aes_result_layout(*, tag_bits: int) -> data.StructLayout:
    """An encrypted `block`, with the `tag` of its request."""
    return data.StructLayout({"block": BLOCK_BITS, "tag": tag_bits})


class KeyReadSignature(wiring.Signature):
    """Read port of the key store, as the reader sees it.

    In each cycle with `enable` the word `index` of `slot` is looked up if `valid`, else a word of
    zeros, so that no key stays behind in a latch. `word` shows it two cycles with `enable` later.
    Without `enable` nothing moves.
    """

    def __init__(self, *, slots: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "valid": Out(1),
                "slot": Out(range(slots)),
                "index": Out(4),
                "word": In(BLOCK_BITS),
            }
        )


class AesCore(wiring.Component):
    """AES-128 and AES-256 encryption with round keys from the key store.

    Contract: results come in the order of the requests. A lone AES-256 block is at `o` 45 cycles
    after the first cycle in which its request was valid, an AES-128 block 33 cycles. A request is
    taken at most every 16 cycles, and results follow at that rate, with up to three blocks in
    flight. While a result waits for `o.ready` the whole core stands still. A request of the other
    key size waits until the core is empty, which keeps the order. Idle stages hold zeros: no block
    stays behind.

    Parameters
    ----------
    slots : int
        Key slots of the key store.
    tag_bits : int
        Width of the tag that travels with each block; at least 1.

    Attributes
    ----------
    i : In(stream.Signature(aes_request_layout(...)))
    o : Out(stream.Signature(aes_result_layout(...)))
    key : Out(KeyReadSignature(...))
        To the key store; word 0 is the first round key.
    """

    def __init__(self, *, slots: int = 4, tag_bits: int = 1) -> None:
        self._slots = check_slots(slots)
        if tag_bits < 1:
            raise ValueError(f"tag_bits must be at least 1, not {tag_bits!r}")
        self._tag_bits = tag_bits
        super().__init__(
            {
                "i": In(stream.Signature(aes_request_layout(slots=slots, tag_bits=tag_bits))),
                "o": Out(stream.Signature(aes_result_layout(tag_bits=tag_bits))),
                "key": Out(KeyReadSignature(slots=slots)),
            }
        )

    @property
    def slots(self) -> int:
        """Key slots of the key store."""
        return self._slots

    @property
    def tag_bits(self) -> int:
        """Width of the tag that travels with each block."""
        return self._tag_bits

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        request = self.i.payload

        # What a stage holds: `index` is the round key that its next AddRoundKey adds, `last` (only
        # valid in the last stage) says that no other comes after it.
        stage_layout = data.StructLayout(
            {
                "busy": 1,
                "load": 1,
                "done": 1,
                "last": 1,
                "aes256": 1,
                "index": 4,
                "slot": range(self._slots),
                "tag": self._tag_bits,
            }
        )
        at_state, at_latch, at_output = (
            Signal(stage_layout, name=f"at_{name}") for name in ("state", "latch", "output")
        )
        # Not reset: three idle turns of the core put zeros there anyway.
        state = Signal(BLOCK_BITS, reset_less=True)
        substituted = Signal(BLOCK_BITS, reset_less=True)
        doubled = Signal(BLOCK_BITS, reset_less=True)

        advance = Signal()
        m.d.comb += [
            self.o.valid.eq(at_state.busy & at_state.done),
            self.o.payload.block.eq(state),
            self.o.payload.tag.eq(at_state.tag),
            advance.eq(~self.o.valid | self.o.ready),
        ]

        # A request is claimed when its round key 0 is looked up, and taken two turns later, when
        # that key is there: so it need not be stored on the way, since a valid request does not
        # change.
        spacing = Signal(range(SPACING_CYCLES))
        free = Signal()
        claim = Signal()
        in_order = Signal()
        others = Signal()
        size = Signal()
        m.d.comb += [
            free.eq(~at_state.busy | at_state.done),
            others.eq(at_latch.busy | at_output.busy),
            in_order.eq((request.aes256 == size) | ~others),
            claim.eq(free & self.i.valid & (spacing == 0) & in_order),
            self.key.enable.eq(advance),
            self.key.valid.eq(~free | claim),
            self.key.slot.eq(Mux(free, request.slot, at_state.slot)),
            self.key.index.eq(Mux(free, 0, at_state.index)),
            self.i.ready.eq(at_output.busy & at_output.load & advance),
        ]
        with m.If(advance):
            m.d.sync += [at_latch.eq(at_state), at_output.eq(at_latch)]
            m.d.sync += [
                at_latch.busy.eq(~free | claim),
                at_output.last.eq(
                    at_latch.index == Mux(at_latch.aes256, ROUNDS_256, ROUNDS_128),
                ),
            ]
            with m.If(free):
                m.d.sync += [
                    at_latch.load.eq(claim),
                    at_latch.aes256.eq(request.aes256),
                    at_latch.index.eq(0),
                    at_latch.slot.eq(request.slot),
                    at_latch.tag.eq(request.tag),
                ]
            with m.If(claim):
                m.d.sync += [spacing.eq(SPACING_CYCLES - 1), size.eq(request.aes256)]
            with m.Elif(spacing != 0):
                m.d.sync += spacing.eq(spacing - 1)

        boxes, doubled_boxes = self._substitute(m, state, advance)
        rows = shift_rows(substituted)
        mixed = Signal(BLOCK_BITS)
        with m.If(at_output.load):
            m.d.comb += mixed.eq(request.block)
        with m.Elif(at_output.last):
            m.d.comb += mixed.eq(rows)
        with m.Else():
            m.d.comb += mixed.eq(mix_columns(rows, shift_rows(doubled)))
        with m.If(advance):
            m.d.sync += [
                substituted.eq(boxes),
                doubled.eq(doubled_boxes),
                at_state.eq(at_output),
                at_state.load.eq(0),
                at_state.done.eq(at_output.last),
                at_state.index.eq(at_output.index + 1),
                state.eq(mixed ^ self.key.word),
            ]
            with m.If(~at_output.busy):
                m.d.sync += state.eq(0)
        return m

    def _substitute(self, m: Module, state: Signal, advance: Signal) -> tuple[Cat, Cat]:
        """The latches of the S-boxes: the substitute of each octet, and that times x."""
        outputs = []
        boxes = [octet | xtime(octet) << 8 for octet in SBOX]
        for pair in range(BLOCK_OCTETS // 2):  # two octets share one memory of two ports
            box = memory.Memory(shape=16, depth=256, init=boxes, attrs={"rom_style": "block"})
            m.submodules[f"sbox_{pair}"] = box
            for octet in (2 * pair, 2 * pair + 1):
                port = box.read_port()
                m.d.comb += [port.addr.eq(state.word_select(octet, 8)), port.en.eq(advance)]
                outputs.append(port.data)
        return Cat(output[:8] for output in outputs), Cat(output[8:] for output in outputs)
