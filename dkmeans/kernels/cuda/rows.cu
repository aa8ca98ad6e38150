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
