"""The records of all banks in one memory, and whoever works with them."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import BANK_WORDS, BankWord, OutboundSa, Protocol, SuiteView
from hw.ipsec.sad_stage import RecordWrite
from hw.lowest_set import lowest_set
from spec.sa import ALL_BANKS, SaFlag

__all__ = ["WALK", "BankRecords"]

_WORD_BITS = (BANK_WORDS - 1).bit_length()
_BANK = range(ALL_BANKS)
_DEPTH = ALL_BANKS * BANK_WORDS

_NUMBERS = (
    BankWord.TX_SEQ_LO,
    BankWord.TX_SEQ_HI,
    BankWord.AH_TX_SEQ_LO,
    BankWord.AH_TX_SEQ_HI,
)
_SENDS = (
    BankWord.SUITE,
    BankWord.FLAGS,
    BankWord.SPI_OUT,
    BankWord.AH_SPI_OUT,
    BankWord.SALT_OUT,
    *_NUMBERS,
)
_CHECKS = (BankWord.SUITE, BankWord.SPI_IN, BankWord.AH_SPI_IN)


_Item = data.StructLayout(dict.fromkeys(("OWN", "OTHERS", "PEER", "WINDOWS"), 1))
"""What is next to do with a complete record, one flip-flop for each: read its inbound SPIs; compare
them with those of another bank; give the station's address to the classifier, and the right edges
to the windows."""
_FIRST_STATE = {"OWN": "OWN", "OTHERS": "OTHER", "PEER": "PEER", "WINDOWS": "EDGE_HIGH"}
WALK = data.StructLayout(
    dict.fromkeys(
        (
            *("IDLE", "PAUSE", "WIPE", "SEND", "TAKEN", "TAKE"),
            *("OWN", "OTHER", "PEER", "OCTETS", "EDGE_HIGH", "EDGE_LOW", "LOADED"),
        ),
        1,
    )
)
"""What the walker does, one flip-flop for each."""


class BankRecords(wiring.Component):
    """Keeps what was staged of each bank but its keys; counts its outbound numbers.

    The inbound path reads a word whenever it wants, two cycles later. All else is the walker's, one
    thing after another: to clear the record of an emptied bank (36 cycles), to read what protects a
    reply, or to bring a bank from its record to windows and classifier.

    Numbers: an outbound number is in the record before it is given away, so it is given once. The
    last number of all is followed by none: RFC 4303 3.3.3, RFC 4302 3.3.2.

    Attributes
    ----------
    write : RecordWrite, in
        A word of the staged bank; is written in the same cycle, or when the walker pauses.
    lost : Signal, out
        Another one came while one was waiting: it is not written.
    read_stb, read_address : Signal, in; read_data : Signal, out
        For the inbound path: Cat(word, bank), and the word two cycles later.
    wipe : Signal, in
        Strobe for each bank: clear its record. `wiping` until that is done.
    start, bank, peer_v6, outer : Signal, in
        Level: the record of `bank` is complete; check its SPIs, and load classifier and windows.
    is_free : Signal, out
        Of the SPIs, with `finished`: no other bank has one of them in the same protocol.
    finished : Signal, out
        Strobe, while `start`.
    nonempty : Signal, in
        Banks to compare with.
    peer_stb, peer_bank, peer_index, peer_octet : Signal, out
        An octet of the address of a bank's station.
    load_stb, load_index, load_edge : Signal, out
        To the windows: window Cat(outer, bank) begins anew at `load_edge`.
    send_stb, send_bank, send_takes : Signal, in
        Read what protects a reply under that bank, and take its next numbers if asked to.
    sends, send_exhausted, send_done : Signal, out
        The answer with `send_done`; it stays until the next question.
    """

    def __init__(self):
        super().__init__(
            {
                "write": In(RecordWrite),
                "lost": Out(1),
                "read_stb": In(1),
                "read_address": In(range(_DEPTH)),
                "read_data": Out(32),
                "wipe": In(ALL_BANKS),
                "wiping": Out(ALL_BANKS),
                "start": In(1),
                "bank": In(_BANK),
                "peer_v6": In(1),
                "outer": In(1),
                "nonempty": In(ALL_BANKS),
                "is_free": Out(1),
                "finished": Out(1),
                "peer_stb": Out(1),
                "peer_bank": Out(_BANK),
                "peer_index": Out(4),
                "peer_octet": Out(8),
                "load_stb": Out(1),
                "load_index": Out(range(2 * ALL_BANKS)),
                "load_edge": Out(64),
                "send_stb": In(1),
                "send_bank": In(_BANK),
                "send_takes": In(1),
                "sends": Out(OutboundSa),
                "send_exhausted": Out(1),
                "send_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=32,
            depth=_DEPTH,
            init=[],
            # What is read of a word as it is written is not used, or is of a bank that is not to
            # receive.
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        latch = Signal(32, reset_less=True)
        word = Signal(32, reset_less=True)  # as the output register of block RAM is
        at = Signal(range(len(_NUMBERS)))  # what is read, or written
        bank = Signal(_BANK)
        place = Signal(_WORD_BITS)
        asks, came = Signal(), Signal()
        m.d.comb += [
            read.addr.eq(Mux(self.read_stb, self.read_address, Cat(place, bank))),
            self.read_data.eq(word),
        ]
        m.d.sync += [latch.eq(read.data), word.eq(latch)]

        # A word of the walker: asked for where the inbound path asks for none, there two cycles
        # later.
        on_its_way = Signal()
        m.d.sync += [on_its_way.eq(asks & ~self.read_stb), came.eq(on_its_way)]
        with m.If(~self.read_stb):
            m.d.sync += asks.eq(0)

        # The walker writes first: an OS that writes without a pause must not keep back an answer.
        # One word waits for its turn meanwhile.
        puts = Signal()
        put_data = Signal(32)
        waiting = Signal.like(self.write)
        turn = Signal.like(self.write)
        m.d.comb += [
            turn.eq(Mux(waiting.stb, waiting.as_value(), self.write.as_value())),
            self.lost.eq(puts & waiting.stb & self.write.stb),
        ]
        with m.If(puts):
            m.d.comb += [
                write.en.eq(1),
                write.addr.eq(Cat(place, bank)),
                write.data.eq(put_data),
            ]
            with m.If(~waiting.stb):
                m.d.sync += waiting.eq(self.write)
        with m.Else():
            m.d.comb += [
                write.en.eq(turn.stb),
                write.addr.eq(Cat(turn.word, turn.bank)),
                write.data.eq(turn.data),
            ]
            with m.If(waiting.stb):
                m.d.sync += waiting.eq(self.write)
        m.d.sync += self.wiping.eq(self.wiping | self.wipe)
        wipes, wiped = lowest_set(m, self.wiping)

        # What protects a reply.
        sends = self.sends
        carry, low_is_last, exhausted = Signal(), Signal(), Signal()
        plus_one = Signal(32)
        is_last = Signal()
        both = sends.suite.protocol == Protocol.BOTH
        m.d.comb += [plus_one.eq(word + carry), is_last.eq(word.all())]
        takes = Signal()
        sending = Signal(len(_SENDS))  # which word comes next: one flip-flop for each
        numbers = (
            (sends.tx_sequence, BankWord.TX_SEQ_LO, BankWord.TX_SEQ_HI, 1),
            (sends.ah_tx_sequence, BankWord.AH_TX_SEQ_LO, BankWord.AH_TX_SEQ_HI, both),
        )

        # The staged bank beside another one.
        own = Signal(data.StructLayout({"protocol": Protocol, "spi_in": 32, "ah_spi_in": 32}))
        other = Signal(_BANK)
        other_protocol = Signal(Protocol)
        same_spi, spi_is_outer = Signal(), Signal()
        # Of the word that came a cycle ago.
        compared, is_spi, is_ah_spi, protocol = Signal(), Signal(), Signal(), Signal(Protocol)
        m.d.sync += [
            compared.eq(came),
            is_spi.eq(own.spi_in == word),
            is_ah_spi.eq(own.ah_spi_in == word),
            protocol.eq(SuiteView(word[: SuiteView.size]).protocol),
        ]
        item = Signal(_Item, init={"OWN": 1})
        m.d.sync += [self.send_done.eq(0), self.finished.eq(0), self.load_stb.eq(0)]
        m.d.sync += self.peer_stb.eq(0)
        half = Signal()
        octets = Signal(32)
        octet_at = Signal(2)
        m.d.comb += [
            self.peer_bank.eq(self.bank),
            self.load_index.eq(Cat(half, self.bank)),
        ]

        # One flip-flop for each state, and sums of what each has to say about the next word.
        walk = Signal(WALK, init={"IDLE": 1})

        def goto(here, there):
            m.d.sync += [walk[here].eq(0), walk[there].eq(1)]

        # A part that was given up by `start` ends, and changes nothing of the next one.
        def done_with(part, following):
            with m.If(item[part]):
                m.d.sync += [item[part].eq(0), item[following].eq(1)]

        # What is wanted is known a cycle late, so all ways back to IDLE go through PAUSE.
        begins, wanted = Signal(_Item), Signal(_Item)
        for which in _FIRST_STATE:
            m.d.sync += wanted[which].eq(self.start & ~self.finished & item[which])
            m.d.comb += begins[which].eq(walk.IDLE & ~wipes & ~self.send_stb & wanted[which])
        followed = walk.OCTETS & octet_at.all() & self.peer_v6 & (at != 3)
        asked = [
            (walk.IDLE & ~wipes & self.send_stb, _SENDS[0]),
            *((came & sending[n], following) for n, following in enumerate(_SENDS[1:])),
            (begins.OWN | begins.OTHERS, _CHECKS[0]),
            *((came & walk.OWN & (at == n), _CHECKS[n + 1]) for n in range(2)),
            *((compared & walk.OTHER & (at == n), _CHECKS[n + 1]) for n in range(2)),
            (begins.PEER, Mux(self.peer_v6, BankWord.PEER_IP6, BankWord.PEER_IP)),
            (followed | (walk.EDGE_HIGH & came), place + 1),
            (begins.WINDOWS, Mux(half, BankWord.AH_RX_SEQ_HI, BankWord.RX_SEQ_HI)),
        ]
        put = [
            (came & sending[-1], _NUMBERS[0]),
            *((walk.TAKE & (at == n), following) for n, following in enumerate(_NUMBERS[1:])),
            (walk.WIPE, place + 1),
        ]
        following = Const(0, _WORD_BITS)
        for condition, which in (*asked, *put):
            following = following | Mux(condition, which, 0)
        with m.If(Cat(condition for condition, _ in asked).any()):
            m.d.sync += asks.eq(1)
        # Kept where it is still needed; this asks less than whether a condition holds.
        moves = walk.IDLE | walk.TAKE | walk.WIPE | (came & ~walk.PEER) | (compared & walk.OTHER)
        with m.If(moves | followed):
            m.d.sync += place.eq(following)

        # Which bank is chosen at the beginning of each part.
        with m.If(walk.IDLE):
            m.d.sync += [at.eq(0), carry.eq(1), exhausted.eq(0), takes.eq(self.send_takes)]
            m.d.sync += bank.eq(Mux(item.OTHERS, other, self.bank))
            with m.If(self.send_stb):
                m.d.sync += bank.eq(self.send_bank)
            with m.If(wipes):
                m.d.sync += [bank.eq(wiped), puts.eq(1)]
                goto("IDLE", "WIPE")
            with m.Elif(self.send_stb):
                m.d.sync += sending.eq(1)
                goto("IDLE", "SEND")
        for which, there in _FIRST_STATE.items():
            with m.If(begins[which]):
                goto("IDLE", there)
        with m.If(walk.PAUSE):
            goto("PAUSE", "IDLE")

        with m.If(walk.WIPE & place.all()):
            m.d.sync += [
                puts.eq(0),
                self.wiping.eq((self.wiping & ~Cat(bank == n for n in _BANK)) | self.wipe),
            ]
            goto("WIPE", "PAUSE")

        with m.If(came & sending[-1]):
            goto("SEND", "TAKEN")
        with m.If(walk.TAKEN):
            with m.If(exhausted | ~takes):
                m.d.sync += [self.send_exhausted.eq(exhausted), self.send_done.eq(1)]
                goto("TAKEN", "PAUSE")
            with m.Else():
                m.d.sync += puts.eq(1)
                goto("TAKEN", "TAKE")
        halves = [half for number, *_ in numbers for half in (number[:32], number[32:])]
        with m.If(walk.TAKE):
            m.d.comb += put_data.eq(Array(halves)[at])
            m.d.sync += at.eq(at + 1)
            with m.If(at.all()):
                m.d.sync += [puts.eq(0), self.send_exhausted.eq(0), self.send_done.eq(1)]
                goto("TAKE", "PAUSE")

        with m.If(walk.OWN & came):
            m.d.sync += at.eq(at + 1)
            with m.Switch(at):
                with m.Case(0):
                    m.d.sync += own.protocol.eq(SuiteView(word[: SuiteView.size]).protocol)
                with m.Case(1):
                    m.d.sync += own.spi_in.eq(word)
                with m.Default():
                    m.d.sync += own.ah_spi_in.eq(word)
                    done_with("OWN", "OTHERS")
                    goto("OWN", "PAUSE")

        own_ah, own_both = (own.protocol == what for what in (Protocol.AH, Protocol.BOTH))
        is_ah, is_both = (other_protocol == what for what in (Protocol.AH, Protocol.BOTH))
        clashes = Signal()
        m.d.comb += clashes.eq(
            (same_spi & (own_ah == is_ah))
            | (spi_is_outer & own_both & is_ah)
            | (is_ah_spi & own_both & is_both)
            | (is_spi & own_ah & is_both)
        )
        with m.If(walk.OTHER & compared):
            m.d.sync += at.eq(at + 1)
            with m.Switch(at):
                with m.Case(0):
                    m.d.sync += other_protocol.eq(protocol)
                with m.Case(1):
                    m.d.sync += [same_spi.eq(is_spi), spi_is_outer.eq(is_ah_spi)]
                with m.Default():
                    with m.If(item.OTHERS):
                        meets = (other != self.bank) & self.nonempty.bit_select(other, 1)
                        with m.If(clashes & meets):
                            m.d.sync += self.is_free.eq(0)
                        m.d.sync += other.eq(other + 1)
                    with m.If(other == ALL_BANKS - 1):
                        done_with("OTHERS", "PEER")
                    goto("OTHER", "PAUSE")

        with m.If(walk.PEER & came):
            m.d.sync += [octets.eq(word), octet_at.eq(0)]
            goto("PEER", "OCTETS")
        with m.If(walk.OCTETS):
            m.d.sync += [
                octets.eq(octets << 8),
                octet_at.eq(octet_at + 1),
                self.peer_stb.eq(1),
                self.peer_octet.eq(octets[24:]),
                self.peer_index.eq(Cat(octet_at, Mux(self.peer_v6, at, 3))),
            ]
            with m.If(octet_at.all()):
                m.d.sync += at.eq(at + 1)
                with m.If(followed):
                    goto("OCTETS", "PEER")
                with m.Else():
                    done_with("PEER", "WINDOWS")
                    goto("OCTETS", "PAUSE")

        with m.If(walk.EDGE_HIGH & came):
            m.d.sync += self.load_edge[32:].eq(word)
            goto("EDGE_HIGH", "EDGE_LOW")
        with m.If(walk.EDGE_LOW & came):
            m.d.sync += [self.load_edge[:32].eq(word), self.load_stb.eq(self.start & item.WINDOWS)]
            goto("EDGE_LOW", "LOADED")
        with m.If(walk.LOADED):
            with m.If(item.WINDOWS):
                m.d.sync += [half.eq(1), self.finished.eq(self.start & (half | ~self.outer))]
            goto("LOADED", "PAUSE")

        # What protects a reply, as its words come.
        with m.If(came):
            m.d.sync += sending.eq(sending << 1)
            for n, read_word in enumerate(_SENDS):
                with m.If(sending[n]):
                    self._take_word(m, read_word, word, plus_one)
            for _, low, high, counts in numbers:
                with m.If(sending[_SENDS.index(low)]):
                    m.d.sync += [carry.eq(is_last), low_is_last.eq(is_last)]
                with m.If(sending[_SENDS.index(high)]):
                    m.d.sync += carry.eq(1)
                    with m.If(counts & low_is_last & (is_last | ~sends.esn)):
                        m.d.sync += exhausted.eq(1)
        with m.If(~self.start):
            m.d.sync += [
                item.eq(_Item.const({"OWN": 1})),
                other.eq(0),
                self.is_free.eq(1),
                half.eq(0),
            ]
        return m

    def _take_word(self, m, which, word, plus_one):
        """A word of what protects a reply."""
        sends = self.sends
        match which:
            case BankWord.SUITE:
                m.d.sync += sends.suite.eq(word[: SuiteView.size])
            case BankWord.FLAGS:
                m.d.sync += [
                    sends.esn.eq((word & SaFlag.ESN).any()),
                    sends.tunnel.eq((word & SaFlag.TUNNEL).any()),
                ]
            case BankWord.SPI_OUT:
                m.d.sync += sends.spi_out.eq(word)
            case BankWord.AH_SPI_OUT:
                m.d.sync += sends.ah_spi_out.eq(word)
            case BankWord.SALT_OUT:
                m.d.sync += sends.salt_out.eq(word)
            case BankWord.TX_SEQ_LO:
                m.d.sync += sends.tx_sequence[:32].eq(plus_one)
            case BankWord.TX_SEQ_HI:
                m.d.sync += sends.tx_sequence[32:].eq(plus_one)
            case BankWord.AH_TX_SEQ_LO:
                m.d.sync += sends.ah_tx_sequence[:32].eq(plus_one)
            case BankWord.AH_TX_SEQ_HI:
                m.d.sync += sends.ah_tx_sequence[32:].eq(plus_one)
