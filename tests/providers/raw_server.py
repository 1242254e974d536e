"""A server that says given bytes and then neither ends nor closes: for what no well-behaved server does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress


@contextmanager
def raw_server(said: bytes, dripped: bytes = b"", seconds: float = 0.1) -> Generator[str]:
    """Answers each connection's first bytes with `said`, then sends `dripped` again and again, until the block ends.

    Args:
        said: Sent at once.
        dripped: Sent once per `seconds`; nothing keeps the connection open in silence.
        seconds: The pause between two drips.

    Yields:
        The server's URL.
    """
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(said)
            while not over.wait(seconds):
                connection.sendall(dripped)

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(5.0)
