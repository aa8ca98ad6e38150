// How rows lie on the device: the first part of lloyd.cu, for one kind of rows. The compiler is told
//   VALUE     type of a value: unsigned char or unsigned short
//   FEATURES  values of a row
//   WIDTH     the same, filled up with zeros in memory: a multiple of 4
//   BITS      F of the grid 2^-F of the centers, see exact.py
//   TOP       the largest limit of a row, as the upper 13 bits of a float, see spread_of
//
// Rows lie in tiles of 64. A word holds four values of a row, or two of 16 bits; a tile has word after word, each of its
// 64 rows, so that the lanes of a warp read what lies together.
//
// Rows and slots are numbered by int: a piece has at most 2^28 bytes and a row 14 or more (block.py), and each row may have
// a tile of its own besides those that are full: at most 65 2^28 / 14 < 2^31 slots. What is multiplied by the features
// of a row or by SPREADS, or adds up rows, has 64 bits.
//
// The host compiler builds all of it too, for the tests: see tests/emulation/emulator.h.

typedef long long i64;
typedef unsigned long long u64;

constexpr int LANES = 32;
constexpr int ROWS = 2;  // of each lane
constexpr int TILE = LANES * ROWS;
constexpr int WARPS = 4;  // of a block of threads
constexpr int NO_ROW = -2;  // label of a slot of a tile without a row; -1: a row without a label
constexpr int STRIPES = 256;  // of a counter: one alone would be waited for
constexpr int SPREADS = 128;  // kinds of rows of a run, see spread_of
constexpr int SLICES = 512;

constexpr int PACK = 4 / sizeof(VALUE);  // values of a word
constexpr int VALUE_BITS = 8 * sizeof(VALUE);
constexpr int WORDS = WIDTH / PACK;

constexpr float FAR = 1e30f;  // than any score or distance
constexpr float GAMMA = (FEATURES + 2) * 5.9604645e-8f;
constexpr unsigned ALL = 0xffffffffu;

// The centers near each pivot, in about ascending distance; arrays of what candidates.py says.
struct CandidateLists {
  const float* pivots;   // (n_pivots, WIDTH)
  const float* centers;  // (n_clusters, WIDTH)
  const int* integers;   // (n_clusters, WIDTH): the centers on their grid
  const unsigned* pivot_words;  // (n_pivots, WORDS), only for tensor cores, as the next two
  const uint2* digits;   // (n_clusters, steps, 3, 4): of each 32 of `integers` the lowest bytes, the next, the third
  const i64* norms;      // (n_clusters,): sums of the squares of `integers`
  const int* members;    // (n_pivots, capacity): numbers of the centers
  const float* lower_bounds;  // (n_pivots, capacity / GROUP): no center from this group on is nearer to the pivot
  const int* lengths;    // (n_pivots,): how many are in the list
  const float* radii;    // (n_pivots,): no center that is not in the list is nearer
  int capacity;
  int n_clusters;
};

// The row of the tile that a lane has as its r-th.
__device__ inline int row_of(int lane, int r) { return lane * ROWS + r; }

__device__ inline size_t word_at(int tile, int word, int row) {
  return ((size_t)tile * WORDS + word) * TILE + row;
}

__device__ inline int value_at(const unsigned* words, int tile, int row, int feature) {
  unsigned word = words[word_at(tile, feature / PACK, row)];
  return word >> (feature % PACK * VALUE_BITS) & ((1u << VALUE_BITS) - 1);
}

// Squared distance in units of 2^-2F.
__device__ inline i64 exact_distance(const unsigned* words, int tile, int row, const int* center) {
  i64 total = 0;
  for (int feature = 0; feature < FEATURES; feature++) {
    int gap = (value_at(words, tile, row, feature) << BITS) - center[feature];
    total += (i64)gap * gap;
  }
  return total;
}

__device__ inline void add_to_stripe(u64* stripes, i64 value) {
  for (int step = LANES / 2; step; step /= 2) value += __shfl_xor_sync(ALL, value, step);
  if (threadIdx.x % LANES == 0 && value) atomicAdd(stripes + blockIdx.x % STRIPES, (u64)value);
}
