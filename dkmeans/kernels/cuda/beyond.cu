// What follows where the list of a pivot ends before the last row of a tile is done, after scores.cu: the centers that are
// not in the list and not too far from the pivot are collected in a queue and scored. Those at the end of the list may be
// scored twice, which makes a near tie of them.
//
// Most such tiles lie at the end of a run, and few of their rows still gain. These are then scored row by row, with a
// center in each lane: for rows of 25 bytes, 32 centers take about 47 instructions a row and 94 besides (sm_90). In groups
// they take 2,900, for any number of rows.

constexpr float LESS = 1 - 4 * GAMMA;  // for an error of distances

// Distance from the pivot to a center, with a relative error below gamma.
__device__ inline float from_pivot(const CandidateLists& lists, int pivot, int center) {
  const float4* from = reinterpret_cast<const float4*>(lists.pivots + (size_t)pivot * WIDTH);
  const float4* to = reinterpret_cast<const float4*>(lists.centers + (size_t)center * WIDTH);
  float squares = 0;
#pragma unroll 2
  for (int four = 0; four < WIDTH / 4; four++) {
    float4 o = from[four], c = to[four];
    float gaps[4] = {o.x - c.x, o.y - c.y, o.z - c.z, o.w - c.w};
    for (int i = 0; i < 4; i++) squares = fmaf(gaps[i], gaps[i], squares);
  }
  return sqrtf(squares);
}

// Add to the queue what is near enough of 32 centers from `first` on; how many are in it then.
__device__ inline int collect(const CandidateLists& lists, int pivot, int first, float limit, int queued,
                              Scratch& scratch) {
  int lane = threadIdx.x % LANES, center = first + lane;
  bool near = false;
  if (center < lists.n_clusters) {
    float distance = from_pivot(lists, pivot, center);
    near = distance >= lists.radii[pivot] && distance * LESS <= limit;
  }
  unsigned chosen = __ballot_sync(ALL, near);
  if (near) scratch.queue[queued + __popc(chosen & ((1u << lane) - 1))] = center;
  __syncwarp();
  return queued + __popc(chosen);
}

__device__ inline float least_of_warp(float value) {
  for (int step = LANES / 2; step; step /= 2) value = fminf(value, __shfl_xor_sync(ALL, value, step));
  return value;
}

// Score the center of each lane for some rows in shared memory.
__device__ inline void score_few(const CandidateLists& lists, int pivot, int center, int n_rows, Scratch& scratch) {
  const float4* from = reinterpret_cast<const float4*>(lists.pivots + (size_t)pivot * WIDTH);
  const float4* to = reinterpret_cast<const float4*>(lists.centers + (size_t)max(center, 0) * WIDTH);
  float gaps[CHUNK], squares = 0;
#pragma unroll
  for (int four = 0; four < CHUNK / 4; four++) {
    float4 o = from[four], c = to[four];
    float of[4] = {o.x - c.x, o.y - c.y, o.z - c.z, o.w - c.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      gaps[4 * four + i] = of[i];
      squares = fmaf(of[i], of[i], squares);
    }
  }
  float distance = center < 0 ? FAR : sqrtf(squares) * LESS;
#pragma unroll 1
  for (int row = 0; row < n_rows; row++) {
    bool near = distance <= scratch.limit[row];
    if (!__any_sync(ALL, near)) continue;
    float score = 0;
#pragma unroll
    for (int four = 0; four < CHUNK / 4; four++) {
      float4 x = scratch.rows[row][four];
      float of[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (4 * four + i < USED) score = fmaf(of[i], gaps[4 * four + i], score);
    }
    score = near ? score + squares / 2 : FAR;
    if (!__any_sync(ALL, score <= scratch.second[row])) continue;
    float best = least_of_warp(score);
    int lane = __ffs(__ballot_sync(ALL, score == best)) - 1;
    float second = least_of_warp(threadIdx.x % LANES == lane ? FAR : score);
    __syncwarp();  // all have read what one changes
    if (threadIdx.x % LANES == lane) {
      State state = {{scratch.square[row]}, {scratch.best[row]}, {scratch.second[row]}, {scratch.limit[row]}, {0}};
      scratch.second[row] = fminf(fminf(state.second[0], second), fmaxf(state.best[0], best));
      if (best < state.best[0]) {
        scratch.best[row] = state.best[0] = best;
        scratch.found[row] = center;
        lower_limit(lists, state, 0);
        scratch.limit[row] = state.limit[0];
      }
    }
  }
  __syncwarp();
}

// The place of a row in shared memory, of those that may still gain: `open` of all lanes; -1 for others.
__device__ inline int place_of(const unsigned (&open)[ROWS], int r) {
  int lane = threadIdx.x % LANES, before = 0;
  for (int other = 0; other < r; other++) before += __popc(open[other]);
  return open[r] >> lane & 1 ? before + __popc(open[r] & ((1u << lane) - 1)) : -1;
}

// Go on with the rows that may still gain, no more than FEW.
__device__ inline void search_beyond_few(const CandidateLists& lists, int pivot, const unsigned (&open)[ROWS], int n_rows,
                                         const Rows& rows, Scratch& scratch, State& state) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int at = place_of(open, r);
    if (at < 0) continue;
#pragma unroll
    for (int four = 0; four < CHUNK / 4; four++)
      scratch.rows[at][four] = make_float4(rows.x[r][4 * four], rows.x[r][4 * four + 1], rows.x[r][4 * four + 2],
                                           rows.x[r][4 * four + 3]);
    scratch.square[at] = state.square[r];
    scratch.best[at] = state.best[r];
    scratch.second[at] = state.second[r];
    scratch.limit[at] = state.limit[r];
    scratch.found[at] = state.found[r];
  }
  __syncwarp();
  int lane = threadIdx.x % LANES, queued = 0;
#pragma unroll 1
  for (int first = 0; first < lists.n_clusters; first += LANES) {
    float limit = -least_of_warp(lane < n_rows ? -scratch.limit[lane] : FAR);
    queued = collect(lists, pivot, first, limit, queued, scratch);
    int least = first + LANES < lists.n_clusters ? LANES : 1;
#pragma unroll 1
    for (; queued >= least; queued -= LANES) {  // from its end
      int mine = queued - LANES + lane;
      score_few(lists, pivot, mine < 0 ? -1 : scratch.queue[mine], n_rows, scratch);
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int at = place_of(open, r);
    if (at < 0) continue;
    state.best[r] = scratch.best[at];
    state.second[r] = scratch.second[at];
    state.limit[r] = scratch.limit[at];
    state.found[r] = scratch.found[at];
  }
}

// Go on with all rows of the tile.
__device__ inline void search_beyond_all(const CandidateLists& lists, const unsigned* words, int tile, int pivot,
                                         Rows& rows, Scratch& scratch, State& state) {
  int slot = threadIdx.x % LANES / SHARE, queued = 0, half = 0;
#pragma unroll 1
  for (int first = 0; first < lists.n_clusters; first += LANES) {
    queued = collect(lists, pivot, first, largest_limit(state), queued, scratch);
    int least = first + LANES < lists.n_clusters ? GROUP : 1;
#pragma unroll 1
    for (; queued >= least; queued -= GROUP) {  // from its end
      int at = queued - GROUP + slot, mine = at < 0 ? -1 : scratch.queue[at];
      copy_center(lists, mine, 0, scratch.centers[half]);
      score_group(lists, words, tile, pivot, mine, mine, half, rows, scratch, state);
      await_copies();
      half = (half + CHUNKS) % 2;
    }
  }
}

__device__ inline void search_beyond(const CandidateLists& lists, const unsigned* words, int tile, int pivot, Rows& rows,
                                     Scratch& scratch, State& state) {
  unsigned open[ROWS];
  int n_rows = 0;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    open[r] = __ballot_sync(ALL, state.limit[r] >= lists.radii[pivot]);
    n_rows += __popc(open[r]);
  }
  if (CHUNKS == 1 && n_rows <= FEW)
    search_beyond_few(lists, pivot, open, n_rows, rows, scratch, state);
  else
    search_beyond_all(lists, words, tile, pivot, rows, scratch, state);
}
