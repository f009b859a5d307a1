"""A real IMAP server with one mailbox in memory, as a process: ``imap_server.py USER PASSWORD PORT``.

Mail is put in by APPEND, like everything else over the wire; tests use ``imaplib`` for that.
"""

import io
import sys
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

from twisted.cred import checkers, portal
from twisted.internet import defer, endpoints, protocol, reactor
from twisted.mail import imap4
from zope.interface import implementer


@implementer(imap4.IMessage, imap4.IMessageFile)
class Message:
    def __init__(self, uid: int, raw: bytes, flags: tuple[str, ...], date: str) -> None:
        self.uid, self.raw, self.flags, self.date = uid, raw, set(flags), date

    def getUID(self) -> int:
        return self.uid

    def getFlags(self) -> tuple[str, ...]:
        return tuple(self.flags)

    def getInternalDate(self) -> str:
        return self.date

    def getHeaders(self, negate: bool, *names: str) -> dict[str, str]:
        wanted = {name.lower() for name in names}
        found = {name.lower(): value for name, value in message_from_bytes(self.raw).items()}
        return {name: value for name, value in found.items() if (name in wanted) != negate}

    def getBodyFile(self) -> io.BytesIO:
        return io.BytesIO(self.raw.partition(b"\r\n\r\n")[2])

    def getSize(self) -> int:
        return len(self.raw)

    def isMultipart(self) -> bool:
        return False

    def getSubPart(self, part: int) -> Any:
        raise IndexError(part)

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.raw)


@implementer(imap4.IMailbox)
class Mailbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.listeners: list[Any] = []

    def getFlags(self) -> list[str]:
        return ["\\Seen", "\\Deleted"]

    def getHierarchicalDelimiter(self) -> str:
        return "/"

    def getUIDValidity(self) -> int:
        return 4711

    def getUIDNext(self) -> int:
        return len(self.messages) + 1

    def getUID(self, message: int) -> int:
        return message

    def getMessageCount(self) -> int:
        return len(self.messages)

    def getRecentCount(self) -> int:
        return 0

    def getUnseenCount(self) -> int:
        return sum("\\Seen" not in message.flags for message in self.messages)

    def isWriteable(self) -> bool:
        return True

    def destroy(self) -> None:
        self.messages.clear()

    def requestStatus(self, names: Any) -> Any:
        return imap4.statusRequestHelper(self, names)

    def addListener(self, listener: Any) -> None:
        self.listeners.append(listener)

    def removeListener(self, listener: Any) -> None:
        self.listeners.remove(listener)

    def addMessage(self, message: Any, flags: Any = (), date: Any = None) -> Any:
        raw = message.read()
        now = datetime.now(UTC).strftime("%d-%b-%Y %H:%M:%S +0000")
        self.messages.append(Message(len(self.messages) + 1, raw, tuple(flags), date or now))
        return defer.succeed(len(self.messages))

    def expunge(self) -> list[int]:
        return []

    def fetch(self, messages: Any, uid: bool) -> list[tuple[int, Message]]:
        messages.last = len(self.messages)
        return [(message.uid, message) for message in self.messages if message.uid in messages]

    def store(self, messages: Any, flags: Any, mode: int, uid: bool) -> dict[int, tuple[str, ...]]:
        changed = {}
        for number, message in self.fetch(messages, uid):
            message.flags = set(flags) | (message.flags if mode > 0 else set())
            changed[number] = message.getFlags()
        return changed


@implementer(portal.IRealm)
class Realm:
    def __init__(self) -> None:
        self.account = imap4.MemoryAccount("agent")
        self.account.addMailbox("INBOX", Mailbox())

    def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:
        return imap4.IAccount, self.account, lambda: None


class Factory(protocol.Factory):
    def __init__(self, user: str, password: str) -> None:
        checker = checkers.InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(user.encode(), password.encode())
        self.portal = portal.Portal(Realm(), [checker])

    def buildProtocol(self, address: Any) -> Any:
        server = imap4.IMAP4Server()
        server.portal = self.portal
        server.factory = self
        return server


def main(user: str, password: str, port: int) -> None:
    endpoint = endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
    endpoint.listen(Factory(user, password))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
