// Scores on tensor cores, for rows of 8 bits of at most 2^15 features, after layout.cu. A center on its grid is
// C = 2^15 c, three bytes h 2^16 + m 2^8 + l. Tensor cores add products of bytes to int32, here sums up to
// 255^2 2^15 < 2^31, so h.x, m.x and l.x are exact. With x' = x - o of a row and its pivot,
//
//     s = (|x - c|^2 - |x'|^2) / 2 = |C|^2 / 2^31 + (|x|^2 - |x'|^2) / 2 - 2 h.x - m.x / 2^7 - l.x / 2^15 ,
//
// here in steps of 2^-FIXED. FIXED is such that all |s| <= 255^2 FEATURES / 2 fit into int32, so it does not matter if a
// sum of some of the terms does not. What is cut off of three terms makes s wrong by less than two steps, and two of them
// by less than three together; its conversion to float32 by 2^-24 of it.
//
// The four warps of a block of threads are a team: they share a tile, whose rows lie in shared memory, and each of them
// scores another eight centers of a round. A warp reads the bytes of its centers while it multiplies those before.

constexpr int GROUP = 8;  // centers that a warp scores at a time
constexpr int TEAM = WARPS;  // warps that share a tile
constexpr int ROUND = TEAM * GROUP;  // centers that a team scores at a time
constexpr int LEAST_BLOCKS = 4;

constexpr int STEP = 32;  // features that an operation multiplies
constexpr int STEPS = (WIDTH + STEP - 1) / STEP;
constexpr int CHUNKS = (STEPS + 15) / 16;  // of a row: shared memory has room for 16 steps
constexpr int HELD = (STEPS + CHUNKS - 1) / CHUNKS;  // steps of a chunk
constexpr int PARTS = TILE / 16;  // of a tile: an operation multiplies 16 rows
constexpr int DIGITS = 3;  // bytes of a center
constexpr int FIXED = 7 - (FEATURES > 512) - (FEATURES > 1024) - (FEATURES > 2048) - (FEATURES > 4096) -
                      (FEATURES > 8192) - (FEATURES > 16384);
static_assert(PARTS == TEAM && BITS == 15 && FEATURES <= 1 << 15);

struct Scratch {
  uint4 rows[HELD][PARTS][LANES];  // a chunk of the tile, what each lane gives to an operation: words as load_words has them
  unsigned rest[TILE];  // (|x|^2 - |x'|^2) / 2, in steps
  float square[TILE];  // |x'|^2
  float scores[WARPS][GROUP][TILE + 4];  // four more, so that the lanes that write lie in several banks
  int members[WARPS][GROUP];
  float limit[TEAM][TILE], best[TEAM][TILE], second[TEAM][TILE];  // what the warps tell each other of the rows
  int found[TEAM][TILE];
};

struct Rows {
  int chunk;  // which is in shared memory
  int center;  // of the next group, whose bytes this lane gives to the operations
  uint2 ahead[DIGITS];  // the first of them
};

#ifndef EMULATED
// Adds the products of 16 rows, of which each lane has 16 bytes in a, and eight centers, of which it has eight in b. All
// lanes take part: volatile, so that the compiler does not move it to where some are not.
__device__ inline void multiply_add(unsigned (&c)[4], uint4 a, uint2 b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}
#endif

// Two errors of scores, 2^-24 (|x'| + b)^2 and three steps, where b belongs to the best; it widens b too.
__device__ inline float margin_of(const CandidateLists&, float best, float square) {
  float sum = sqrtf(square) + sqrtf(fmaxf(2 * best + square, 0));
  return 8 * (5.9604645e-8f * sum * sum + 1.0f / (1 << FIXED));
}

// Bring a chunk of the tile to shared memory. Lane 4 g + q has rows g and g + 8 of each 16, and of each step the words
// 2 q and 2 q + 1. Which features an operation takes for which of its 32 does not matter, as it is the same for centers.
__device__ inline void load_words(const unsigned* words, int tile, int chunk, Scratch& scratch) {
  int lane = threadIdx.x % LANES, part = threadIdx.x / LANES, row = 16 * part + lane / 4;
#pragma unroll 4
  for (int i = 0; i < HELD && chunk * HELD + i < STEPS; i++) {
    int word = (chunk * HELD + i) * (STEP / PACK) + 2 * (lane % 4);
    uint4 a = {};
    if (word < WORDS) {
      a.x = words[word_at(tile, word, row)];
      a.y = words[word_at(tile, word, row + 8)];
    }
    if (word + 1 < WORDS) {
      a.z = words[word_at(tile, word + 1, row)];
      a.w = words[word_at(tile, word + 1, row + 8)];
    }
    scratch.rows[i][part][lane] = a;
  }
}

// Add two words of a row, x and y, and of its pivot to |x|^2 and, modulo 2^32, to |x - o|^2.
__device__ inline void add_squares(unsigned x, unsigned y, uint2 o, unsigned& norm, unsigned& square) {
  unsigned squares = __dp4a(x, x, __dp4a(y, y, 0u));
  norm += squares;
  square += squares - 2 * __dp4a(x, o.x, __dp4a(y, o.y, 0u)) + __dp4a(o.x, o.x, __dp4a(o.y, o.y, 0u));
}

// Each warp squares its 16 rows; all chunks pass, the first one stays.
__device__ inline void load_tile(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Scratch& scratch,
                                 Rows& rows, State& state) {
  int lane = threadIdx.x % LANES, part = threadIdx.x / LANES;
  const unsigned* origin = lists.pivot_words + (size_t)pivot * WORDS;
  unsigned norm[2] = {}, square[2] = {};
#pragma unroll 1
  for (int chunk = CHUNKS - 1; chunk >= 0; chunk--) {
    load_words(words, tile, chunk, scratch);
#pragma unroll 4
    for (int i = 0; i < HELD && chunk * HELD + i < STEPS; i++) {
      int word = (chunk * HELD + i) * (STEP / PACK) + 2 * (lane % 4);
      uint4 a = scratch.rows[i][part][lane];
      uint2 o = {word < WORDS ? origin[word] : 0, word + 1 < WORDS ? origin[word + 1] : 0};
      add_squares(a.x, a.z, o, norm[0], square[0]);
      add_squares(a.y, a.w, o, norm[1], square[1]);
    }
  }
  rows = {};
#pragma unroll
  for (int i = 0; i < 2; i++) {
    for (int step = 1; step < 4; step *= 2) {
      norm[i] += __shfl_xor_sync(ALL, norm[i], step);
      square[i] += __shfl_xor_sync(ALL, square[i], step);
    }
    int row = 16 * part + lane / 4 + 8 * i;
    if (lane % 4 == 0) {
      scratch.rest[row] = (norm[i] - square[i]) << (FIXED - 1);
      scratch.square[row] = square[i];
    }
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < ROWS; r++) state.square[r] = scratch.square[row_of(lane, r)];
}

// The bytes of a center that a lane gives to the operations of a step.
__device__ inline void fetch(const CandidateLists& lists, int center, int step, uint2 (&digits)[DIGITS]) {
  const uint2* from = lists.digits + ((size_t)center * STEPS + step) * (DIGITS * 4) + threadIdx.x % 4;
#pragma unroll
  for (int digit = 0; digit < DIGITS; digit++) digits[digit] = from[4 * digit];
}

// The center at a position of the list or, where all are looked at, of that number; the first one, for which nobody asks,
// beyond the n-th.
__device__ inline int center_at(const CandidateLists& lists, int pivot, int at, int n, bool all) {
  return at >= n ? 0 : all ? at : lists.members[(size_t)pivot * lists.capacity + at];
}

// l.x, m.x and h.x of the rows of the tile and the centers of a group. Every other time from the last step to the first,
// so that the chunk that was used last is used again.
__device__ inline void multiply(const CandidateLists& lists, const unsigned* words, int tile, int center, Rows& rows,
                                Scratch& scratch, unsigned (&sums)[PARTS][DIGITS][4]) {
  bool back = CHUNKS > 1 && rows.chunk > 0;
  int lane = threadIdx.x % LANES;
#pragma unroll 1
  for (int i = 0; i < STEPS; i++) {
    int step = back ? STEPS - 1 - i : i, chunk = step / HELD;
    if (CHUNKS > 1 && chunk != rows.chunk) {
      __syncthreads();
      load_words(words, tile, chunk, scratch);
      __syncthreads();
      rows.chunk = chunk;
    }
    uint2 digits[DIGITS];
#pragma unroll
    for (int digit = 0; digit < DIGITS; digit++) digits[digit] = rows.ahead[digit];
    bool last = i == STEPS - 1;  // the next group begins where this one ends
    fetch(lists, last ? rows.center : center, last ? (CHUNKS > 1 ? step : 0) : back ? step - 1 : step + 1, rows.ahead);
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      uint4 a = scratch.rows[step - chunk * HELD][part][lane];
#pragma unroll
      for (int digit = 0; digit < DIGITS; digit++) multiply_add(sums[part][digit], a, digits[digit]);
    }
  }
}

// Score the group of centers from position `at` on, up to the n-th, and keep the best and the second best of each row.
// Lane 4 g + q gives center g to the operations; it gets the sums of rows g and g + 8 of each 16, and of centers 2 q and
// 2 q + 1.
__device__ inline void score_group(const CandidateLists& lists, const unsigned* words, int tile, int pivot, int at, int n,
                                   bool all, Rows& rows, Scratch& scratch, State& state) {
  int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES, g = lane / 4, q = lane % 4;
  if (at < ROUND) {
    rows.center = center_at(lists, pivot, at + g, n, all);
    fetch(lists, rows.center, rows.chunk > 0 ? STEPS - 1 : 0, rows.ahead);
  }
  int center = rows.center;
  rows.center = center_at(lists, pivot, at + g + ROUND, n, all);
  if (q == 0) scratch.members[warp][g] = center;
  unsigned norm = lists.norms[center] >> (31 - FIXED);
  unsigned sums[PARTS][DIGITS][4] = {};
  __syncwarp();
  multiply(lists, words, tile, center, rows, scratch, sums);
  float(&of_warp)[GROUP][TILE + 4] = scratch.scores[warp];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int column = 2 * q + i;
    unsigned of_center = __shfl_sync(ALL, norm, 4 * column);
#pragma unroll
    for (int part = 0; part < PARTS; part++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        int row = 16 * part + 8 * half + g, at_sum = 2 * half + i;
        unsigned low = sums[part][0][at_sum], middle = sums[part][1][at_sum], high = sums[part][2][at_sum];
        unsigned product = (high << (FIXED + 1)) + (middle >> (7 - FIXED)) + (low >> (15 - FIXED));
        float exact = (int)(of_center + scratch.rest[row] - product);
        of_warp[column][row] = at + column < n ? exact * (1.0f / (1 << FIXED)) : FAR;
      }
  }
  __syncwarp();
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    float scores[GROUP];
#pragma unroll
    for (int j = 0; j < GROUP; j++) scores[j] = of_warp[j][row_of(lane, r)];
    keep_best(lists, scores, scratch.members[warp], state, r);
  }
  __syncwarp();  // before the next group takes the place of this one
}

// The limits of the rows by what all warps of the team have found.
__device__ inline void share_limits(Scratch& scratch, State& state) {
  int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
#pragma unroll
  for (int r = 0; r < ROWS; r++) scratch.limit[warp][row_of(lane, r)] = state.limit[r];
  __syncthreads();
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    for (int other = 0; other < TEAM; other++)
      state.limit[r] = fminf(state.limit[r], scratch.limit[other][row_of(lane, r)]);
  __syncthreads();
}

// Go down the list of the pivot, or through all centers; how many of them were looked at.
__device__ inline int search_list(const CandidateLists& lists, const unsigned* words, int tile, int pivot, bool all,
                                  Rows& rows, Scratch& scratch, State& state) {
  int first = threadIdx.x / LANES * GROUP;  // of a round, for this warp
  int n = all ? lists.n_clusters : lists.lengths[pivot];
  const float* lower_bounds = lists.lower_bounds + (size_t)pivot * (lists.capacity / GROUP);
  for (int at = 0; at < n; at += ROUND) {
    if (!any_within_limit(state, all ? 0.0f : lower_bounds[at / GROUP])) return at;
    score_group(lists, words, tile, pivot, at + first, n, all, rows, scratch, state);
    share_limits(scratch, state);
  }
  return n;
}

__device__ inline int search_list(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Rows& rows,
                                  Scratch& scratch, State& state) {
  return search_list(lists, words, tile, pivot, false, rows, scratch, state);
}

// Where the list ends before the last row is done, begin anew with all centers.
__device__ inline void search_beyond(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Rows& rows,
                                     Scratch& scratch, State& state) {
  forget(state);
  search_list(lists, words, tile, pivot, true, rows, scratch, state);
}

// The best and the second best of what all warps of the team have found. Two that are the same are a near tie.
__device__ inline void join_team(Scratch& scratch, State& state) {
  int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int row = row_of(lane, r);
    scratch.best[warp][row] = state.best[r];
    scratch.second[warp][row] = state.second[r];
    scratch.found[warp][row] = state.found[r];
  }
  __syncthreads();
  forget(state);
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    for (int other = 0; other < TEAM; other++) {
      int row = row_of(lane, r);
      float best = scratch.best[other][row];
      state.second[r] = fminf(fminf(state.second[r], scratch.second[other][row]), fmaxf(state.best[r], best));
      if (best < state.best[r]) state.found[r] = scratch.found[other][row];
      state.best[r] = fminf(state.best[r], best);
    }
}
