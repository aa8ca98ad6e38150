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

inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long bytes = (unsigned long long)b << 32 | a;
  unsigned found = 0;
  for (int i = 0; i < 4; i++) found |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return found;
}

template <class To, class From>
To bits_of(From value) {
  To out;
  std::memcpy(&out, &value, sizeof(To));
  return out;
}
inline int __float_as_int(float value) { return bits_of<int>(value); }
inline float __int_as_float(int value) { return bits_of<float>(value); }

// Halves, two to a word

inline float from_half(unsigned bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent ? std::ldexp(1024.0f + mantissa, exponent - 25) : std::ldexp((float)mantissa, -24);
  return bits >> 15 & 1 ? -value : value;
}
inline unsigned to_half(float value) {  // of a value that is a half, and not a small one
  if (value == 0) return 0;
  int exponent;
  float mantissa = std::frexp(std::fabs(value), &exponent);
  return (value < 0) << 15 | (exponent + 14) << 10 | ((unsigned)(mantissa * 2048) & 1023);
}
inline unsigned subtract_halves(unsigned a, unsigned b) {
  unsigned low = to_half(from_half(a & 0xffff) - from_half(b & 0xffff));
  return low | to_half(from_half(a >> 16) - from_half(b >> 16)) << 16;
}

// The sum of products and c as tensor cores may make it: what lies below the last bit of the largest is cut off each, and so
// is the sum.
inline float cut_sum(const float* products, float c) {
  float largest = std::fabs(c);
  for (int k = 0; k < 16; k++) largest = max(largest, std::fabs(products[k]));
  if (largest == 0) return 0;
  int exponent;
  std::frexp(largest, &exponent);
  double unit = std::ldexp(1.0, exponent - 24), sum = std::trunc(c / unit);
  for (int k = 0; k < 16; k++) sum += std::trunc(products[k] / unit);
  sum *= unit;
  float rounded = (float)sum;
  return std::fabs(rounded) > std::fabs(sum) ? std::nextafter(rounded, 0.0f) : rounded;
}

// What mma.sync.m16n8k16 gives lane 4 g + q: rows g and g + 8, columns 2 q and 2 q + 1 of c. Of each row a lane gives four
// of the 16 factors, 2 q and 2 q + 1 in a[0] and a[1], 2 q + 8 and 2 q + 9 in a[2] and a[3]; b has those of column g.
inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  using pair = unsigned long long;
  pair given[3] = {(pair)a[1] << 32 | a[0], (pair)a[3] << 32 | a[2], (pair)b1 << 32 | b0};
  pair all[3][32];
  for (int i = 0; i < 3; i++) std::memcpy(all[i], emulator::exchanged(given[i]), sizeof(all[i]));
  auto half = [](pair word, int i) { return from_half(word >> 16 * i & 0xffff); };
  int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
  for (int i = 0; i < 4; i++) {
    int low = i / 2, column = 2 * q + i % 2;  // the second two are of row g + 8
    float products[16];
    for (int k = 0; k < 16; k++) {
      int left = 4 * g + k / 4, right = 4 * column + k / 4, at = k % 4;
      products[k] = half(all[at / 2][left], 2 * low + at % 2) * half(all[2][right], at);
    }
    c[i] = cut_sum(products, c[i]);
  }
}
