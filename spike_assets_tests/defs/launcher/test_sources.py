"""What was loaded, and whether it is still what there is."""

import os
from pathlib import Path

from spike_assets.defs.launcher.sources import Sources, now


def test_sources_that_change(tmp_path: Path) -> None:
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.write_text("1", encoding="utf-8")
    began = there.stat().st_ctime_ns + 1
    sources = Sources.loaded(began, [str(there), str(absent)])
    assert sources.changed() is None
    absent.touch()
    assert sources.changed() == str(absent)
    absent.unlink()
    there.write_text("2", encoding="utf-8")
    os.utime(there, ns=(began, began - 1))
    assert sources.changed() == str(there)


def test_what_was_written_while_it_was_loaded_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    began = now()
    file.write_text("1", encoding="utf-8")
    assert Sources.loaded(began, [str(file)]).changed() == str(file)
