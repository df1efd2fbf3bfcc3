"""AES, three blocks in flight, one round of one of them each cycle, in either direction.

A block stands in turn in three registers: `state`, the output latch of the tables, and `columns`,
their output register. The registers of the three stages turn in lock step, so a block has a turn
every third cycle. The key store delivers its words with just the delay of the tables. A table
holds, for an octet, all that it adds to its column in SubBytes and MixColumns, and behind that the
same of InvSubBytes and InvMixColumns: so both directions are the same sum of four, and the last
round takes the sum of all lanes of an entry, which is the substitute alone. Decryption is the
equivalent inverse cipher: its keys are used from the last to the first, and the middle ones went
through InvMixColumns.

Source: FIPS 197 5.1, 5.3.5.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.tables import BLOCK_BITS, BLOCK_OCTETS, DECRYPT_COLUMNS, ENCRYPT_COLUMNS

__all__ = ["AesCore", "KeyReadSignature", "aes_request_layout", "aes_result_layout", "check_slots"]

ROUNDS_128 = 10
ROUNDS_256 = 14
STAGES = 3
SPACING_CYCLES = 16
MAX_SLOTS = 32


def check_slots(slots: int) -> int:
    """Checks a number of key slots.

    Raises
    ------
    ValueError
        Unless `slots` is a power of two from 2 to 32.
    """
    if slots not in (2, 4, 8, 16, MAX_SLOTS):
        raise ValueError(f"slots must be 2, 4, 8, 16 or 32, not {slots!r}")
    return slots


def aes_request_layout(*, slots: int, tag_bits: int) -> data.StructLayout:
    """A `block` to encrypt or `decrypt` (lane 0 is its first octet), key `slot`, `aes256`, a `tag`.

    The slot must have been expanded for that size and direction.
    """
    return data.StructLayout(
        {
            "block": BLOCK_BITS,
            "slot": range(slots),
            "aes256": 1,
            "tag": tag_bits,
            "decrypt": 1,
        }
    )


def aes_result_layout(*, tag_bits: int) -> data.StructLayout:
    """A finished `block`, with the `tag` of its request."""
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
    """AES-128 and AES-256, either direction, with round keys from the key store.

    Contract: results come in the order of the requests. A lone AES-256 block is at `o` 47 cycles
    after the first cycle in which its request was valid, an AES-128 block 35 cycles. A request is
    taken at most every 16 cycles, and results follow at that rate, with up to three blocks in
    flight and one at `o`. When another is finished before that one was taken, the whole core stands
    still. A request of the other key size waits until the core is empty, which keeps the order.
    Idle stages hold zeros, and so does `o`: no block stays behind.

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
        To the key store; word 0 is the first round key of encryption.
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
                "decrypt": 1,
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
        advance = Signal()
        # Registers alone say whether the core goes on: all of it hangs on that. What was taken is
        # wiped a cycle later, for `o.ready` comes late.
        was_taken = Signal()
        m.d.comb += advance.eq(~(at_state.busy & at_state.done) | ~(self.o.valid | was_taken))
        m.d.sync += was_taken.eq(self.o.valid & self.o.ready)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(at_state.busy & at_state.done & ~self.o.valid & ~was_taken):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.block.eq(state),
                self.o.payload.tag.eq(at_state.tag),
            ]
        with m.If(was_taken):
            m.d.sync += self.o.payload.block.eq(0)

        # A request is claimed when its round key 0 is looked up, and taken two turns later, when
        # that key is there: so it need not be stored on the way, since a valid request does not
        # change.
        # Whether it may be claimed is known a cycle ahead, for the way to the keys is long.
        spacing = Signal(range(SPACING_CYCLES))
        free = Signal()
        eligible = Signal()
        claim = Signal()
        is_empty = Signal()
        size = Signal()
        first = Signal(4)
        slot = Signal.like(request.slot)
        m.d.comb += [
            free.eq(~at_state.busy | at_state.done),
            is_empty.eq(free & ~at_latch.busy & ~at_output.busy),
            claim.eq(free & eligible),
            self.key.enable.eq(advance),
            self.key.valid.eq(~free | eligible),
            self.key.slot.eq(Mux(free, slot, at_state.slot)),
            self.key.index.eq(Mux(free, first, at_state.index)),
        ]
        m.d.sync += [
            eligible.eq(
                self.i.valid
                & ~(claim & advance)
                & (spacing[1:] == 0)
                & ((request.aes256 == size) | is_empty)
            ),
            first.eq(Mux(request.decrypt, Mux(request.aes256, ROUNDS_256, ROUNDS_128), 0)),
            slot.eq(request.slot),
            self.i.ready.eq(at_output.busy & at_output.load & advance),
        ]
        with m.If(advance):
            m.d.sync += [at_latch.eq(at_state), at_output.eq(at_latch)]
            m.d.sync += [
                at_latch.busy.eq(~free | claim),
                at_output.last.eq(
                    at_latch.index
                    == Mux(at_latch.decrypt, 0, Mux(at_latch.aes256, ROUNDS_256, ROUNDS_128)),
                ),
            ]
            with m.If(free):
                m.d.sync += [
                    at_latch.load.eq(claim),
                    at_latch.aes256.eq(request.aes256),
                    at_latch.decrypt.eq(request.decrypt),
                    at_latch.index.eq(first),
                    at_latch.slot.eq(slot),
                    at_latch.tag.eq(request.tag),
                ]
            with m.If(claim):
                m.d.sync += [spacing.eq(SPACING_CYCLES - 1), size.eq(request.aes256)]
            with m.Elif(spacing != 0):
                m.d.sync += spacing.eq(spacing - 1)

        columns = self._look_up(m, state, at_state.decrypt, advance)
        summed = Signal(BLOCK_BITS)
        with m.If(at_output.load):
            m.d.comb += summed.eq(request.block)
        with m.Elif(at_output.last):
            m.d.comb += summed.eq(
                Cat(entry[:8] ^ entry[8:16] ^ entry[16:24] ^ entry[24:] for entry in columns),
            )
        with m.Else():
            turned = [entry.rotate_left(8 * (place % 4)) for place, entry in enumerate(columns)]
            m.d.comb += summed.eq(
                Cat(
                    turned[at] ^ turned[at + 1] ^ turned[at + 2] ^ turned[at + 3]
                    for at in range(0, BLOCK_OCTETS, 4)
                ),
            )
        with m.If(advance):
            m.d.sync += [
                at_state.eq(at_output),
                at_state.load.eq(0),
                at_state.done.eq(at_output.last),
                at_state.index.eq(Mux(at_output.decrypt, at_output.index - 1, at_output.index + 1)),
                state.eq(summed ^ self.key.word),
            ]
            with m.If(~at_output.busy):
                m.d.sync += state.eq(0)
        return m

    def _look_up(self, m: Module, state: Signal, decrypt: Value, advance: Signal) -> list[Signal]:
        """The entry of each octet, the octets moved by ShiftRows or InvShiftRows."""
        columns = []
        octets = [state.word_select(place, 8) for place in range(BLOCK_OCTETS)]
        for place in range(BLOCK_OCTETS):
            column, row = divmod(place, 4)
            table = memory.Memory(
                shape=32,
                depth=512,
                init=[*ENCRYPT_COLUMNS, *DECRYPT_COLUMNS],
                attrs={"rom_style": "block"},
            )
            m.submodules[f"table_{place}"] = table
            port = table.read_port()
            entry = Signal(32, name=f"column_{place}", reset_less=True)
            octet = Mux(
                decrypt,
                octets[4 * ((column - row) % 4) + row],
                octets[4 * ((column + row) % 4) + row],
            )
            m.d.comb += [port.addr.eq(Cat(octet, decrypt)), port.en.eq(advance)]
            with m.If(advance):
                m.d.sync += entry.eq(port.data)
            columns.append(entry)
        return columns
