"""The seed's state table, played one row after the other; here rows 2 to 6."""

from boards.virtual.demo.commands import wait_until
from boards.virtual.demo.looking import PATIENCE_SECONDS, Look, Sight
from boards.virtual.demo.machine import Power
from boards.virtual.demo.report import Report
from boards.virtual.demo.scenario_stations import FRAMES, clear_reset, play_stations
from boards.virtual.demo.stage import HostSettings, Stage
from boards.virtual.demo.world import STATION, command
from spec.counters import Counter
from spec.headers import PORT_RMCP_CLEAR, PORT_RMCP_SECURED

__all__ = ["play"]


def play(stage: Stage, report: Report) -> None:
    """Plays all rows; each leaves the host up, with a fresh SA."""
    look = Look(stage, report)
    seen = _row_2(look)
    seen = _row_3(look, seen)
    seen = _row_4(look, seen)
    seen = _row_5(look, seen)
    _row_6(look, seen)
    _row_6_kept(look)
    play_stations(look)


def _attack_under(spi: str | None, do: str) -> dict[str, object]:
    return {"do": do, "spi": int(str(spi), 16), "count": FRAMES}


def _row_2(look: Look) -> Sight:
    """OS up: exchange, load, commit; refresh on the timer; the attacker for the first time."""
    machine, report = look.stage.machine, look.report
    report.say("row 2: the machine is plugged in, and starts its OS")
    machine.plug_in()
    seen = look.refreshed(2, "OS comes up: exchange, load, commit", None, 0)
    look.application(2, "traffic for the host passes", boot=1)
    report.say("row 2: waiting for the refresh timer")
    seen = look.refreshed(2, "refresh on the timer", seen.spi, seen.refreshes)

    for name, order, counter in (
        ("ESP under unknown SPIs", {"do": "unknown", "count": FRAMES}, Counter.DROP_UNKNOWN_SPI),
        ("reset in clear, port 664", clear_reset(PORT_RMCP_SECURED), Counter.DROP_CLEAR_PROTECTED),
        ("reset in clear, port 623", clear_reset(PORT_RMCP_CLEAR), Counter.DROP_CLEAR_POLICY),
    ):
        look.attack(2, name, order, counter)

    report.say("row 2: a power cycle, with the OS up")
    seen = look.sight()
    # Just after a refresh, so that the next one is not due before the command.
    before = look.until(
        lambda s: (
            s.refreshes > seen.refreshes and s.answering and not s.reason.startswith("an exchange")
        )
    )
    look.command(
        2,
        "cycle",
        spi=before.spi,
        pins={"power": 2},
        effect="killed 1, booted 2",
        happened=lambda: f"killed {machine.kills}, booted {machine.boots}",
    )
    seen = look.refreshed(2, "OS is back: refreshed", before.spi, before.refreshes)
    look.application(2, "the OS was really started again", boot=2)
    return seen


def _row_3(look: Look, _: Sight) -> Sight:
    """OS hung: no refresh; reset under the old SA; OS back; refreshed."""
    machine, report = look.stage.machine, look.report
    report.say("row 3: every process of the OS is stopped")
    machine.hang()
    before = look.sight()
    before = look.state(3, "OS_HUNG", spi=before.spi)
    look.silent(3)
    look.inhibited(3, before)
    kills = machine.kills
    machine.stay_in_firmware(True)
    look.command(
        3,
        "reset",
        spi=before.spi,
        pins={"reset": 1},
        effect="the hung OS is killed",
        happened=lambda: (
            "the hung OS is killed" if machine.kills == kills + 1 else machine.power.value
        ),
    )
    look.attack(
        3,
        "replays what it saw, the reset too",
        _attack_under(before.spi, "replay"),
        Counter.DROP_REPLAY_DUPLICATE,
        Counter.DROP_REPLAY_OLD,
    )
    boots = machine.boots
    machine.stay_in_firmware(False)
    seen = look.refreshed(3, "OS is back: refreshed", before.spi, before.refreshes)
    look.application(3, "the OS was really started again", boot=boots + 1)
    return seen


def _row_4(look: Look, _: Sight) -> Sight:
    """Pre-boot: no refresh; reset under the old SA, found through the NIC's own ARP answer."""
    machine, report = look.stage.machine, look.report
    report.say("row 4: reset into a firmware that finds nothing to boot")
    machine.stay_in_firmware(True)
    before = look.until(lambda s: s.answering and not s.reason.startswith("an exchange"))
    look.cli.power("reset")
    look.until_machine(Power.FIRMWARE)
    before = look.state(4, "PRE_BOOT", spi=look.sight().spi)
    look.silent(4)
    look.inhibited(4, before)
    command("ip", "-n", STATION.name, "neigh", "flush", "dev", "eth0")
    resets = look.stage.board.pins.rises("reset")
    look.command(
        4,
        "reset",
        spi=before.spi,
        pins={"reset": 1},
        effect="the firmware starts again",
        happened=lambda: (
            "the firmware starts again"
            if look.stage.board.pins.rises("reset") > resets and machine.power is Power.FIRMWARE
            else machine.power.value
        ),
    )
    look.attack(
        4,
        "forges ICVs and numbers",
        _attack_under(before.spi, "forge"),
        Counter.DROP_ICV,
    )
    machine.stay_in_firmware(False)
    return look.refreshed(4, "OS is up: refreshed", before.spi, before.refreshes)


def _row_5(look: Look, _: Sight) -> Sight:
    """Suspend: no refresh; woken under the old SA, without a new boot."""
    machine, report = look.stage.machine, look.report
    report.say("row 5: the OS goes to sleep")
    boots = machine.boots
    machine.suspend()
    before = look.state(5, "SUSPEND", spi=look.sight().spi)
    look.silent(5)
    look.inhibited(5, before)
    look.command(
        5,
        "on",
        spi=before.spi,
        pins={"power": 1},
        effect="running its OS",
        happened=lambda: machine.power.value,
    )
    look.application(5, "it woke up, and did not boot", boot=boots)
    return look.refreshed(5, "OS is awake: refreshed", before.spi, before.refreshes)


def _row_6(look: Look, before: Sight) -> None:
    """Cold boot: no SA in the NIC; discovery in clear, and nothing else."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    report.say("row 6: the power fails; the machine comes back without SA and without OS")
    machine.unplug()
    stage.power_cycle_board()
    machine.stay_in_firmware(True)
    machine.plug_in()
    look.until_machine(Power.FIRMWARE)
    seen = look.until(lambda s: s.discovered and not s.answering)
    nic = look.cli.nic()["host"]["state"]
    banks = look.banks()
    report.check(
        6,
        "state seen by the station",
        expected="COLD_BOOT, in clear only; no SA in the NIC",
        observed=f"{seen.state}, {'discovered in clear' if seen.discovered else 'not discovered'}, "
        f"{'answers under an SA' if seen.answering else 'not authenticated'}; "
        f"NIC: {nic}, {', '.join(banks.values()) or 'no SA'}",
        ok=seen.discovered
        and not seen.answering
        and seen.state == nic == "COLD_BOOT"
        and not banks,
    )
    look.refused(6)
    look.attack(
        6, "reset in clear, port 623", clear_reset(PORT_RMCP_CLEAR), Counter.DROP_CLEAR_POLICY
    )
    look.attack(
        6, "reset in clear, port 664", clear_reset(PORT_RMCP_SECURED), Counter.DROP_CLEAR_PROTECTED
    )
    report.say("row 6: an OS is installed, which has the NIC keep its SAs from now on")
    stage.configure_host(HostSettings(nic_store="sas"))
    machine.stay_in_firmware(False)
    look.refreshed(6, "OS comes up: managed again", seen.spi, seen.refreshes)


def _row_6_kept(look: Look) -> None:
    """The same loss of power, of a NIC that keeps its SAs in its flash: it is no cold boot."""
    stage, machine, report = look.stage, look.stage.machine, look.report
    report.say("row 6: the power fails again")
    wait_until(lambda: look.cli.nic()["store"]["contexts"] == "0" or None, PATIENCE_SECONDS)
    machine.unplug()
    before = look.until(lambda s: s.answering and s.proven and not s.reason.startswith("an exch"))
    stage.power_cycle_board()
    machine.stay_in_firmware(True)
    machine.plug_in()
    look.until_machine(Power.FIRMWARE)
    before = look.state(6, "PRE_BOOT", spi=before.spi, name="with its SAs kept: state seen")
    banks = look.banks()
    report.check(
        6,
        "with its SAs kept: the NIC",
        expected=f"{before.spi} PROVEN, alone",
        observed=", ".join(f"{spi} {state}" for spi, state in banks.items()) or "no SA",
        ok=banks == {before.spi: "PROVEN"},
    )
    resets = stage.board.pins.rises("reset")
    look.command(
        6,
        "reset",
        spi=before.spi,
        pins={"reset": 1},
        effect="the firmware starts again",
        happened=lambda: (
            "the firmware starts again"
            if stage.board.pins.rises("reset") > resets and machine.power is Power.FIRMWARE
            else machine.power.value
        ),
    )
    look.attack(
        6,
        "replays what it saw, the reset too",
        _attack_under(before.spi, "replay"),
        Counter.DROP_REPLAY_DUPLICATE,
        Counter.DROP_REPLAY_OLD,
    )
    report.say("row 6: an OS comes up")
    machine.stay_in_firmware(False)
    look.refreshed(6, "with its SAs kept: refreshed", before.spi, before.refreshes)
