"""The records of all banks in one memory, and whoever works with them."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import BANK_WORDS, BankWord, OutboundSa, Protocol, SuiteView
from hw.ipsec.sad_stage import RecordWrite
from spec.sa import ALL_BANKS, SaFlag

__all__ = ["BankRecords"]

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


class _Item(enum.Enum):
    """What is next to do with a complete record."""

    OWN = 0
    """Read its inbound SPIs."""
    OTHERS = 1
    """Compare them with those of another bank."""
    PEER = 2
    """Give the station's address to the classifier."""
    WINDOWS = 3
    """Give the right edges to the windows."""


class BankRecords(wiring.Component):
    """Keeps what was staged of each bank but its keys; counts its outbound numbers.

    The inbound path reads a word whenever it wants, two cycles later. All else is the walker's, one
    thing after another: to clear the record of an emptied bank (34 cycles), to read what protects a
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
            shape=32, depth=_DEPTH, init=[], attrs={"ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port(transparent_for=())
        word = Signal(32, reset_less=True)  # as the output register of block RAM is
        at = Signal(range(len(_NUMBERS)))  # what is read, or written
        bank = Signal(_BANK)
        place = Signal(_WORD_BITS)
        asks, came = Signal(), Signal()
        m.d.comb += [
            read.en.eq(1),
            read.addr.eq(Mux(self.read_stb, self.read_address, Cat(place, bank))),
            self.read_data.eq(word),
        ]
        m.d.sync += word.eq(read.data)

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
        wipes, wiped = Signal(), Signal(_BANK)  # as `wiping` was a cycle ago
        m.d.sync += wipes.eq(self.wiping.any())
        for n in reversed(_BANK):
            with m.If(self.wiping[n]):
                m.d.sync += wiped.eq(n)

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
        item = Signal(_Item)
        m.d.sync += [self.send_done.eq(0), self.finished.eq(0), self.load_stb.eq(0)]
        m.d.sync += self.peer_stb.eq(0)
        half = Signal()
        octets = Signal(32)
        octet_at = Signal(2)
        m.d.comb += [
            self.peer_bank.eq(self.bank),
            self.load_index.eq(Cat(half, self.bank)),
        ]

        def ask(which, of):
            m.d.sync += [place.eq(which), bank.eq(of), asks.eq(1)]

        with m.FSM(name="walker"):
            with m.State("idle"):
                m.d.sync += [at.eq(0), carry.eq(1), exhausted.eq(0)]
                with m.If(wipes):
                    m.d.sync += [bank.eq(wiped), place.eq(0), puts.eq(1)]
                    m.next = "wipe"
                with m.Elif(self.send_stb):
                    m.d.sync += [takes.eq(self.send_takes), sending.eq(1)]
                    ask(_SENDS[0], self.send_bank)
                    m.next = "send"
                with m.Elif(self.start & ~self.finished):
                    with m.Switch(item):
                        with m.Case(_Item.OWN):
                            ask(_CHECKS[0], self.bank)
                            m.next = "own"
                        with m.Case(_Item.OTHERS):
                            ask(_CHECKS[0], other)
                            m.next = "other"
                        with m.Case(_Item.PEER):
                            ask(Mux(self.peer_v6, BankWord.PEER_IP6, BankWord.PEER_IP), self.bank)
                            m.next = "peer"
                        with m.Case(_Item.WINDOWS):
                            ask(Mux(half, BankWord.AH_RX_SEQ_HI, BankWord.RX_SEQ_HI), self.bank)
                            m.next = "edge high"
            with m.State("wipe"):
                m.d.sync += place.eq(place + 1)
                with m.If(place.all()):
                    m.d.sync += [
                        puts.eq(0),
                        self.wiping.eq((self.wiping & ~Cat(bank == n for n in _BANK)) | self.wipe),
                    ]
                    m.next = "pause"
            with m.State("send"):
                with m.If(came):
                    for n, following in enumerate(_SENDS[1:]):
                        with m.If(sending[n]):
                            ask(following, bank)
                    with m.If(sending[-1]):
                        m.d.sync += place.eq(_NUMBERS[0])
                        m.next = "taken"
            with m.State("taken"):
                with m.If(exhausted | ~takes):
                    m.d.sync += [self.send_exhausted.eq(exhausted), self.send_done.eq(1)]
                    m.next = "pause"
                with m.Else():
                    m.d.sync += puts.eq(1)
                    m.next = "take"
            with m.State("take"):
                with m.Switch(at[:2]):
                    for n in range(len(_NUMBERS)):
                        with m.Case(n):
                            number = numbers[n // 2][0]
                            m.d.comb += put_data.eq(number[32:] if n % 2 else number[:32])
                            following = _NUMBERS[(n + 1) % len(_NUMBERS)]
                            m.d.sync += place.eq(following)
                m.d.sync += at.eq(at + 1)
                with m.If(at == len(_NUMBERS) - 1):
                    m.d.sync += [puts.eq(0), self.send_exhausted.eq(0), self.send_done.eq(1)]
                    m.next = "pause"
            with m.State("pause"):
                m.next = "idle"
            with m.State("own"):
                with m.If(came):
                    m.d.sync += at.eq(at + 1)
                    with m.Switch(at):
                        with m.Case(0):
                            m.d.sync += own.protocol.eq(SuiteView(word[: SuiteView.size]).protocol)
                            ask(_CHECKS[1], self.bank)
                        with m.Case(1):
                            m.d.sync += own.spi_in.eq(word)
                            ask(_CHECKS[2], self.bank)
                        with m.Default():
                            m.d.sync += [own.ah_spi_in.eq(word), item.eq(_Item.OTHERS)]
                            m.next = "idle"
            with m.State("other"):
                own_ah, own_both = (own.protocol == what for what in (Protocol.AH, Protocol.BOTH))
                is_ah = other_protocol == Protocol.AH
                is_both = other_protocol == Protocol.BOTH
                clashes = Signal()
                with m.If(came):
                    m.d.sync += at.eq(at + 1)
                    with m.Switch(at):
                        with m.Case(0):
                            m.d.sync += other_protocol.eq(
                                SuiteView(word[: SuiteView.size]).protocol
                            )
                            ask(_CHECKS[1], other)
                        with m.Case(1):
                            m.d.sync += [
                                same_spi.eq(own.spi_in == word),
                                spi_is_outer.eq(own.ah_spi_in == word),
                            ]
                            ask(_CHECKS[2], other)
                        with m.Default():
                            m.d.comb += clashes.eq(
                                (same_spi & (own_ah == is_ah))
                                | (spi_is_outer & own_both & is_ah)
                                | ((own.ah_spi_in == word) & own_both & is_both)
                                | ((own.spi_in == word) & own_ah & is_both)
                            )
                            with m.If(
                                clashes & (other != self.bank) & self.nonempty.bit_select(other, 1)
                            ):
                                m.d.sync += self.is_free.eq(0)
                            m.d.sync += other.eq(other + 1)
                            with m.If(other == ALL_BANKS - 1):
                                m.d.sync += item.eq(_Item.PEER)
                            m.next = "idle"
            with m.State("peer"):
                with m.If(came):
                    m.d.sync += [octets.eq(word), octet_at.eq(0)]
                    m.next = "octets"
            with m.State("octets"):
                m.d.sync += [
                    octets.eq(octets << 8),
                    octet_at.eq(octet_at + 1),
                    self.peer_stb.eq(1),
                    self.peer_octet.eq(octets[24:]),
                    self.peer_index.eq(Cat(octet_at, Mux(self.peer_v6, at[:2], 3))),
                ]
                with m.If(octet_at.all()):
                    m.d.sync += at.eq(at + 1)
                    with m.If(self.peer_v6 & (at != 3)):
                        ask(place + 1, self.bank)
                        m.next = "peer"
                    with m.Else():
                        m.d.sync += item.eq(_Item.WINDOWS)
                        m.next = "idle"
            with m.State("edge high"):
                with m.If(came):
                    m.d.sync += self.load_edge[32:].eq(word)
                    ask(place + 1, self.bank)
                    m.next = "edge low"
            with m.State("edge low"):
                with m.If(came):
                    m.d.sync += [self.load_edge[:32].eq(word), self.load_stb.eq(self.start)]
                    m.next = "loaded"
            with m.State("loaded"):
                m.d.sync += half.eq(1)
                with m.If(half | ~self.outer):
                    m.d.sync += self.finished.eq(self.start)
                m.next = "idle"
        # What protects a reply, as its words come.
        with m.If(came):
            m.d.sync += sending.eq(sending << 1)
            for n, which in enumerate(_SENDS):
                with m.If(sending[n]):
                    self._take_word(m, which, word, plus_one)
            for _, low, high, counts in numbers:
                with m.If(sending[_SENDS.index(low)]):
                    m.d.sync += [carry.eq(is_last), low_is_last.eq(is_last)]
                with m.If(sending[_SENDS.index(high)]):
                    m.d.sync += carry.eq(1)
                    with m.If(counts & low_is_last & (is_last | ~sends.esn)):
                        m.d.sync += exhausted.eq(1)
        with m.If(~self.start):
            m.d.sync += [item.eq(_Item.OWN), other.eq(0), self.is_free.eq(1), half.eq(0)]
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
