"""llmock as a process of its own: an OpenAI-compatible server that this project had no hand in."""

import json
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
_RUNNING = re.compile(r"running on (http://127\.0\.0\.1:\d+)")


class LLMockProcess:
    """Start it with ``with``; then script faults, point a route at ``base_url``, and read the verdict."""

    def __init__(self, *options: str) -> None:
        self._command = [
            str(Path(sys.executable).with_name("llmock")),
            *("serve", "--host", "127.0.0.1", "--port", "0", "--log-level", "info"),
            *options,
        ]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.url = ""

    def __enter__(self) -> "LLMockProcess":
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        found = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, found), daemon=True)
        self._reader.start()
        if not found.wait(START_SECONDS) or not self.url:
            self.stop()
            raise RuntimeError("llmock did not start")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What a route of the driver ``openai`` needs."""
        return f"{self.url}/v1"

    def stop(self) -> None:
        """End the process; safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        if self._reader is not None:
            self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Queue behaviours, for instance ``{"type": "reply", "text": "hello"}``."""
        self._call("POST", "/_llmock/scenario", {"behaviors": list(behaviors)})

    def reset(self) -> None:
        """Forget what was queued and what was seen."""
        self._call("POST", "/_llmock/reset", {})

    def requests(self) -> list[dict[str, Any]]:
        """Every request since the last reset, oldest first."""
        return list(self._call("GET", "/_llmock/requests")["requests"])

    def verdict(self) -> dict[str, Any]:
        """How the client behaved: ``passed``, ``findings`` and counts."""
        return dict(self._call("GET", "/_llmock/verdict"))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            return dict(json.load(response))

    def _read(self, process: "subprocess.Popen[str]", found: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:  # to its end, so that the server never blocks on a full pipe
            address = _RUNNING.search(line)
            if address:
                self.url = address.group(1)
                found.set()
        found.set()
