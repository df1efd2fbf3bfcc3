"""How the demo looks at the running system: each observation is measured, and becomes a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from boards.virtual.demo.commands import Reply, wait_until
from boards.virtual.demo.machine import Power
from boards.virtual.demo.report import Report
from boards.virtual.demo.stage import REFRESH_SECONDS, Stage
from spec.counters import Counter

__all__ = ["Look", "Sight"]

PATIENCE_SECONDS = 40.0
LOOKS = 3
"""At station and NIC, until both are of the same moment."""
DROPS = [counter.name for counter in Counter if counter.name.startswith("DROP_")]


@dataclass(frozen=True, slots=True)
class Sight:
    """The host as the station sees it, in short.

    Parameters
    ----------
    state : str or None
        Name of a spec.host.HostState.
    spi : str or None
        SPI that the next command goes out under.
    proven : bool
        Whether that SA is proven.
    refreshes : int
        How often an SA was proven.
    answering, discovered : bool
        Under an SA; on the clear port.
    inhibited : bool
        Whether the station begins no exchange.
    reason : str
        Why not, or what it waits for.
    """

    state: str | None
    spi: str | None
    proven: bool
    refreshes: int
    answering: bool
    discovered: bool
    inhibited: bool
    reason: str


class Look:
    """Looks, and reports.

    Parameters
    ----------
    stage : Stage
        What is looked at.
    report : Report
        Gets the rows.
    """

    def __init__(self, stage: Stage, report: Report) -> None:
        self.stage = stage
        self.report = report

    def sight(self) -> Sight:
        """One look through `holdfast host show`."""
        host = self.stage.cli.show()
        sa = host["sa"] or {}
        refresh = host["refresh"]
        return Sight(
            state=host["state"],
            spi=sa.get("spi_in_use"),
            proven=bool(sa.get("proven")),
            refreshes=refresh["count"],
            answering=host["answering"],
            discovered=host["discovered"],
            inhibited=refresh["inhibited"],
            reason=refresh["reason"],
        )

    def until(self, wanted: Callable[[Sight], bool], seconds: float = PATIENCE_SECONDS) -> Sight:
        """Looks until it is as wanted; the last look in any case."""
        last: list[Sight] = []

        def look() -> Sight | None:
            last[:] = [self.sight()]
            return last[0] if wanted(last[0]) else None

        wait_until(look, seconds)
        return last[0]

    def until_machine(self, power: Power, seconds: float = PATIENCE_SECONDS) -> bool:
        """Waits until the machine is in this state; whether it came to that."""
        machine = self.stage.machine
        return wait_until(lambda: machine.power is power or None, seconds) is not None

    def banks(self) -> dict[str, str]:
        """State of each bank of the NIC that is not empty, by its inbound SPI."""
        banks = self.stage.cli.nic()["banks"].values()
        return {bank["spi_in"]: bank["state"] for bank in banks if bank["state"] != "EMPTY"}

    # Rows.

    def state(self, row: int, state: str, *, spi: str | None) -> Sight:
        """The station sees this state, and keeps to the SA with this SPI."""
        seen = self.until(lambda s: s.state == state and s.answering)
        self.report.check(
            row,
            "state seen by the station",
            expected=f"{state}, told under SA {spi}",
            observed=f"{seen.state}, {_under(seen)}",
            ok=seen.state == state and seen.answering and seen.spi == spi,
        )
        return seen

    def refreshed(self, row: int, name: str, before: str | None, refreshes: int) -> Sight:
        """The host is up, and a new SA is proven, at both ends."""

        def at_both_ends() -> tuple[Sight, str | None]:
            seen = self.until(
                lambda s: (
                    s.state == "OS_UP" and s.proven and s.spi != before and s.refreshes > refreshes
                )
            )
            return seen, self.banks().get(str(seen.spi))

        seen, bank = at_both_ends()
        for _ in range(LOOKS):
            # On a slow machine the next refresh may come between the two looks.
            if self.sight().spi == seen.spi:
                break
            seen, bank = at_both_ends()
        self.report.check(
            row,
            name,
            expected="OS_UP; a new SA, proven at station and NIC"
            + (f" in place of {before}" if before else ""),
            observed=f"{seen.state}; SA {seen.spi}, station: "
            f"{'proven' if seen.proven else 'not proven'}, NIC: {bank}",
            ok=seen.state == "OS_UP" and seen.proven and seen.spi != before and bank == "PROVEN",
        )
        return seen

    def inhibited(self, row: int, before: Sight) -> None:
        """For longer than the refresh timer nothing replaces the SA."""
        wait_until(lambda: None, REFRESH_SECONDS + 1.0)
        seen, banks = self.sight(), self.banks()
        new = seen.refreshes - before.refreshes
        self.report.check(
            row,
            "keys inhibited",
            expected=f"no exchange in more than a refresh period; {before.spi} alone in the NIC",
            observed=f"{new} refreshes in {REFRESH_SECONDS + 1.0:.0f} s ({seen.reason}); NIC: "
            + (", ".join(f"{spi} {state}" for spi, state in banks.items()) or "no SA"),
            ok=new == 0
            and seen.inhibited
            and seen.spi == before.spi
            and banks == {before.spi: "PROVEN"},
        )

    def application(self, row: int, name: str, *, boot: int) -> None:
        """The application on the host answers through the NIC, after so many boots."""
        answer = wait_until(self.stage.cli.application, PATIENCE_SECONDS)
        self.report.check(
            row,
            name,
            expected=f"application up, boot {boot}",
            observed=f"application {answer['application']}, boot {answer['boot']}"
            if answer
            else "no answer",
            ok=answer is not None and answer["boot"] == boot,
        )

    def silent(self, row: int) -> None:
        """The application does not answer."""
        answer = self.stage.cli.application()
        self.report.check(
            row,
            "application on the host",
            expected="no answer",
            observed=f"answer of boot {answer['boot']}" if answer else "no answer",
            ok=answer is None,
        )

    def command(
        self,
        row: int,
        action: str,
        *,
        spi: str | None,
        pins: Mapping[str, int],
        effect: str,
        happened: Callable[[], str],
    ) -> Reply:
        """A power command is acknowledged under this SA, and has this effect.

        Parameters
        ----------
        row, action, spi
            Seed row, power command, SPI.
        pins
            How often each output pin must be pressed for it.
        effect
            What must have happened in the end, as `happened` says it.
        happened
            Says what has happened; asked until it is `effect`.
        """
        link = self.stage.board.pins
        before = {pin: link.rises(pin) for pin in ("reset", "power")}
        reply = self.stage.cli.power(action)
        wait_until(lambda: happened() == effect or None, PATIENCE_SECONDS)
        pressed = {pin: link.rises(pin) - before[pin] for pin in before}
        wanted = {pin: pins.get(pin, 0) for pin in before}
        told = reply.value if reply.code == 0 else reply.value.get("result") or {}
        self.report.check(
            row,
            f"command: power {action}",
            expected=f"acknowledged under {spi}; pins {_pins(wanted)}; {effect}",
            observed=f"{'acknowledged' if reply.code == 0 else reply.error} under "
            f"{told.get('spi')}; pins {_pins(pressed)}; {happened()}",
            ok=reply.code == 0
            and told.get("spi") == spi
            and pressed == wanted
            and happened() == effect,
        )
        return reply

    def attack(self, row: int, name: str, order: dict[str, Any], *counters: Counter) -> None:
        """All that the attacker sends falls under these counters, and moves no pin."""
        link = self.stage.board.pins
        names = [counter.name for counter in counters]
        # The pulse of the last command has an end, which is none of the attacker's doing.
        link.wait_for(lambda: not any(link.levels.values()), PATIENCE_SECONDS)
        pressed = len(link.events)
        before = self.stage.cli.nic()["counters"]
        sent = self.stage.attacker.ask(order)["sent"]
        moved: dict[str, int] = {}

        def landed() -> bool | None:
            after = self.stage.cli.nic()["counters"]
            moved.clear()
            moved.update({n: after[n] - before[n] for n in DROPS if after[n] != before[n]})
            return sum(moved.get(n, 0) for n in names) >= sent or None

        wait_until(landed, PATIENCE_SECONDS)
        pins = len(link.events) - pressed
        self.report.check(
            row,
            f"attacker: {name}",
            expected=f"{sent} frames dropped as {' or '.join(names)}, no pin moves",
            observed=f"{sent} sent; "
            + (", ".join(f"{n} +{count}" for n, count in moved.items()) or "nothing dropped")
            + f"; {pins} pin events",
            ok=sent > 0 and sum(moved.get(n, 0) for n in names) == sent and pins == 0,
        )


def _under(seen: Sight) -> str:
    return f"told under SA {seen.spi}" if seen.answering else "not authenticated"


def _pins(presses: Mapping[str, int]) -> str:
    return ", ".join(f"{pin} ×{count}" for pin, count in presses.items() if count) or "untouched"
