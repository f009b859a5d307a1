"""Ask a service whether it takes requests, without Django."""

import http.client


def is_ready(url: str) -> bool:
    """Tell whether the service at ``url`` (``http://HOST:PORT``) answers ``/readyz`` with 200 within 2 s."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
