"""The last block of a deflate stream, found without decompressing, so that streams can be joined.

P. Deutsch, RFC 1951. A stream is a row of blocks, each marked as the last one or not, of any number of bits;
only reading all symbols tells where a block ends. Tables give the symbol for the next bits at once: an entry
is 16 * symbol + bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import jit, without_refcounts

__all__ = ["last_block"]

_MOST_BITS = 15
"""Of a code."""
_CODE_LENGTHS = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)
"""The order in which the lengths of the code of lengths come."""
_FIXED = np.repeat(np.array([8, 9, 7, 8, 5], np.uint8), [144, 112, 24, 8, 32])
"""Bits of the codes of symbols, and behind them of distances, in a block of fixed codes."""
_LENGTH_BITS = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0] * 3, np.int64)
"""Bits behind the symbol of each length, from 257 on."""
_DISTANCE_BITS = np.maximum(np.arange(32) // 2 - 1, 0)
"""Bits behind each symbol of a distance."""


@without_refcounts
def _peek(stream: Any, at: Any) -> Any:
    """Read the next 24 bits or more; the stream has 8 bytes more than it needs."""
    byte, bits = at >> 3, np.uint32(0)
    for place in range(4):
        bits |= np.uint32(stream[byte + place]) << np.uint32(8 * place)
    return np.int64(bits >> np.uint32(at & 7))


@without_refcounts
def _fill(lengths: Any, table: Any) -> None:
    """Make the table of a code from the lengths of its words, of which 0 stands for none."""
    code = 0
    for bits in range(1, _MOST_BITS + 1):
        for symbol in range(lengths.size):
            if lengths[symbol] == bits:
                word = 0
                for place in range(bits):  # its highest bit comes first
                    word |= (code >> place & 1) << (bits - 1 - place)
                for entry in range(word, table.size, 1 << bits):
                    table[entry] = 16 * symbol + bits
                code += 1
        code <<= 1


@without_refcounts
def _read_lengths(stream: Any, at: Any, n: Any, lengths: Any, table: Any) -> Any:
    """Read the lengths of `n` codes; where they end."""
    found = 0
    while found < n:
        bits = _peek(stream, at)
        entry = np.int64(table[bits & 127])
        symbol, used = entry >> 4, entry & 15
        bits >>= used
        at += used
        if symbol < 16:
            lengths[found] = symbol
            found += 1
            continue
        extra = 2 if symbol == 16 else 3 if symbol == 17 else 7
        times = (11 if symbol == 18 else 3) + (bits & ((1 << extra) - 1))
        at += extra
        length = lengths[found - 1] if symbol == 16 else np.uint8(0)
        for _ in range(times):
            lengths[found] = length
            found += 1
    return at


@without_refcounts
def _skip_symbols(
    stream: Any, at: Any, symbols: Any, distances: Any, length_bits: Any, distance_bits: Any
) -> Any:
    """Read all symbols of a block; where it ends."""
    while True:
        entry = np.int64(symbols[_peek(stream, at) & 32767])
        at += entry & 15
        symbol = entry >> 4
        if symbol == 256:
            return at
        if symbol > 256:
            at += length_bits[symbol - 257]
            entry = np.int64(distances[_peek(stream, at) & 32767])
            at += (entry & 15) + distance_bits[entry >> 4]


@jit
def _find(stream: Any, fixed: Any, order: Any, length_bits: Any, distance_bits: Any) -> Any:
    """Find where the last block begins, and where it ends, in bits."""
    lengths, few = np.zeros(320, np.uint8), np.zeros(19, np.uint8)
    symbols, distances = np.zeros(1 << 15, np.uint16), np.zeros(1 << 15, np.uint16)
    table = np.zeros(1 << 7, np.uint16)
    at = np.int64(0)
    while True:
        begin, head = at, _peek(stream, at)
        last, kind = head & 1, head >> 1 & 3
        at += 3
        if kind == 0:
            at = (at + 7) >> 3 << 3
            at += 32 + 8 * (_peek(stream, at) & 65535)
        else:
            if kind == 1:
                _fill(fixed[:288], symbols)
                _fill(fixed[288:], distances)
            else:
                sizes = _peek(stream, at)
                n_symbols, n_distances = 257 + (sizes & 31), 1 + (sizes >> 5 & 31)
                at += 14
                few[:] = 0
                for place in range(4 + (sizes >> 10 & 15)):
                    few[order[place]] = _peek(stream, at) & 7
                    at += 3
                _fill(few, table)
                at = _read_lengths(stream, at, n_symbols + n_distances, lengths, table)
                _fill(lengths[:n_symbols], symbols)
                _fill(lengths[n_symbols : n_symbols + n_distances], distances)
            at = _skip_symbols(stream, at, symbols, distances, length_bits, distance_bits)
        if last:
            return begin, at


def last_block(stream: bytes) -> tuple[int, int]:
    """Find the last block of a deflate stream that is whole and right.

    Returns
    -------
    begin, end : int
        Its first bit, which marks it as the last one, and the bit behind its last one.
    """
    padded: NDArray[np.uint8] = np.zeros(len(stream) + 8, np.uint8)
    padded[: len(stream)] = np.frombuffer(stream, np.uint8)
    begin, end = _find(padded, _FIXED, _CODE_LENGTHS, _LENGTH_BITS, _DISTANCE_BITS)
    return int(begin), int(end)
