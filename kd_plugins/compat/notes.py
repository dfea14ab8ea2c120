"""What was read differently, gathered by kind."""

from __future__ import annotations


class Notes:
    """Changes by kind; each is told once."""

    def __init__(self) -> None:
        self._details: dict[str, list[str]] = {}

    def add(self, kind: str, detail: str) -> None:
        """Note a change.

        Args:
            kind: What changed; one line is written for it.
            detail: Which name or key path it concerns.
        """
        details = self._details.setdefault(kind, [])
        if detail not in details:
            details.append(detail)

    def lines(self) -> list[str]:
        """One line a kind, in the order in which they were first noted."""
        return [f'{kind}: {", ".join(details)}' for kind, details in self._details.items()]
