"""Examples of every command, which its help shows below its options. tests/unit/cli/test_help.py parses each of them."""

from __future__ import annotations

import typer

EXAMPLES: dict[str, tuple[str, ...]] = {
    "score": ("fvq score talk.mp4", "fvq score --json recordings/", "fvq score https://cdn.example/talk.mp4"),
    "up": ("fvq up --source talk.mp4 --keep", "fvq up --source https://origin.example/studio-7/live.m3u8"),
    "doctor": ("fvq doctor", "fvq doctor --for worker", "fvq doctor --uri https://cdn.example/seg-1.ts"),
    "config": ("fvq config > fvq.toml", "FVQ_CONFIG=fvq.toml fvq doctor"),
    "worker": ("FVQ_BROKER=kafka-1:9092 FVQ_MEDIA_ROOTS=/srv/media fvq worker",),
    "serve": ("fvq serve", "fvq serve --ray --replicas 2"),
    "plan": ("fvq plan --streams 1000", "fvq plan --streams 1000 --measure --source my-stream.mp4"),
    "synth": ("fvq synth data/train clean-clips/ --steps 20 --variants 4",),
    "train": (
        "fvq train --recipe nano.yaml --data train/labels.csv --dev dev/labels.csv --out MODEL",
        "fvq train --recipe adapter.yaml --from-queue --out MODEL",
    ),
    "evaluate": ("fvq evaluate nano --data dev/labels.csv", "fvq evaluate MODEL --benchmark bench/ --against nano"),
    "ablate": ("fvq ablate --recipe nano.yaml --data train/labels.csv --dev dev/labels.csv --work MODEL/work",),
    "crossvalidate": ("fvq crossvalidate --recipe nano.yaml --data train/labels.csv --work MODEL/work",),
    "promote": ("fvq promote MODEL --reference dev/labels.csv",),
    "topics": ("fvq topics check",),
    "topics create": ("fvq topics create --partitions 16 --replication 3",),
    "topics check": ("fvq topics check", "fvq topics check --partitions 16 --json"),
    "topics acls": ("fvq topics acls", "fvq topics acls 'fvq worker' --user fvq-worker"),
    "alerts": ("fvq alerts", "fvq alerts --json"),
    "alerts ls": ("fvq alerts ls", "fvq alerts ls --all --kind black --json"),
    "alerts check": ("fvq alerts check --policy alerts.yaml --label tier=premium",),
    "history": ("fvq history fill --from 2h",),
    "history fill": ("fvq history fill --from 2026-11-01T00:00Z", "fvq history fill --from 3d --to 2h --json"),
    "forget": ("fvq forget studio-7 --dry-run", "fvq forget studio-7 --yes"),
    "alerts backtest": ("fvq alerts backtest alerts.yaml --days 2",),
    "alerts evaluate": ("fvq alerts evaluate --policy alerts.yaml", "fvq alerts evaluate --causes --json"),
    "alerts send-test": ("fvq alerts send-test on-call --policy alerts.yaml",),
    "alerts ack": ('fvq alerts ack ALERT_ID --by kim --note "encoder restarts" --until 2h',),
    "alerts unack": ("fvq alerts unack ALERT_ID",),
    "models": ("fvq models", "fvq models --json"),
    "models ls": ("fvq models ls", "fvq models ls --json"),
    "models show": ("fvq models show nano", "fvq models show nano@3"),
    "models serving": ("FVQ_SCORER_URL=http://gpu-1:8070 fvq models serving",),
    "models rollback": ("fvq models rollback nano",),
    "queue": ("fvq queue", "fvq queue --json"),
    "queue ls": ("fvq queue ls --stream studio-7", "fvq queue ls --json"),
    "queue show": ("fvq queue show 3f9a",),
    "queue export": ("fvq queue export to-rate/",),
    "queue rm": ("fvq queue rm 3f9a 77c0", "fvq queue rm --stream studio-7"),
    "rate": ("fvq rate",),
    "rate serve": ("fvq rate serve --port 8090 --pause-after 30",),
    "rate add": ("fvq rate add kim",),
    "rate ls": ("fvq rate ls --json",),
    "rate rm": ("fvq rate rm kim",),
    "rate forget": ("fvq rate forget studio-7",),
    "rate export": ("fvq rate export rated.csv --min-ratings 3",),
    "dead-letters": ("fvq dead-letters", "fvq dead-letters --json"),
    "dead-letters ls": ("fvq dead-letters ls --since 2h --kind not-found",),
    "dead-letters show": ("fvq dead-letters show video-segments/3/17",),
    "dead-letters replay": ("fvq dead-letters replay --since 2h", "fvq dead-letters replay video-segments/3/17"),
    "dead-letters rm": ("fvq dead-letters rm --kind event",),
    "ingest": ("fvq ingest hls studio-7=https://origin.example/studio-7/live.m3u8",),
    "ingest files": ("fvq ingest files --source recordings/ --label tier=test",),
    "ingest hls": ("fvq ingest hls studio-7=https://origin.example/studio-7/live.m3u8",),
    "ingest dash": ("fvq ingest dash news=https://origin.example/news/live.mpd",),
    "ingest push": ("fvq ingest push studio-7=rtmp://0.0.0.0:1935/live/KEY?mode=listener",),
    "ingest folder": ("fvq ingest folder studio-8=/srv/recordings/studio-8",),
    "ingest status": ("fvq ingest status --json",),
    "sources": ("fvq sources", "fvq sources --json"),
    "sources ls": ("fvq sources ls", "fvq sources ls --state failing --json"),
    "web": ("fvq web", "fvq web --port 8060"),
    "web token": ("fvq web token ls",),
    "web token add": ("fvq web token add kim --scope read --scope ack --label tier:premium",),
    "web token ls": ("fvq web token ls --json",),
    "web token rm": ("fvq web token rm kim",),
    "streams": ("fvq streams", "fvq streams --json"),
    "streams ls": ("fvq streams ls --worst --limit 10", "fvq streams ls --below 40 --json"),
}
"""By the words of a command after `fvq`."""


def add_examples(app: typer.Typer, words: str = "") -> None:
    """Give each command of an application, and of its groups, its examples. words: of the application itself."""
    for command in app.registered_commands:
        function = command.callback.__name__ if command.callback is not None else ""
        name = command.name or function.replace("_", "-")
        command.epilog = _epilog(f"{words} {name}".strip())
    for group in app.registered_groups:
        assert group.typer_instance is not None
        assert isinstance(group.name, str)
        name = f"{words} {group.name}".strip()
        group.epilog = _epilog(name)
        add_examples(group.typer_instance, name)


def _epilog(name: str) -> str:
    """An empty line begins a new line in the help."""
    return "\n\n".join(["Examples:", *EXAMPLES[name]]) if name in EXAMPLES else ""
