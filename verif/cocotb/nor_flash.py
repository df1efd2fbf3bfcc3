"""A serial NOR flash as data sheets describe it, and what a loss of power does to it.

Programming clears bits within a page, whose end wraps to its beginning; erasing sets all bits of a
sector; both need the write enable latch and take their time, in which nothing but the status is
told. If power goes while one is under way, an adversary chooses what is left.
"""

import random
from collections.abc import Callable, Mapping

from spec.store import PAGE_OCTETS, SECTOR_OCTETS, FlashCommand
from verif.cocotb.drivers import Bench, Driver

__all__ = ["FlashMisuseError", "NorFlash"]

JEDEC_ID = bytes.fromhex("ef4018")
_ADDRESSED = (FlashCommand.READ, FlashCommand.PAGE_PROGRAM, FlashCommand.SECTOR_ERASE)


class FlashMisuseError(AssertionError):
    """The master did what no data sheet allows, or what it never should."""


class NorFlash(Driver):
    """The flash at the pins `sck`, `cs_n`, `mosi` and `miso` of a device, in SPI mode 0.

    Parameters
    ----------
    bench
        The clock domain.
    octets
        Size; addresses beyond it wrap.
    erase_cycles, program_cycles
        Longest times; each program and erase takes a random one.
    pins
        Names of ports, where they are not those of the pins.

    Attributes
    ----------
    cells : bytearray
        What it holds.
    dead : bool
        It stays busy for ever.
    stuck : dict of int to int
        By address, bits that cannot be cleared.
    erases, programs : list of int
        Addresses of what was begun.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        octets: int = 1 << 16,
        erase_cycles: int = 600,
        program_cycles: int = 200,
        pins: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(bench)
        self.cells = bytearray(b"\xff" * octets)
        self.dead = False
        self.stuck: dict[int, int] = {}
        self.erases: list[int] = []
        self.programs: list[int] = []
        self._erase_cycles, self._program_cycles = erase_cycles, program_cycles
        names = {name: name for name in ("sck", "cs_n", "mosi", "miso")} | dict(pins or {})
        self._pins = {name: getattr(bench.dut, port) for name, port in names.items()}
        self._pins["miso"].value = 1
        self._forget()

    def _forget(self) -> None:
        self._was_sck, self._was_cs = 0, 1
        self._in: list[int] = []
        self._bits, self._octet = 0, 0
        self._out: int | None = None
        self._latch = False
        self._busy_until = 0
        self._under_way: tuple[str, int, bytes] | None = None
        self._next_miso = 1

    # --- power --------------------------------------------------------------------------------

    def clear(self) -> None:
        """Power is lost, with what is under way; it returns with the end of the reset."""
        rng = self.bench.rng
        if self._under_way is not None and self.bench.cycle < self._busy_until:
            kind, address, data = self._under_way
            if kind == "erase":
                self._tear_erase(rng, address)
            else:
                self._tear_program(rng, address, data)
        self._forget()

    def _tear_program(self, rng: random.Random, address: int, data: bytes) -> None:
        """Any subset of the bits that were to be cleared is cleared."""
        count = rng.randrange(len(data) + 1)
        choose: Callable[[int], int] = rng.choice(
            (
                lambda n: 0xFF if n < count else 0,
                lambda n: 0xFF if n >= count else 0,
                lambda n: rng.randrange(256),
                lambda n: 0xFF & ~(rng.randrange(64) == 0),
                lambda n: 0xFF if n != count else rng.randrange(256),
            )
        )
        for n, octet in enumerate(data):
            self._clear_bits(self._in_page(address, n), octet | (0xFF & ~choose(n)))

    def _tear_erase(self, rng: random.Random, address: int) -> None:
        """Whatever is between the old cells and erased ones; some parts clear them all first."""
        old = bytes(self.cells[address : address + SECTOR_OCTETS])
        count = rng.randrange(SECTOR_OCTETS + 1)
        one_bit = rng.randrange(8 * 512)
        choose: Callable[[int], int] = rng.choice(
            (
                lambda n: old[n],
                lambda n: 0xFF if n < count else old[n],
                lambda n: old[n] if n < count else 0xFF,
                lambda n: old[n] | rng.randrange(256),
                lambda n: old[n] & rng.randrange(256),
                lambda n: rng.randrange(256),
                lambda n: old[n] | (1 << one_bit % 8 if n == one_bit // 8 else 0),
            )
        )
        self.cells[address : address + SECTOR_OCTETS] = bytes(
            choose(n) for n in range(SECTOR_OCTETS)
        )

    # --- pins ---------------------------------------------------------------------------------

    def drive(self) -> None:
        if int(self._pins["miso"].value) != self._next_miso:
            self._pins["miso"].value = self._next_miso

    def sample(self) -> None:
        self._finish()
        pins = self._pins
        cs, sck = int(pins["cs_n"].value), int(pins["sck"].value)
        if cs:
            if not self._was_cs:
                self._execute()
            self._next_miso = 1
        elif self._was_cs:
            if sck:
                raise FlashMisuseError("chip select fell with the clock high")
            self._in, self._bits, self._octet, self._out = [], 0, 0, None
        elif sck and not self._was_sck:
            self._octet = (self._octet << 1 | int(pins["mosi"].value)) & 0xFF
            self._bits += 1
            if self._bits == 8:
                self._in.append(self._octet)
                self._bits = 0
                self._out = self._answer()
        elif not sck and self._was_sck:
            out = 0xFF if self._out is None else self._out
            self._next_miso = out >> (7 - self._bits) & 1
        self._was_cs, self._was_sck = cs, sck

    @property
    def at_work(self) -> bool:
        """A program or erase is under way."""
        return self._under_way is not None

    def _is_busy(self) -> bool:
        return self.dead or self.bench.cycle < self._busy_until

    def _address(self) -> int:
        return int.from_bytes(self._in[1:4], "big") % len(self.cells)

    def _answer(self) -> int | None:
        """The octet that goes out after those that came in."""
        command, count = self._in[0], len(self._in)
        if command == FlashCommand.READ_STATUS:
            return self._is_busy() | self._latch << 1
        if self._is_busy():
            raise FlashMisuseError(f"command {command:#04x} while busy")
        if command == FlashCommand.READ_ID:
            return JEDEC_ID[count - 1] if count <= len(JEDEC_ID) else 0xFF
        if command == FlashCommand.READ and count >= 4:
            return self.cells[(self._address() + count - 4) % len(self.cells)]
        return None

    def _execute(self) -> None:
        """Chip select rose: what was sent is done, if it was whole."""
        if not self._in or self._bits:
            if self._bits:
                raise FlashMisuseError("chip select rose within an octet")
            return
        command, count = self._in[0], len(self._in)
        if command not in set(FlashCommand):
            raise FlashMisuseError(f"unknown command {command:#04x}")
        if command in _ADDRESSED and count < 4:
            raise FlashMisuseError(f"{count} octets of command {command:#04x}")
        if command == FlashCommand.WRITE_ENABLE:
            self._latch = True
        elif command == FlashCommand.PAGE_PROGRAM:
            address, data = self._address(), bytes(self._in[4:])
            if address % PAGE_OCTETS + len(data) > PAGE_OCTETS:
                raise FlashMisuseError(f"a program of {len(data)} octets wraps at {address:#x}")
            self._begin("program", address, data, self._program_cycles, self.programs)
        elif command == FlashCommand.SECTOR_ERASE:
            address = self._address() // SECTOR_OCTETS * SECTOR_OCTETS
            self._begin("erase", address, b"", self._erase_cycles, self.erases)

    def _begin(self, kind: str, address: int, data: bytes, cycles: int, log: list[int]) -> None:
        if not self._latch:
            raise FlashMisuseError(f"{kind} without write enable")
        self._latch = False
        log.append(address)
        self._under_way = (kind, address, data)
        self._busy_until = self.bench.cycle + self.bench.rng.randrange(cycles // 4, cycles)

    def _finish(self) -> None:
        if self._under_way is None or self._is_busy():
            return
        kind, address, data = self._under_way
        self._under_way = None
        if kind == "erase":
            self.cells[address : address + SECTOR_OCTETS] = b"\xff" * SECTOR_OCTETS
        for n, octet in enumerate(data):
            self._clear_bits(self._in_page(address, n), octet)

    @staticmethod
    def _in_page(address: int, n: int) -> int:
        page = address // PAGE_OCTETS * PAGE_OCTETS
        return page + (address + n) % PAGE_OCTETS

    def _clear_bits(self, address: int, octet: int) -> None:
        self.cells[address] &= octet | self.stuck.get(address, 0)
