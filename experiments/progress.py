"""Progress on the terminal: bar, time left, speed, loss."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)


class Progress:
    """A bar of steps with time left, examples a second, loss and compile seconds.

    Off a terminal it prints nothing until `close`, which leaves one line.
    """

    def __init__(
        self, title: str, total: int, done: int = 0, *, shown: bool = True
    ) -> None:
        self._console = Console(stderr=True)
        self._title, self._total = title, total
        self._rows = self._seconds = self._compiled = 0.0
        self._loss = float("nan")
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            disable=not (shown and self._console.is_terminal),
        )
        self._task = self._bar.add_task(title, total=total, completed=done, note="")
        if total > done:
            self._bar.start()

    def advance(self, steps: int, loss: float) -> None:
        """So many more steps are done, the last one with that loss."""
        self._loss = loss
        self._bar.update(self._task, advance=steps, note=self._note())

    def speed(self, rows: float, seconds: float, compiled: float) -> None:
        """So many examples took so many seconds, compilation apart."""
        self._rows += rows
        self._seconds += seconds
        self._compiled += compiled

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def _note(self) -> str:
        speed = self._rows / self._seconds if self._seconds else 0.0
        parts = [f"loss {self._loss:.3f}", f"{speed:.0f} examples/s"]
        if self._compiled:
            parts.append(f"compiled {self._compiled:.1f} s")
        return "  ".join(parts)
