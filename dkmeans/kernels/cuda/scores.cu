// Scores on the cores for single numbers, after layout.cu. With x' = x - o of a row and g = o - c of a center, both exact
// in float32, the score is s = |g|^2 / 2 + x'.g. Its error is below 4 gamma (|x'| + b)^2 for any center that may be the
// nearest, gamma = (FEATURES + 2) 2^-24; nearest.py derives it.

constexpr int GROUP = 8;  // centers that are scored at a time: each that is read from shared memory serves two rows
constexpr int TEAM = 1;  // warps that share a tile
constexpr int SHARE = LANES / GROUP;  // lanes that fetch one of them
constexpr int CHUNKS = (FEATURES + 31) / 32;  // features that are in registers at a time: all, up to 32
constexpr int CHUNK = WIDTH / CHUNKS;
constexpr int USED = CHUNKS == 1 ? FEATURES : CHUNK;
constexpr int LEAST_BLOCKS = CHUNKS > 1 ? 3 : 4;  // of threads on a multiprocessor

struct Scratch {
  float4 gaps[GROUP * CHUNK / 4];  // of the centers of a group
  float biases[GROUP];
};

struct Rows {
  float x[ROWS][CHUNK];  // one chunk, less the pivot
};

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
__device__ inline float margin_of(const CandidateLists&, float best, float square, float norm) {
  float sum = norm + sqrtf(fmaxf(2 * best + square, 0));
  return 8 * GAMMA * sum * sum;
}

// Pivot less center, for the features of one chunk of the centers of a group; what this lane adds to their squares.
__device__ inline float fetch(const CandidateLists& lists, int pivot, int center, int chunk, float4* gaps) {
  int lane = threadIdx.x % LANES, share = lane % SHARE;
  const float4* from = reinterpret_cast<const float4*>(lists.pivots + (size_t)pivot * WIDTH + chunk * CHUNK);
  const float4* to = reinterpret_cast<const float4*>(lists.centers + (size_t)center * WIDTH + chunk * CHUNK);
  float squares = 0;
#pragma unroll
  for (int four = share; four < CHUNK / 4; four += SHARE) {
    float4 o = from[four], c = to[four];
    float4 g = make_float4(o.x - c.x, o.y - c.y, o.z - c.z, o.w - c.w);
    gaps[lane / SHARE * (CHUNK / 4) + four] = g;
    squares += g.x * g.x + g.y * g.y + g.z * g.z + g.w * g.w;
  }
  return squares;
}

// Scores of the group of centers from position `at` on, for the rows of the lane; FAR beyond the n-th.
__device__ inline void score(const CandidateLists& lists, const unsigned* words, int tile, int pivot, int at, int n,
                             bool all, Rows& rows, Scratch& scratch, float (&scores)[ROWS][GROUP]) {
  int lane = threadIdx.x % LANES, mine = at + lane / SHARE;
  int center = mine < n ? member(lists, pivot, mine, all) : -1;
  float squares = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    squares += fetch(lists, pivot, center < 0 ? 0 : center, chunk, scratch.gaps);
    if (chunk == CHUNKS - 1) {
      for (int step = 1; step < SHARE; step *= 2) squares += __shfl_xor_sync(ALL, squares, step);
      if (lane % SHARE == 0) scratch.biases[lane / SHARE] = center < 0 ? FAR : squares / 2;
    }
    if (CHUNKS > 1) read_rows(words, tile, chunk, lists.pivots + (size_t)pivot * WIDTH, rows.x);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < GROUP; j++) {
#pragma unroll
      for (int four = 0; four < CHUNK / 4; four++) {
        float4 g = scratch.gaps[j * (CHUNK / 4) + four];
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
    if (chunk < CHUNKS - 1) __syncwarp();
  }
#pragma unroll
  for (int j = 0; j < GROUP; j++)
#pragma unroll
    for (int r = 0; r < ROWS; r++) scores[r][j] += scratch.biases[j];
  __syncwarp();  // before the next group takes the place of this one
}
