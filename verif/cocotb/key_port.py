"""Drivers for the key ports that `KeyedAes` and `CipherUnit` have in common."""

from typing import Any

from verif.cocotb.drivers import Bench, bench_parameters

__all__ = ["EXPAND", "KeyBench", "pack"]

Fields = list[tuple[str, int]]

EXPAND: Fields = [("aes256", 1), ("decrypt", 1)]
"""The fields of `expand` of an AES key store, behind `stb` and `slot`."""


def pack(fields: Fields, **values: int) -> int:
    """An integer made of `fields` (name, bits), the first in the lowest bits."""
    word, place = 0, 0
    for name, bits in fields:
        if not 0 <= values[name] < 1 << bits:
            raise ValueError(f"{name} must have {bits} bits, not be {values[name]!r}")
        word |= values[name] << place
        place += bits
    return word


class KeyBench(Bench):
    """A bench of a unit with the ports `write`, `expand`, `zeroise`, `busy`, `zeroising`,
    `done`."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.slots: int = bench_parameters()["slots"]
        self.slot_bits = (self.slots - 1).bit_length()
        for port in (dut.write, dut.expand, dut.zeroise):
            port.value = 0

    async def start(self) -> None:
        """Resets the unit and waits until it has zeroised its slots."""
        await self.reset()
        await self.until(self.dut.busy, 0)

    def command(self, fields: Fields, **values: int) -> int:
        """The value of a command port, with `stb`."""
        return pack([("stb", 1), ("slot", self.slot_bits), *fields], stb=1, **values)

    async def strobe(self, port: Any, fields: Fields, **values: int) -> None:
        """One cycle of a command port."""
        port.value = self.command(fields, **values)
        await self.cycles()
        port.value = 0

    async def write_key(self, slot: int, key: bytes) -> None:
        """Writes the words of a key, on successive cycles."""
        for index in range(len(key) // 4):
            word = int.from_bytes(key[4 * index : 4 * index + 4], "big")
            fields = [("index", 3), ("data", 32)]
            await self.strobe(self.dut.write, fields, slot=slot, index=index, data=word)

    async def expand(self, slot: int, *, aes256: bool, decrypt: bool = False) -> int:
        """Expands a slot, and returns the cycles from the strobe to `done`."""
        await self.strobe(self.dut.expand, EXPAND, slot=slot, aes256=aes256, decrypt=decrypt)
        cycles = 1 + await self.until(self.dut.done)
        await self.settled()
        return cycles

    async def zeroise(self, slot: int) -> None:
        """Strobes `zeroise`."""
        await self.strobe(self.dut.zeroise, [], slot=slot)

    async def load(self, slot: int, key: bytes, *, decrypt: bool = False) -> int:
        """Writes and expands a key; returns the cycles of the expansion."""
        await self.write_key(slot, key)
        return await self.expand(slot, aes256=len(key) == 32, decrypt=decrypt)

    def random_keys(self) -> list[bytes]:
        """A key for each slot, of both sizes in turn."""
        return [self.rng.randbytes(32 if slot % 2 else 16) for slot in range(self.slots)]

    async def load_all(self, keys: list[bytes]) -> None:
        """Loads `keys` into the slots from 0 on."""
        for slot, key in enumerate(keys):
            await self.load(slot, key)
