"""Prompts that begin alike: which share of them a prefix cache has, one that forgets nothing or one of a given size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_BLOCK_SIZES = (16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, eq=False)
class PrefixBlocks:
    """Blocks of the prompts of a trace; equal blocks of two prompts hold the same tokens after the same prefix.

    Attributes
    ----------
    block : ndarray of int
        Numbers of the blocks of all requests, one request after the other.
    first : ndarray of int, shape (n + 1,)
        Where those of each request begin.
    block_tokens : int
        Tokens of a block; the last of a prompt may have fewer.
    """

    block: NDArray[np.int64]
    first: NDArray[np.int64]
    block_tokens: int

    @property
    def n_requests(self) -> int:
        """Number of requests."""
        return int(self.first.size - 1)

    def taken(self, order: NDArray[np.int64]) -> PrefixBlocks:
        """The blocks of some requests, in an order of one's own."""
        n = np.diff(self.first)[order]
        first = np.concatenate(([0], np.cumsum(n)))
        at = np.repeat(self.first[:-1][order] - first[:-1], n) + np.arange(int(first[-1]))
        return PrefixBlocks(self.block[at], first, self.block_tokens)

    def cached_blocks(self, capacity_tokens: float | None = None) -> NDArray[np.int64]:
        """Blocks at the beginning of each prompt that a cache has when the request comes.

        Parameters
        ----------
        capacity_tokens : float, optional
            Of the cache, which forgets what was used longest ago; left out: it forgets nothing [tokens].

        Returns
        -------
        ndarray of int, shape (n,)

        Notes
        -----
        Of a request, blocks at the end of its prompt are forgotten first, as servers do: without them, those before
        are still of use, and not the other way round.
        """
        if capacity_tokens is None:
            return self._ever_seen()
        most = int(capacity_tokens // self.block_tokens)
        kept: OrderedDict[int, None] = OrderedDict()
        found = np.zeros(self.n_requests, dtype=np.int64)
        blocks, first = self.block.tolist(), self.first.tolist()
        for i in range(self.n_requests):
            own = blocks[first[i] : first[i + 1]]
            hits = 0
            for block in own:
                if block not in kept:
                    break
                hits += 1
            found[i] = hits
            for block in reversed(own):
                kept[block] = None
                kept.move_to_end(block)
            while len(kept) > most:
                kept.popitem(last=False)
        return found

    def _ever_seen(self) -> NDArray[np.int64]:
        """Leading blocks that an earlier request had."""
        n = np.diff(self.first)
        request = np.repeat(np.arange(self.n_requests), n)
        _, first_at, number = np.unique(self.block, return_index=True, return_inverse=True)
        new = request[first_at][number] == request
        # Blocks before the first new one of each request.
        at = np.where(new, np.arange(self.block.size), self.block.size)
        ends = np.full(self.n_requests, self.block.size)
        np.minimum.at(ends, request, at)
        return np.minimum(ends - self.first[:-1], n)

    def share(self, prompt_tokens: FloatArray, capacity_tokens: float | None = None) -> float:
        """Blocks that a cache has, of all blocks of the prompts; the last of a prompt counts whole."""
        blocks = np.ceil(prompt_tokens / self.block_tokens).sum()
        return float(self.cached_blocks(capacity_tokens).sum() / blocks)


def blocks_of(lists: Sequence[Any], prompt_tokens: FloatArray, block_tokens: int | None) -> PrefixBlocks | None:
    """Blocks out of the lists of a trace; None where there are none that could be shared.

    Parameters
    ----------
    lists : sequence
        Hashes or numbers of the blocks of each prompt, of any kind; what is no list counts as empty.
    prompt_tokens : ndarray, shape (n,)
    block_tokens : int or None
        Tokens of a block in this form; the lengths of the lists go before it.
    """
    rows = [row if isinstance(row, list) else [] for row in lists]
    length = np.array([len(row) for row in rows], dtype=np.int64)
    if not length.any():
        return None
    number: dict[object, int] = {}
    block = np.array([number.setdefault(h, len(number)) for row in rows for h in row], dtype=np.int64)
    some = length > 0
    fits = {b: float(np.mean(np.ceil(prompt_tokens[some] / b) == length[some])) for b in _BLOCK_SIZES}
    best = max(fits, key=lambda b: (fits[b], b == block_tokens))
    size = best if fits[best] >= 0.5 or block_tokens is None else block_tokens
    return PrefixBlocks(block, np.concatenate(([0], np.cumsum(length))), size)
