// The inner loop of the cone projection per instruction set, chosen at run time. Only drr.cpp includes this.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "drr.hpp"

// Clang has no target pragma; it takes the plain loop.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GUIDANCE_DRR_X86 1
#include <immintrin.h>
#endif

namespace guidance {

template <std::size_t K, class T>
using March = void (*)(const PlaneStack<T>&, std::int64_t, std::int64_t, float, const RayPacket&, const float*, float*);

namespace portable {
template <class T>
inline void four(const PlaneStack<T>& stack, const T* lower, std::int32_t ia, std::int32_t ib, float& low_near,
                 float& high_near, float& low_far, float& high_far) {
  const T* const near = lower + static_cast<std::int64_t>(ia) * stack.row_stride + ib;
  low_near = static_cast<float>(near[0]);
  high_near = static_cast<float>(near[1]);
  low_far = static_cast<float>(near[stack.row_stride]);
  high_far = static_cast<float>(near[stack.row_stride + 1]);
}
#define DRR_LANES 1
#define DRR_F float
#define DRR_I std::int32_t
#define DRR_SET(x) (x)
#define DRR_ISET(x) (x)
#define DRR_LOAD(p) (*(p))
#define DRR_STORE(p, x) (*(p) = (x))
#define DRR_ADD(x, y) ((x) + (y))
#define DRR_SUB(x, y) ((x) - (y))
#define DRR_FMA(x, y, z) ((x) * (y) + (z))
#define DRR_MIN(x, y) std::min(x, y)
#define DRR_MAX(x, y) std::max(x, y)
#define DRR_IMIN(x, y) std::min<std::int32_t>(x, y)
#define DRR_TRUNC(x) static_cast<std::int32_t>(x)
#define DRR_FLOAT(x) static_cast<float>(x)
#include "drr_march.inc"
#include "drr_undefine.inc"
}  // namespace portable

#ifdef GUIDANCE_DRR_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
// One 32-bit gather fetches both neighbours of an int16 pair.
inline void pair(const std::int16_t* voxels, __m256i offset, __m256& low, __m256& high) {
  const __m256i both = _mm256_i32gather_epi32(reinterpret_cast<const int*>(voxels), offset, 2);
  low = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(both, 16), 16));
  high = _mm256_cvtepi32_ps(_mm256_srai_epi32(both, 16));
}
inline void pair(const float* voxels, __m256i offset, __m256& low, __m256& high) {
  low = _mm256_i32gather_ps(voxels, offset, 4);
  high = _mm256_i32gather_ps(voxels + 1, offset, 4);
}
template <class T>
inline void four(const PlaneStack<T>& stack, const T* lower, __m256i ia, __m256i ib, __m256& low_near,
                 __m256& high_near, __m256& low_far, __m256& high_far) {
  const __m256i offset = _mm256_add_epi32(_mm256_mullo_epi32(ia, _mm256_set1_epi32(stack.row_stride)), ib);
  pair(lower, offset, low_near, high_near);
  pair(lower + stack.row_stride, offset, low_far, high_far);
}
#define DRR_LANES 8
#define DRR_F __m256
#define DRR_I __m256i
#define DRR_SET _mm256_set1_ps
#define DRR_ISET _mm256_set1_epi32
#define DRR_LOAD _mm256_loadu_ps
#define DRR_STORE _mm256_storeu_ps
#define DRR_ADD _mm256_add_ps
#define DRR_SUB _mm256_sub_ps
#define DRR_FMA _mm256_fmadd_ps
#define DRR_MIN _mm256_min_ps
#define DRR_MAX _mm256_max_ps
#define DRR_IMIN _mm256_min_epi32
#define DRR_TRUNC _mm256_cvttps_epi32
#define DRR_FLOAT _mm256_cvtepi32_ps
#include "drr_march.inc"
#include "drr_undefine.inc"
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC diagnostic push
// GCC 12 takes its own intrinsics' "undefined" operands for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
namespace avx512 {
inline void pair(const std::int16_t* voxels, __m512i offset, __m512& low, __m512& high) {
  const __m512i both = _mm512_i32gather_epi32(offset, voxels, 2);
  low = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(both, 16), 16));
  high = _mm512_cvtepi32_ps(_mm512_srai_epi32(both, 16));
}
inline void pair(const float* voxels, __m512i offset, __m512& low, __m512& high) {
  low = _mm512_i32gather_ps(offset, voxels, 4);
  high = _mm512_i32gather_ps(offset, voxels + 1, 4);
}
template <class T>
inline void four(const PlaneStack<T>& stack, const T* lower, __m512i ia, __m512i ib, __m512& low_near,
                 __m512& high_near, __m512& low_far, __m512& high_far) {
  const __m512i offset = _mm512_add_epi32(_mm512_mullo_epi32(ia, _mm512_set1_epi32(stack.row_stride)), ib);
  pair(lower, offset, low_near, high_near);
  pair(lower + stack.row_stride, offset, low_far, high_far);
}
inline void split(__m512i both, __m512& low, __m512& high) {
  low = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(both, 16), 16));
  high = _mm512_cvtepi32_ps(_mm512_srai_epi32(both, 16));
}
// Neighbouring rays mostly lie within two rows and 31 voxels along them: three loads and word permutations then do what
// two gathers do, in half the time. Only the first and last ray are looked at to guess where; all are checked.
inline void four(const PlaneStack<std::int16_t>& stack, const std::int16_t* lower, __m512i ia, __m512i ib,
                 __m512& low_near, __m512& high_near, __m512& low_far, __m512& high_far) {
  const auto first = [](__m512i x) { return _mm_cvtsi128_si32(_mm512_castsi512_si128(x)); };
  const auto last = [](__m512i x) { return _mm_extract_epi32(_mm512_extracti32x4_epi32(x, 3), 3); };
  const std::int32_t row = std::min(first(ia), last(ia));
  const std::int32_t column = std::min(first(ib), last(ib));
  const __m512i down = _mm512_sub_epi32(ia, _mm512_set1_epi32(row));
  const __m512i right = _mm512_sub_epi32(ib, _mm512_set1_epi32(column));
  const __mmask16 within =
      _mm512_cmple_epu32_mask(down, _mm512_set1_epi32(1)) & _mm512_cmple_epu32_mask(right, _mm512_set1_epi32(30));
  if (within != 0xFFFF) {
    four<std::int16_t>(stack, lower, ia, ib, low_near, high_near, low_far, high_far);
    return;
  }
  const std::int16_t* const begin = lower + static_cast<std::int64_t>(row) * stack.row_stride + column;
  const std::int32_t third = row + 2 <= stack.last_a + 1 ? 2 * stack.row_stride : stack.row_stride;
  // Low word: the voxel to the left; high word: its neighbour.
  const __m512i words =
      _mm512_add_epi32(_mm512_or_si512(right, _mm512_slli_epi32(right, 16)), _mm512_set1_epi32(0x10000));
  const __m512i upper = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(begin));
  const __m512i middle = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(begin + stack.row_stride));
  const __m512i bottom = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(begin + third));
  const __mmask16 second_row = _mm512_test_epi32_mask(down, down);
  split(_mm512_mask_blend_epi32(second_row, upper, middle), low_near, high_near);
  split(_mm512_mask_blend_epi32(second_row, middle, bottom), low_far, high_far);
}
#define DRR_LANES 16
#define DRR_F __m512
#define DRR_I __m512i
#define DRR_SET _mm512_set1_ps
#define DRR_ISET _mm512_set1_epi32
#define DRR_LOAD _mm512_loadu_ps
#define DRR_STORE _mm512_storeu_ps
#define DRR_ADD _mm512_add_ps
#define DRR_SUB _mm512_sub_ps
#define DRR_FMA _mm512_fmadd_ps
#define DRR_MIN _mm512_min_ps
#define DRR_MAX _mm512_max_ps
#define DRR_IMIN _mm512_min_epi32
#define DRR_TRUNC _mm512_cvttps_epi32
#define DRR_FLOAT _mm512_cvtepi32_ps
#include "drr_march.inc"
#include "drr_undefine.inc"
}  // namespace avx512
#pragma GCC diagnostic pop
#pragma GCC pop_options

#endif  // GUIDANCE_DRR_X86

template <std::size_t K, class T>
March<K, T> best_march(DrrIsa isa) {
#ifdef GUIDANCE_DRR_X86
  if (isa == DrrIsa::kBest && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return avx512::march<K, T>;
  if (isa != DrrIsa::kPortable && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx2::march<K, T>;
#endif
  (void)isa;
  return portable::march<K, T>;
}

}  // namespace guidance
