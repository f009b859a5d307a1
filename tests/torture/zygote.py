"""``python -m tests.torture.zygote``: a process that has loaded the service, and becomes it on demand.

Loading takes seconds of processor time; hundreds of deaths would be hundreds of loads. So one process loads
everything, starts nothing, and forks: each child runs the same ``main`` as a process started by hand. Orders
are JSON lines on standard input; the answer is the child's process id. The child belongs to the process that
asked (a subreaper), which therefore sees with its own eyes how it ends.
"""

import asyncio
import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_LOADED = (
    "kheish_site.celery", "kheish_site.worker", "celery.apps.worker", "celery.worker.components",
    "celery.concurrency.thread", "kheish_site.broker", "sessions_app.services.worker", "sessions_app.tasks",
    "kheish_site.asgi", "openai", "twisted.web.http", "autobahn.twisted.websocket",
)  # fmt: skip


def main() -> int:
    """Load, then fork for each order until standard input ends."""
    _load()
    master = os.getppid()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"pid": _fork(json.loads(line), master)}), flush=True)
    return 0


def _load() -> None:
    import django

    django.setup()
    services = os.environ.get("KHEISH_REDIS_URL")
    more = ("sessions_app.services.doorbell.redis_bell", "sessions_app.services.doorbell.redis_listener")
    for name in (*_LOADED, *(more if services else ())):
        import_module(name)
    import_module("django.urls").get_resolver().url_patterns  # noqa: B018 - it loads every view
    bug = os.environ.get("KHEISH_TORTURE_BUG")
    if bug:
        import_module("tests.torture.bugs").install(bug)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor must not be shared by forks"
    gc.collect()
    gc.freeze()  # what is loaded stays shared: a collection in a child would copy every page of it


def _fork(order: dict[str, Any], master: int) -> int:
    """Fork twice: the grandchild is an orphan, whom the master adopts."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        child = os.fork()
        if child == 0:
            _become(order, master)
        os.write(writing, str(child).encode())
        os._exit(0)
    os.close(writing)
    pid = int(os.read(reading, 20))
    os.close(reading)
    os.waitpid(middle, 0)
    return pid


def _become(order: dict[str, Any], master: int) -> None:
    """Be the process that was asked for. Never returns."""
    code = 1
    try:
        _settle_in(order, master)
        code = int(ROLES[order["role"]](order) or 0)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        logging.getLogger(__name__).exception("the process failed")
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


def _settle_in(order: dict[str, Any], master: int) -> None:
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    faulthandler.register(signal.SIGUSR1)  # where it hangs, when it does not leave
    signal.signal(signal.SIGUSR2, lambda number, frame: _tell_tasks())
    os.environ |= order["environment"]
    while os.getppid() != master:
        time.sleep(0.001)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    from django.conf import settings

    from kheish_site.lib import clock, crashpoints

    crashpoints.arm(os.environ)
    if order.get("database_port"):
        settings.DATABASES["default"]["PORT"] = order["database_port"]
    skew = order.get("skew_seconds")
    if skew:
        from datetime import timedelta

        now = clock.now
        clock.now = lambda: now() + timedelta(seconds=skew)


def _tell_tasks() -> None:
    """Print where each task of the event loop waits."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is not None:
        for task in asyncio.all_tasks(reactor._asyncioEventloop):
            print(task, file=sys.stderr)
            task.print_stack(file=sys.stderr)


def _worker(order: dict[str, Any]) -> int:
    from kheish_site import worker

    return worker.main(order["name"])


def _web(order: dict[str, Any]) -> None:
    from daphne.cli import CommandLineInterface

    host, port = order["bind"].split(":")
    arguments = ["-v", "0", "-b", host, "-p", port, "kheish_site.asgi:application"]
    CommandLineInterface().run(arguments)


def _command(order: dict[str, Any]) -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *order["arguments"]])


ROLES: dict[str, Callable[[dict[str, Any]], int | None]] = {
    "worker": _worker,
    "web": _web,
    "command": _command,
}

if __name__ == "__main__":
    sys.exit(main())
