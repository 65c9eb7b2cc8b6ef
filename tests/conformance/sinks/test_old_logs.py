"""An old log comes into every store once, however often it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from collector.backfill import Filled, backfill
from collector.old_logs import LogReader, Whose
from collector.sinks.archive_reader import Selection

HEADER = "date,time,BMU01_CMA_Voltage,BMU02_CMA_Voltage,modbus_Current"
ROWS = ("02-05-2022,10:00:00,46.8,46.7,0.5", "02-05-2022,10:00:06,46.81,46.71,0.25")


def test_an_old_log_read_twice_is_there_once(subject: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join((HEADER, *ROWS)))
    whose = Whose("lab", subject.name, ZoneInfo("Europe/Berlin"))
    sink = subject.sink()

    def stored() -> Filled:
        return backfill(LogReader([log], whose), Selection(), sink, None, lambda: None)

    first, cells = stored(), subject.cells()
    again = stored()

    assert first == again == Filled(messages=3, rows=6)
    assert subject.cells() == cells
    assert {cell for cell in cells if cell[1:3] == ("module-02", "CMA_Voltage")} == {
        (1_651_478_400_000_000, "module-02", "CMA_Voltage", 46.7),
        (1_651_478_406_000_000, "module-02", "CMA_Voltage", 46.71),
    }
    assert len(cells) == 6
