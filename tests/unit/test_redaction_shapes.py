"""What looks like a secret, what only looks like one, and that nothing else is hidden behind it."""

import pytest

from kheish_site.lib.redaction import MASK, Redactor, masks

KEY = "-----BEGIN PRIVATE KEY-----"
END = "-----END PRIVATE KEY-----"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{KEY}\n{BODY}\n{END} done", f"{MASK} done"),
        (f'"{KEY}\\n"\n"{BODY}\\n"\n"{END}"', f'"{MASK}"'),
        (f"{KEY}\n{BODY}\n{BODY[:7]}", MASK),  # cut off
        (f"{KEY}\nProc-Type: 4,ENCRYPTED\n\n{BODY}", MASK),
        (f"echo '{KEY}'; reboot", f"echo '{MASK}'; reboot"),
        (f"a.pem:{KEY}\nb_c.pem:{KEY}", f"a.pem:{MASK}_c.pem:{MASK}"),
        ("password=hunter22", f"password={MASK}"),
        ("passwd: hunter22", f"passwd: {MASK}"),
        ("/etc/passwd: outside the workspace", "/etc/passwd: outside the workspace"),
    ],
)
def test_shapes(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"command": "echo hello", "n": [1, None, True, 2.5]}, False),
        ({"command": "echo token=$(id>f)"}, True),
        ({"env": {"API_KEY": "x"}}, True),
        ({"text": "a\x00b"}, True),  # shown as another character
        ("", False),
    ],
)
def test_what_is_not_all_shown_says_so(value: object, masked: bool) -> None:
    assert masks(value) is masked
