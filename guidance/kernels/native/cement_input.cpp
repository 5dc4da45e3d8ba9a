// A frame's pixels in bins of attenuation, and which of them are a measurement.
#include "cement_input.hpp"

#include <array>
#include <cmath>
#include <vector>

namespace guidance::cement {
namespace {

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
#define GUIDANCE_TAKE(T)                                                                           \
  GUIDANCE_CLONES void take_whole_row(const T* __restrict from, std::size_t count, const Row& row, \
                                      float* __restrict attenuation, float* __restrict missing,    \
                                      std::array<std::int32_t, 2>& tally) {                        \
    if (row.logarithm)                                                                             \
      take_whole<true>(from, count, row, attenuation, missing, tally);                             \
    else                                                                                           \
      take_whole<false>(from, count, row, attenuation, missing, tally);                            \
  }
GUIDANCE_TAKE(std::uint8_t)
GUIDANCE_TAKE(std::int8_t)
GUIDANCE_TAKE(std::uint16_t)
GUIDANCE_TAKE(std::int16_t)
GUIDANCE_TAKE(float)
#undef GUIDANCE_TAKE

// Adds a row's pixels to a row of sums; `bad` counts what is no measurement, `black` what of it is at the low end.
GUIDANCE_CLONES void take_row(const float* __restrict from, std::size_t count, const Row& row, float* __restrict sum,
                              float* __restrict bad, float* __restrict black) {
  for (std::size_t n = 0; n < count; ++n) {
    const float value = from[n];
    const float under = value <= row.low ? 1.0F : 0.0F;
    const float good = value > row.low && value < row.high ? 1.0F : 0.0F;  // not a number is neither
    sum[n] += good > 0.0F ? value : 0.0F;
    bad[n] += 1.0F - good;
    black[n] += under;
  }
}

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

BinStats shares_of(const Field& field, double bad, double black) {
  const double pixels = std::max(static_cast<double>((field.right - field.left) * (field.bottom - field.top)), 1.0);
  return {(bad - black) / pixels, black / pixels};
}

template <class T>
BinStats bin_single(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  const std::size_t columns = scale.columns;
  const Row row = row_of(scale);
  const Field field = field_of(scale);
  thread_local std::vector<float> missing;
  missing.resize(columns);
  std::fill_n(attenuation, scale.rows * columns, 0.0F);
  std::fill_n(valid, scale.rows * columns, std::uint8_t{0});
  std::array<double, 2> sums{};
  for (std::size_t r = field.top; r < field.bottom; ++r) {
    const std::size_t at = r * columns + field.left, count = field.right - field.left;
    std::array<std::int32_t, 2> tally{};
    take_whole_row(static_cast<const T*>(picture.pixels) + r * picture.columns + field.left, count, row,
                   attenuation + at, missing.data(), tally);
    mark(missing.data(), count, valid + at);
    for (std::size_t n = 0; n < 2; ++n) sums[n] += tally[n];
  }
  return shares_of(field, sums[0], sums[1]);
}

BinStats bin_float(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  const std::size_t step = scale.step, columns = scale.columns, width = columns * step;
  const Row row = row_of(scale);
  const Field field = field_of(scale);
  thread_local std::vector<float> lines;
  lines.resize(3 * width);
  float* const sum = lines.data();
  float* const bad = sum + width;
  float* const black = bad + width;
  std::fill_n(attenuation, scale.rows * columns, 0.0F);
  std::fill_n(valid, scale.rows * columns, std::uint8_t{0});
  double bad_pixels = 0.0, black_pixels = 0.0;
  for (std::size_t r = (field.top + step - 1) / step; r < field.bottom / step; ++r) {
    std::fill_n(lines.data(), 3 * width, 0.0F);
    for (std::size_t n = 0; n < step; ++n)
      take_row(static_cast<const float*>(picture.pixels) + (r * step + n) * picture.columns, width, row, sum, bad,
               black);
    bad_pixels += total(bad + field.left, field.right - field.left);
    black_pixels += total(black + field.left, field.right - field.left);
    fold(sum, columns, step);
    fold(bad, columns, step);
    finish(sum + field.first, bad + field.first, field.end - field.first, row, attenuation + r * columns + field.first);
    mark(bad + field.first, field.end - field.first, valid + r * columns + field.first);
  }
  return shares_of(field, bad_pixels, black_pixels);
}

}  // namespace

BinStats bin_frame(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  if (scale.step > 1)
    return (picture.type == PixelType::kF32 ? bin_float : bin_whole)(picture, scale, attenuation, valid);
  switch (picture.type) {
    case PixelType::kU8:
      return bin_single<std::uint8_t>(picture, scale, attenuation, valid);
    case PixelType::kI8:
      return bin_single<std::int8_t>(picture, scale, attenuation, valid);
    case PixelType::kU16:
      return bin_single<std::uint16_t>(picture, scale, attenuation, valid);
    case PixelType::kI16:
      return bin_single<std::int16_t>(picture, scale, attenuation, valid);
    case PixelType::kF32:
      break;
  }
  return bin_single<float>(picture, scale, attenuation, valid);
}

}  // namespace guidance::cement
