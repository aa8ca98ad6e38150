// The search of a Lloyd step, after layout.cu, state.cu, and scores.cu with beyond.cu or scores_tensor.cu: pruned by the
// triangle inequality, near ties resolved in integers.
//
// Each tile has a pivot: a point with integer coordinates near its rows. For a row x, its pivot o and the best center
// found so far at distance b, no center c with |o - c| > |x - o| + b can be as near (S. Phillips, Acceleration of k-means
// and related clustering algorithms, ALENEX 2002). So each pivot has a list of the centers in about ascending distance,
// and a team of warps, one or all of a block, goes down the list of its tile until no row can gain. Scores are
// s = (|x - c|^2 - |x - o|^2) / 2. Where the second best is within their errors of the best, the row is resolved in int64
// among all centers that were scored.

static_assert(TEAM == 1 || TEAM == WARPS);

// Whether this warp is the one of its team that labels the rows of a lane.
__device__ inline bool labels_rows(int lane) { return threadIdx.x / LANES % TEAM == lane * TEAM / LANES; }

// The nearest center to one row, the lowest index on ties, of the first n of the list or, where that is not enough, of
// all; the whole warp looks.
__device__ inline int resolve_exactly(const CandidateLists& lists, const unsigned* words, int tile, int row, int pivot,
                                      int n, bool all) {
  const int* members = lists.members + (size_t)pivot * lists.capacity;
  i64 least = 0x7fffffffffffffffll;
  int nearest = 0x7fffffff;
  for (int at = threadIdx.x % LANES; at < (all ? lists.n_clusters : n); at += LANES) {
    int center = all ? at : members[at];
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

// Take the rows whose label changes from the sums of their old clusters, if they had one, to those of the new ones. The
// last column of the sums counts the rows.
//
// The rows of a tile mostly leave one cluster, that of its pivot, for a few near ones. So what a cluster gains and loses
// is added up first, a feature to each lane, and takes one atomic operation for each feature: (1 + d) (FEATURES + 1) of m
// rows that leave one cluster for d others, d <= m, where row by row it would be 2 m (FEATURES + 1). Sums of few clusters
// in shared memory would still take all of those, there, and those of a block of 4 tiles, K (FEATURES + 1), on top; they
// would take memory from the search, and 64 bits are added there by a loop.
__device__ inline void move_rows(const unsigned* words, const i64* weights, int tile, const int (&old)[ROWS],
                                 const int (&now)[ROWS], u64* sums) {
  int lane = threadIdx.x % LANES, from[ROWS], to[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    from[r] = now[r] != old[r] ? old[r] : -1;
    to[r] = now[r] != old[r] ? now[r] : -1;
  }
  for (;;) {
    int label = max(max(from[0], from[1]), max(to[0], to[1]));
    unsigned open = __ballot_sync(ALL, label >= 0);
    if (!open) return;
    label = __shfl_sync(ALL, label, __ffs(open) - 1);
    unsigned leave[ROWS], come[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      leave[r] = __ballot_sync(ALL, from[r] == label);
      come[r] = __ballot_sync(ALL, to[r] == label);
      if (from[r] == label) from[r] = -1;
      if (to[r] == label) to[r] = -1;
    }
    for (int feature = lane; feature <= FEATURES; feature += LANES) {
      i64 total = 0;
#pragma unroll
      for (int r = 0; r < ROWS; r++)
        for (unsigned rows = leave[r] | come[r]; rows; rows &= rows - 1) {
          int other = __ffs(rows) - 1, row = row_of(other, r);
          i64 value = feature < FEATURES ? value_at(words, tile, row, feature) : 1;
          if (weights) value *= weights[tile * TILE + row];
          total += come[r] >> other & 1 ? value : -value;
        }
      if (total) atomicAdd(sums + (size_t)label * (FEATURES + 1) + feature, (u64)total);
    }
  }
}

// Rows of one run that need about as many centers shall share tiles: eight octaves of the limit, sixteen parts each. How
// many are needed grows with about the fourth power of the limit, for 5x5 patches and 10,000 centers: by a fifth a part.
__device__ inline unsigned char spread_of(float limit) {
  int part = (__float_as_int(limit) >> 19) - TOP + SPREADS - 1;
  return part < 0 ? 0 : part >= SPREADS ? SPREADS - 1 : part;
}

// Label the rows of all tiles by their nearest centers, and move those whose label changes to other sums.
//
// labels (n_tiles * TILE,): before and after. spread, same shape: a guess of what a row needs. weights: how often each
// row counts, or null. sums (n_clusters, FEATURES + 1), or null. moved (STRIPES,): rows whose label changed, as often as
// they count. reassigned (STRIPES,): rows whose label is not the number of their pivot.
extern "C" __global__ void __launch_bounds__(WARPS* LANES, LEAST_BLOCKS) search(
    const unsigned* words, const int* tile_pivots, int n_tiles, const float* pivots, const float* centers,
    const int* integers, const unsigned* pivot_words, const uint2* digits, const i64* norms, const int* members,
    const float* lower_bounds, const int* lengths, const float* radii, int capacity, int n_clusters,
    const i64* weights, int* labels, unsigned char* spread, u64* sums, u64* moved, u64* reassigned) {
  __shared__ Scratch scratches[WARPS / TEAM];
  const CandidateLists lists = {pivots,  centers,      integers, pivot_words, digits,   norms,
                                members, lower_bounds, lengths,  radii,       capacity, n_clusters};
  int team = threadIdx.x / (TEAM * LANES), lane = threadIdx.x % LANES, tile = blockIdx.x * (WARPS / TEAM) + team;
  int pivot = tile < n_tiles ? tile_pivots[tile] : -1;
  if (pivot < 0) return;  // all of the team
  Scratch& scratch = scratches[team];

  Rows rows;
  State state = {};
  load_tile(lists, words, tile, pivot, scratch, rows, state);
#pragma unroll
  for (int r = 0; r < ROWS; r++) state.limit[r] = labels[tile * TILE + row_of(lane, r)] == NO_ROW ? -1.0f : FAR;
  forget(state);

  int n = search_list(lists, words, tile, pivot, rows, scratch, state);
  // Where the list ends before the last row is done.
  bool beyond = n == lengths[pivot] && n < n_clusters && any_within_limit(state, radii[pivot]);
  if (beyond) search_beyond(lists, words, tile, pivot, rows, scratch, state);
  join_team(scratch, state);

  i64 n_moved = 0, n_reassigned = 0;
  int old[ROWS], now[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int slot = tile * TILE + row_of(lane, r);
    old[r] = labels[slot];  // not before: registers are scarce in the search
    bool row = old[r] != NO_ROW && labels_rows(lane);
    now[r] = row ? state.found[r] : old[r];
    float error = margin_of(lists, state.best[r], state.square[r]);
    unsigned open = __ballot_sync(ALL, row && state.second[r] <= state.best[r] + error);
    for (; open; open &= open - 1) {
      int other = __ffs(open) - 1;
      int nearest = resolve_exactly(lists, words, tile, row_of(other, r), pivot, n, beyond);
      if (lane == other) now[r] = nearest;
    }
    if (now[r] != old[r]) n_moved += weights ? weights[slot] : 1;
    n_reassigned += row && now[r] != pivot;
    if (row) {
      labels[slot] = now[r];
      spread[slot] = spread_of(state.limit[r]);
    }
  }
  if (sums) move_rows(words, weights, tile, old, now, sums);
  add_to_stripe(moved, n_moved);
  add_to_stripe(reassigned, n_reassigned);
}
