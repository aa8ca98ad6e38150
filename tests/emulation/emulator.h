// CUDA's threads on one thread of the host, so that the tests can run lloyd.cu without a GPU.
//
// The threads of a block are fibers. Each runs until it has to wait for others, at __syncthreads, __syncwarp or an
// exchange among the lanes of a warp; blocks run one after the other. So it shows that a kernel computes what it
// should, that it never waits for ever, and that words of several bytes are read and written where such may lie, but not
// that it has no race.
//
// makecontext makes a fiber; from then on _setjmp and _longjmp go to and fro, which call no system.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

using std::max;
using std::min;

struct Index { int x = 0, y = 0, z = 0; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr int WARP = 32, STACK = 1 << 16;

struct Barrier {
  int waiting = 0;
  long generation = 0;
};

struct Fiber {
  ucontext_t context;
  jmp_buf place;
  std::unique_ptr<char[]> stack{new char[STACK]};
  bool begun = false, done = false;
  int exchanges = 0;
  std::vector<std::pair<float4*, const float4*>> copies;  // begun and not awaited
};

static ucontext_t origin;
static jmp_buf scheduler;
static std::vector<Fiber> fibers;
static std::vector<Barrier> warps;
static std::vector<std::vector<long long>> lanes;  // of each warp, what its lanes exchange: two turns of 32
static Barrier block;
static const std::function<void()>* body;
static long progress;  // barriers passed and threads ended
static int n_atomics;  // operations of the kernel
static int misaligned_line;  // of the source, where the kernel has stopped; 0: it has not

inline Fiber& current() { return fibers[threadIdx.x]; }

inline void wait(Barrier& barrier, int expected) {
  long generation = barrier.generation;
  if (++barrier.waiting == expected) {
    barrier.waiting = 0;
    barrier.generation++;
    progress++;
    return;
  }
  while (barrier.generation == generation)
    if (!_setjmp(current().place)) _longjmp(scheduler, 1);
}

inline void wait_for_warp() { wait(warps[threadIdx.x / WARP], WARP); }

static void enter() {
  (*body)();
  current().done = true;
  progress++;
  _longjmp(scheduler, 1);
}

inline void resume(Fiber& fiber) {
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.place, 1);
  fiber.begun = true;
  swapcontext(&origin, &fiber.context);
}

inline void run_block(int n_threads) {
  block = Barrier();
  warps.assign((n_threads + WARP - 1) / WARP, Barrier());
  lanes.assign(warps.size(), std::vector<long long>(2 * WARP));
  for (int thread = 0; thread < n_threads; thread++) {
    Fiber& fiber = fibers[thread];
    fiber.begun = fiber.done = false;
    fiber.exchanges = 0;
    fiber.copies.clear();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, enter, 0);
  }
  bool turn = false;
  for (int alive = n_threads; alive;) {
    long before = progress;
    alive = 0;
    turn = !turn;  // back and forth, so that what depends on an order is more likely to be seen
    for (int i = 0; i < n_threads; i++) {
      int thread = turn ? i : n_threads - 1 - i;
      if (fibers[thread].done) continue;
      threadIdx.x = thread;
      resume(fibers[thread]);
      if (misaligned_line) return;
      alive += !fibers[thread].done;
    }
    if (alive && progress == before) {
      std::fprintf(stderr, "block (%d, %d): %d threads wait for ever\n", blockIdx.x, blockIdx.y, alive);
      std::abort();
    }
  }
}

inline void run(int grid_x, int grid_y, int n_threads, const std::function<void()>& kernel) {
  body = &kernel;
  if ((int)fibers.size() < n_threads) fibers = std::vector<Fiber>(n_threads);
  n_atomics = misaligned_line = 0;
  gridDim = {grid_x, grid_y, 1};
  blockDim = {n_threads, 1, 1};
  for (blockIdx.y = 0; blockIdx.y < grid_y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid_x && !misaligned_line; blockIdx.x++) run_block(n_threads);
}

// What -fsanitize=alignment calls in place of a misaligned access, with where it stands in the source: the kernel ends.
struct Mismatch {
  const char* file;
  unsigned line, column;
};
extern "C" void __ubsan_handle_type_mismatch_v1_abort(void* found, void*) {
  misaligned_line = static_cast<Mismatch*>(found)->line;
  _longjmp(scheduler, 1);
}
extern "C" int where_misaligned() { return misaligned_line; }
extern "C" int count_atomics() { return n_atomics; }

// What the lanes of this warp give; all of them have to take part.
template <class T>
const long long* exchanged(T value) {
  static_assert(sizeof(T) <= sizeof(long long));
  long long* turn = &lanes[threadIdx.x / WARP][current().exchanges++ % 2 * WARP];
  turn[threadIdx.x % WARP] = 0;
  std::memcpy(turn + threadIdx.x % WARP, &value, sizeof(T));
  wait_for_warp();
  return turn;
}

template <class T>
T exchange(T value, int from) {
  T found;
  std::memcpy(&found, exchanged(value) + from % WARP, sizeof(T));
  return found;
}

}  // namespace emulator

// As late as it may be, so that who does not wait finds what was there before.
inline void begin_copy(float4* to, const float4* from) { emulator::current().copies.emplace_back(to, from); }
inline void await_copies() {
  for (auto [to, from] : emulator::current().copies) *to = *from;
  emulator::current().copies.clear();
}

inline void __syncthreads() { emulator::wait(emulator::block, blockDim.x); }
inline void __syncwarp() { emulator::wait_for_warp(); }

template <class T>
T __shfl_sync(unsigned, T value, int lane) { return emulator::exchange(value, lane); }
template <class T>
T __shfl_xor_sync(unsigned, T value, int step) { return emulator::exchange(value, threadIdx.x % 32 ^ step); }
template <class T>
T __shfl_up_sync(unsigned, T value, int step) {
  int lane = threadIdx.x % 32;
  return emulator::exchange(value, lane >= step ? lane - step : lane);
}
inline unsigned __ballot_sync(unsigned, bool value) {
  const long long* given = emulator::exchanged((int)value);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) bits |= (unsigned)given[lane] << lane;
  return bits;
}
template <class T>
unsigned __match_any_sync(unsigned, T value) {
  const long long* given = emulator::exchanged(value);
  unsigned same = 0;
  for (int lane = 0; lane < 32; lane++) same |= (unsigned)(given[lane] == given[threadIdx.x % 32]) << lane;
  return same;
}
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value); }
inline int __ffs(unsigned bits) { return __builtin_ffs((int)bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <class T>
T atomicAdd(T* at, T value) {
  emulator::n_atomics++;
  T old = *at;
  *at += value;
  return old;
}
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned value) {
  emulator::n_atomics++;
  unsigned old = *at;
  if (old == expected) *at = value;
  return old;
}
inline int atomicMax(int* at, int value) {
  emulator::n_atomics++;
  int old = *at;
  *at = max(old, value);
  return old;
}

template <class To, class From>
To bits_of(From value) {
  To out;
  std::memcpy(&out, &value, sizeof(To));
  return out;
}
inline int __float_as_int(float value) { return bits_of<int>(value); }
inline float __int_as_float(int value) { return bits_of<float>(value); }

// Words of four bytes

inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int i = 0; i < 4; i++) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
  return c;
}

// What mma.sync.m16n8k32 of bytes gives lane 4 g + q: rows g and g + 8, columns 2 q and 2 q + 1 of c. A lane gives eight of
// the 32 factors of row g, 4 q to 4 q + 3 in a.x and 16 more in a.z, those of row g + 8 in a.y and a.w; b has those of
// column g.
inline void multiply_add(unsigned (&c)[4], uint4 a, uint2 b) {
  using pair = unsigned long long;
  pair given[3] = {(pair)a.z << 32 | a.x, (pair)a.w << 32 | a.y, (pair)b.y << 32 | b.x};
  pair all[3][32];
  for (int i = 0; i < 3; i++) std::memcpy(all[i], emulator::exchanged(given[i]), sizeof(all[i]));
  int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  for (int i = 0; i < 4; i++)  // the second two are of row g + 8
    for (int k = 0; k < 4; k++) {
      pair x = all[i / 2][4 * g + k], y = all[2][4 * (2 * q + i % 2) + k];
      c[i] = __dp4a(x, y, __dp4a(x >> 32, y >> 32, c[i]));
    }
}
