"""An e-mail sidecar of Kheish: ``python3 examples/email_sidecar``. README.md says how to run it."""

import logging
import signal
import sys
import threading
import uuid

from daemon import Daemon
from outgoing import Postman
from poller import Poller
from server import Sidecar
from settings import SettingsError, load
from store import Store

GRACE_SECONDS = 8.0


def main() -> int:
    """Serve until SIGTERM or SIGINT; finish what is on its way; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        settings = load()
    except (SettingsError, ValueError) as error:
        print(f"email sidecar: {error}", file=sys.stderr)  # noqa: T201
        return 2
    asked = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)  # in every thread: they wait until they are taken below
    instance_id = f"email-{uuid.uuid4().hex}"
    store, daemon = Store(settings.state_dir), Daemon(settings)
    poller = Poller(settings, daemon, store, instance_id=instance_id)
    sidecar = Sidecar(settings, Postman(settings, daemon, store), poller, instance_id=instance_id)
    threading.Thread(target=sidecar.serve_forever, name="http", daemon=True).start()
    poller.start()
    signal.sigwait(asked)
    poller.stop()
    sidecar.drain(GRACE_SECONDS)
    poller.join(1.0)
    sidecar.shutdown()
    sidecar.server_close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
