// The inner loop of the cone projection per instruction set, chosen at run time. Only drr.cpp includes this.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "drr.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#define GUIDANCE_DRR_X86 1
#include <immintrin.h>
#endif

namespace guidance {

template <std::size_t K, class T>
using March = void (*)(const PlaneStack<T>&, std::int64_t, std::int64_t, float, const RayPacket&, const float*, float*);

namespace portable {
template <class T>
inline void pair(const T* voxels, std::int32_t offset, float& low, float& high) {
  low = static_cast<float>(voxels[offset]);
  high = static_cast<float>(voxels[offset + 1]);
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
#define DRR_IADD(x, y) ((x) + (y))
#define DRR_IMUL(x, y) ((x) * (y))
#define DRR_TRUNC(x) static_cast<std::int32_t>(x)
#define DRR_FLOAT(x) static_cast<float>(x)
#define DRR_PAIR pair
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
#define DRR_IADD _mm256_add_epi32
#define DRR_IMUL _mm256_mullo_epi32
#define DRR_TRUNC _mm256_cvttps_epi32
#define DRR_FLOAT _mm256_cvtepi32_ps
#define DRR_PAIR pair
#include "drr_march.inc"
#include "drr_undefine.inc"
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
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
#define DRR_IADD _mm512_add_epi32
#define DRR_IMUL _mm512_mullo_epi32
#define DRR_TRUNC _mm512_cvttps_epi32
#define DRR_FLOAT _mm512_cvtepi32_ps
#define DRR_PAIR pair
#include "drr_march.inc"
#include "drr_undefine.inc"
}  // namespace avx512
#pragma GCC pop_options

#endif  // GUIDANCE_DRR_X86

template <std::size_t K, class T>
March<K, T> best_march(bool portable_only) {
#ifdef GUIDANCE_DRR_X86
  if (!portable_only) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
      return avx512::march<K, T>;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::march<K, T>;
  }
#endif
  (void)portable_only;
  return portable::march<K, T>;
}

}  // namespace guidance
