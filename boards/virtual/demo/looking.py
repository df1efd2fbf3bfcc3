"""How the demo looks at the running system: each observation is measured, and becomes a row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from boards.virtual.demo.commands import Reply, wait_until
from boards.virtual.demo.machine import Power
from boards.virtual.demo.report import Report
from boards.virtual.demo.stage import REFRESH_SECONDS, Stage
from spec.counters import Counter
from spec.headers import PORT_RMCP_CLEAR
from spec.rmcp import AsfType

__all__ = ["PATIENCE_SECONDS", "Look", "Sight"]

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
    standby : bool
        With the eyes of the second station, which has context 1 of the NIC.
    """

    def __init__(self, stage: Stage, report: Report, *, standby: bool = False) -> None:
        self.stage = stage
        self.report = report
        self.cli = (stage.standby if standby else stage.station).cli
        self._context = int(standby)

    def sight(self) -> Sight:
        """One look through `holdfast host show`."""
        host = self.cli.show()
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
        """State of each bank of this station that is not empty in the NIC, by its inbound SPI."""
        return {
            bank["spi_in"]: bank["state"]
            for name, bank in self.cli.nic()["banks"].items()
            if bank["state"] != "EMPTY" and name.startswith(str(self._context))
        }

    # Rows.

    def state(
        self, row: int, state: str, *, spi: str | None, name: str = "state seen by the station"
    ) -> Sight:
        """The station sees this state, and keeps to the SA with this SPI."""
        seen = self.until(lambda s: s.state == state and s.answering)
        self.report.check(
            row,
            name,
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
            if bank == "PROVEN" or self.sight().spi == seen.spi:
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
        answer = wait_until(self.cli.application, PATIENCE_SECONDS)
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
        answer = self.cli.application()
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
        reply = self.cli.power(action)
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

    def refused(self, row: int) -> None:
        """Without an SA the station's own command is refused, and sent in no other way."""
        link = self.stage.board.pins
        pins = len(link.events)
        reply = self.cli.power("reset")
        wait_until(lambda: None, 0.5)
        moved = len(link.events) - pins
        self.report.check(
            row,
            "command: power reset",
            expected="no success, nothing in clear; no pin moves",
            observed=f"exit code {reply.code}: {reply.error.split(';')[0]}; {moved} pin events",
            ok=reply.code in (3, 4) and moved == 0,
        )

    def discovered(self, row: int, *, nic_state: str, banks: int) -> Sight:
        """The station finds the host in clear, and knows no more; so is the NIC."""
        seen = self.until(lambda s: s.discovered and not s.answering)
        nic, held = self.cli.nic()["host"]["state"], self.banks()
        self.report.check(
            row,
            "state seen by the station",
            expected=f"in clear only; NIC: {nic_state}, {banks or 'no'} SA that worked",
            observed=f"{'discovered in clear' if seen.discovered else 'not discovered'}, "
            f"{'answers under an SA' if seen.answering else 'not authenticated'}; "
            f"NIC: {nic}, {', '.join(held.values()) or 'no SA'}",
            ok=seen.discovered
            and not seen.answering
            and nic == nic_state
            and list(held.values()) == ["PROVEN"] * banks,
        )
        return seen

    def clear_command(self, row: int, *, effect: str, happened: Callable[[], str]) -> None:
        """A reset in clear, from whoever reaches the port, acts."""
        link = self.stage.board.pins
        before = link.rises("reset")
        self.stage.attacker.ask(
            {"do": "clear", "port": PORT_RMCP_CLEAR, "type": AsfType.RESET, "count": 1}
        )
        wait_until(lambda: happened() == effect or None, PATIENCE_SECONDS)
        pressed = link.rises("reset") - before
        self.report.check(
            row,
            "reset in clear, port 623, from a plain ASF console",
            expected=f"pins {_pins({'reset': 1})}; {effect}",
            observed=f"pins {_pins({'reset': pressed})}; {happened()}",
            ok=pressed == 1 and happened() == effect,
        )

    def attack(self, row: int, name: str, order: dict[str, Any], *counters: Counter) -> None:
        """All that the attacker sends falls under these counters, and moves no pin."""
        link = self.stage.board.pins
        names = [counter.name for counter in counters]
        # The pulse of the last command has an end, which is none of the attacker's doing.
        link.wait_for(lambda: not any(link.levels.values()), PATIENCE_SECONDS)
        pressed = len(link.events)
        before = self.cli.nic()["counters"]
        sent = self.stage.attacker.ask(order)["sent"]
        moved: dict[str, int] = {}

        def landed() -> bool | None:
            after = self.cli.nic()["counters"]
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
