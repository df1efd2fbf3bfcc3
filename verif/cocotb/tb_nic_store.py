"""Bench of the whole NIC with a flash: what it keeps, and what a loss of power does to it."""

import cocotb

from spec.counters import Counter
from spec.registers import STORE_SAVE_CONFIG
from spec.sa import CONTEXTS, BankState, SadCommand
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import Frame, bench_parameters
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair
from verif.cocotb.nor_flash import NorFlash
from verif.model import NicModel

STATION_AUTHORISED, SETTINGS_LOCKED, KEEPS_SA = 1, 4, 8
EVERYTHING_AFTER_9_S = 9 << 16 | 1 << 8 | 2
ZEROISE, ZEROISING = 0x82, 0x42
BLOCK = 4096
LEAP = 2 * BLOCK
"""How far a NIC's window may be ahead of what its station used, after a loss of power."""
LIMIT = 400_000
PROVEN, EMPTY = BankState.PROVEN, BankState.EMPTY


class StorePair(NicPair):
    """The NIC with a flash, and the model with a store."""

    def __init__(self, dut) -> None:
        pins = ("sck", "cs_n", "mosi", "miso")
        self.flash_pins = {name: f"flash_{name}" for name in pins}
        super().__init__(dut)
        self.flash = NorFlash(
            self.bench, erase_cycles=600, program_cycles=100, pins=self.flash_pins
        )
        self.numbers: dict[int, int] = {}

    def _forget(self) -> None:
        super()._forget()
        self.model = NicModel(has_store=True)

    async def power_on(self, *, policy: int = KEEPS_SA) -> None:
        """Power on, with a blank flash; the configuration is saved where there is a policy."""
        await self.bench.reset()
        await self.restored()
        await self.registers.ready()
        self._forget()
        await self.write("HOST_MAC_HI", int.from_bytes(nf.NIC_MAC[:2], "big"))
        await self.write("HOST_MAC_LO", int.from_bytes(nf.NIC_MAC[2:], "big"))
        await self.write("HOST_IP", int.from_bytes(nf.NIC_IP, "big"))
        await self.write("CLEAR_PORT", EVERYTHING_AFTER_9_S)
        if policy:
            await self.save(policy)

    async def save(self, policy: int) -> None:
        """Sets the policy and has the configuration saved, which is done at once but once."""
        await self.write("POLICY", policy)
        await self.write("STORE_COMMAND", STORE_SAVE_CONFIG)
        await self.idle()

    async def nothing_is_left(self, *keys: SaKeys) -> None:
        """After zeroise: no key lies in the flash, and nothing comes back."""
        for number in range(CONTEXTS):
            assert await self.read("SA_STATUS", number) == 0
        await self.idle()
        for sa in keys:
            for octets in (sa.key_in, sa.key_out, sa.salt_in):
                assert not self.holds(octets)
        await self.power_cut()
        for number in range(CONTEXTS):
            assert await self.read("SA_STATUS", number) == 0
        assert await self.read("POLICY") == 0
        await self.read("CLEAR_PORT")
        await self.read("HOST_IP")
        await self.read("STORE_STATUS")

    async def restored(self) -> None:
        """Waits until the host's bus has the SAD."""
        for _ in range(LIMIT // 500):
            if not await self.registers.read("STORE_STATUS") & 2:
                return
            await self.bench.cycles(500)
        raise AssertionError("the NIC is still restoring")

    async def idle(self) -> None:
        """Waits until the flash has nothing to do for a long time."""
        quiet, erases = 0, -1
        while quiet < 8:
            await self.bench.cycles(2000)
            now = len(self.flash.erases) + len(self.flash.programs)
            quiet = quiet + 1 if now == erases and not self.flash.at_work else 0
            erases = now

    async def power_cut(self) -> None:
        """Power goes and returns on both."""
        await self.bench.reset()
        self.wire_rx.clear()
        await self.restored()
        self.model.power_cut()
        for of_past in (self.to_wire, self.to_host, self.messages, self.model_pins):
            of_past.clear()
        self._began = self.bench.cycle

    def take(self, frame: bytes) -> int:
        """Looks at the number of a frame that the NIC sent: it is greater than all before."""
        spi, number = frame[34:38], int.from_bytes(frame[42:50], "big")
        key = int.from_bytes(spi, "big")
        assert number > self.numbers.get(key, 0), f"number {number} of SPI {key:#x} comes again"
        self.numbers[key] = number
        return number

    async def asks(self, station: Station, *, tag: int = 0x77) -> None:
        """A good packet is delivered and answered under this SA, with a number of its own."""
        (answer,) = await self.wire(station.protect(nf.oem(0x81, tag=tag)), Counter.DELIVERED)
        station.heard = self.take(answer) - 1
        assert station.open(answer)[8:10] == bytes([0x41, tag])

    async def resets(self, station: Station, sequence: int) -> bytes:
        """A reset acts; returns its frame."""
        frame = station.protect(nf.asf(nf.RESET, sequence=sequence, tag=9))
        (answer,) = await self.wire(frame, Counter.DELIVERED)
        station.heard = self.take(answer) - 1
        assert station.open(answer) == nf.ack(sequence)
        assert await self.pulses() == ["reset"]
        return frame

    def edge(self) -> int:
        """Right edge of the window of bank A, of the model."""
        window = self.model.sad.banks[0].window
        assert window is not None
        return window.right

    def holds(self, octets: bytes) -> bool:
        """Whether these octets lie in the flash somewhere."""
        return octets in bytes(self.flash.cells)


@cocotb.test()
async def the_last_sa_comes_back(dut):
    """Stage, prove, power cut: a command under the stored SA acts, a replayed one does not."""
    pair = StorePair(dut)
    await pair.power_on(policy=KEEPS_SA | SETTINGS_LOCKED)
    esn = bool(pair.rng.randrange(2))
    station = Station(SaKeys.draw(pair.rng, pair.rng.choice((16, 32)), esn=esn))
    # With ESN the low half of an old number stands for one that is far right of the window.
    as_old = Counter.DROP_ICV if esn else Counter.DROP_REPLAY_OLD
    await pair.stage(station.sa)
    assert not pair.holds(station.sa.key_in), "an SA is kept that was not proven"
    await pair.asks(station)
    # Nobody learns that it works before it is in the flash.
    assert pair.holds(station.sa.spi_in.to_bytes(4, "big")), "the answer came before the record"
    replayed = await pair.resets(station, 1)
    for round_ in range(2):
        # What the model keeps is what lies in the flash once all that is due has been written.
        await pair.idle()
        await pair.power_cut()
        assert await pair.states() == (PROVEN, EMPTY)
        assert await pair.read("POLICY") == KEEPS_SA | SETTINGS_LOCKED
        assert await pair.read("CLEAR_PORT") == EVERYTHING_AFTER_9_S
        for name in ("HOST_IP", "CLEAR_PORT"):
            await pair.write(name, 1)
            assert await pair.read(name) != 1
        assert await pair.wire(replayed, as_old) == []
        pair.no_pin_moved()
        # All of the window counts as seen.
        edge = pair.edge()
        for number in (edge, edge - 1, edge - 63):
            frame = station.protect(nf.oem(0x81, tag=1), number=number)
            await pair.wire(frame, Counter.DROP_REPLAY_DUPLICATE)
        assert edge - station.number <= LEAP
        station.number += LEAP
        await pair.asks(station)
        replayed = await pair.resets(station, 10 + round_)
        assert await pair.wire(replayed, Counter.DROP_REPLAY_DUPLICATE) == []
        pair.no_pin_moved()
    await pair.idle()
    await pair.read("STORE_STATUS")
    await pair.finish()


@cocotb.test()
async def a_refresh_takes_its_place(dut):
    """Of two SAs the one that was proven last comes back, and the older one's keys are gone."""
    pair = StorePair(dut)
    await pair.power_on()
    old, new = (Station(SaKeys.draw(pair.rng, 16)) for _ in range(2))
    await pair.stage(old.sa)
    await pair.asks(old)
    await pair.stage(new.sa)
    await pair.idle()
    await pair.power_cut()
    assert await pair.read("SA_SPI_IN", 0) == old.sa.spi_in
    old.number += LEAP
    await pair.asks(old)
    await pair.stage(new.sa)
    await pair.asks(new)
    await pair.idle()
    assert pair.holds(new.sa.key_in)
    assert not pair.holds(old.sa.key_in), "keys of an SA that is over lie in the flash"
    # A jump within the numbers, and blocks that end.
    new.number += 5 * BLOCK
    await pair.asks(new)
    await pair.idle()
    await pair.power_cut()
    assert await pair.read("SA_SPI_IN", 0) == new.sa.spi_in
    assert pair.edge() >= new.number
    new.number += LEAP
    await pair.resets(new, 3)
    await pair.finish()


@cocotb.test()
async def zeroise_reaches_the_flash(dut):
    """After the board's button nothing comes back, and no key lies in the flash."""
    pair = StorePair(dut)
    await pair.power_on()
    station = Station(SaKeys.draw(pair.rng, 32))
    await pair.stage(station.sa)
    await pair.asks(station)
    await pair.idle()
    assert pair.holds(station.sa.key_in)
    await pair.zeroise()
    await pair.nothing_is_left(station.sa)
    await pair.finish()


@cocotb.test()
async def zeroise_by_message_reaches_the_flash(dut):
    """Administrators of two contexts come back with their role; the message of one ends both."""
    pair = StorePair(dut)
    await pair.power_on(policy=0)
    stations = []
    for context in range(2):
        await pair.write("SA_CONTEXT", context)
        stations.append(Station(SaKeys.draw(pair.rng, 32, administrator=True)))
        await pair.stage(stations[-1].sa)
        await pair.asks(stations[-1])
    await pair.save(STATION_AUTHORISED | KEEPS_SA)
    await pair.power_cut()
    for context, station in enumerate(stations):
        assert await pair.read("SA_STATUS", context) == PROVEN
        station.number += LEAP
        await pair.asks(station)
    await pair.idle()
    asker = stations[1]
    answers = await pair.wire(asker.protect(nf.oem(ZEROISE, sequence=5, tag=7)), Counter.DELIVERED)
    assert [asker.open(answer) for answer in answers] == [
        nf.ack(5),
        nf.oem_response(ZEROISING, 7, b""),
    ]
    while any([await pair.registers.read("SA_STATUS", n) for n in range(CONTEXTS)]):
        await pair.bench.cycles(500)
    await pair.nothing_is_left(*(station.sa for station in stations))
    await pair.finish()


@cocotb.test()
async def no_register_shows_what_came_back(dut):
    """No address of the bus reads as a word of a restored key or salt."""
    pair = StorePair(dut)
    await pair.power_on()
    sa = SaKeys.draw(pair.rng, 32)
    station = Station(sa)
    await pair.stage(sa)
    await pair.asks(station)
    await pair.idle()
    await pair.power_cut()
    secret = sa.key_in + sa.key_out + sa.salt_in + sa.salt_out
    words = {int.from_bytes(secret[n : n + 4], "big") for n in range(0, len(secret), 4)}
    for address in range(0, 1 << 12, 4):
        assert await pair.registers.bus.read(address) not in words, hex(address)
    await pair.finish()


@cocotb.test()
async def power_cut_at_any_moment(dut):
    """Cuts within refreshes: the SA under which an answer was heard last is always there."""
    pair = StorePair(dut)
    await pair.power_on()
    rng, registers = pair.rng, pair.registers
    worked = Station(SaKeys.draw(rng, 16))
    await pair.stage(worked.sa)
    await pair.asks(worked)
    came_back = {"old": 0, "new": 0}

    async def answer_to(station: Station, cycles: int) -> bool:
        """Whether an answer comes in so many cycles; its number is looked at."""
        pair.wire_rx.send(station.protect(nf.oem(0x81, tag=4)))
        for _ in range(cycles // 50):
            await pair.bench.cycles(50)
            frames: list[Frame] = pair.wire_tx.take_all()
            if frames:
                station.heard = pair.take(frames[0].data) - 1
                assert station.open(frames[0].data)[8:10] == bytes([0x41, 4])
                return True
        return False

    for _ in range(bench_parameters()["cuts"]):
        new = Station(SaKeys.draw(rng, 16))
        await registers.command(SadCommand.STAGE)
        for name, index, value in new.sa.staging():
            await registers.write(name, index, value)
        await registers.command(SadCommand.READY)
        # Sometimes the answer is heard, and then some more time passes.
        heard = await answer_to(new, rng.choice((2000, 12_000, 21_000, 30_000)))
        if heard:
            await pair.bench.cycles(rng.randrange(12_000))
        await pair.bench.reset()
        pair.tap.clear()
        pair.wire_rx.clear()
        pair.wire_tx.take_all()
        await pair.restored()
        spi = await registers.read("SA_SPI_IN", 0)
        assert await registers.read("SA_STATUS") & 0xFF == PROVEN, "no SA came back"
        assert spi in (new.sa.spi_in, worked.sa.spi_in)
        if heard:
            assert spi == new.sa.spi_in, "the SA that answered did not come back"
        came_back["new" if spi == new.sa.spi_in else "old"] += 1
        if spi == new.sa.spi_in:
            worked = new
        worked.number += LEAP
        assert await answer_to(worked, 60_000), "the SA that came back does not answer"
    dut._log.info("came back: %s", came_back)
    pair.tap.clear()
    await pair.bench.finish()


@cocotb.test()
async def a_dead_flash_does_not_stop_a_new_sa(dut):
    """The flash dies: an SA proven then works for a block of numbers, and the NIC says so."""
    pair = StorePair(dut)
    await pair.power_on()
    pair.flash.dead = True
    station = Station(SaKeys.draw(pair.rng, 16))
    await pair.stage(station.sa)
    await pair.asks(station)
    status = await pair.registers.read("STORE_STATUS")
    assert status >> 24
    assert status & 4
    assert status & 1
    # Its numbers go to the end of the block, and no further.
    await pair.asks(station)
    jump = station.at(station.number + 3 * BLOCK)
    pair.wire_rx.send(jump.protect(nf.oem(0x81, tag=4)))
    for _ in range(40):
        await pair.bench.cycles(2000)
        if await pair.registers.read("COUNTERS", Counter.DROP_UNKNOWN_SPI):
            break
    else:
        raise AssertionError("a number that cannot be reserved is neither taken nor dropped")
    assert pair.wire_tx.take_all() == []
    pair.tap.clear()
    await pair.bench.finish()
