"""A TCP relay before the broker that can be cut (connections reset), made half-open (nothing passes, nothing ends) or slow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """One relay on a free loopback port, served by a thread of its own. `open`, `cut` and `hole` may be called from any thread."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._passes, self._quick = asyncio.Event(), asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._refuses = False
        self._rate = 0
        self.port: int = self._listener.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()
        self._ready.wait()

    def open(self, *, reset: bool = False) -> None:
        """Let everything pass again; with `reset` what was half-open before is torn down instead of being delivered late."""
        self._loop.call_soon_threadsafe(self._open, reset)

    def cut(self) -> None:
        """Reset every connection and each that comes."""
        self._loop.call_soon_threadsafe(self._cut)

    def hole(self) -> None:
        """Take connections and bytes, deliver none."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def slow(self, bytes_per_s: int) -> None:
        """Carry no more than this each way; 0: as fast as it goes."""
        self._rate = bytes_per_s
        self._loop.call_soon_threadsafe(self._quick.clear if bytes_per_s else self._quick.set)

    def close(self) -> None:
        """End the thread and every connection."""
        self._loop.call_soon_threadsafe(self._cut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._passes.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._relay, sock=self._listener))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _open(self, reset: bool) -> None:
        if reset:
            self._tear()
        self._refuses = False
        self._passes.set()

    def _cut(self) -> None:
        self._refuses = True
        self._passes.set()
        self._tear()

    def _tear(self) -> None:
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._passes.wait()
            if self._refuses or writer.transport.is_closing():
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(back)
            ways = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                self._writers.discard(back)
                back.transport.abort()
        except OSError:
            return  # the broker is not there: so is this connection
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(min(_CHUNK, self._rate // 10 or _CHUNK)):
                await self._passes.wait()
                if self._rate:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._quick.wait(), len(data) / self._rate)
                sink.write(data)
                await sink.drain()
