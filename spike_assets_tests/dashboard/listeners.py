"""Pages that only listen, in a process of their own: `python -m spike_assets_tests.dashboard.listeners URL N`."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import connect


@contextmanager
def listeners(url: str, n: int) -> Iterator[None]:
    """Let so many pages listen to a feed inside the block."""
    command = [sys.executable, "-m", __spec__.name, url, str(n)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        try:
            yield
        finally:
            process.kill()  # whatever whoever started us has it ignore


async def listen(url: str, n: int) -> None:
    """Take every frame, and throw it away."""
    feeds = [await connect(url, compression=None, max_size=None) for _ in range(n)]
    print("listening", flush=True)
    await asyncio.gather(*(_take(feed) for feed in feeds))


async def _take(feed: Any) -> None:
    async for _ in feed:
        pass


if __name__ == "__main__":
    asyncio.run(listen(sys.argv[1], int(sys.argv[2])))
