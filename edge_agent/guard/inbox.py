"""Where other threads leave arrivals and commands for the loop, and what wakes it."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue

from edge_agent.guard.ports import Arrival
from edge_agent.guard.safety.interface import Command

_CLASS_LIMIT = {"S": 4096, "A": 128, "E": 128}
"""How many commands may wait before one of this class is refused: what leads towards safe is refused last."""
COMMANDS_A_TURN = 20
"""A turn that obeyed thousands would be late for everything else."""


class Inbox:
    """Arrivals and commands in their order; `put`, `command` and `wake` from any thread, the rest by the loop only."""

    def __init__(self) -> None:
        self._arrivals: SimpleQueue[Sequence[Arrival]] = SimpleQueue()
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._stops: SimpleQueue[Command] = SimpleQueue()
        self.refused = 0

    def put(self, arrivals: Sequence[Arrival]) -> None:
        """Enqueue arrivals and wake the loop; never blocks."""
        if arrivals:
            self._arrivals.put(arrivals)

    def command(self, command: Command) -> bool:
        """Enqueue a command and wake the loop; False when too many wait, then it was not taken."""
        queue = self._stops if command.target == "estop" else self._commands
        if queue.qsize() >= _CLASS_LIMIT[command.klass]:
            self.refused += 1
            return False
        queue.put(command)
        self.wake()
        return True

    def wake(self) -> None:
        """End a wait of the loop."""
        self._arrivals.put(())

    def collect(self, timeout_s: float) -> list[Arrival]:
        """Everything that has arrived; waits up to `timeout_s` when nothing has. A negative time-out does not wait."""
        found: list[Arrival] = []
        try:
            found.extend(self._arrivals.get(timeout_s > 0.0, max(timeout_s, 0.0)))
            for _ in range(self._arrivals.qsize()):
                found.extend(self._arrivals.get_nowait())
        except Empty:
            pass
        return found

    def commands(self) -> list[Command]:
        """The oldest waiting commands, emergency stops before all others; what is left is for the next turn."""
        queues = (self._stops, self._commands)
        waiting = [queue.get_nowait() for queue in queues for _ in range(min(queue.qsize(), COMMANDS_A_TURN))]
        if any(queue.qsize() for queue in queues):
            self.wake()
        return waiting
