"""What moves a pin: an authenticated message of a power type, and each once.

Messages are free octets of any length up to 2047, as many as `meta.octets` says or more; the SAD's
answers, the host's state and whoever takes the replies are free.

Of the memory of commands one row is kept, that of a context and a sequence number which are any of
them (`verif.formal.harness.Platform`).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal, Value

from hw.ipsec.layouts import MessageMeta
from hw.mgmt.command_engine import CommandEngine
from spec import rmcp
from spec.counters import Counter
from spec.headers import ASF, RMCP
from spec.layout import Header
from spec.rmcp import AsfType, OemType
from spec.sa import CONTEXTS
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Inside, Platform, Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_MESSAGE_MAX = 2047
_CAPTURED = (
    (RMCP, 0, ("version", "sequence", "ack", "reserved_class", "message_class")),
    (ASF, RMCP.octets, ("enterprise", "type", "tag", "data_octets")),
)
_HEADER_OCTETS = RMCP.octets + ASF.octets


class EngineWrapper(Wrapper):
    """The command engine, and a reading of each message of the wrapper's own.

    Attributes
    ----------
    octets : list of Signal
        The first octets of the message, as they came.
    meta : of MessageMeta
        What came with it.
    """

    def body(self, m: Module, platform: Any) -> None:
        self.dut = dut = CommandEngine()
        self.sequence = self.constant(m, 8, "watched_sequence")
        self.context = self.constant(m, range(CONTEXTS), "watched_context")
        self.in_clear = self.constant(m, 1, "watched_in_clear")
        row = Cat(self.sequence, Mux(self.in_clear, 0, self.context), self.in_clear)
        memories = Platform({2 * 256 * CONTEXTS: [row]})
        self.inside = inside = self.hold(m, dut, platform=memories)
        (self.row,) = memories.rows[0]
        self.free_inputs(m, dut)
        assume_contract(m, dut.meta, "meta_source")
        assume_contract(m, dut.i, "source")

        self.octets = [Signal(8, name=f"octet_{n}") for n in range(_HEADER_OCTETS)]
        self.meta = Signal(MessageMeta, name="given_meta")
        count = Signal(range(_MESSAGE_MAX + 1), name="given_count")
        takes = dut.i.valid & dut.i.ready
        with m.If(dut.meta.valid & dut.meta.ready):
            m.d.sync += [self.meta.eq(dut.meta.payload), count.eq(0)]
        with m.If(takes):
            m.d.sync += count.eq(count + 1)
            for n, octet in enumerate(self.octets):
                with m.If(count == n):
                    m.d.sync += octet.eq(dut.i.payload.data)
            m.d.comb += [
                Assume(count < _MESSAGE_MAX),
                Assume(~dut.i.payload.last | (count + 1 >= self.meta.octets)),
            ]
        self._captures(m, inside, count)
        self.state(m)

    def _captures(self, m: Module, inside: Inside, count: Value) -> None:
        """What the engine keeps of a message is what came (for the induction)."""
        idle = inside.state("fsm_state", "idle")
        message = inside.state("fsm_state", "message")
        m.d.comb += [
            Assert(inside.state("fsm_state")),
            Assert(idle | (Value.cast(self.meta) == inside["meta"])),
            Assert(idle | (inside["at"] == count)),
            Assert(idle | (inside["beyond"] == (count > 31))),
            Assert(~message | (inside["wait"] == 0)),
            Assert(idle | message | (count >= self.meta.octets)),
        ]
        for header, start, names in _CAPTURED:
            for name in names:
                register = inside[f"{header.name}_{name}"]
                for number, mask, value in _octet_parts(header, name, register):
                    place = start + number
                    fresh = inside["taken"] & (count == place + 1)
                    with m.If(~idle & (count > place) & ~fresh):
                        m.d.comb += Assert(self.octets[place][mask] == value)
                    with m.If(~idle & fresh):
                        m.d.comb += Assert(inside["octet"] == self.octets[place])

    def state(self, m: Module) -> None:
        """What is stated."""
        raise NotImplementedError

    def number(self, header: Header, name: str) -> Value:
        """A field of the message, from the wrapper's reading."""
        start = RMCP.octets if header is ASF else 0
        offset, width = header.bit_offset(name), header.width(name)
        octets = Cat(*reversed(self.octets[start : start + header.octets]))
        low = 8 * header.octets - offset - width
        return octets[low : low + width]


def _octet_parts(header: Header, name: str, register: Value) -> list[tuple[int, slice, Value]]:
    """For each octet with bits of a field: its number, which bits, and those in the register."""
    begin, width = header.bit_offset(name), header.width(name)
    parts = []
    for number in range(begin // 8, (begin + width + 7) // 8):
        first, end = max(begin, 8 * number), min(begin + width, 8 * number + 8)
        bits = slice(8 * number + 8 - end, 8 * number + 8 - first)
        value = register[width - (end - begin) : width - (first - begin)]
        parts.append((number, bits, value))
    return parts


_POWER = (AsfType.RESET, AsfType.POWER_UP, AsfType.POWER_DOWN, AsfType.POWER_CYCLE)


class SecuredWrapper(EngineWrapper):
    """Pins and the SAD hear of authenticated messages of the right types alone."""

    def state(self, m: Module) -> None:
        dut = self.dut
        kind = self.number(ASF, "type")
        enterprise = self.number(ASF, "enterprise")
        is_power = Cat(kind == which for which in _POWER).any()
        actions = {which & 3: which for which in _POWER}
        everything = Signal(name="had_everything")
        with m.If(dut.i.ready):
            m.d.sync += everything.eq(dut.clear_everything)
        m.d.comb += Assert(self.inside["everything"] == everything)
        in_clear = is_power | (kind == AsfType.SYSTEM_STATE_REQUEST)
        with m.If(dut.power_stb | dut.commit_stb):
            m.d.comb += [
                Assert(
                    self.meta.protected | (everything & ~dut.commit_stb),
                    "an effect of a message in clear",
                ),
                Assert(self.meta.octets >= _HEADER_OCTETS),
                Assert(self.number(RMCP, "version") == rmcp.RMCP_VERSION),
                Assert(self.number(RMCP, "message_class") == rmcp.RMCP_CLASS_ASF),
                Assert(self.number(RMCP, "ack") == 0),
            ]
        with m.If(dut.power_stb):
            m.d.comb += [
                Assert(is_power & (enterprise == rmcp.ASF_ENTERPRISE), "an unknown type"),
                Assert(~dut.commit_stb),
            ]
            for value, which in actions.items():
                with m.If(Value.cast(dut.power_action) == value):
                    m.d.comb += Assert(kind == which)
        with m.If(dut.commit_stb):
            m.d.comb += [
                Assert(kind == OemType.COMMIT),
                Assert(dut.asked_bank == self.meta.bank),
            ]
        m.d.comb += [Assert(dut.meta.ready | ~dut.i.ready | ~dut.power_stb)]
        with m.If(dut.reply.valid):
            m.d.comb += [
                Assert(Value.cast(dut.reply.payload.kind) == ~self.meta.protected),
                Assert(
                    self.meta.protected
                    | (kind == AsfType.PRESENCE_PING)
                    | (kind == AsfType.CAPABILITIES_REQUEST)
                    | (everything & in_clear)
                ),
                Assert(self.meta.protected | (enterprise == rmcp.ASF_ENTERPRISE)),
            ]
        m.submodules.replies = StreamContract(dut.reply)
        m.d.comb += [
            Cover(dut.power_stb & (Value.cast(dut.power_action) == (AsfType.POWER_CYCLE & 3))),
            Cover(dut.reply.valid & ~self.meta.protected),
            Cover(dut.power_stb & ~self.meta.protected),
        ]


class RoleWrapper(EngineWrapper):
    """What is an administrator's has no effect in another's message, and is not answered."""

    def state(self, m: Module) -> None:
        dut = self.dut
        has_options = self.number(ASF, "data_octets") != 0
        zeroises = (self.number(ASF, "type") == OemType.ZEROISE) & (
            self.number(ASF, "enterprise") != rmcp.ASF_ENTERPRISE
        )
        inside = self.inside
        asked = Signal(name="has_asked")
        with m.If(dut.zeroise_stb):
            m.d.sync += asked.eq(0)
            m.d.comb += Assert(asked, "nobody asked to zeroise")
        with m.If(dut.count[Counter.DELIVERED] & zeroises):
            m.d.sync += asked.eq(1)
            m.d.comb += Assert(self.meta.administrator, "an operator zeroises")
        m.d.comb += [
            # As the front has it (front.one_bank).
            Assume(self.meta.protected | ~self.meta.administrator),
            Assert(~dut.power_stb | ~has_options | self.meta.administrator, "an operator's"),
            Assert(~(inside["zeroises"] | dut.zeroise_stb) | asked),
            Assert(~inside["zeroises"] | ~dut.zeroise_stb),
            Assert(
                ~inside["zeroises"]
                | (
                    inside.state("fsm_state", "ack", "send ack", "response", "send response")
                    & inside["zeroise"]
                    & inside["is_our_number"]
                    & ~inside["is_asf"]
                    & (inside["asf_type"] == OemType.ZEROISE)
                    & (inside["asf_enterprise"] != rmcp.ASF_ENTERPRISE)
                    & ~inside["taken"]
                )
            ),
            Cover(dut.power_stb & has_options),
            Cover(dut.count[Counter.DROP_RMCP_ROLE]),
            Cover(dut.zeroise_stb),
        ]


class OnceWrapper(EngineWrapper):
    """A power command acts once for each context, sequence number and tag.

    What ends that is another command of that context with the same sequence number and another tag:
    of each sequence number the last tag is remembered.
    """

    def state(self, m: Module) -> None:
        dut = self.dut
        tag = self.constant(m, 8, "watched_tag")
        acted = Signal()
        of_sender = Mux(
            self.in_clear,
            ~self.meta.protected,
            self.meta.protected & (self.meta.bank[1:] == self.context),
        )
        same = (self.number(RMCP, "sequence") == self.sequence) & of_sender
        with m.If(dut.power_stb & same):
            with m.If(self.number(ASF, "tag") == tag):
                m.d.comb += Assert(~acted, "a command acts twice")
                m.d.sync += acted.eq(1)
            with m.Else():
                m.d.sync += acted.eq(0)
        m.d.comb += [
            Assert(~acted | (self.row == Cat(tag, 1))),
            # It came again, with all that it takes, and did not act.
            Cover(acted & same & (self.number(ASF, "tag") == tag) & dut.count.any()),
        ]


PROOFS = [
    Proof(
        name="engine.secured",
        claim="Pins and SAD hear of authenticated messages of the right types alone, pins of such "
        "in clear where the setting is everything; else presence and capabilities are answered in "
        "clear and nothing else; replies keep the contract",
        wrapper=SecuredWrapper,
        method=Method.INDUCTION,
        depth=8,
        mutant=Mutant(
            "hw.mgmt.command_engine",
            "| (everything & (is_power | types[AsfType.SYSTEM_STATE_REQUEST.name])),",
            "| is_power | types[AsfType.SYSTEM_STATE_REQUEST.name],",
            "commands in clear are obeyed in every setting",
        ),
        cover_depth=26,
        mutant_depth=24,
        requirement="1",
    ),
    Proof(
        name="engine.role",
        claim="What an administrator alone may send has no effect under an operator's SA",
        wrapper=RoleWrapper,
        method=Method.INDUCTION,
        depth=8,
        mutant=Mutant(
            "hw.mgmt.command_engine",
            "            & ~above_role\n",
            "",
            "an operator's message with boot options is obeyed",
        ),
        cover_depth=44,
        mutant_depth=44,
        requirement="1",
    ),
    Proof(
        name="engine.once",
        claim="A power command acts at most once for each context (or in clear), sequence number "
        "and tag, under whatever bank it comes, until another tag comes with that number",
        wrapper=OnceWrapper,
        method=Method.INDUCTION,
        depth=8,
        mutant=Mutant(
            "hw.mgmt.command_engine",
            "self.power_stb.eq(is_power & ~acted_before),",
            "self.power_stb.eq(is_power),",
            "a command that comes again acts again",
        ),
        cover_depth=46,
        mutant_depth=46,
        requirement="8",
    ),
]
