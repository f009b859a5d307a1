"""The smallest child process: serves manifest and health, and writes down how it was started.

``TINY_FOLDER`` is where it writes ``<pid>.json`` (its environment, its arguments). ``stubborn`` ignores
SIGTERM, ``late`` is never ready, ``dies`` ends at once.
"""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

MODES = sys.argv[1:]
IDENTITY = {"protocol_version": 1, "instance_id": f"tiny-{os.getpid()}"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/manifest":
            said = {"capabilities": {"idempotent": True, "attachments_out": False}}
        else:
            said = {"status": "starting" if "late" in MODES else "ready"}
        data = json.dumps({**IDENTITY, **said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def main():
    if "dies" in MODES:
        sys.exit(3)
    if "stubborn" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen(["sleep", "600"]) if "helper" in MODES else None
    port = urlsplit(os.environ["KHEISH_EXTERNAL_CONNECTOR_BASE_URL"]).port
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    told = {"environment": dict(os.environ), "arguments": MODES, "helper": helper.pid if helper else 0}
    told["streams"] = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    told["folder"] = os.getcwd()
    note = Path(os.environ["TINY_FOLDER"]) / f"{os.getpid()}.json"
    note.with_suffix(".part").write_text(json.dumps(told))
    note.with_suffix(".part").rename(note)
    server.serve_forever()


main()
