"""Bench of the SAD: random commands, packets and time, against the model, and the one rule.

What a complete SA of each suite consists of is told here once more, from the suites' names, and
without the facts of `spec.suites`.
"""

import random
from typing import Any

import cocotb

from hw.ipsec.layouts import BANK_WORDS, BankView, BankWord, Cipher, OutboundSa, Protocol, SuiteView
from spec.host import HostEvent
from spec.registers import BY_NAME
from spec.rmcp import CommitResult
from spec.sa import (
    ALL_BANKS,
    BANKS,
    CONTEXTS,
    BankState,
    LifetimeWord,
    SadCommand,
    SadResult,
)
from spec.suites import Suite
from verif.cocotb.drivers import Bench, Driver, bench_parameters
from verif.model.sad import Bank, Sad

STEPS, MAX_STEPS = 2000, 40_000
"""Of the random walk: it goes on until it came through all that it must see."""
TICK_CYCLES = 37
PENDING_LIMIT = 900
READ_CYCLES = 2
COUNT_CYCLES = 30
"""From a packet until it is counted, and a bank that is spent by it is gone."""
ACTIONS = ["stage", "stage", "command", "write", "prove", "commit", "tick", "tick", "policy"]
ACTIONS += ["zero", "sent"]

ALWAYS = [
    "STAGE_SPI_IN",
    "STAGE_SPI_OUT",
    "STAGE_SUITE",
    "STAGE_FLAGS",
    "STAGE_PEER_IP",
    "STAGE_SALT_IN",
    "STAGE_SALT_OUT",
    "STAGE_RX_SEQ_HI",
    "STAGE_RX_SEQ_LO",
    "STAGE_TX_SEQ_HI",
    "STAGE_TX_SEQ_LO",
]
OUTER = [
    "STAGE_AH_SPI_IN",
    "STAGE_AH_SPI_OUT",
    "STAGE_AH_RX_SEQ_HI",
    "STAGE_AH_RX_SEQ_LO",
    "STAGE_AH_TX_SEQ_HI",
    "STAGE_AH_TX_SEQ_LO",
]
STORES = {
    "STAGE_KEY_IN": ("keys", False, False),
    "STAGE_KEY_OUT": ("keys", True, False),
    "STAGE_AUTH_IN": ("auths", False, False),
    "STAGE_AUTH_OUT": ("auths", True, False),
    "STAGE_AH_AUTH_IN": ("auths", False, True),
    "STAGE_AH_AUTH_OUT": ("auths", True, True),
}
"""Where the words of each key go: which store, outbound, outer."""
ESP_GCM_128 = 1


def is_both(suite: int) -> bool:
    """AH around ESP."""
    return 11 <= suite <= 15


def is_ah(suite: int) -> bool:
    """AH alone."""
    return suite in (8, 9, 10, 19)


def key_words(suite: int) -> int:
    """Words of a cipher key."""
    if suite in (5, 8, 15, 18, 19):
        return 0
    return 8 if suite in (2, 4, 7, 10, 12, 14, 17) else 4


def auth_words(suite: int) -> int:
    """Words of the main half's HMAC key."""
    if 16 <= suite <= 19:
        return 5
    return 8 if suite in (3, 4, 5, 8, 13, 14, 15) else 0


def needed(suite: int, flags: int) -> list[tuple[str, int]]:
    """Every word without which an SA of this suite is not complete."""
    words = [(name, 0) for name in ALWAYS]
    if is_both(suite):
        words += [(name, 0) for name in OUTER]
        words += [(f"STAGE_AH_AUTH_{way}", n) for way in ("IN", "OUT") for n in range(8)]
    if flags & 4:
        words += [("STAGE_PEER_IP6", n) for n in range(4)]
    for way in ("IN", "OUT"):
        words += [(f"STAGE_KEY_{way}", n) for n in range(key_words(suite))]
        words += [(f"STAGE_AUTH_{way}", n) for n in range(auth_words(suite))]
    return words


def inbound_spis(bank: Bank) -> set[tuple[str, int]]:
    """The inbound SPIs of a bank, with their protocols."""
    suite = bank.word("STAGE_SUITE")
    spis = {("AH" if is_ah(suite) else "ESP", bank.spi_in)}
    if is_both(suite):
        spis.add(("AH", bank.word("STAGE_AH_SPI_IN")))
    return spis


class Reference(Sad):
    """The model, which must be of one mind with this bench on what can be made READY."""

    def _refusal(self, bank: Bank, number: int) -> SadResult | None:
        refusal = self._own_refusal(bank, number)
        assert refusal is super()._refusal(bank, number)
        return refusal

    def _own_refusal(self, bank: Bank, number: int) -> SadResult | None:
        suite, flags = bank.word("STAGE_SUITE"), bank.word("STAGE_FLAGS")
        if suite == 0 or any(where not in bank.staged for where in needed(suite, flags)):
            return SadResult.INCOMPLETE
        if suite not in self.suites or flags > 15:
            return SadResult.UNSUPPORTED
        spis = [bank.spi_in, bank.spi_out]
        if is_both(suite):
            spis += [bank.word("STAGE_AH_SPI_IN"), bank.word("STAGE_AH_SPI_OUT")]
        if min(spis) < 256:
            return SadResult.BAD_SPI
        proven = [n for n, b in enumerate(self.banks) if b.state is BankState.PROVEN]
        mighty = [n for n, b in enumerate(self.banks) if b.word("STAGE_FLAGS") & 8]
        other = number + 1 if number % 2 == 0 else number - 1
        inherits = other in proven and other in mighty
        if self.station_authorised and number in mighty and proven and not inherits:
            return SadResult.FORBIDDEN
        others = [b for b in self.banks if b is not bank]
        filled = [b for b in others if b.state is not BankState.EMPTY]
        if any(inbound_spis(bank) & inbound_spis(b) for b in filled):
            return SadResult.BAD_SPI
        return None


class KeyStore(Driver):
    """Stands where a key store does: busy for a while after each order, and notes the orders.

    Parameters
    ----------
    prefix, busy : str
        Of the ports: `<prefix>_write` and so on.
    """

    def __init__(self, bench: Bench, prefix: str, busy: str, slots: int) -> None:
        super().__init__(bench)
        self.rng = bench.rng
        self.busy = getattr(bench.dut, busy)
        self.write = getattr(bench.dut, f"{prefix}_write")
        self.expand = getattr(bench.dut, f"{prefix}_expand")
        self.zeroise = getattr(bench.dut, f"{prefix}_zeroise")
        self.slot_bits = (slots - 1).bit_length()
        self.left = 0
        self.words: dict[tuple[int, int], int] = {}
        self.zeroised: list[int] = []
        self.expanded: list[tuple[int, int]] = []
        self.busy.value = 0

    def drive(self) -> None:
        self.busy.value = self.left > 0
        self.left = max(0, self.left - 1)

    def sample(self) -> None:
        mask = (1 << self.slot_bits) - 1
        expand, zeroise, write = (int(p.value) for p in (self.expand, self.zeroise, self.write))
        if expand & 1:
            assert not int(self.busy.value), "expanded while busy"
            self.expanded.append((expand >> 1 & mask, expand >> 1 + self.slot_bits))
            self.left = self.rng.randrange(1, 20)
        if zeroise & 1:
            slot = zeroise >> 1 & mask
            self.zeroised.append(slot)
            self.words = {key: value for key, value in self.words.items() if key[0] != slot}
            self.left = self.rng.randrange(1, 20)
        if write & 1:
            index = write >> 1 + self.slot_bits
            self.words[write >> 1 & mask, index & 7] = index >> 3


class Stores:
    """Both stores."""

    def __init__(self, bench: Bench) -> None:
        self.keys = KeyStore(bench, "key", "keys_busy", 2 * ALL_BANKS)
        self.auths = KeyStore(bench, "auth", "auth_busy", 4 * ALL_BANKS)

    def held(self, bank: int) -> dict[tuple[str, int], int]:
        """The words of a bank's keys, by register and index."""
        found = {}
        for name, (store, outbound, outer) in STORES.items():
            slot = bank * 2 + outbound if store == "keys" else bank * 4 + outer * 2 + outbound
            for (where, index), word in getattr(self, store).words.items():
                if where == slot:
                    found[name, index] = word
        return found


class Loads(Driver):
    """Stands where the windows do, and the classifier's addresses of stations."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.edges: dict[int, int] = {}
        self.peers: dict[int, dict[int, int]] = {}
        self.families: dict[int, int] = {}

    def sample(self) -> None:
        dut = self.bench.dut
        if dut.load_stb.value:
            self.edges[int(dut.load_index.value)] = int(dut.load_edge.value)
        if dut.peer_stb.value:
            bank = int(dut.peer_bank.value)
            octets = self.peers.setdefault(bank, {})
            octets[int(dut.peer_index.value)] = int(dut.peer_octet.value)
            self.families[bank] = int(dut.peer_v6.value)


class Port:
    """The ports, an operation at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dut = bench.dut
        inputs = "tick_ms stage_stb stage_address stage_data command_stb command zeroise_all"
        inputs += " station_authorised prove_stb prove_bank commit_stb commit_spi asked_bank"
        inputs += " prove_octets sent_stb sent_bank sent_octets lifetime_stb lifetime_select"
        inputs += " context read_stb read_address send_stb send_bank send_takes"
        for name in inputs.split():
            getattr(self.dut, name).value = 0

    async def pulse(self, name: str, **values: int) -> None:
        for port, value in values.items():
            getattr(self.dut, port).value = value
        getattr(self.dut, name).value = 1
        await self.bench.cycles()
        getattr(self.dut, name).value = 0

    async def write(self, name: str, index: int, value: int) -> None:
        address = BY_NAME[name].address + 4 * index
        await self.pulse("stage_stb", stage_address=address, stage_data=value)

    async def command(self, value: int, context: int = 0) -> SadResult:
        await self.pulse("command_stb", command=value, context=context)
        for _ in range(PENDING_LIMIT):
            await self.bench.settled()
            result = SadResult(int(self.dut.result.value))
            if result is not SadResult.PENDING:
                return result
            await self.bench.cycles()
        raise AssertionError("PENDING for ever")

    async def idle(self) -> None:
        for _ in range(PENDING_LIMIT):
            await self.bench.settled()
            if not self.dut.busy.value:
                await self.bench.cycles()  # from then on words are taken
                return
            await self.bench.cycles()
        raise AssertionError("busy for ever")

    def view(self, number: int) -> Any:
        """What the path sees of a bank."""
        bits = int(self.dut.banks.value) >> number * BankView.size
        return BankView.from_bits(bits & ((1 << BankView.size) - 1))

    async def record(self, number: int) -> list[int]:
        """The record of a bank, all words one after another."""
        words = []
        for cycle in range(BANK_WORDS + READ_CYCLES):
            self.dut.read_stb.value = cycle < BANK_WORDS
            self.dut.read_address.value = number * BANK_WORDS + cycle % BANK_WORDS
            await self.bench.settled()
            if cycle >= READ_CYCLES:
                words.append(int(self.dut.read_data.value))
            await self.bench.cycles()
        self.dut.read_stb.value = 0
        return words

    async def send(self, number: int, *, takes: bool = True) -> tuple[Any, bool]:
        """What protects a reply under a bank, and whether its numbers are used up."""
        self.dut.send_bank.value, self.dut.send_takes.value = number, takes
        self.dut.send_stb.value = 1
        for _ in range(PENDING_LIMIT):
            await self.bench.cycles()
            await self.bench.settled()
            if self.dut.send_done.value:
                self.dut.send_stb.value = 0
                break
        else:
            raise AssertionError("no answer")
        found = OutboundSa.from_bits(int(self.dut.sends.value))
        exhausted = bool(self.dut.send_exhausted.value)
        await self.bench.cycles(2)
        return found, exhausted

    def states(self) -> list[BankState]:
        value = int(self.dut.states.value)
        return [BankState(value >> 3 * n & 7) for n in range(ALL_BANKS)]


def layout(rng: random.Random, spis: list[int], built_in: list[int]) -> list[tuple[str, int, int]]:
    """A staged SA, now and then with something wrong, missing or too much in it."""
    suite = rng.choice(built_in)
    if rng.random() < 0.2:
        suite = rng.choice((0, 16, 19, 20, 31, 33, 1 << 31 | 1))
    flags = rng.choice((*range(8), *range(8), 8, 9, 13, 15, 16, 0x101))
    words = needed(suite, flags)
    if rng.random() < 0.2:
        words += [(name, n) for name in STORES for n in range(8) if (name, n) not in words]
    if not 1 <= suite <= 19:
        words += [
            where
            for way in ("IN", "OUT")
            for where in ((f"STAGE_KEY_{way}", n) for n in range(4))
            if where not in words
        ]
    values = {where: rng.getrandbits(32) for where in words}
    values["STAGE_SUITE", 0] = suite
    values["STAGE_FLAGS", 0] = flags
    for name in ("STAGE_SPI_IN", "STAGE_SPI_OUT", "STAGE_AH_SPI_IN", "STAGE_AH_SPI_OUT"):
        if (name, 0) in values and rng.random() < 0.15:
            values[name, 0] = rng.choice((*spis, 255, 256))
    if rng.random() < 0.5:
        for word in rng.sample(list(LifetimeWord), rng.randrange(1, 5)):
            values["STAGE_LIFETIME", word] = (
                0 if word.name.endswith("HI") else rng.choice((1, 2, 9))
            )
    writes = [(name, index, value) for (name, index), value in values.items()]
    rng.shuffle(writes)
    if rng.random() < 0.15:
        writes.pop()
    return writes


@cocotb.test()
async def agrees_with_model(dut: Any) -> None:
    """Every operation in every state; after each, states and results equal the model's."""
    parameters = bench_parameters()
    built_in: list[int] = parameters["suites"]
    bench = Bench(dut)
    stores = Stores(bench)
    loads = Loads(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    rng = bench.rng
    suites = tuple(Suite(number) for number in built_in)
    model = Reference(parameters["ack_ms"], parameters["grace_ms"], suites=suites)
    results: dict[str, int] = {}
    visited: set[tuple[BankState, ...]] = set()
    spent: set[BankState] = set()
    epochs = [port.view(number).epoch for number in range(ALL_BANKS)]
    received = [False] * ALL_BANKS
    spis: list[int] = []

    async def stage_whole() -> None:
        await command(SadCommand.STAGE)
        for write in layout(rng, spis, built_in):
            model.write(*write)
            await port.write(*write)
        await command(SadCommand.READY)

    async def command(value: int) -> None:
        model.command(value)
        result = await port.command(value, model.context)
        await port.idle()
        assert result == model.result, f"command {value}: {result.name}, not {model.result.name}"
        results[result.name] = results.get(result.name, 0) + 1

    refusals = {"BUSY", "INCOMPLETE", "UNSUPPORTED", "BAD_SPI", "UNKNOWN", "FORBIDDEN"}

    def has_seen_all() -> bool:
        return (
            {"OK"} | refusals <= set(results)
            and {state for states in visited for state in states} == set(BankState)
            and spent >= {BankState.ACTIVE, BankState.RETIRING}
        )

    step = 0
    while step < STEPS or (not has_seen_all() and step < MAX_STEPS):
        step += 1
        proven_before = [n for n, bank in enumerate(model.banks) if bank.state is BankState.PROVEN]
        spis[:] = [spi for bank in model.banks for _, spi in inbound_spis(bank) if spi]
        action = rng.choice(ACTIONS)
        if rng.random() < 0.05:
            model.context = rng.randrange(CONTEXTS)
        if action == "stage":
            await stage_whole()
        elif action == "command":
            await command(rng.choice((1, 2, 3, 0, 9)))
        elif action == "write":
            write = rng.choice(layout(rng, spis, built_in))
            model.write(*write)
            await port.write(*write)
        elif action == "prove":
            receiving = [n for n in range(ALL_BANKS) if model.receiving(n)]
            if receiving:
                number = rng.choice(receiving)
                octets = rng.randrange(1, 6)
                older = model.banks[number ^ 1].state
                model.prove(number)
                if older is not model.banks[number ^ 1].state is BankState.EMPTY:
                    spent.add(BankState.RETIRING)  # so far it was PROVEN
                model.count(number, model.banks[number].received, octets)
                spent |= {bank.state for n, bank in enumerate(model.banks) if model.is_spent(n)}
                model.drop_spent()
                await port.pulse("prove_stb", prove_bank=number, prove_octets=octets)
                await bench.cycles(COUNT_CYCLES)
        elif action == "sent":
            receiving = [n for n in range(ALL_BANKS) if model.receiving(n)]
            if receiving:
                number = rng.choice(receiving)
                octets = rng.randrange(1, 6)
                model.count(number, model.banks[number].sent, octets)
                spent |= {bank.state for n, bank in enumerate(model.banks) if model.is_spent(n)}
                model.drop_spent()
                await port.pulse("sent_stb", sent_bank=number, sent_octets=octets)
                await bench.cycles(COUNT_CYCLES)
        elif action == "commit":
            under, spi = rng.randrange(ALL_BANKS), rng.choice([*spis, 300])
            dut.commit_spi.value, dut.asked_bank.value = spi, under
            await bench.cycles(3)
            await bench.settled()
            seen = CommitResult(int(dut.commit_result.value)), int(dut.commit_bank.value)
            assert seen == model.commit(spi, under)
            await port.pulse("commit_stb")
        elif action == "tick":
            for _ in range(rng.choice((1, 1, 2, parameters["grace_ms"], parameters["ack_ms"]))):
                model.tick()
                await port.pulse("tick_ms")
                await bench.cycles(rng.randrange(3))
        elif action == "policy" and rng.random() < 0.3:
            model.station_authorised = not model.station_authorised
            dut.station_authorised.value = model.station_authorised
        elif action == "zero" and rng.random() < 0.2:
            model.zeroise_all()
            await port.pulse("zeroise_all")
        await bench.cycles(4)
        await port.idle()
        states = [bank.state for bank in model.banks]
        assert port.states() == states, f"{action}: {port.states()}, not {states}"
        visited.add(tuple(states))
        for kind, flags in ((HostEvent.SOFT_LIMIT, dut.soft), (HostEvent.HARD_LIMIT, dut.hard)):
            reached = [kind in bank.reached for bank in model.banks]
            assert int(flags.value) == sum(so << n for n, so in enumerate(reached)), kind.name
        for number, bank in enumerate(model.banks):
            view = port.view(number)
            assert view.receives == model.receiving(number)
            if received[number] and not view.receives:
                assert view.epoch != epochs[number], "another SA would be taken for this one"
            else:
                assert view.epoch == epochs[number]
            received[number], epochs[number] = bool(view.receives), view.epoch
            words = stores.held(number)
            written = {where: value for where, value in bank.staged.items() if where[0] in STORES}
            assert words == written, (
                f"{action}: bank {number}, {bank.state.name}: {words.items() ^ written.items()}"
            )
            check_view(view, bank)
            if rng.random() < 0.2:
                check_record(await port.record(number), bank)
            if view.peered:
                check_peer(loads, number, bank)
        if proven_before and action != "zero":
            assert BankState.PROVEN in states, f"{action} took the last proven bank"
    assert has_seen_all(), f"after {step} steps: {visited}, {results}, {spent}"
    cocotb.log.info("RESULT sad: %d state pairs, %s", len(visited), results)


def check_view(view: Any, bank: Bank) -> None:
    """What the path sees of a bank is what was written of it, and nothing of an empty one."""
    suite = bank.word("STAGE_SUITE")
    assert view.peered == (bank.state not in (BankState.EMPTY, BankState.STAGED))
    for field in ("spi_in", "ah_spi_in"):
        assert view[field] == bank.word(f"STAGE_{field.upper()}"), field
    if 1 <= suite <= 19:
        assert view.protocol == protocol_of(suite)


def check_record(words: list[int], bank: Bank) -> None:
    """A bank's record is what was written of it; of an empty bank nothing is left."""
    for (name, index), value in bank.staged.items():
        if name in STORES or name == "STAGE_LIFETIME":
            continue
        word = words[int(getattr(BankWord, name.removeprefix("STAGE_"))) + index]
        if name != "STAGE_SUITE":
            assert word == value, name
        elif 1 <= value <= 19:
            view = SuiteView.from_bits(word)
            assert view.protocol == protocol_of(value)
            assert view.cipher == cipher_of(value)
            assert view.aes256 == (key_words(value) == 8)
            assert view.sha_1 == (auth_words(value) == 5)
    if bank.state is BankState.EMPTY:
        assert words == [0] * BANK_WORDS


def check_peer(loads: Loads, number: int, bank: Bank) -> None:
    """The classifier knows the station's address."""
    v6 = bank.word("STAGE_FLAGS") >> 2 & 1
    assert loads.families[number] == v6
    words = [bank.word("STAGE_PEER_IP6", n) for n in range(4)]
    wanted = b"".join(word.to_bytes(4, "big") for word in words)
    first = 0
    if not v6:
        wanted, first = bank.word("STAGE_PEER_IP").to_bytes(4, "big"), 12
    octets = loads.peers[number]
    assert bytes(octets[first + n] for n in range(len(wanted))) == wanted


def protocol_of(suite: int) -> Any:
    """What is around a packet."""
    return Protocol.BOTH if is_both(suite) else Protocol.AH if is_ah(suite) else Protocol.ESP


def cipher_of(suite: int) -> Any:
    """The main half's cipher."""
    if suite in (1, 2, 11, 12):
        return Cipher.GCM
    if suite in (6, 7, 9, 10):
        return Cipher.GMAC
    return Cipher.CBC if key_words(suite) else Cipher.NULL


async def stage(port: Port, values: dict[tuple[str, int], int], context: int = 0) -> SadResult:
    """Stages what is in `values`; what READY came to."""
    assert await port.command(SadCommand.STAGE, context) is SadResult.OK
    for (name, index), value in values.items():
        await port.write(name, index, value)
    return await port.command(SadCommand.READY, context)


def whole(suite: int, flags: int = 0) -> dict[tuple[str, int], int]:
    """A complete SA, each word another one, and each SPI too."""
    values = {where: 0x1000 + n for n, where in enumerate(needed(suite, flags))}
    return values | {("STAGE_SUITE", 0): suite, ("STAGE_FLAGS", 0): flags}


@cocotb.test()
async def each_suite_needs_each_of_its_words(dut: Any) -> None:
    """Without any one of them it is INCOMPLETE; with all, READY, or UNSUPPORTED in this build."""
    built_in = bench_parameters()["suites"]
    bench = Bench(dut)
    Stores(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    for suite in range(1, 20):
        values = whole(suite, 4 if suite % 2 else 0)
        result = SadResult.OK if suite in built_in else SadResult.UNSUPPORTED
        assert await stage(port, values) is result, f"suite {suite}"
        await port.command(SadCommand.ABORT)
        for where in values:
            rest = {key: value for key, value in values.items() if key != where}
            assert await stage(port, rest) is SadResult.INCOMPLETE, f"suite {suite} without {where}"
    for flags, result in ((15, SadResult.OK), (16, SadResult.UNSUPPORTED)):
        assert await stage(port, whole(1, flags)) is result
        await port.command(SadCommand.ABORT)


@cocotb.test()
async def reserved_and_doubled_spis_are_refused(dut: Any) -> None:
    """Below 256, of any half; and an inbound one of the other bank in the same protocol."""
    bench = Bench(dut)
    Stores(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    names = ("STAGE_SPI_IN", "STAGE_SPI_OUT", "STAGE_AH_SPI_IN", "STAGE_AH_SPI_OUT")
    for suite in (1, 8, 11):
        for name in names[: 4 if is_both(suite) else 2]:
            assert await stage(port, whole(suite) | {(name, 0): 255}) is SadResult.BAD_SPI, name
            assert await stage(port, whole(suite) | {(name, 0): 256}) is SadResult.OK, name
            await port.command(SadCommand.ABORT)
    for first in (1, 8, 11):
        assert await stage(port, whole(first)) is SadResult.OK
        await port.pulse("prove_stb", prove_bank=0)
        mine = {"ESP": 0x1000, "AH": 0x1000} if not is_both(first) else {}
        if is_both(first):
            mine = {
                "ESP": whole(first)["STAGE_SPI_IN", 0],
                "AH": whole(first)["STAGE_AH_SPI_IN", 0],
            }
        else:
            del mine["ESP" if is_ah(first) else "AH"]
        for second in (1, 8, 11):
            halves = {"AH" if is_ah(second) else "ESP": "STAGE_SPI_IN"}
            if is_both(second):
                halves["AH"] = "STAGE_AH_SPI_IN"
            for half, name in halves.items():
                for protocol, spi in mine.items():
                    values = whole(second) | {("STAGE_SPI_IN", 0): 0x9000}
                    if is_both(second):
                        values["STAGE_AH_SPI_IN", 0] = 0x9001
                    values[name, 0] = spi
                    bad = SadResult.BAD_SPI if half == protocol else SadResult.OK
                    assert await stage(port, values) is bad, f"{first}, {second}: {half} {protocol}"
                    await port.command(SadCommand.ABORT)
        await port.pulse("zeroise_all")
        await port.idle()


@cocotb.test()
async def keys_and_numbers_of_every_suite(dut: Any) -> None:
    """Each slot that a suite uses is expanded as it says, and no other; windows begin anew; and
    zeroise clears all slots of the bank in both stores."""
    bench = Bench(dut)
    stores = Stores(bench)
    windows = Loads(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    for suite in bench_parameters()["suites"]:
        for number in range(ALL_BANKS):
            stores.keys.expanded.clear()
            stores.auths.expanded.clear()
            windows.edges.clear()
            values = whole(suite) | {("STAGE_SPI_IN", 0): 0x9000 + number}
            if is_both(suite):
                values["STAGE_AH_SPI_IN", 0] = 0x9100 + number
            assert await stage(port, values, number // BANKS) is SadResult.OK
            cbc = cipher_of(suite) is Cipher.CBC
            aes256 = key_words(suite) == 8
            keys = [(2 * number + way, aes256 | (cbc and not way) << 1) for way in range(2)]
            assert stores.keys.expanded == (keys if key_words(suite) else [])
            auths = [(4 * number + way, int(auth_words(suite) == 5)) for way in range(2)]
            outer = [(4 * number + 2 + way, 0) for way in range(2)]
            wanted = (auths if auth_words(suite) else []) + (outer if is_both(suite) else [])
            assert stores.auths.expanded == wanted
            edges = {2 * number: both_words(values, "STAGE_RX_SEQ")}
            sends, _ = await port.send(number)
            assert sends.tx_sequence == both_words(values, "STAGE_TX_SEQ") + 1
            for field in ("spi_out", "salt_out"):
                assert sends[field] == values[f"STAGE_{field.upper()}", 0]
            if is_both(suite):
                edges[2 * number + 1] = both_words(values, "STAGE_AH_RX_SEQ")
                assert sends.ah_tx_sequence == both_words(values, "STAGE_AH_TX_SEQ") + 1
                assert sends.ah_spi_out == values["STAGE_AH_SPI_OUT", 0]
            assert windows.edges == edges
            await port.pulse("prove_stb", prove_bank=number)
            await bench.cycles(4)
        stores.keys.zeroised.clear()
        stores.auths.zeroised.clear()
        await port.pulse("zeroise_all")
        await port.idle()
        assert sorted(stores.keys.zeroised) == list(range(2 * ALL_BANKS))
        assert sorted(stores.auths.zeroised) == list(range(4 * ALL_BANKS))


def both_words(values: dict[tuple[str, int], int], name: str) -> int:
    """A number of 64 bits out of its two words."""
    return values[f"{name}_HI", 0] << 32 | values[f"{name}_LO", 0]


@cocotb.test()
async def outbound_numbers_rise(dut: Any) -> None:
    """STAGE_TX_SEQ is the last number used; without ESN 2^32 - 1 is the last of all, of each half;
    and one strobe counts in both."""
    bench = Bench(dut)
    Stores(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    for flags, used, last in ((0, 0xFFFFFFFD, 0xFFFFFFFF), (1, (1 << 64) - 3, (1 << 64) - 1)):
        for suite, half, other in (
            (1, "STAGE_TX_SEQ", None),
            (11, "STAGE_TX_SEQ", "STAGE_AH_TX_SEQ"),
            (11, "STAGE_AH_TX_SEQ", "STAGE_TX_SEQ"),
        ):
            await port.pulse("zeroise_all")
            await port.idle()
            values = whole(suite, flags)
            values |= {(f"{half}_HI", 0): used >> 32, (f"{half}_LO", 0): used & 0xFFFFFFFF}
            if other:
                values |= {(f"{other}_HI", 0): 5, (f"{other}_LO", 0): 0xFF}
            assert await stage(port, values) is SadResult.OK
            for number in range(used + 1, last + 1):
                sends, exhausted = await port.send(0)
                seen = {"STAGE_TX_SEQ": sends.tx_sequence, "STAGE_AH_TX_SEQ": sends.ah_tx_sequence}
                assert seen[half] == number
                if other:
                    assert seen[other] == (5 << 32 | 0xFF) + number - used
                assert not exhausted
            for _ in range(2):
                _, exhausted = await port.send(0)
                assert exhausted


@cocotb.test()
async def numbers_of_all_banks_are_counted(dut: Any) -> None:
    """Each bank its own; a question that takes none changes none; and an SA that is written at the
    same time disturbs nobody."""
    bench = Bench(dut)
    Stores(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    before = []
    for number in range(ALL_BANKS - 1):
        values = whole(11) | {("STAGE_SPI_IN", 0): 0x9000 + number}
        values["STAGE_AH_SPI_IN", 0] = 0x9100 + number
        values["STAGE_TX_SEQ_LO", 0] = 1000 * number
        assert await stage(port, values, number // BANKS) is SadResult.OK
        await port.pulse("prove_stb", prove_bank=number)
        await bench.cycles(4)
        before.append(both_words(values, "STAGE_TX_SEQ"))
    assert await port.command(SadCommand.STAGE, CONTEXTS - 1) is SadResult.OK

    async def write_on() -> None:
        while True:
            await port.write("STAGE_TX_SEQ_LO", 0, bench.rng.getrandbits(32))

    writing = cocotb.start_soon(write_on())
    taken = [0] * len(before)
    for _ in range(100):
        number = bench.rng.randrange(len(before))
        takes = bench.rng.random() < 0.7
        sends, _ = await port.send(number, takes=takes)
        assert sends.tx_sequence == before[number] + taken[number] + 1
        taken[number] += takes
    writing.cancel()


class Ticks(Driver):
    """A tick each TICK_CYCLES, and how many there were."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.phase = 0
        self.count = 0

    def drive(self) -> None:
        self.phase = (self.phase + 1) % TICK_CYCLES
        self.bench.dut.tick_ms.value = self.phase == 0

    def sample(self) -> None:
        self.count += int(self.bench.dut.tick_ms.value)


@cocotb.test()
async def acknowledge_time_is_whole(dut: Any) -> None:
    """Whenever a bank gets READY, and whatever a bank given up before has left of its time."""
    ack_ms = bench_parameters()["ack_ms"]
    bench = Bench(dut)
    Stores(bench)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    ticks = Ticks(bench)

    async def ready() -> None:
        assert await stage(port, whole(ESP_GCM_128)) is SadResult.OK
        assert BankState.READY in port.states()

    async def expired() -> int:
        before = ticks.count
        for _ in range(4 * ack_ms * TICK_CYCLES):
            await bench.cycles()
            await bench.settled()
            if BankState.READY not in port.states():
                return ticks.count - before
        raise AssertionError("READY for ever")

    for wait in range(0, 2 * TICK_CYCLES * ack_ms, 3):
        await ready()
        await bench.cycles(wait % (TICK_CYCLES * (ack_ms - 1)))
        assert await port.command(SadCommand.ABORT) is SadResult.OK
        await port.idle()
        await bench.cycles(bench.rng.randrange(TICK_CYCLES))
        await ready()
        # A tick with the READY itself may count or not.
        assert await expired() in (ack_ms, ack_ms + 1)
        await port.idle()
    await bench.finish()
