"""An FTP server of one file, just enough of it for a client in passive mode."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERS = {
    "USER": "331 name?",
    "PASS": "230 in",
    "TYPE": "200 ok",
    "CWD": "250 ok",
    "QUIT": "221 bye",
}


@contextmanager
def serving_ftp(content: bytes, sent: int | None = None) -> Iterator[str]:
    """Give the address of `content`, of which each answer sends `sent` bytes."""
    with socket.create_server(("127.0.0.1", 0)) as control:
        control.settimeout(20)
        thread = threading.Thread(target=_serve, args=(control, content, sent))
        thread.start()
        try:
            yield f"ftp://127.0.0.1:{control.getsockname()[1]}/pub/a.zip"
        finally:
            thread.join()


def _serve(control: socket.socket, content: bytes, sent: int | None) -> None:
    connection, _ = control.accept()
    with connection, connection.makefile("rw", newline="\r\n", encoding="ascii") as lines:

        def say(text: str) -> None:
            lines.write(text + "\n")
            lines.flush()

        say("220 hello")
        data: socket.socket | None = None
        for line in lines:
            word = line.split()[0].upper()
            if word == "PASV":
                data = socket.create_server(("127.0.0.1", 0))
                high, low = divmod(data.getsockname()[1], 256)
                say(f"227 Entering Passive Mode (127,0,0,1,{high},{low})")
            elif word == "RETR" and data is not None:
                say(f"150 Opening connection ({len(content)} bytes)")
                with data, data.accept()[0] as peer:
                    peer.sendall(content[:sent])
                say("226 done" if sent is None else "426 cut")
            else:
                say(ANSWERS.get(word, "502 unknown"))
            if word == "QUIT":
                break
