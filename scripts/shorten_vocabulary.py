"""Write a CLIP vocabulary that is shortened to some texts: `vocabulary.txt.gz` for SimpleTokenizer.

    python scripts/shorten_vocabulary.py OUT TEXTS...

OUT is the file to write; TEXTS are files of texts, a line each (`-` for standard input). Words
that occur in the texts are cut into tokens as CLIP cuts them; any other word into shorter pieces,
down to single letters.
"""

import argparse
import gzip
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
from open_clip.tokenizer import SimpleTokenizer, default_bpe

Merge = tuple[str, str]


def used_merges(words: Iterable[tuple[str, int]], ranks: dict[Merge, int]) -> Counter[Merge]:
    """How often each merge is made while words are cut into tokens (Sennrich et al., 2016).

    Args:
        words: spelt with the tokenizer's byte letters, and how often each occurs.
        ranks: the merges in the order in which they are tried.
    """
    used: Counter[Merge] = Counter()
    for word, count in words:
        pieces = (*word[:-1], f"{word[-1]}</w>")
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda p: ranks.get(p, 1 << 30))
            if best not in ranks:
                break
            used[best] += count
            pieces = _merged(pieces, best)
    return used


def _merged(pieces: tuple[str, ...], pair: Merge) -> tuple[str, ...]:
    merged: list[str] = []
    i = 0
    while i < len(pieces):
        if pieces[i : i + 2] == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(pieces[i])
            i += 1
    return tuple(merged)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("texts", nargs="+", help="files of texts, a line each; - reads them here")
    parser.add_argument("--least", type=int, default=2, help="how often a merge must be made")
    given = parser.parse_args()

    tokenizer = SimpleTokenizer()
    words: Counter[str] = Counter()
    for name in given.texts:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        for word in regex.findall(tokenizer.pat.pattern, ftfy.fix_text(text).lower()):
            words["".join(tokenizer.byte_encoder[b] for b in word.encode())] += 1
    used = used_merges(words.items(), tokenizer.bpe_ranks)
    kept = [merge for merge in tokenizer.bpe_ranks if used[merge] >= given.least]
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        first = file.readline().strip()
    lines = "\n".join([first, *(" ".join(merge) for merge in kept)])
    with gzip.GzipFile(given.out, "wb", mtime=0) as out:  # the same bytes each time
        out.write(lines.encode())
    made = SimpleTokenizer(bpe_path=str(given.out))
    print(f"{given.out}: {len(kept)} merges, {made.vocab_size} tokens, of {len(words)} words")


if __name__ == "__main__":
    main()
