// Scores on tensor cores, for rows of 8 bits, after layout.cu. With x' = x - o of a row and its pivot and v = 128 - c of
// a center,
//
//     s = |o - c|^2 / 2 + x'.(o - c) = |o - c|^2 / 2 + x'.(o - 128) + x'.v .
//
// x' is a float16, being an integer below 2^11; v, a multiple of 2^-15 up to 128, is the sum of two of them, hi and lo,
// without a rest: what hi, of 11 bits, leaves of v is at most 2^10 steps of the grid. So all products are exact in
// float32. What a tensor core loses where it adds 16 of them to a sum, each cut off below the last bit of the largest,
// is at most 18 2^-23 of that; counted here as 2^-18 of |x'| |v|, for each of its operations. Rounding of the other terms
// adds 2^-21 of |x'| times the largest norm, and the gamma of scores.cu that of |o - c|^2.

constexpr int GROUP = 16;
constexpr int STEPS = WIDTH / 16;
constexpr int LEAST_BLOCKS = 4;
constexpr float EPSILON = (2 * STEPS + 8) * 3.8146973e-6f;

struct Scratch {
  float scores[TILE][GROUP + 1];  // one more, so that columns lie in several banks
  float biases[GROUP];
  int members[GROUP];
};

struct Rows {
  float offset[ROWS];  // x'.(o - 128)
};

#ifndef EMULATED
// The sum of c and the product of 16 x 16 halves, of which each lane has eight in a, and 16 x 8, of which it has four.
__device__ inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline unsigned subtract_halves(unsigned a, unsigned b) {
  unsigned difference;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(difference) : "r"(a), "r"(b));
  return difference;
}
#endif

__device__ inline void load_tile(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Rows& rows,
                                 State& state) {
  const unsigned* origin = lists.pivot_words + (size_t)pivot * WORDS;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    i64 square = 0, offset = 0;
    for (int word = 0; word < WORDS; word++) {
      unsigned x = words[word_at(tile, word, row_of(threadIdx.x % LANES, r))], o = origin[word];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int from = o >> 8 * i & 255, gap = (int)(x >> 8 * i & 255) - from;
        square += gap * gap;
        if (word * 4 + i < FEATURES) offset += gap * (from - 128);
      }
    }
    state.square[r] = square;
    rows.offset[r] = offset;
  }
}

// Two errors of scores, where b belongs to the best; it widens b too.
__device__ inline float margin_of(const CandidateLists& lists, float best, float square) {
  float norm = sqrtf(square), sum = norm + sqrtf(fmaxf(2 * best + square, 0));
  return 8 * GAMMA * sum * sum + 2 * EPSILON * norm * lists.norm[0];
}

// Four bytes as halves, two to a word: 1024 + byte is the half whose bits are 0x6400 and the byte.
__device__ inline unsigned low_halves(unsigned word) { return __byte_perm(word, 0x64646464u, 0x4140); }
__device__ inline unsigned high_halves(unsigned word) { return __byte_perm(word, 0x64646464u, 0x4342); }

// Half the squared distance from the pivot to the center at a position; FAR beyond the n-th.
__device__ inline float bias_of(const CandidateLists& lists, int pivot, int at, int n, bool all) {
  if (at >= n) return FAR;
  if (!all) return lists.biases[(size_t)pivot * lists.capacity + at];
  float squares = 0;
  for (int i = 0; i < WIDTH; i++) {
    float gap = lists.pivots[(size_t)pivot * WIDTH + i] - lists.centers[(size_t)at * WIDTH + i];
    squares = fmaf(gap, gap, squares);
  }
  return squares / 2;
}

// x'.v of the rows of the tile and the centers of a group, into scratch.scores. Lane 4 g + q has row g and g + 8 of each
// 16, and center g of each 8; of 16 features it has the four of word q. Which of them an operation takes for which of its
// 16 is the same for rows and centers, and so does not matter.
__device__ inline void multiply(const CandidateLists& lists, const unsigned* words, int tile, int pivot,
                                const uint4* const (&from)[2], Scratch& scratch) {
  int lane = threadIdx.x % LANES, g = lane / 4, q = lane % 4;
  const unsigned* origin = lists.pivot_words + (size_t)pivot * WORDS;
  float sums[TILE / 16][2][4] = {};
#pragma unroll 1
  for (int step = 0; step < STEPS; step++) {
    int word = 4 * step + q;
    uint4 v[2] = {from[0][word], from[1][word]};
    unsigned low = low_halves(origin[word]), high = high_halves(origin[word]);
#pragma unroll
    for (int m = 0; m < TILE / 16; m++) {
      unsigned x = words[word_at(tile, word, 16 * m + g)], y = words[word_at(tile, word, 16 * m + g + 8)];
      unsigned a[4] = {subtract_halves(low_halves(x), low), subtract_halves(low_halves(y), low),
                       subtract_halves(high_halves(x), high), subtract_halves(high_halves(y), high)};
#pragma unroll
      for (int part = 0; part < 2; part++) {
        multiply_add(sums[m][part], a, v[part].x, v[part].y);
        multiply_add(sums[m][part], a, v[part].z, v[part].w);
      }
    }
  }
#pragma unroll
  for (int m = 0; m < TILE / 16; m++)
#pragma unroll
    for (int part = 0; part < 2; part++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        scratch.scores[16 * m + g + i / 2 * 8][8 * part + 2 * q + i % 2] = sums[m][part][i];
}

// The center at a position of the list, or, where all are looked at, of that number.
__device__ inline int member(const CandidateLists& lists, int pivot, int at, bool all) {
  return all ? at : lists.members[(size_t)pivot * lists.capacity + at];
}

// Score the group of centers from position `at` on.
__device__ inline void score_group(const CandidateLists& lists, const unsigned* words, int tile, int pivot, int at, int n,
                             bool all, Rows& rows, Scratch& scratch, State& state) {
  float scores[ROWS][GROUP];
  int lane = threadIdx.x % LANES;
  const uint4* from[2];
  for (int part = 0; part < 2; part++) {
    int mine = at + 8 * part + lane / 4;
    from[part] = lists.halves + (size_t)(mine < n ? member(lists, pivot, mine, all) : 0) * (WIDTH / 4);
  }
  if (lane < GROUP) {
    scratch.biases[lane] = bias_of(lists, pivot, at + lane, n, all);
    scratch.members[lane] = at + lane < n ? member(lists, pivot, at + lane, all) : -1;
  }
  __syncwarp();  // tensor cores want the lanes together
  multiply(lists, words, tile, pivot, from, scratch);
  __syncwarp();
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
#pragma unroll
    for (int j = 0; j < GROUP; j++)
      scores[r][j] = scratch.scores[row_of(lane, r)][j] + (rows.offset[r] + scratch.biases[j]);
    keep_best(lists, scores[r], scratch.members, state, r);
  }
  __syncwarp();  // before the next group takes the place of this one
}

__device__ inline int search_list(const CandidateLists& lists, const unsigned* words, int tile, int pivot,
                                  Rows& rows, Scratch& scratch, State& state) {
  int n = lists.lengths[pivot];
  const float* lower_bounds = lists.lower_bounds + (size_t)pivot * (lists.capacity / GROUP);
  for (int at = 0; at < n; at += GROUP) {
    if (!any_within_limit(state, lower_bounds[at / GROUP])) return at;
    score_group(lists, words, tile, pivot, at, n, false, rows, scratch, state);
  }
  return n;
}

__device__ inline void search_beyond(const CandidateLists& lists, const unsigned* words, int tile, int pivot,
                                  Rows& rows, Scratch& scratch, State& state) {
  for (int r = 0; r < ROWS; r++) state.best[r] = state.second[r] = FAR;
  for (int at = 0; at < lists.n_clusters; at += GROUP)
    score_group(lists, words, tile, pivot, at, lists.n_clusters, true, rows, scratch, state);
}
