// Rows into tiles and back, sorted, summed up; after layout.cu.

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

// The rows at `slots` of the tiles; out (n, FEATURES).
extern "C" __global__ void unpack(const unsigned* words, const int* slots, int n, VALUE* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int tile = slots[i] / TILE, row = slots[i] % TILE;
  for (int feature = 0; feature < FEATURES; feature++)
    out[(size_t)i * FEATURES + feature] = value_at(words, tile, row, feature);
}

// How many rows have each label and spread; bins (n_labels, SPREADS).
extern "C" __global__ void count_labels(const int* labels, const unsigned char* spread, int n_slots, int* bins) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot < n_slots && labels[slot] >= 0) atomicAdd(bins + (size_t)labels[slot] * SPREADS + spread[slot], 1);
}

// Pivots of the tiles, from the first tile of each label and, last, how many there are.
extern "C" __global__ void set_tile_pivots(const int* starts, int* tile_pivots) {
  for (int tile = starts[blockIdx.x] + threadIdx.x; tile < starts[blockIdx.x + 1]; tile += blockDim.x)
    tile_pivots[tile] = blockIdx.x;
}

// Bring the rows into the order of their labels and spreads; next (n_labels, SPREADS): where the next one goes.
extern "C" __global__ void sort_rows(const unsigned* words, const int* labels, const unsigned char* spread,
                                     const int* order, const i64* weights, int n_slots, int* next, unsigned* words_out,
                                     int* labels_out, int* order_out, i64* weights_out) {
  int slot = blockIdx.x * blockDim.x + threadIdx.x;
  if (slot >= n_slots || labels[slot] < 0) return;
  int to = atomicAdd(next + (size_t)labels[slot] * SPREADS + spread[slot], 1);
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

// Sum of the squares of all values of all rows; stripes (STRIPES,).
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
