"""`fvq rate`, `fvq train --from-queue` and `fvq queue rm` as a user runs them, without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from streams.queue.clips import ClipStore
from streams.rating.store import RatingStore
from tests.support.media import make_clip
from tests.support.processes import ROOT
from tests.support.rating import make_example


def fvq(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without a broker, the clip store in the data folder is the queue.
    environment = {"FVQ_DATA_DIR": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_commands_of_fvq_rate(tmp_path: Path) -> None:
    store = ClipStore(str(tmp_path / "clips"))
    for number in range(3):
        clip = make_clip(tmp_path / f"{number}.ts", 160 + 16 * number, 120, 0.2)
        example = make_example(clip, f"studio-{number}", number)
        data = clip.read_bytes()
        store.put(example.model_copy(update={"clip_uri": store.uri(example.stream_id, data)}), data)
    assert "fvq rate add NAME" in fvq(tmp_path, "rate", "ls").stderr
    added = fvq(tmp_path, "rate", "add", "ada")
    assert added.returncode == 0, added.stderr
    token = added.stdout.split()[1]
    assert f"http://127.0.0.1:8090/#token={token}" in added.stdout
    twice = fvq(tmp_path, "rate", "add", "ada")
    assert (twice.returncode, twice.stdout) == (1, "")
    assert "there is such a rater" in twice.stderr

    nothing = fvq(tmp_path, "rate", "export", str(tmp_path / "rated.csv"))
    assert nothing.returncode == 1
    assert "no rated clip" in nothing.stderr
    ratings = RatingStore(tmp_path)
    rater = ratings.sign_in(token)
    assert rater is not None
    while shown := ratings.current(rater):
        ratings.rate(rater, shown.id, 70, "acr", 1)
    done = fvq(tmp_path, "rate", "export", str(tmp_path / "rated.csv"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["clips"] == 3
    listed = json.loads(fvq(tmp_path, "rate", "ls", "--json").stdout)
    assert [(row["name"], row["ratings"]) for row in listed] == [("ada", 3)]

    # Training finds the page's ratings without an export, and says that three are too few.
    recipe = str(ROOT / "training/recipes/nano_adapter.yaml")
    trained = fvq(tmp_path, "train", "--from-queue", "--recipe", recipe, "--out", str(tmp_path / "model"))
    assert trained.returncode == 1
    assert "3 rated clips, at least" in trained.stderr

    # After the deletion of a stream, nothing of it is in the export, the ratings or their file.
    assert fvq(tmp_path, "queue", "rm", "--stream", "studio-1").returncode == 0
    assert fvq(tmp_path, "rate", "export", str(tmp_path / "rated.csv")).returncode == 0
    assert "studio-1" not in (tmp_path / "rated.csv").read_text()
    assert not any(rating.key[0] == "studio-1" for rating in ratings.ratings())
    for path in tmp_path.glob("ratings.sqlite*"):
        assert b"studio-1" not in path.read_bytes()
    wrong = fvq(tmp_path, "rate", "serve", "--scale", "stars")
    assert wrong.returncode == 2
    assert "--scale" in wrong.stderr
