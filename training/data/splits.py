"""Which clips of a rated set are for training, which set the size of the uncertainty, and which judge the model.

No content is in two splits, because a model that knows a person's other segments would be judged on what it was trained on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

SPLITS = ("train", "val", "test")
SHARES = (0.80, 0.05, 0.15)
"""Shares of the contents in the three splits, as in FVQ-20K."""

FEWEST = 5
"""Clips that a split must have for figures: the logistic alone has four parameters."""

MOST_HOLDERS = 50
"""A clip that more contents show tells nothing of them, and there are 500,000 pairs of a thousand contents."""


def choose_splits(contents: Sequence[str], named: Sequence[str], clips: Sequence[str], seed: int) -> dict[str, str]:
    """Content -> its split.

    Of each row: contents: what its clip shows. named: one of `SPLITS`, or '' where the set does not say it. clips: what
    identifies the clip, '' where the row cannot be used.

    Where the set names splits for a content, its split is the last of train, val, test among them: clips that the set tests
    on must not be trained on. Else a hash of the content's name decides, so that it keeps its split when the set grows. Of
    contents that share half of their clips, as two ids of one stream do, the last split that the set names for one of them is
    that of those without one; without any, the largest hash decides for all.

    Few contents may all fall into one split. Where no content has a named split, and the hash leaves too few test clips for
    figures or less than half of the clips to train on, the contents with the largest hashes are for test, up to the number
    of clips that figures need (`_for_test`), and all others for training.
    """
    splits: dict[str, str] = {}
    for content, split in zip(contents, named, strict=True):
        if split and SPLITS.index(split) >= SPLITS.index(splits.get(content, "train")):
            splits[content] = split
    group_of = _groups(contents, clips)
    places: dict[str, float] = {}
    for content, group in group_of.items():
        place = int.from_bytes(hashlib.sha256(f"{seed}/{content}".encode()).digest()[:8], "big") / 2**64
        places[group] = max(place, places.get(group, 0.0))
    by_group = {
        group: SPLITS[int(np.searchsorted(np.cumsum(SHARES)[:2], place, side="right"))] for group, place in places.items()
    }
    for content, split in sorted(splits.items(), key=lambda named: SPLITS.index(named[1])):
        by_group[group_of[content]] = split
    if not splits:
        different: dict[str, str] = {}
        for clip, content in zip(clips, contents, strict=True):
            if clip:
                different.setdefault(clip, group_of[content])  # of its rows only the first is kept
        sizes = Counter(different.values())
        held = {split: sum(size for group, size in sizes.items() if by_group[group] == split) for split in SPLITS}
        if held["test"] < FEWEST or held["train"] < sizes.total() / 2:
            tested = _for_test(sizes, sorted(sizes, key=lambda group: places[group], reverse=True))
            by_group |= {group: "test" if group in tested else "train" for group in sizes}
    return {content: by_group[group] for content, group in group_of.items()} | splits


def _for_test(sizes: Counter[str], order: Sequence[str]) -> set[str]:
    """The first groups of an order that have `FEWEST` clips together, and no more than half of all.

    Small groups that are taken first can leave too little room for the next one: then the order begins with the next one.
    Where no begin leads to so many clips, it is what the whole order gives.
    """
    found: list[set[str]] = []
    for begin in range(len(order)):
        taken: set[str] = set()
        tested = 0
        for group in order[begin:]:
            if tested < FEWEST and tested + sizes[group] <= sizes.total() / 2:
                taken.add(group)
                tested += sizes[group]
        if tested >= FEWEST:
            return taken
        found.append(taken)
    return found[0] if found else set()


def _groups(contents: Sequence[str], clips: Sequence[str]) -> dict[str, str]:
    """Content -> one of those that show the same as it, also through others: the same one for all of them.

    Two contents show the same where at least two of their clips, and half of the clips of the one that has fewer, are the
    other's too. One clip that many streams show, as an advertisement, joins none of them; nor do several that more than
    `MOST_HOLDERS` contents show.
    """
    holders: dict[str, set[str]] = {}
    for content, clip in zip(contents, clips, strict=True):
        if clip:
            holders.setdefault(clip, set()).add(content)
    sizes = Counter(content for of_clip in holders.values() for content in of_clip)
    of_few = [of_clip for of_clip in holders.values() if len(of_clip) <= MOST_HOLDERS]
    shared = Counter(pair for of_clip in of_few for pair in combinations(sorted(of_clip), 2))
    parents = {content: content for content in contents}

    def root(content: str) -> str:
        while parents[content] != content:
            content = parents[content] = parents[parents[content]]
        return content

    for (one, other), count in shared.items():
        if count >= max(2, min(sizes[one], sizes[other]) / 2):
            parents[root(other)] = root(one)
    return {content: root(content) for content in parents}
