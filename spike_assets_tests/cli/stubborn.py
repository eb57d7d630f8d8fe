"""A process for `test_children`: starts another like itself, answers on a port, and will not end when asked to."""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1] == "dies":
        sys.exit("\x1b[31mthe wheels came off\x1b[0m")
    if sys.argv[1] == "prints":
        print("one\ntwo", flush=True)
        print(f"group {os.getpgrp()}", flush=True)
        sys.exit(sys.argv[2] or None)
    if sys.argv[1] != "child":
        with subprocess.Popen([sys.executable, "-m", __spec__.name, "child", "0"]):
            HTTPServer(("127.0.0.1", int(sys.argv[1])), _Answer).serve_forever()
    signal.pause()
