// A frame's pixels in bins of attenuation, and which of them are a measurement.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cement.hpp"

namespace guidance::cement {
namespace {

// Natural logarithm of positive normal numbers; Abramowitz and Stegun 4.1.44, |error| < 3e-8 on [1, 2).
[[gnu::always_inline]] inline float logarithm(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
  const float x = std::bit_cast<float>((bits & 0x007FFFFFU) | 0x3F800000U) - 1.0F;
  const float series =
      x * (0.9999964239F +
           x * (-0.4998741238F +
                x * (0.3317990258F +
                     x * (-0.2407338084F +
                          x * (0.1676540711F + x * (-0.0953293897F + x * (0.0360884937F + x * -0.0064535442F)))))));
  return exponent * 0.69314718F + series;
}

constexpr float kTiny = 1e-20F;

struct Row {
  float low, high, base, sign, share, toward;
  std::int32_t bits;
  bool logarithm;
};

// Adds a row's pixels to a row of sums; `bad` counts what is no measurement, `black` what of it is at the low end.
template <class T>
[[gnu::always_inline]] inline void take(const T* __restrict from, std::size_t count, const Row& row,
                                        float* __restrict sum, float* __restrict bad, float* __restrict black) {
  for (std::size_t n = 0; n < count; ++n) {
    float value;
    if constexpr (sizeof(T) == 2)
      value = static_cast<float>(static_cast<T>(static_cast<std::int32_t>(from[n]) & row.bits));
    else
      value = static_cast<float>(from[n]);
    const float under = value <= row.low ? 1.0F : 0.0F;
    const float good = value > row.low && value < row.high ? 1.0F : 0.0F;  // not a number is neither
    sum[n] += good > 0.0F ? value : 0.0F;
    bad[n] += 1.0F - good;
    black[n] += under;
  }
}
// One pixel is one bin: `missing` is 1 where there is no measurement; counts that, and what of it is at the low end.
template <bool kLogarithm, class T>
[[gnu::always_inline]] inline void take_whole(const T* __restrict from, std::size_t count, const Row& row,
                                              float* __restrict attenuation, float* __restrict missing,
                                              std::array<std::int32_t, 2>& tally) {
  std::int32_t bad = 0, black = 0;
  for (std::size_t n = 0; n < count; ++n) {
    float value;
    if constexpr (sizeof(T) == 2)
      value = static_cast<float>(static_cast<T>(static_cast<std::int32_t>(from[n]) & row.bits));
    else
      value = static_cast<float>(from[n]);
    black += value <= row.low ? 1 : 0;
    const bool good = value > row.low && value < row.high;  // not a number is neither
    bad += good ? 0 : 1;
    const float signal = (value - row.base) * row.sign;
    const bool there = good && (!kLogarithm || signal > kTiny);
    const float told = kLogarithm ? -logarithm(there ? signal : 1.0F) : signal * row.toward;
    attenuation[n] = there ? told : 0.0F;
    missing[n] = there ? 0.0F : 1.0F;
  }
  tally[0] += bad;
  tally[1] += black;
}
#define GUIDANCE_TAKE(T)                                                                                            \
  GUIDANCE_CLONES void take_row(const T* __restrict from, std::size_t count, const Row& row, float* __restrict sum, \
                                float* __restrict bad, float* __restrict black) {                                   \
    take(from, count, row, sum, bad, black);                                                                        \
  }                                                                                                                 \
  GUIDANCE_CLONES void take_whole_row(const T* __restrict from, std::size_t count, const Row& row,                  \
                                      float* __restrict attenuation, float* __restrict missing,                     \
                                      std::array<std::int32_t, 2>& tally) {                                         \
    if (row.logarithm)                                                                                              \
      take_whole<true>(from, count, row, attenuation, missing, tally);                                              \
    else                                                                                                            \
      take_whole<false>(from, count, row, attenuation, missing, tally);                                             \
  }
GUIDANCE_TAKE(std::uint8_t)
GUIDANCE_TAKE(std::int8_t)
GUIDANCE_TAKE(std::uint16_t)
GUIDANCE_TAKE(std::int16_t)
GUIDANCE_TAKE(float)
#undef GUIDANCE_TAKE

// Sums of `step` neighbours, in place.
GUIDANCE_CLONES void fold(float* __restrict line, std::size_t bins, std::size_t step) {
  if (step == 2) {
    for (std::size_t n = 0; n < bins; ++n) line[n] = line[2 * n] + line[2 * n + 1];
    return;
  }
  for (std::size_t n = 0; n < bins; ++n) {
    float total = 0.0F;
    for (std::size_t m = 0; m < step; ++m) total += line[n * step + m];
    line[n] = total;
  }
}

// `bad` becomes 1 where there is no measurement.
GUIDANCE_CLONES void finish(const float* __restrict sum, float* __restrict bad, std::size_t bins, const Row& row,
                            float* __restrict attenuation) {
  if (row.logarithm) {
    for (std::size_t n = 0; n < bins; ++n) {
      const float signal = (sum[n] * row.share - row.base) * row.sign;
      const float missing = bad[n] == 0.0F && signal > kTiny ? 0.0F : 1.0F;
      const float value = -logarithm(missing == 0.0F ? signal : 1.0F);
      attenuation[n] = missing == 0.0F ? value : 0.0F;
      bad[n] = missing;
    }
    return;
  }
  for (std::size_t n = 0; n < bins; ++n) {
    const float missing = bad[n] == 0.0F ? 0.0F : 1.0F;
    attenuation[n] = missing == 0.0F ? (sum[n] * row.share - row.base) * row.sign * row.toward : 0.0F;
    bad[n] = missing;
  }
}
GUIDANCE_CLONES void mark(const float* __restrict bad, std::size_t bins, std::uint8_t* __restrict valid) {
  for (std::size_t n = 0; n < bins; ++n) valid[n] = static_cast<std::uint8_t>(1 - static_cast<std::int32_t>(bad[n]));
}

GUIDANCE_CLONES double total(const float* line, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes] = {};
  std::size_t n = 0;
  for (; n + kLanes <= count; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] += line[n + l];
  double sum = 0.0;
  for (; n < count; ++n) sum += line[n];
  for (const float lane : lanes) sum += lane;
  return sum;
}

template <class T>
BinStats bin(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  const std::size_t step = scale.step, rows = scale.rows, columns = scale.columns;
  const std::size_t width = columns * step;
  const Row row{static_cast<float>(scale.low),
                static_cast<float>(scale.high),
                static_cast<float>(scale.base),
                static_cast<float>(scale.sign),
                1.0F / static_cast<float>(step * step),
                static_cast<float>(scale.toward),
                scale.bits == 0 ? -1 : static_cast<std::int32_t>(scale.bits),
                scale.logarithm};
  thread_local std::vector<float> lines;
  lines.resize(3 * width);
  float* const sum = lines.data();
  float* const bad = sum + width;
  float* const black = bad + width;
  const auto* const first = static_cast<const T*>(picture.pixels);
  double bad_pixels = 0.0, black_pixels = 0.0;
  const auto left = static_cast<std::size_t>(std::max(scale.field[0], 0));
  const auto top = static_cast<std::size_t>(std::max(scale.field[1], 0));
  const auto right = std::min(static_cast<std::size_t>(std::max(scale.field[2] + 1, 0)), width);
  const auto bottom = std::min(static_cast<std::size_t>(std::max(scale.field[3] + 1, 0)), rows * step);
  const std::size_t first_bin = (left + step - 1) / step, end_bin = std::max(right / step, first_bin);
  for (std::size_t r = 0; r < rows; ++r) {
    float* const out = attenuation + r * columns;
    std::uint8_t* const marks = valid + r * columns;
    if (r * step < top || (r + 1) * step > bottom) {
      std::fill_n(out, columns, 0.0F);
      std::fill_n(marks, columns, std::uint8_t{0});
      continue;
    }
    if (step == 1) {
      std::fill_n(out, columns, 0.0F);
      std::fill_n(marks, columns, std::uint8_t{0});
      if (right <= left) continue;
      std::array<std::int32_t, 2> tally{};
      take_whole_row(first + r * picture.columns + left, right - left, row, out + left, bad, tally);
      mark(bad, right - left, marks + left);
      bad_pixels += tally[0];
      black_pixels += tally[1];
      continue;
    }
    std::fill_n(lines.data(), 3 * width, 0.0F);
    for (std::size_t n = 0; n < step; ++n)
      take_row(first + (r * step + n) * picture.columns, width, row, sum, bad, black);
    if (right > left) {
      bad_pixels += total(bad + left, right - left);
      black_pixels += total(black + left, right - left);
    }
    fold(sum, columns, step);
    fold(bad, columns, step);
    finish(sum, bad, columns, row, out);
    mark(bad, columns, marks);
    std::fill_n(out, std::min(first_bin, columns), 0.0F);
    std::fill_n(marks, std::min(first_bin, columns), std::uint8_t{0});
    if (end_bin < columns) {
      std::fill_n(out + end_bin, columns - end_bin, 0.0F);
      std::fill_n(marks + end_bin, columns - end_bin, std::uint8_t{0});
    }
  }
  const double pixels = right > left && bottom > top ? static_cast<double>((right - left) * (bottom - top)) : 1.0;
  return {(bad_pixels - black_pixels) / pixels, black_pixels / pixels};
}

}  // namespace

BinStats bin_frame(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  switch (picture.type) {
    case PixelType::kU8:
      return bin<std::uint8_t>(picture, scale, attenuation, valid);
    case PixelType::kI8:
      return bin<std::int8_t>(picture, scale, attenuation, valid);
    case PixelType::kU16:
      return bin<std::uint16_t>(picture, scale, attenuation, valid);
    case PixelType::kI16:
      return bin<std::int16_t>(picture, scale, attenuation, valid);
    case PixelType::kF32:
      break;
  }
  return bin<float>(picture, scale, attenuation, valid);
}

}  // namespace guidance::cement
