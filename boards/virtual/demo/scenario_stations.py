"""Rows 7 to 9 of the seed's state table: a station that hangs, and one that lost all it had."""

from boards.virtual.demo.commands import wait_until
from boards.virtual.demo.looking import PATIENCE_SECONDS, Look, Sight
from boards.virtual.demo.machine import Power
from boards.virtual.demo.stage import HostSettings
from spec.counters import Counter
from spec.headers import PORT_RMCP_CLEAR, PORT_RMCP_SECURED
from spec.host import ClearPort
from spec.rmcp import AsfType
from sw.nic import ClearPortSetting

__all__ = ["FRAMES", "clear_reset", "play_stations"]

FRAMES = 3
"""How many frames an attack has."""
HANG_SECONDS = 3.0
"""A station that says nothing for so long hangs."""
TRY_SECONDS = 10.0
"""For so long a station without an SA is watched: a key exchange takes no longer to fail."""
SILENCE_S = 3
"""Without a word of any station the clear port opens, where that is allowed."""
SECURED = HostSettings()
CLEAR = HostSettings(clear_port="everything", clear_after_s=SILENCE_S, station_authorised=False)


def clear_reset(port: int) -> dict[str, object]:
    """The attacker's order: resets in clear."""
    return {"do": "clear", "port": port, "type": AsfType.RESET, "count": FRAMES}


def play_stations(look: Look) -> None:
    """Plays rows 7 to 9; the host is up, with a fresh SA, before each and after it."""
    _row_7(look)
    _row_8_secured(look)
    _row_8_clear(look)
    _row_9(look, clear=False)
    _row_9(look, clear=True)


def _nothing_in_clear(look: Look, row: int) -> None:
    for port, counter in (
        (PORT_RMCP_CLEAR, Counter.DROP_CLEAR_POLICY),
        (PORT_RMCP_SECURED, Counter.DROP_CLEAR_PROTECTED),
    ):
        look.attack(row, f"reset in clear, port {port}", clear_reset(port), counter)


def _proven(look: Look) -> list[str]:
    return sorted(spi for spi, state in look.banks().items() if state == "PROVEN")


def _row_7(look: Look) -> None:
    """The station hangs, and so does the host: a second station has an SA of its own."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    report.say("row 7: a second station looks after the host as well")
    stage.standby.start()
    second = Look(stage, report, standby=True)
    theirs = second.refreshed(7, "second station: exchange, load, commit", None, 0)
    report.say("row 7: the first station hangs, and then the host")
    before = look.sight()
    stage.station.hang()
    machine.hang()
    answers = look.cli.answers(HANG_SECONDS)
    ours = _proven(look)
    report.check(
        7,
        "the first station",
        expected=f"no answer in {HANG_SECONDS:.0f} s; its SA stays in the NIC",
        observed=f"{'answers' if answers else f'no answer in {HANG_SECONDS:.0f} s'}; "
        f"NIC: {', '.join(ours) or 'no SA of it'}",
        ok=not answers and len(ours) == 1,
    )
    theirs = second.state(
        7, "OS_HUNG", spi=second.sight().spi, name="state seen by the second station"
    )
    kills = machine.kills
    second.command(
        7,
        "reset",
        spi=theirs.spi,
        pins={"reset": 1},
        effect="the hung OS is killed",
        happened=lambda: (
            "the hung OS is killed" if machine.kills == kills + 1 else machine.power.value
        ),
    )
    second.refreshed(7, "OS is back: refreshed by the second", theirs.spi, theirs.refreshes)
    left = _proven(look)
    report.check(
        7,
        "the first station's SA",
        expected=f"{', '.join(ours)} in the NIC, untouched",
        observed=", ".join(left) or "no SA",
        ok=left == ours,
    )
    report.say("row 7: the first station wakes up")
    stage.station.wake()
    look.refreshed(7, "first station is back: refreshed", ours[0], before.refreshes)
    stage.standby.stop()


def _station_loses_everything(look: Look, row: int, words: str) -> None:
    stage, report = look.stage, look.report
    report.say(f"row {row}, {words}: the OS hangs; the station loses its store, and starts again")
    stage.machine.hang()
    wait_until(lambda: look.cli.nic()["host"]["state"] == "OS_HUNG" or None, PATIENCE_SECONDS)
    stage.station.lose_everything()


def _row_8_secured(look: Look) -> None:
    """Secured only: without its SAs nobody commands the NIC, until somebody goes there."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    _station_loses_everything(look, 8, "secured only")
    kept = _proven(look)
    seen = look.until(lambda s: s.spi is not None or s.discovered, TRY_SECONDS)
    report.check(
        8,
        "secured only: state seen",
        expected="nothing: no SA, no answer in clear; NIC: OS_HUNG, its SA kept",
        observed=f"{seen.state or 'nothing'}: {'SA ' + seen.spi if seen.spi else 'no SA'}, "
        f"{'found in clear' if seen.discovered else 'no answer in clear'}; "
        f"NIC: {look.cli.nic()['host']['state']}, {', '.join(_proven(look)) or 'no SA'}",
        ok=seen.state is None
        and seen.spi is None
        and not seen.discovered
        and look.cli.nic()["host"]["state"] == "OS_HUNG"
        and _proven(look) == kept
        and len(kept) == 1,
    )
    look.refused(8)
    # The station's own questions for presence would be counted with the attacker's frames.
    stage.station.hang()
    _nothing_in_clear(look, 8)
    stage.station.wake()
    report.say("row 8: somebody presses the machine's reset button")
    machine.press_reset()
    seen = look.until(lambda s: s.spi is not None and not s.reason.startswith("an exchange"))
    report.check(
        8,
        "OS is back: a station without the old SA",
        expected=f"cannot replace it: {kept[0]} stays proven, alone",
        observed=f"station: {'proven' if seen.proven else 'not proven'}; "
        f"NIC: {', '.join(_proven(look)) or 'no SA'} proven",
        ok=not seen.proven and _proven(look) == kept,
    )
    report.say("row 8: somebody presses the NIC's zeroise button")
    stage.press_zeroise()
    look.refreshed(8, "zeroised by hand: managed again", None, seen.refreshes)


def _row_8_clear(look: Look) -> None:
    """Clear allowed: after silence the NIC takes commands in clear, and the host comes back."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    report.say("row 8: the host's owner allows the clear port, which zeroise alone can begin")
    stage.configure_host(CLEAR)
    machine.stay_in_firmware(True)
    look.cli.power("reset")
    look.until_machine(Power.FIRMWARE)
    stage.press_zeroise()
    before = look.sight()
    machine.stay_in_firmware(False)
    look.until(lambda s: s.proven and s.answering and s.refreshes > before.refreshes)
    _station_loses_everything(look, 8, "clear allowed")
    before = look.discovered(8, nic_state="OS_HUNG", banks=1)
    look.refused(8)
    look.attack(
        8,
        "reset in clear, port 664",
        clear_reset(PORT_RMCP_SECURED),
        Counter.DROP_CLEAR_PROTECTED,
    )
    kills = machine.kills
    look.clear_command(
        8,
        effect="the hung OS is killed",
        happened=lambda: (
            "the hung OS is killed" if machine.kills == kills + 1 else machine.power.value
        ),
    )
    look.refreshed(8, "clear allowed: OS is back: managed again", None, before.refreshes)
    _nothing_in_clear(look, 8)


def _row_9(look: Look, *, clear: bool) -> None:
    """Neither side has anything: in clear, until there is an SA."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    name = "clear allowed" if clear else "secured only"
    report.say(
        f"row 9, {name}: the power of machine and NIC fails, and the station loses its store"
    )
    machine.unplug()
    stage.power_cycle_board(blank=True)
    stage.station.lose_everything()
    stage.configure_host(CLEAR if clear else SECURED)
    stage.firmware_clear_port = ClearPortSetting(ClearPort.EVERYTHING) if clear else None
    machine.stay_in_firmware(True)
    machine.plug_in()
    look.until_machine(Power.FIRMWARE)
    seen: Sight = look.discovered(9, nic_state="COLD_BOOT", banks=0)
    look.refused(9)
    if clear:
        resets = stage.board.pins.rises("reset")
        look.clear_command(
            9,
            effect="the firmware starts again",
            happened=lambda: (
                "the firmware starts again"
                if stage.board.pins.rises("reset") > resets and machine.power is Power.FIRMWARE
                else machine.power.value
            ),
        )
    else:
        _nothing_in_clear(look, 9)
    report.say(f"row 9, {name}: an OS is installed")
    machine.stay_in_firmware(False)
    look.refreshed(9, f"{name}: managed under an SA", None, seen.refreshes)
    if clear:
        _nothing_in_clear(look, 9)
