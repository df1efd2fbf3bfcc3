"""Checks of what IKE negotiates for the virtual board; run by test_child_suites.py.

Station and agent are programs of their own, with files of configuration, as in the demo.
"""

from pathlib import Path

from boards.virtual.demo.commands import wait_until
from boards.virtual.demo.looking import PATIENCE_SECONDS, Look
from boards.virtual.demo.report import Report
from boards.virtual.demo.stage import Stage


def test_esp_with_aes_cbc_and_hmac_proves_and_resets(tmp_path: Path) -> None:
    """Exchange, load, commit and refresh; then a hung host is reset under the SA that worked."""
    logs = tmp_path / "logs"
    with Stage(logs, None, suites=("aes-cbc-256-hmac-sha-256",)) as stage:
        look = Look(stage, Report(quiet=True))
        stage.machine.plug_in()
        seen = look.until(lambda s: s.state == "OS_UP" and s.proven and s.refreshes >= 2)
        assert seen.refreshes >= 2, (logs / "station.log").read_text()
        assert look.cli.show()["sa"]["suite"] == "ESP_AES_CBC_256_HMAC_SHA_256_128"
        stage.machine.hang()
        seen = look.until(lambda s: s.state == "OS_HUNG" and s.answering)
        assert seen.state == "OS_HUNG", (logs / "station.log").read_text()
        assert look.banks()[str(seen.spi)] == "PROVEN"
        resets = stage.board.pins.rises("reset")
        kills = stage.machine.kills
        reply = look.cli.power("reset")
        assert reply.value["acknowledged"], reply
        assert reply.value["spi"] == seen.spi
        killed = wait_until(lambda: stage.machine.kills > kills or None, PATIENCE_SECONDS)
        assert killed, "the hung OS goes on"
        assert stage.board.pins.rises("reset") == resets + 1
