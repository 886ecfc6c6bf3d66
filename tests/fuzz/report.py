"""What a fuzz run saw: outcomes, the slowest input, peak memory, findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """An input that was answered against the promise. kind: the first part of its file's name. suffix: the last one."""

    kind: str
    words: str
    data: bytes
    suffix: str = ".bin"


@dataclass
class Report:
    """What one part of the fuzzer saw.

    outcomes: inputs by the answer that they got. slowest: seconds and name of the input. notes: lines with other figures.
    """

    name: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "none")
    notes: list[str] = field(default_factory=list)

    def add_time(self, seconds: float, name: str) -> None:
        """Remember the slowest input."""
        self.slowest = max(self.slowest, (seconds, name))

    def text(self) -> str:
        """The part's lines on the screen."""
        lines = [f"{self.name}: {self.outcomes.total()}, seed {self.seed}"]
        lines += [f"  {count:7}  {outcome}" for outcome, count in self.outcomes.most_common()]
        lines.append(f"  slowest: {self.slowest[0]:.3f} s, {self.slowest[1]}")
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  FINDING {ascii(finding.words)[1:-1][:300]}" for finding in self.findings[:10]]
        lines.append(f"  findings: {len(self.findings)}")
        return "\n".join(lines)

    def save_findings(self, folder: Path) -> None:
        """Write the input of each finding, and what was wrong, into a folder."""
        for number, finding in enumerate(self.findings):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{finding.kind}-{self.seed}-{number}"
            (folder / f"{name}{finding.suffix}").write_bytes(finding.data)
            (folder / f"{name}.txt").write_text(ascii(finding.words) + "\n")
