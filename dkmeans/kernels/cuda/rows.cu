// Rows into tiles and back, sorted, summed up; after layout.cu.

constexpr int STAGE = WORDS < 16 ? WORDS : 16;  // words of each row of a tile that are turned at a time

__device__ inline unsigned word_of(const VALUE* row, int word) {
  unsigned value = 0;
  for (int i = 0; i < PACK && word * PACK + i < FEATURES; i++)
    value |= (unsigned)row[word * PACK + i] << (i * VALUE_BITS);
  return value;
}

// Rows as they are given, (n_rows, FEATURES), into tiles; a tile to each block of threads, in turns. They are read along
// the rows and written along the words, turned in shared memory between.
extern "C" __global__ void pack(const VALUE* rows, int n_rows, unsigned* words) {
  __shared__ unsigned stage[STAGE][TILE + 1];  // one more, so that the words of a row lie in several banks
  for (int tile = blockIdx.x; tile < (n_rows + TILE - 1) / TILE; tile += gridDim.x)
    for (int first = 0; first < WORDS; first += STAGE) {
      for (int i = threadIdx.x; i < TILE * STAGE; i += blockDim.x) {
        int row = tile * TILE + i / STAGE, word = first + i % STAGE;
        if (row < n_rows && word < WORDS) stage[i % STAGE][i / STAGE] = word_of(rows + (size_t)row * FEATURES, word);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < TILE * STAGE; i += blockDim.x) {
        int row = i % TILE, word = first + i / TILE;
        if (tile * TILE + row < n_rows && word < WORDS) words[word_at(tile, word, row)] = stage[i / TILE][row];
      }
      __syncthreads();
    }
}

// The rows at `slots` of the tiles; out (n, FEATURES), which is written in order.
extern "C" __global__ void unpack(const unsigned* words, const int* slots, int n, VALUE* out) {
  size_t n_values = (size_t)n * FEATURES, n_threads = (size_t)gridDim.x * blockDim.x;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n_values; i += n_threads) {
    int slot = slots[i / FEATURES];
    out[i] = value_at(words, slot / TILE, slot % TILE, i % FEATURES);
  }
}

// Where rows of this label and spread are counted, of (n_labels, SPREADS); -1 where there is no row to count.
__device__ inline i64 bin_of(const int* labels, const unsigned char* spread, int n_slots, int slot) {
  return slot < n_slots && labels[slot] >= 0 ? (i64)labels[slot] * SPREADS + spread[slot] : -1;
}

// Rows that lie together mostly share a bin: one atomic operation counts all that a warp has of it.

// How many rows have each label and spread; bins (n_labels, SPREADS).
extern "C" __global__ void count_labels(const int* labels, const unsigned char* spread, int n_slots, int* bins) {
  i64 bin = bin_of(labels, spread, n_slots, blockIdx.x * blockDim.x + threadIdx.x);
  unsigned peers = __match_any_sync(ALL, bin);
  if (bin >= 0 && threadIdx.x % LANES == __ffs(peers) - 1) atomicAdd(bins + bin, __popc(peers));
}

// Pivots of the tiles, from the first tile of each label and, last, how many there are.
extern "C" __global__ void set_tile_pivots(const int* starts, int* tile_pivots) {
  for (int tile = starts[blockIdx.x] + threadIdx.x; tile < starts[blockIdx.x + 1]; tile += blockDim.x)
    tile_pivots[tile] = blockIdx.x;
}

// Bring the rows into the order of their labels and spreads; next (n_labels, SPREADS): where the next one goes. Those of
// a warp that share a bin keep their order and lie together, so that they are written together.
extern "C" __global__ void sort_rows(const unsigned* words, const int* labels, const unsigned char* spread,
                                     const int* order, const i64* weights, int n_slots, int* next, unsigned* words_out,
                                     int* labels_out, int* order_out, i64* weights_out) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % LANES;
  i64 bin = bin_of(labels, spread, n_slots, slot);
  unsigned peers = __match_any_sync(ALL, bin);
  int first = __ffs(peers) - 1, to = 0;
  if (bin >= 0 && lane == first) to = atomicAdd(next + bin, __popc(peers));
  to = __shfl_sync(ALL, to, first) + __popc(peers & ((1u << lane) - 1));
  if (bin < 0) return;
  for (int word = 0; word < WORDS; word++)
    words_out[word_at(to / TILE, word, to % TILE)] = words[word_at(slot / TILE, word, slot % TILE)];
  labels_out[to] = labels[slot];
  order_out[to] = order[slot];
  if (weights) weights_out[to] = weights[slot];
}

// Add the rows to the sums of their labels; a warp for each tile, a feature for each lane.
extern "C" __global__ void sum_up(const unsigned* words, const int* labels, const i64* weights, int n_tiles, u64* sums) {
  int tile = (blockIdx.x * blockDim.x + threadIdx.x) / LANES;
  if (tile >= n_tiles) return;
  for (int feature = threadIdx.x % LANES; feature <= FEATURES; feature += LANES) {
    int label = -1;
    i64 total = 0;
    for (int row = 0; row < TILE; row++) {
      int slot = tile * TILE + row, next = labels[slot];
      if (next != label) {
        if (label >= 0) atomicAdd(sums + (size_t)label * (FEATURES + 1) + feature, (u64)total);
        label = next;
        total = 0;
      }
      if (label >= 0)
        total += (weights ? weights[slot] : 1) * (feature < FEATURES ? value_at(words, tile, row, feature) : 1);
    }
    if (label >= 0) atomicAdd(sums + (size_t)label * (FEATURES + 1) + feature, (u64)total);
  }
}

// Sum of the squares of all values of all rows; stripes (STRIPES,). Those of a piece are below 2^27 2^32; with weights
// the caller sees to it that they stay below 2^63.
extern "C" __global__ void sum_of_squares(const unsigned* words, const int* labels, const i64* weights, int n_slots,
                                          u64* stripes) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x;
  i64 total = 0;
  if (slot < n_slots && labels[slot] != NO_ROW) {
    for (int feature = 0; feature < FEATURES; feature++) {
      i64 value = value_at(words, slot / TILE, slot % TILE, feature);
      total += value * value;
    }
    if (weights) total *= weights[slot];
  }
  add_to_stripe(stripes, total);
}

// Squared distance of each row to the center of its label, in units of 2^-2F; -1 where there is no row.
extern "C" __global__ void own_distances(const unsigned* words, const int* labels, const int* integers, int n_slots,
                                         i64* out) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot >= n_slots) return;
  int label = labels[slot];
  out[slot] = label < 0 ? -1 : exact_distance(words, slot / TILE, slot % TILE, integers + (size_t)label * WIDTH);
}

// Values of slots as values of the rows as they were given; order: the number of each row, -1 where there is none.
extern "C" __global__ void unsort(const int* values, const int* order, int n_slots, int* out) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot < n_slots && order[slot] >= 0) out[order[slot]] = values[slot];
}
