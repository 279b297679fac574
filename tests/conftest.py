"""Its place puts this folder on the path, so that every test finds `closed_forms` and the like.

After the tests it prints how many damaged inputs had which outcome, from all processes: a hook of a
folder further in is not asked when tests run in several.
"""

from __future__ import annotations

COLUMNS = ("record", "finding", "exclusion", "error", "failures")


def pytest_terminal_summary(terminalreporter) -> None:
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    told = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "fuzz" and report.when == "call"
    ]
    if not told:
        return
    write = terminalreporter.write_line
    write("")
    write(f"{'damaged inputs':34s}" + "".join(f"{name:>11s}" for name in COLUMNS) + "   peak MB")
    for row in told:
        counts = "".join(f"{row.get(name, 0):11,d}" for name in COLUMNS)
        write(f"{row['target']:34s}{counts}{row['peak_mb']:10,.0f}")
    sums = "".join(f"{sum(row.get(name, 0) for row in told):11,d}" for name in COLUMNS)
    write(f"{'all':34s}{sums}{max(row['peak_mb'] for row in told):10,.0f}")
