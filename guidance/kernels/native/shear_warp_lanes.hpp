// The two inner loops of shear-warp per instruction set, chosen at run time. Only shear_warp.cpp includes this.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "shear_warp.hpp"

// Clang has no target pragma; it takes the plain loops.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GUIDANCE_WARP_X86 1
#include <immintrin.h>
#endif

namespace guidance {

// Positions of a tile's samples along a row of voxels: first + n * step, held within the volume.
struct WarpLine {
  float first, step;
  std::int32_t last;   // largest first index of an interpolated pair
  std::int64_t ahead;  // bytes to the voxels of the next block of planes, for the prefetch
};

// Where the rows of a tile lie between two rows of voxels that were resampled for them.
struct WarpRows {
  alignas(64) std::array<float, kWarpTall> near, far;  // weights
  std::array<std::int32_t, kWarpTall> offset;          // of the near row in the resampled block, in floats
};

constexpr float kWarpFixed = 16384.0F;  // one, in the int16 kernels' weights

template <class T>
struct WarpLoops {
  // Places kWarpTall rows between the rows of voxels: the first one's index, and how many rows of voxels they need.
  // Offsets count from `block`, where the first one's samples will lie.
  void (*place)(const WarpLine& line, std::int32_t block, WarpRows& rows, std::int32_t& first, std::int32_t& count);
  // Samples kWarpWide columns of `rows` rows of voxels into out (rows, kWarpWide), times `scale`.
  void (*resample)(const T* voxels, std::int64_t row_stride, std::int64_t rows, const WarpLine& line, float* out);
  // Adds max(0, value - knot) of kWarpGroup rows over the planes of a block to sums; knot is times `scale`.
  void (*gather)(const float* resampled, const WarpRows* rows, std::size_t first, std::int64_t planes, float knot,
                 float* sums, std::int64_t sums_stride);
  float scale;
};

namespace portable_warp {
#include "shear_warp_place.inc"

template <class T>
void resample(const T* voxels, std::int64_t row_stride, std::int64_t rows, const WarpLine& line, float* out) {
  std::int32_t index[kWarpWide];
  float part[kWarpWide];
  for (std::size_t n = 0; n < kWarpWide; ++n) {
    const float limit = static_cast<float>(line.last + 1);
    const float x = std::min(std::max(line.first + static_cast<float>(n) * line.step, 0.0F), limit);
    index[n] = std::min(static_cast<std::int32_t>(x), line.last);
    part[n] = x - static_cast<float>(index[n]);
  }
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::size_t n = 0; n < kWarpWide; ++n) {
      const T* const pair = voxels + row * row_stride + index[n];
      const auto low = static_cast<float>(pair[0]);
      out[row * static_cast<std::int64_t>(kWarpWide) + static_cast<std::int64_t>(n)] =
          low + part[n] * (static_cast<float>(pair[1]) - low);
    }
}

inline void gather(const float* resampled, const WarpRows* rows, std::size_t first, std::int64_t planes, float knot,
                   float* sums, std::int64_t sums_stride) {
  for (std::size_t n = 0; n < kWarpGroup; ++n) {
    float* const sum = sums + static_cast<std::int64_t>(n) * sums_stride;
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      const float weight_near = rows[plane].near[first + n];
      const float weight_far = rows[plane].far[first + n];
      const float* const near = resampled + rows[plane].offset[first + n];
      const float* const far = near + kWarpWide;
      for (std::size_t lane = 0; lane < kWarpWide; ++lane)
        sum[lane] += std::max(weight_near * near[lane] + weight_far * far[lane] - knot, 0.0F);
    }
  }
}
}  // namespace portable_warp

#ifdef GUIDANCE_WARP_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2_warp {
#include "shear_warp_place.inc"

inline __m256 eight(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 eight(const std::int16_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

template <class T>
void resample(const T* voxels, std::int64_t row_stride, std::int64_t rows, const WarpLine& line, float* out) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (std::size_t at = 0; at < kWarpWide; at += 8) {
    const __m256i n = _mm256_add_epi32(lanes, _mm256_set1_epi32(static_cast<std::int32_t>(at)));
    const __m256 free = _mm256_fmadd_ps(_mm256_cvtepi32_ps(n), _mm256_set1_ps(line.step), _mm256_set1_ps(line.first));
    const __m256 x =
        _mm256_min_ps(_mm256_max_ps(free, _mm256_setzero_ps()), _mm256_set1_ps(static_cast<float>(line.last + 1)));
    const __m256i index = _mm256_min_epi32(_mm256_cvttps_epi32(x), _mm256_set1_epi32(line.last));
    const __m256 part = _mm256_sub_ps(x, _mm256_cvtepi32_ps(index));
    const std::int32_t base = _mm_cvtsi128_si32(_mm256_castsi256_si128(index));
    // Eight samples and their neighbours lie within 16 voxels: two loads, permuted and blended.
    const __m256i low = _mm256_sub_epi32(index, _mm256_set1_epi32(base));
    const __m256i high = _mm256_add_epi32(low, _mm256_set1_epi32(1));
    const __m256 low_second = _mm256_castsi256_ps(_mm256_cmpgt_epi32(low, _mm256_set1_epi32(7)));
    const __m256 high_second = _mm256_castsi256_ps(_mm256_cmpgt_epi32(high, _mm256_set1_epi32(7)));
    const T* from = voxels + base;
    float* to = out + at;
    for (std::int64_t row = 0; row < rows; ++row, from += row_stride, to += kWarpWide) {
      const __m256 first = eight(from);
      const __m256 second = eight(from + 8);
      const __m256 a =
          _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, low), _mm256_permutevar8x32_ps(second, low), low_second);
      const __m256 b =
          _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, high), _mm256_permutevar8x32_ps(second, high), high_second);
      _mm256_storeu_ps(to, _mm256_fmadd_ps(part, _mm256_sub_ps(b, a), a));
    }
  }
}

inline void gather(const float* resampled, const WarpRows* rows, std::size_t first, std::int64_t planes, float knot,
                   float* sums, std::int64_t sums_stride) {
  const __m256 below = _mm256_set1_ps(-knot);
  for (std::size_t lane = 0; lane < kWarpWide; lane += 8) {
    __m256 sum[kWarpGroup];
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kWarpGroup; ++n)
      sum[n] = _mm256_loadu_ps(sums + static_cast<std::int64_t>(n) * sums_stride + lane);
    for (std::int64_t plane = 0; plane < planes; ++plane)
#pragma GCC unroll 8
      for (std::size_t n = 0; n < kWarpGroup; ++n) {
        const WarpRows& row = rows[plane];
        const float* const near = resampled + row.offset[first + n] + lane;
        const __m256 part = _mm256_fmadd_ps(_mm256_set1_ps(row.near[first + n]), _mm256_loadu_ps(near), below);
        const __m256 value =
            _mm256_fmadd_ps(_mm256_set1_ps(row.far[first + n]), _mm256_loadu_ps(near + kWarpWide), part);
        sum[n] = _mm256_add_ps(sum[n], _mm256_max_ps(value, _mm256_setzero_ps()));
      }
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kWarpGroup; ++n)
      _mm256_storeu_ps(sums + static_cast<std::int64_t>(n) * sums_stride + lane, sum[n]);
  }
}
}  // namespace avx2_warp
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC diagnostic push
// GCC 12 takes its own intrinsics' "undefined" operands for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
namespace avx512_warp {
struct Sixteen {
  __m512i low;  // index from base
  __m512 part;
  std::int32_t base;
};
inline Sixteen sixteen(const WarpLine& line, std::size_t at) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i n = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<std::int32_t>(at)));
  const __m512 free = _mm512_fmadd_ps(_mm512_cvtepi32_ps(n), _mm512_set1_ps(line.step), _mm512_set1_ps(line.first));
  const __m512 x =
      _mm512_min_ps(_mm512_max_ps(free, _mm512_setzero_ps()), _mm512_set1_ps(static_cast<float>(line.last + 1)));
  const __m512i index = _mm512_min_epi32(_mm512_cvttps_epi32(x), _mm512_set1_epi32(line.last));
  const std::int32_t base = _mm_cvtsi128_si32(_mm512_castsi512_si128(index));
  return {_mm512_sub_epi32(index, _mm512_set1_epi32(base)), _mm512_sub_ps(x, _mm512_cvtepi32_ps(index)), base};
}

// One load, one permutation of words and one multiply-add of pairs do 16 samples.
struct Pairs {
  __m512i words, weights;
};
inline Pairs pairs(const Sixteen& where) {
  const __m512i words = _mm512_or_si512(where.low, _mm512_slli_epi32(where.low, 16));
  const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(where.part, _mm512_set1_ps(kWarpFixed)));
  const __m512i low = _mm512_sub_epi32(_mm512_set1_epi32(static_cast<std::int32_t>(kWarpFixed)), high);
  return {_mm512_add_epi32(words, _mm512_set1_epi32(0x10000)), _mm512_or_si512(low, _mm512_slli_epi32(high, 16))};
}
inline __m512 between(const Pairs& pairs, const std::int16_t* from) {
  const __m512i voxels = _mm512_permutexvar_epi16(pairs.words, _mm512_loadu_si512(from));
  return _mm512_cvtepi32_ps(_mm512_madd_epi16(voxels, pairs.weights));
}

inline void resample(const std::int16_t* voxels, std::int64_t row_stride, std::int64_t rows, const WarpLine& line,
                     float* out) {
  const Sixteen left = sixteen(line, 0);
  const Sixteen right = sixteen(line, 16);
  const Pairs left_pairs = pairs(left);
  const Pairs right_pairs = pairs(right);
  const std::int16_t* from = voxels + left.base;
  for (std::int64_t row = 0; row < rows; ++row, from += row_stride, out += kWarpWide) {
    _mm_prefetch(reinterpret_cast<const char*>(from) + line.ahead, _MM_HINT_T1);
    _mm512_storeu_ps(out, between(left_pairs, from));
    _mm512_storeu_ps(out + 16, between(right_pairs, from + (right.base - left.base)));
  }
}

inline void resample(const float* voxels, std::int64_t row_stride, std::int64_t rows, const WarpLine& line,
                     float* out) {
  for (std::size_t at = 0; at < kWarpWide; at += 16) {
    const Sixteen where = sixteen(line, at);
    const __m512i high = _mm512_add_epi32(where.low, _mm512_set1_epi32(1));
    const float* from = voxels + where.base;
    float* to = out + at;
    for (std::int64_t row = 0; row < rows; ++row, from += row_stride, to += kWarpWide) {
      _mm_prefetch(reinterpret_cast<const char*>(from) + line.ahead, _MM_HINT_T1);
      const __m512 first = _mm512_loadu_ps(from);
      const __m512 second = _mm512_loadu_ps(from + 16);
      const __m512 a = _mm512_permutex2var_ps(first, where.low, second);
      const __m512 b = _mm512_permutex2var_ps(first, high, second);
      _mm512_storeu_ps(to, _mm512_fmadd_ps(where.part, _mm512_sub_ps(b, a), a));
    }
  }
}

inline void gather(const float* resampled, const WarpRows* rows, std::size_t first, std::int64_t planes, float knot,
                   float* sums, std::int64_t sums_stride) {
  const __m512 below = _mm512_set1_ps(-knot);
  __m512 sum[kWarpGroup][2];
#pragma GCC unroll 8
  for (std::size_t n = 0; n < kWarpGroup; ++n) {
    const float* const from = sums + static_cast<std::int64_t>(n) * sums_stride;
    sum[n][0] = _mm512_loadu_ps(from);
    sum[n][1] = _mm512_loadu_ps(from + 16);
  }
  for (std::int64_t plane = 0; plane < planes; ++plane)
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kWarpGroup; ++n) {
      const float* const near = resampled + rows[plane].offset[first + n];
      const __m512 weight_near = _mm512_set1_ps(rows[plane].near[first + n]);
      const __m512 weight_far = _mm512_set1_ps(rows[plane].far[first + n]);
#pragma GCC unroll 2
      for (std::size_t half = 0; half < 2; ++half) {
        const __m512 part = _mm512_fmadd_ps(weight_near, _mm512_loadu_ps(near + 16 * half), below);
        const __m512 value = _mm512_fmadd_ps(weight_far, _mm512_loadu_ps(near + kWarpWide + 16 * half), part);
        sum[n][half] = _mm512_add_ps(sum[n][half], _mm512_max_ps(value, _mm512_setzero_ps()));
      }
    }
#pragma GCC unroll 8
  for (std::size_t n = 0; n < kWarpGroup; ++n) {
    float* const to = sums + static_cast<std::int64_t>(n) * sums_stride;
    _mm512_storeu_ps(to, sum[n][0]);
    _mm512_storeu_ps(to + 16, sum[n][1]);
  }
}
}  // namespace avx512_warp
#pragma GCC diagnostic pop
#pragma GCC pop_options

#endif  // GUIDANCE_WARP_X86

template <class T>
WarpLoops<T> best_loops(DrrIsa isa) {
#ifdef GUIDANCE_WARP_X86
  if (isa == DrrIsa::kBest && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return {avx2_warp::place, avx512_warp::resample, avx512_warp::gather, sizeof(T) == 2 ? kWarpFixed : 1.0F};
  if (isa != DrrIsa::kPortable && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {avx2_warp::place, avx2_warp::resample<T>, avx2_warp::gather, 1.0F};
#endif
  (void)isa;
  return {portable_warp::place, portable_warp::resample<T>, portable_warp::gather, 1.0F};
}

}  // namespace guidance
