// Scores on the cores for single numbers, after layout.cu. With x' = x - o of a row and g = o - c of a center, both exact
// in float32, the score is s = |g|^2 / 2 + x'.g. Its error is below 4 gamma (|x'| + b)^2 for any center that may be the
// nearest, gamma = (FEATURES + 2) 2^-24; nearest.py derives it.
//
// While a group is scored, the centers of the next one are copied to shared memory, and the numbers of those after it
// are read; else a warp would wait for both, one after the other, in each group.

constexpr int GROUP = 8;  // centers that are scored at a time: each that is read from shared memory serves two rows
constexpr int TEAM = 1;  // warps that share a tile
constexpr int SHARE = LANES / GROUP;  // lanes that read one of them
constexpr int CHUNKS = (FEATURES + 31) / 32;  // features that are in registers at a time: all, up to 32
constexpr int CHUNK = WIDTH / CHUNKS;
constexpr int USED = CHUNKS == 1 ? FEATURES : CHUNK;
#if __CUDA_ARCH__ >= 1000
constexpr int LEAST_BLOCKS = 3;  // of threads on a multiprocessor; more of them, and the compiler spills registers
#else
constexpr int LEAST_BLOCKS = CHUNK > 28 ? 3 : 4;
#endif

constexpr int FEW = 4 * GROUP;  // rows that fit into the place of the groups

// What the warp of a tile has of shared memory.
struct Scratch {
  union {
    struct {  // of a group, and of the one before, which some lanes may still read
      float4 centers[2][GROUP * CHUNK / 4];  // each lane reads what it has copied
      float4 gaps[2][GROUP * CHUNK / 4];
    };
    float4 rows[FEW][CHUNK / 4];  // see beyond.cu, as all of the following
  };
  float biases[2][GROUP];
  int members[2][GROUP];
  int queue[2 * LANES];
  float square[FEW], best[FEW], second[FEW], limit[FEW];
  int found[FEW];
};

struct Rows {
  float x[ROWS][CHUNK];  // one chunk, less the pivot
};

#ifndef EMULATED
// Begin to copy 16 bytes to shared memory; not before `await_copies` are they there.
__device__ inline void begin_copy(float4* to, const float4* from) {
#if __CUDA_ARCH__ >= 800
  unsigned address = __cvta_generic_to_shared(to);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
  *to = *from;
#endif
}

__device__ inline void await_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
#endif

// Features of one chunk of the rows of this lane, less the pivot.
__device__ inline void read_rows(const unsigned* words, int tile, int chunk, const float* pivot,
                                 float (&x)[ROWS][CHUNK]) {
  const uint2* pairs = reinterpret_cast<const uint2*>(words + word_at(tile, chunk * (CHUNK / PACK), 0));
  const float4* origin = reinterpret_cast<const float4*>(pivot + chunk * CHUNK);
#pragma unroll
  for (int four = 0; four < CHUNK / 4; four++) {
    float4 o = origin[four];
    float from[4] = {o.x, o.y, o.z, o.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int feature = 4 * four + i;
      uint2 pair = pairs[feature / PACK * LANES + threadIdx.x % LANES];
      unsigned mask = (1u << VALUE_BITS) - 1;
      x[0][feature] = (float)(pair.x >> (feature % PACK * VALUE_BITS) & mask) - from[i];
      x[1][feature] = (float)(pair.y >> (feature % PACK * VALUE_BITS) & mask) - from[i];
    }
  }
}

__device__ inline void load_tile(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Scratch&,
                                 Rows& rows, State& state) {
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    read_rows(words, tile, chunk, lists.pivots + (size_t)pivot * WIDTH, rows.x);
#pragma unroll
    for (int feature = 0; feature < USED; feature++)
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        state.square[r] = fmaf(rows.x[r][feature], rows.x[r][feature], state.square[r]);
  }
}

// Two errors of scores, where b belongs to the best; it widens b too.
__device__ inline float margin_of(const CandidateLists&, float best, float square) {
  float sum = sqrtf(square) + sqrtf(fmaxf(2 * best + square, 0));
  return 8 * GAMMA * sum * sum;
}

// Begin to copy this lane's share of a chunk of the center that it has of a group.
__device__ inline void copy_center(const CandidateLists& lists, int center, int chunk, float4* centers) {
  const float4* from = reinterpret_cast<const float4*>(lists.centers + (size_t)max(center, 0) * WIDTH + chunk * CHUNK);
  for (int four = threadIdx.x % SHARE; four < CHUNK / 4; four += SHARE)
    begin_copy(centers + threadIdx.x % LANES / SHARE * (CHUNK / 4) + four, from + four);
}

// Pivot less center, of this lane's share; what it adds to their squares.
__device__ inline float write_gaps(const CandidateLists& lists, int pivot, int chunk, const float4* centers,
                                   float4* gaps) {
  const float4* from = reinterpret_cast<const float4*>(lists.pivots + (size_t)pivot * WIDTH + chunk * CHUNK);
  float squares = 0;
#pragma unroll
  for (int four = threadIdx.x % SHARE; four < CHUNK / 4; four += SHARE) {
    int at = threadIdx.x % LANES / SHARE * (CHUNK / 4) + four;
    float4 o = from[four], c = centers[at];
    float4 g = make_float4(o.x - c.x, o.y - c.y, o.z - c.z, o.w - c.w);
    gaps[at] = g;
    squares += g.x * g.x + g.y * g.y + g.z * g.z + g.w * g.w;
  }
  return squares;
}

// Add x'.g of one chunk to the scores of the centers of a group.
__device__ inline void add_products(const Rows& rows, const float4* gaps, float (&scores)[ROWS][GROUP]) {
#pragma unroll
  for (int j = 0; j < GROUP; j++)
#pragma unroll
    for (int four = 0; four < CHUNK / 4; four++) {
      float4 g = gaps[j * (CHUNK / 4) + four];
      float of[4] = {g.x, g.y, g.z, g.w};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int feature = 4 * four + i;
        if (feature >= USED) continue;
#pragma unroll
        for (int r = 0; r < ROWS; r++) scores[r][j] = fmaf(rows.x[r][feature], of[i], scores[r][j]);
      }
    }
}

// Score a group for the rows of the lane, and keep the best and the second best of each. Each lane tells which center it
// has a share of, -1 for none, and which one of the next group: the first chunk of that is copied meanwhile. `half`: of
// the scratch, in turn.
__device__ inline void score_group(const CandidateLists& lists, const unsigned* words, int tile, int pivot, int center,
                                   int next, int half, Rows& rows, Scratch& scratch, State& state) {
  float scores[ROWS][GROUP] = {}, squares = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    int part = (half + chunk) % 2;  // of the scratch
    bool last = chunk == CHUNKS - 1;
    await_copies();
    squares += write_gaps(lists, pivot, chunk, scratch.centers[part], scratch.gaps[part]);
    copy_center(lists, last ? next : center, last ? 0 : chunk + 1, scratch.centers[1 - part]);
    if (last) {
      for (int step = 1; step < SHARE; step *= 2) squares += __shfl_xor_sync(ALL, squares, step);
      if (threadIdx.x % SHARE == 0) {
        int slot = threadIdx.x % LANES / SHARE;
        scratch.biases[half][slot] = center < 0 ? FAR : squares / 2;
        scratch.members[half][slot] = center;
      }
    }
    if (CHUNKS > 1) read_rows(words, tile, chunk, lists.pivots + (size_t)pivot * WIDTH, rows.x);
    __syncwarp();  // so nobody reads the other half of the gaps any more
    add_products(rows, scratch.gaps[part], scores);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
#pragma unroll
    for (int j = 0; j < GROUP; j++) scores[r][j] += scratch.biases[half][j];
    keep_best(lists, scores[r], scratch.members[half], state, r);
  }
}

// Go down the list of the pivot; how many of it were looked at.
__device__ inline int search_list(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Rows& rows,
                                  Scratch& scratch, State& state) {
  int n = lists.lengths[pivot], slot = threadIdx.x % LANES / SHARE, half = 0, at = 0;
  const float* lower_bounds = lists.lower_bounds + (size_t)pivot * (lists.capacity / GROUP);
  const int* members = lists.members + (size_t)pivot * lists.capacity;
  auto listed = [&](int from) { return from + slot < n ? members[from + slot] : -1; };
  int center = listed(0), next = listed(GROUP);
  float low = n ? lower_bounds[0] : 0;
  copy_center(lists, center, 0, scratch.centers[0]);
#pragma unroll 1
  for (; at < n && any_within_limit(state, low); at += GROUP) {
    int after = listed(at + 2 * GROUP);
    if (at + GROUP < n) low = lower_bounds[at / GROUP + 1];
    score_group(lists, words, tile, pivot, center, next, half, rows, scratch, state);
    center = next;
    next = after;
    half = (half + CHUNKS) % 2;
  }
  await_copies();
  __syncwarp();  // before others go to the same place
  return at < n ? at : n;
}

// What the warps of a team have found, together: here there is but one.
__device__ inline void join_team(Scratch&, State&) {}
