"""The one command of Holdfast: `holdfast`. docs/station.md and docs/agent.md show it at work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from sw.cli.commands import (
    KNOWN_ERRORS,
    command_error,
    host_add,
    host_list,
    host_remove,
    host_show,
    power_host,
    station_init,
    station_run,
)
from sw.cli.host_commands import agent_run, nic_show
from sw.cli.output import EXIT_HELP, CommandError, Exit, Output
from sw.config import LOG_LEVELS
from sw.nic import NicError

DEFAULT_CONFIG = "/etc/holdfast/holdfast.toml"
Command = Callable[[argparse.Namespace, Output], None]


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="write one JSON value, for programs")
    configured = argparse.ArgumentParser(add_help=False, parents=[common])
    configured.add_argument(
        "--config", metavar="FILE", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}"
    )
    configured.add_argument("--log-level", choices=LOG_LEVELS, help="instead of the file's")
    top = argparse.ArgumentParser(
        prog="holdfast",
        description="Keeps a computer manageable while its operating system is down.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = top.add_subparsers(dest="group", required=True, metavar="COMMAND")

    def add(
        group: argparse._SubParsersAction[argparse.ArgumentParser],
        name: str,
        text: str,
        parent: argparse.ArgumentParser,
        run: Command,
    ) -> argparse.ArgumentParser:
        parser = group.add_parser(
            name,
            help=text,
            description=text,
            parents=[parent],
            epilog=EXIT_HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run)
        return parser

    def sub(name: str, text: str) -> argparse._SubParsersAction[argparse.ArgumentParser]:
        parser = groups.add_parser(name, help=text, description=text)
        return parser.add_subparsers(dest="action_group", required=True, metavar="ACTION")

    station = sub("station", "the management station")
    add(station, "init", "make the store and the key that seals it", configured, station_init)
    add(station, "run", "look after all hosts, until it is stopped", configured, station_run)

    host = sub("host", "the hosts that the station looks after")
    adding = add(host, "add", "take a host in", configured, host_add)
    adding.add_argument("host", metavar="HOST", help="its name")
    adding.add_argument("--address", required=True, help="its IPv4 address")
    adding.add_argument("--identity", help="who it is in IKE (default: its name)")
    adding.add_argument(
        "--psk-file", required=True, metavar="FILE", help="its pre-shared key, mode 0600"
    )
    add(host, "list", "all hosts", configured, host_list)
    for name, text, run in (
        ("show", "one host: state, SA in use, refresh", host_show),
        ("remove", "forget a host and its SAs", host_remove),
    ):
        add(host, name, text, configured, run).add_argument("host", metavar="HOST")

    power = sub("power", "reset a host, or switch it on or off")
    for action, text in (
        ("reset", "press its reset button"),
        ("on", "switch it on, or wake it"),
        ("off", "switch it off at once"),
        ("cycle", "switch it off, and on again"),
    ):
        parser = add(power, action, text, configured, power_host)
        parser.add_argument("host", metavar="HOST")
        parser.set_defaults(action=action)

    agent = sub("agent", "the program on the host's OS")
    add(agent, "run", "answer IKE and load SAs into the NIC, until stopped", configured, agent_run)

    nic = sub("nic", "the NIC of this machine")
    showing = add(nic, "show", "identity, capabilities, banks, host, counters", common, nic_show)
    showing.add_argument("--socket", metavar="PATH", help="register socket of a virtual board")
    showing.add_argument("--serial", metavar="DEVICE", help="serial line of a register bridge")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code (`Exit`). Raises SystemExit for wrong arguments."""
    arguments = _parser().parse_args(argv)
    output = Output(as_json=arguments.json)
    run: Command = arguments.run
    try:
        run(arguments, output)
    except CommandError as error:
        output.error(error)
        return error.code
    except KNOWN_ERRORS as error:
        told = command_error(error)
        output.error(told)
        return told.code
    except NicError as error:
        output.error(CommandError(Exit.UNAVAILABLE, str(error)))
        return Exit.UNAVAILABLE
    except BrokenPipeError:
        return Exit.FAILED
    except KeyboardInterrupt:
        output.error(CommandError(Exit.FAILED, "interrupted"))
        return Exit.FAILED
    except OSError as error:
        output.error(CommandError(Exit.FAILED, f"{error.strerror or error}"))
        return Exit.FAILED
    return Exit.OK
