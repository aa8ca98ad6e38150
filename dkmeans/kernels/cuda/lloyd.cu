// The Lloyd step on rows of integers: pruned by the triangle inequality, near ties decided in integers.
//
// Compiled for one kind of rows; the compiler is told
//   VALUE     type of a value: unsigned char or unsigned short
//   FEATURES  values of a row
//   BITS      F of the grid 2^-F of the centers, see exact.py
//   TOP       the largest limit of a row, as the upper 12 bits of a float, see spread_of
//
// Rows lie in tiles of 64, each of one home: a point with integer coordinates near the rows. For a row x, its
// home o and the best center found so far at distance b, no center c with |o - c| > |x - o| + b can be as near
// (S. Phillips, ALENEX 2002). So each home has a list of the centers in about ascending distance, and a warp
// goes down the list of its tile until no row can gain. Scores are float32: with x' = x - o and g = o - c, both
// exact, s = |g|^2 / 2 + x'.g = (|x - c|^2 - |x'|^2) / 2 has an error below 4 gamma (|x'| + b)^2, and two of them
// differ by 8 gamma (|x'| + b)^2 at the most, gamma = (FEATURES + 2) 2^-24; nearest.py derives it. Where the second
// best is within that, the row is decided in int64 among all centers of the list that were looked at.
//
// The host compiler builds this file too, for the tests: see tests/kernels/emulator.h.

typedef long long i64;
typedef unsigned long long u64;

constexpr int LANES = 32;
constexpr int ROWS = 2;  // of each lane: a center read from shared memory serves both
constexpr int TILE = LANES * ROWS;
constexpr int WARPS = 4;  // of a block of threads; they share nothing
constexpr int GROUP = 8;  // centers that are scored at a time
constexpr int SHARE = LANES / GROUP;  // lanes that fetch one of them
constexpr int NO_ROW = -2;  // label of a place of a tile without a row; -1: a row without a label
constexpr int SLOTS = 256;  // of a counter: one alone would be waited for
constexpr int SPREADS = 64;
constexpr int SLICES = 512;

constexpr int PACK = 4 / sizeof(VALUE);  // values of a word
constexpr int VALUE_BITS = 8 * sizeof(VALUE);
constexpr int CHUNKS = (FEATURES + 31) / 32;  // features that are in registers at a time: all, up to 32
constexpr int CHUNK = ((FEATURES + CHUNKS - 1) / CHUNKS + 3) / 4 * 4;
constexpr int WIDTH = CHUNKS * CHUNK;  // of rows and centers in memory, filled up with zeros
constexpr int WORDS = WIDTH / PACK;
constexpr int USED = CHUNKS == 1 ? FEATURES : CHUNK;

constexpr float FAR = 1e30f;  // than any score or distance
constexpr float GAMMA = (FEATURES + 2) * 5.9604645e-8f;
constexpr unsigned ALL = 0xffffffffu;

struct Lists {
  const float* homes;    // (n_homes, WIDTH)
  const float* centers;  // (n_clusters, WIDTH)
  const int* integers;   // (n_clusters, WIDTH): the centers on their grid
  const int* members;    // (n_homes, most): centers, in about ascending distance from the home
  const float* lows;     // (n_homes, most / GROUP): no center from this group on is nearer to the home
  const int* listed;     // (n_homes,): how many are in the list
  const float* reach;    // (n_homes,): no center that is not in the list is nearer
  int most;
  int n_clusters;
};

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

// What is known of the rows of a lane: scores less |x'|^2 / 2, and the place of the best in the list.
struct State {
  float square[ROWS], norm[ROWS];  // |x'|^2, |x'|
  float best[ROWS], second[ROWS];
  float limit[ROWS];  // no center farther than that from the home can be as near as the best
  int found[ROWS];
};

__device__ inline void forget(State& state) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    state.best[r] = state.second[r] = FAR;
    state.found[r] = 0;
  }
}

// Features of one chunk of the rows of this lane, less the home.
__device__ inline void read_rows(const unsigned* words, int tile, int chunk, const float* home, float (&x)[ROWS][CHUNK]) {
  const uint2* pairs = reinterpret_cast<const uint2*>(words + word_at(tile, chunk * (CHUNK / PACK), 0));
  const float4* origin = reinterpret_cast<const float4*>(home + chunk * CHUNK);
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

__device__ inline float error_of(float best, float square, float norm) {
  float sum = norm + sqrtf(fmaxf(2 * best + square, 0));
  return 8 * GAMMA * sum * sum;
}

__device__ inline void lower_limit(State& state, int r) {
  float distance = fmaxf(2 * state.best[r] + state.square[r], 0);
  float error = error_of(state.best[r], state.square[r], state.norm[r]);
  float limit = (state.norm[r] + sqrtf(distance + error)) * (1 + 4 * GAMMA);
  state.limit[r] = fminf(state.limit[r], limit);
}

// Home less center, for the features of one chunk of the centers of a group; what this lane adds to their squares.
__device__ inline float fetch(const Lists& lists, int home, int center, int chunk, float4* gaps) {
  int lane = threadIdx.x % LANES, share = lane % SHARE;
  const float4* from = reinterpret_cast<const float4*>(lists.homes + (size_t)home * WIDTH + chunk * CHUNK);
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

// Score one group of centers for all rows of the tile. `center` is the one that this lane fetches, or -1.
__device__ inline void score(const Lists& lists, const unsigned* words, int tile, int home, int center, int at,
                             float (&x)[ROWS][CHUNK], float4* gaps, float* biases, State& state) {
  float sums[ROWS][GROUP] = {};
  float squares = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    squares += fetch(lists, home, center < 0 ? 0 : center, chunk, gaps);
    if (chunk == CHUNKS - 1) {
      for (int step = 1; step < SHARE; step *= 2) squares += __shfl_xor_sync(ALL, squares, step);
      int lane = threadIdx.x % LANES;
      if (lane % SHARE == 0) biases[lane / SHARE] = center < 0 ? FAR : squares / 2;
    }
    if (CHUNKS > 1) read_rows(words, tile, chunk, lists.homes + (size_t)home * WIDTH, x);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < GROUP; j++) {
#pragma unroll
      for (int four = 0; four < CHUNK / 4; four++) {
        float4 g = gaps[j * (CHUNK / 4) + four];
        float of[4] = {g.x, g.y, g.z, g.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int feature = 4 * four + i;
          if (feature >= USED) continue;
#pragma unroll
          for (int r = 0; r < ROWS; r++) sums[r][j] = fmaf(x[r][feature], of[i], sums[r][j]);
        }
      }
    }
    if (CHUNKS > 1 && chunk < CHUNKS - 1) __syncwarp();
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    float before = state.best[r];
#pragma unroll
    for (int j = 0; j < GROUP; j++) {
      float s = sums[r][j] + biases[j];
      state.second[r] = fminf(state.second[r], fmaxf(state.best[r], s));
      if (s < state.best[r]) state.found[r] = at + j;
      state.best[r] = fminf(state.best[r], s);
    }
    if (state.best[r] < before) lower_limit(state, r);
  }
  __syncwarp();  // before the next group takes the place of this one
}

__device__ inline int member(const Lists& lists, int home, int at, bool all) {
  return all ? at : lists.members[(size_t)home * lists.most + at];
}

// Whether a row of the tile may gain from a center at distance `low` from the home.
__device__ inline bool any_reaches(const State& state, float low) {
  return __any_sync(ALL, fmaxf(state.limit[0], state.limit[1]) >= low);
}

// Go down the list of the home, or through all centers; how many were looked at.
__device__ inline int scan(const Lists& lists, const unsigned* words, int tile, int home, bool all,
                           float (&x)[ROWS][CHUNK], float4* gaps, float* biases, State& state) {
  int n = all ? lists.n_clusters : lists.listed[home];
  const float* lows = lists.lows + (size_t)home * (lists.most / GROUP);
  for (int at = 0; at < n; at += GROUP) {
    if (!any_reaches(state, all ? 0.0f : lows[at / GROUP])) return at;
    int mine = at + threadIdx.x % LANES / SHARE;
    int center = mine < n ? member(lists, home, mine, all) : -1;
    score(lists, words, tile, home, center, at, x, gaps, biases, state);
  }
  return n;
}

// The nearest of the first n centers of the list to one row, the lowest index on ties; the whole warp looks.
__device__ inline int decide(const Lists& lists, const unsigned* words, int tile, int row, int home, int n, bool all) {
  i64 least = 0x7fffffffffffffffll;
  int nearest = 0x7fffffff;
  for (int at = threadIdx.x % LANES; at < n; at += LANES) {
    int center = member(lists, home, at, all);
    i64 distance = exact_distance(words, tile, row, lists.integers + (size_t)center * WIDTH);
    if (distance < least || (distance == least && center < nearest)) {
      least = distance;
      nearest = center;
    }
  }
  for (int step = LANES / 2; step; step /= 2) {
    i64 distance = __shfl_xor_sync(ALL, least, step);
    int center = __shfl_xor_sync(ALL, nearest, step);
    if (distance < least || (distance == least && center < nearest)) {
      least = distance;
      nearest = center;
    }
  }
  return nearest;
}

// Take a row from the sums of its old cluster, if it had one, to those of the new one; a feature to each lane.
// The last column of the sums counts the rows.
__device__ inline void move_row(const unsigned* words, int tile, int row, i64 weight, int old, int now, u64* sums) {
  for (int feature = threadIdx.x % LANES; feature <= FEATURES; feature += LANES) {
    i64 value = weight * (feature < FEATURES ? value_at(words, tile, row, feature) : 1);
    atomicAdd(sums + (size_t)now * (FEATURES + 1) + feature, (u64)value);
    if (old >= 0) atomicAdd(sums + (size_t)old * (FEATURES + 1) + feature, (u64)-value);
  }
}

__device__ inline void add_to_slot(u64* slots, i64 value) {
  for (int step = LANES / 2; step; step /= 2) value += __shfl_xor_sync(ALL, value, step);
  if (threadIdx.x % LANES == 0 && value) atomicAdd(slots + blockIdx.x % SLOTS, (u64)value);
}

// Rows of one run that need about as many centers shall share tiles: eight octaves of the limit, eight parts each.
__device__ inline unsigned char spread_of(float limit) {
  int part = (__float_as_int(limit) >> 20) - TOP + SPREADS - 1;
  return part < 0 ? 0 : part >= SPREADS ? SPREADS - 1 : part;
}

// Label the rows of all tiles by their nearest centers, and move those whose label changes to other sums.
//
// labels (n_tiles * TILE,): before and after. spread, same shape: a guess of what a row needs. weights: how often each
// row counts, or null. sums (n_clusters, FEATURES + 1), or null. moved (SLOTS,): rows whose label changed, as often as
// they count. strayed (SLOTS,): rows whose label is not the number of their home.
extern "C" __global__ void __launch_bounds__(WARPS* LANES, CHUNKS > 1 ? 3 : 4) search(
    const unsigned* words, const int* tile_homes, int n_tiles, const float* homes, const float* centers,
    const int* integers, const int* members, const float* lows, const int* listed, const float* reach, int most,
    int n_clusters, const i64* weights, int* labels, unsigned char* spread, u64* sums, u64* moved, u64* strayed) {
  __shared__ float4 gaps[WARPS][GROUP * CHUNK / 4];
  __shared__ float biases[WARPS][GROUP];
  const Lists lists = {homes, centers, integers, members, lows, listed, reach, most, n_clusters};
  int warp = threadIdx.x / LANES, lane = threadIdx.x % LANES, tile = blockIdx.x * WARPS + warp;
  int home = tile < n_tiles ? tile_homes[tile] : -1;
  if (home < 0) return;

  float x[ROWS][CHUNK];
  State state = {};
  const float* origin = homes + (size_t)home * WIDTH;
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    read_rows(words, tile, chunk, origin, x);
#pragma unroll
    for (int feature = 0; feature < USED; feature++)
#pragma unroll
      for (int r = 0; r < ROWS; r++) state.square[r] = fmaf(x[r][feature], x[r][feature], state.square[r]);
  }
  int old[ROWS], now[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    old[r] = labels[tile * TILE + lane * ROWS + r];
    state.norm[r] = sqrtf(state.square[r]);
    state.limit[r] = old[r] == NO_ROW ? -1.0f : FAR;
  }

  int n;
  bool all = false;  // through all centers: where the list ends before the last row is done
#pragma unroll 1
  for (;; all = true) {
    forget(state);
    n = scan(lists, words, tile, home, all, x, gaps[warp], biases[warp], state);
    if (all || n < listed[home] || n == n_clusters || !any_reaches(state, reach[home])) break;
  }

  i64 n_moved = 0, n_strayed = 0;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int place = tile * TILE + lane * ROWS + r;
    bool row = old[r] != NO_ROW;
    now[r] = row ? member(lists, home, state.found[r], all) : NO_ROW;
    float error = error_of(state.best[r], state.square[r], state.norm[r]);
    unsigned open = __ballot_sync(ALL, row && state.second[r] <= state.best[r] + error);
    for (; open; open &= open - 1) {
      int other = __ffs(open) - 1;
      int nearest = decide(lists, words, tile, other * ROWS + r, home, n, all);
      if (lane == other) now[r] = nearest;
    }
    i64 weight = !row ? 0 : weights ? weights[place] : 1;
    bool moves = row && now[r] != old[r];
    if (moves) n_moved += weight;
    n_strayed += row && now[r] != home;
    unsigned movers = __ballot_sync(ALL, moves);
    for (; sums && movers; movers &= movers - 1) {
      int other = __ffs(movers) - 1;
      move_row(words, tile, other * ROWS + r, __shfl_sync(ALL, weight, other), __shfl_sync(ALL, old[r], other),
               __shfl_sync(ALL, now[r], other), sums);
    }
    if (row) {
      labels[place] = now[r];
      spread[place] = spread_of(state.limit[r]);
    }
  }
  add_to_slot(moved, n_moved);
  add_to_slot(strayed, n_strayed);
}

// Squared distances of homes to centers; out (n_homes, n_clusters). Blocks of 16 x 16 threads, 4 x 4 pairs each.
extern "C" __global__ void __launch_bounds__(256) measure(const float* homes, int n_homes, const float* centers,
                                                          int n_clusters, float* out) {
  constexpr int SIDE = 64, PART = 4, STEP = SIDE / PART;
  __shared__ float4 rows[SIDE], columns[SIDE];
  int first_home = blockIdx.y * SIDE, first_center = blockIdx.x * SIDE;
  int thread = threadIdx.x, x = thread % STEP, y = thread / STEP;
  float sums[PART][PART] = {};
  for (int four = 0; four < WIDTH / 4; four++) {
    bool row = thread < SIDE;
    int index = row ? first_home + thread : first_center + thread - SIDE;
    if (thread < 2 * SIDE) {
      const float4* from = reinterpret_cast<const float4*>(row ? homes : centers);
      bool inside = index < (row ? n_homes : n_clusters);
      float4 value = inside ? from[(size_t)index * (WIDTH / 4) + four] : make_float4(0, 0, 0, 0);
      (row ? rows : columns)[thread % SIDE] = value;
    }
    __syncthreads();
    for (int i = 0; i < PART; i++) {
      float4 a = rows[y + i * STEP];
      for (int j = 0; j < PART; j++) {
        float4 b = columns[x + j * STEP];
        float gap[4] = {a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w};
        for (int f = 0; f < 4; f++) sums[i][j] = fmaf(gap[f], gap[f], sums[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < PART; i++)
    for (int j = 0; j < PART; j++) {
      int home = first_home + y + i * STEP, center = first_center + x + j * STEP;
      if (home < n_homes && center < n_clusters) out[(size_t)home * n_clusters + center] = sums[i][j];
    }
}

// In place: where the slices begin, from how many are in each. By one warp.
__device__ inline void count_up(int* counts) {
  constexpr int EACH = SLICES / LANES;
  int lane = threadIdx.x, total = 0;
  for (int i = 0; i < EACH; i++) total += counts[lane * EACH + i];
  int upto = total;
  for (int step = 1; step < LANES; step *= 2) {
    int other = __shfl_up_sync(ALL, upto, step);
    if (lane >= step) upto += other;
  }
  int begin = upto - total;
  for (int i = 0; i < EACH; i++) {
    int count = counts[lane * EACH + i];
    counts[lane * EACH + i] = begin;
    begin += count;
  }
}

// The list of each home from its squared distances to the centers: sorted by slices of equal width, the nearest slices
// that fit into `most` places. One block of threads for each home. The order within a slice is that of the atomics: it
// changes the work of a search, never its result.
extern "C" __global__ void __launch_bounds__(256) make_lists(const float* distances, int n_clusters, int most,
                                                             int* members, float* lows, int* listed, float* reach) {
  __shared__ int slices[SLICES + 1];
  __shared__ int largest, n_listed, closed;
  int home = blockIdx.x, thread = threadIdx.x, n_threads = blockDim.x;
  distances += (size_t)home * n_clusters;
  members += (size_t)home * most;
  for (int s = thread; s <= SLICES; s += n_threads) slices[s] = 0;
  if (thread == 0) {
    largest = 0;
    n_listed = n_clusters;
    closed = SLICES;
  }
  __syncthreads();
  int mine = 0;  // floats that are not negative are in the order of their bits
  for (int center = thread; center < n_clusters; center += n_threads) mine = max(mine, __float_as_int(distances[center]));
  atomicMax(&largest, mine);
  __syncthreads();
  float width = fmaxf(sqrtf(__int_as_float(largest)), 1e-6f) / SLICES;
  for (int center = thread; center < n_clusters; center += n_threads)
    atomicAdd(slices + min(SLICES - 1, (int)(sqrtf(distances[center]) / width)), 1);
  __syncthreads();
  if (thread < LANES) count_up(slices);
  if (thread == 0) slices[SLICES] = n_clusters;
  __syncthreads();
  for (int s = thread; s < SLICES; s += n_threads)
    if (slices[s] <= most && slices[s + 1] > most) {
      n_listed = slices[s];
      closed = s;
    }
  __syncthreads();
  constexpr float LESS = 1 - 4 * GAMMA;  // the error of the distances, of their slices and of the edge of a slice
  for (int s = thread; s < closed; s += n_threads)
    for (int at = (slices[s] + GROUP - 1) / GROUP; at * GROUP < slices[s + 1]; at++)
      lows[(size_t)home * (most / GROUP) + at] = s * width * LESS;
  if (thread == 0) {
    listed[home] = n_listed;
    reach[home] = closed * width * LESS;
  }
  __syncthreads();
  for (int center = thread; center < n_clusters; center += n_threads) {
    int slice = min(SLICES - 1, (int)(sqrtf(distances[center]) / width));
    if (slice < closed) members[atomicAdd(slices + slice, 1)] = center;
  }
}

// Rows as they are given, (n_rows, FEATURES), into tiles.
extern "C" __global__ void pack(const VALUE* rows, int n_rows, unsigned* words) {
  int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= n_rows) return;
  for (int word = 0; word < WORDS; word++) {
    unsigned value = 0;
    for (int i = 0; i < PACK && word * PACK + i < FEATURES; i++)
      value |= (unsigned)rows[(size_t)row * FEATURES + word * PACK + i] << (i * VALUE_BITS);
    words[word_at(row / TILE, word, row % TILE)] = value;
  }
}

// The rows at `places` of the tiles; out (n, FEATURES).
extern "C" __global__ void unpack(const unsigned* words, const int* places, int n, VALUE* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int tile = places[i] / TILE, row = places[i] % TILE;
  for (int feature = 0; feature < FEATURES; feature++)
    out[(size_t)i * FEATURES + feature] = value_at(words, tile, row, feature);
}

// How many rows have each label and spread; bins (n_labels, SPREADS).
extern "C" __global__ void count_labels(const int* labels, const unsigned char* spread, int n_places, int* bins) {
  int place = blockIdx.x * blockDim.x + threadIdx.x;
  if (place < n_places && labels[place] >= 0) atomicAdd(bins + (size_t)labels[place] * SPREADS + spread[place], 1);
}

// Homes of the tiles, from the first tile of each label and, last, how many there are.
extern "C" __global__ void name_tiles(const int* starts, int* tile_homes) {
  for (int tile = starts[blockIdx.x] + threadIdx.x; tile < starts[blockIdx.x + 1]; tile += blockDim.x)
    tile_homes[tile] = blockIdx.x;
}

// Bring the rows into the order of their labels and spreads; next (n_labels, SPREADS): where the next one goes.
extern "C" __global__ void sort_rows(const unsigned* words, const int* labels, const unsigned char* spread,
                                     const int* order, const i64* weights, int n_places, int* next, unsigned* words_out,
                                     int* labels_out, int* order_out, i64* weights_out) {
  int place = blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= n_places || labels[place] < 0) return;
  int to = atomicAdd(next + (size_t)labels[place] * SPREADS + spread[place], 1);
  for (int word = 0; word < WORDS; word++)
    words_out[word_at(to / TILE, word, to % TILE)] = words[word_at(place / TILE, word, place % TILE)];
  labels_out[to] = labels[place];
  order_out[to] = order[place];
  if (weights) weights_out[to] = weights[place];
}

// Add the rows to the sums of their labels; a warp for each tile, a feature for each lane.
extern "C" __global__ void sum_up(const unsigned* words, const int* labels, const i64* weights, int n_tiles, u64* sums) {
  int tile = (blockIdx.x * blockDim.x + threadIdx.x) / LANES;
  if (tile >= n_tiles) return;
  for (int feature = threadIdx.x % LANES; feature <= FEATURES; feature += LANES) {
    int label = -1;
    i64 total = 0;
    for (int row = 0; row < TILE; row++) {
      int place = tile * TILE + row, next = labels[place];
      if (next != label) {
        if (label >= 0) atomicAdd(sums + (size_t)label * (FEATURES + 1) + feature, (u64)total);
        label = next;
        total = 0;
      }
      if (label >= 0)
        total += (weights ? weights[place] : 1) * (feature < FEATURES ? value_at(words, tile, row, feature) : 1);
    }
    if (label >= 0) atomicAdd(sums + (size_t)label * (FEATURES + 1) + feature, (u64)total);
  }
}

// Sum of the squares of all values of all rows; slots (SLOTS,).
extern "C" __global__ void sum_of_squares(const unsigned* words, const int* labels, const i64* weights, int n_places,
                                          u64* slots) {
  int place = blockIdx.x * blockDim.x + threadIdx.x;
  i64 total = 0;
  if (place < n_places && labels[place] != NO_ROW) {
    for (int feature = 0; feature < FEATURES; feature++) {
      i64 value = value_at(words, place / TILE, place % TILE, feature);
      total += value * value;
    }
    if (weights) total *= weights[place];
  }
  add_to_slot(slots, total);
}

// Squared distance of each row to the center of its label, in units of 2^-2F; -1 where there is no row.
extern "C" __global__ void own_distances(const unsigned* words, const int* labels, const int* integers, int n_places,
                                         i64* out) {
  int place = blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= n_places) return;
  int label = labels[place];
  out[place] = label < 0 ? -1 : exact_distance(words, place / TILE, place % TILE, integers + (size_t)label * WIDTH);
}

// Values of places as values of the rows as they were given; order: the number of each row, -1 where there is none.
extern "C" __global__ void unsort(const int* values, const int* order, int n_places, int* out) {
  int place = blockIdx.x * blockDim.x + threadIdx.x;
  if (place < n_places && order[place] >= 0) out[order[place]] = values[place];
}
