// What a lane knows of its rows while it searches, after layout.cu.

// Scores less |x'|^2 / 2, and the number of the best center.
struct State {
  float square[ROWS];  // |x'|^2
  float best[ROWS], second[ROWS];
  float limit[ROWS];  // no center farther than that from the pivot can be as near as the best
  int found[ROWS];
};

// Begin without a best center.
__device__ inline void forget(State& state) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    state.best[r] = state.second[r] = FAR;
    state.found[r] = 0;
  }
}

// Two errors of scores, where b belongs to the best; it widens b too. Each way of scoring has its own.
__device__ inline float margin_of(const CandidateLists& lists, float best, float square);

__device__ inline void lower_limit(const CandidateLists& lists, State& state, int r) {
  float distance = fmaxf(2 * state.best[r] + state.square[r], 0);
  float error = margin_of(lists, state.best[r], state.square[r]);
  float limit = (sqrtf(state.square[r]) + sqrtf(distance + error)) * (1 + 4 * GAMMA);
  state.limit[r] = fminf(state.limit[r], limit);
}

// Keep the best and the second best of some scores of a row, which the centers `members` have.
template <int N>
__device__ inline void keep_best(const CandidateLists& lists, const float (&scores)[N], const int* members,
                                 State& state, int r) {
  float before = state.best[r];
  int at = 0;
#pragma unroll
  for (int j = 0; j < N; j++) {
    state.second[r] = fminf(state.second[r], fmaxf(state.best[r], scores[j]));
    if (scores[j] < state.best[r]) at = j;
    state.best[r] = fminf(state.best[r], scores[j]);
  }
  if (state.best[r] < before) {
    state.found[r] = members[at];
    lower_limit(lists, state, r);
  }
}

// Whether a row of the tile may gain from a center at distance `low` from the pivot.
__device__ inline bool any_within_limit(const State& state, float low) {
  return __any_sync(ALL, fmaxf(state.limit[0], state.limit[1]) >= low);
}

// The largest limit of the rows of the tile.
__device__ inline float largest_limit(const State& state) {
  float limit = fmaxf(state.limit[0], state.limit[1]);
  for (int step = LANES / 2; step; step /= 2) limit = fmaxf(limit, __shfl_xor_sync(ALL, limit, step));
  return limit;
}
