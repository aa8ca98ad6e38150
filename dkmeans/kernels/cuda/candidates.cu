// Candidate lists: the centers near each pivot, after layout.cu and scores.cu, which says how many make a group.

// Squared distances of pivots to centers; out (n_pivots, n_clusters). Blocks of 16 x 16 threads, 4 x 4 pairs each.
extern "C" __global__ void __launch_bounds__(256) pivot_distances(const float* pivots, int n_pivots,
                                                                   const float* centers, int n_clusters, float* out) {
  constexpr int SIDE = 64, PART = 4, STEP = SIDE / PART;
  __shared__ float4 rows[SIDE], columns[SIDE];
  int first_pivot = blockIdx.y * SIDE, first_center = blockIdx.x * SIDE;
  int thread = threadIdx.x, x = thread % STEP, y = thread / STEP;
  float sums[PART][PART] = {};
  for (int four = 0; four < WIDTH / 4; four++) {
    bool row = thread < SIDE;
    int index = row ? first_pivot + thread : first_center + thread - SIDE;
    if (thread < 2 * SIDE) {
      const float4* from = reinterpret_cast<const float4*>(row ? pivots : centers);
      bool inside = index < (row ? n_pivots : n_clusters);
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
      int pivot = first_pivot + y + i * STEP, center = first_center + x + j * STEP;
      if (pivot < n_pivots && center < n_clusters) out[(size_t)pivot * n_clusters + center] = sums[i][j];
    }
}

// In place: where the slices begin, from how many are in each. By one warp.
__device__ inline void exclusive_scan(int* counts) {
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

// The list of each pivot from its squared distances to the centers: sorted by slices of equal width, the nearest slices
// that fit into its capacity. One block of threads for each pivot. The order within a slice is that of the atomics: it
// changes the work of a search, never its result.
extern "C" __global__ void __launch_bounds__(256) make_lists(const float* distances, int n_clusters, int capacity,
                                                             int* members, float* lower_bounds, int* lengths,
                                                             float* radii) {
  __shared__ int slices[SLICES + 1];
  __shared__ int largest, n_listed, closed;
  int pivot = blockIdx.x, thread = threadIdx.x, n_threads = blockDim.x;
  distances += (size_t)pivot * n_clusters;
  members += (size_t)pivot * capacity;
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
  if (thread < LANES) exclusive_scan(slices);
  if (thread == 0) slices[SLICES] = n_clusters;
  __syncthreads();
  for (int s = thread; s < SLICES; s += n_threads)
    if (slices[s] <= capacity && slices[s + 1] > capacity) {
      n_listed = slices[s];
      closed = s;
    }
  __syncthreads();
  constexpr float LESS = 1 - 4 * GAMMA;  // the error of the distances, of their slices and of the edge of a slice
  for (int s = thread; s < closed; s += n_threads)
    for (int at = (slices[s] + GROUP - 1) / GROUP; at * GROUP < slices[s + 1]; at++)
      lower_bounds[(size_t)pivot * (capacity / GROUP) + at] = s * width * LESS;
  if (thread == 0) {
    lengths[pivot] = n_listed;
    radii[pivot] = closed * width * LESS;
  }
  __syncthreads();
  for (int center = thread; center < n_clusters; center += n_threads) {
    int slice = min(SLICES - 1, (int)(sqrtf(distances[center]) / width));
    if (slice >= closed) continue;
    members[atomicAdd(slices + slice, 1)] = center;
  }
}
