"""Writes the golden files of messages: `python -m spike_assets_tests.alerts.make_golden`. Read them before committing.

Each digest of `examples.GOLDEN` gives a `.json`, a `.txt` (title, blank line, body) and a `.md` (body).
"""

from pathlib import Path

from spike_assets.alerts.digest import Digest
from spike_assets.alerts.render import as_json, markdown, text, title
from spike_assets_tests.alerts.examples import GOLDEN

FOLDER = Path(__file__).parents[1] / "golden" / "alerts"


def files(name: str, digest: Digest, limit: int | None) -> dict[Path, bytes]:
    """Give the golden files of one digest, by path."""
    return {
        FOLDER / f"{name}.json": as_json(digest) + b"\n",
        FOLDER / f"{name}.txt": f"{title(digest)}\n\n{text(digest, limit)}\n".encode(),
        FOLDER / f"{name}.md": f"{markdown(digest, limit)}\n".encode(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one, (example, most) in GOLDEN.items():
        for path, content in files(one, example, most).items():
            path.write_bytes(content)
