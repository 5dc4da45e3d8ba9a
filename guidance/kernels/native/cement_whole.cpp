// Whole numbers in bins of several pixels: sums without rounding, a comparison for what is a measurement.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "cement_input.hpp"

namespace guidance::cement {
namespace {

// Whole numbers are summed as such, raised so that none is negative; which of them are a measurement is one comparison.
struct Raised {
  std::uint32_t bits, flip, low, span;  // low, low + span: the least and the most that are a measurement
};

template <class T>
Raised raised_of(const Scale& scale) {
  constexpr double kLeast = std::numeric_limits<T>::min(), kMost = std::numeric_limits<T>::max();
  constexpr std::uint32_t kBits = std::numeric_limits<std::make_unsigned_t<T>>::max();
  constexpr std::uint32_t kFlip = std::is_signed_v<T> ? kBits / 2 + 1 : 0;
  const double low = std::clamp(std::floor(scale.low) + 1.0, kLeast, kMost + 1.0);
  const double high = std::clamp(std::ceil(scale.high) - 1.0, kLeast - 1.0, kMost);
  const std::uint32_t bits = sizeof(T) == 2 && scale.bits != 0 ? scale.bits & kBits : kBits;
  // Nothing is one where the least is beyond the most.
  if (!(low <= high)) return {bits, kFlip, kBits + 1, 0};
  return {bits, kFlip, static_cast<std::uint32_t>(low - kLeast), static_cast<std::uint32_t>(high - low)};
}

template <class T>
[[gnu::always_inline]] inline std::uint32_t raise(T value, const Raised& with) {
  return (static_cast<std::uint32_t>(static_cast<std::make_unsigned_t<T>>(value)) & with.bits) ^ with.flip;
}

template <class T>
[[gnu::always_inline]] inline void add(const T* __restrict from, std::size_t count, const Raised& with,
                                       std::uint32_t* __restrict sum, std::uint32_t* __restrict bad) {
  for (std::size_t n = 0; n < count; ++n) {
    const std::uint32_t value = raise(from[n], with);
    sum[n] += value;
    bad[n] |= value - with.low > with.span ? 1U : 0U;
  }
}
// Three rows, the first of a bin.
template <class T>
[[gnu::always_inline]] inline void three(const T* __restrict from, std::size_t stride, std::size_t count,
                                         const Raised& with, std::uint32_t* __restrict sum,
                                         std::uint32_t* __restrict bad) {
  const T* __restrict second = from + stride, * __restrict third = second + stride;
  for (std::size_t n = 0; n < count; ++n) {
    const std::uint32_t a = raise(from[n], with), b = raise(second[n], with), c = raise(third[n], with);
    sum[n] = a + b + c;
    bad[n] = (a - with.low > with.span ? 1U : 0U) | (b - with.low > with.span ? 1U : 0U) |
             (c - with.low > with.span ? 1U : 0U);
  }
}
// What of a row is no measurement, and what of that is at the low end.
template <class T>
[[gnu::always_inline]] inline std::array<std::uint32_t, 2> count(const T* __restrict from, std::size_t pixels,
                                                                 const Raised& with) {
  std::uint32_t bad = 0, black = 0;
  for (std::size_t n = 0; n < pixels; ++n) {
    const std::uint32_t value = raise(from[n], with);
    bad += value - with.low > with.span ? 1U : 0U;
    black += value < with.low ? 1U : 0U;
  }
  return {bad, black};
}
#define GUIDANCE_ADD(T)                                                                                               \
  GUIDANCE_CLONES void add_row(const T* __restrict from, std::size_t pixels, const Raised& with,                      \
                               std::uint32_t* __restrict sum, std::uint32_t* __restrict bad) {                        \
    add(from, pixels, with, sum, bad);                                                                                \
  }                                                                                                                   \
  GUIDANCE_CLONES void three_rows(const T* __restrict from, std::size_t stride, std::size_t pixels,                   \
                                  const Raised& with, std::uint32_t* __restrict sum, std::uint32_t* __restrict bad) { \
    three(from, stride, pixels, with, sum, bad);                                                                      \
  }                                                                                                                   \
  GUIDANCE_CLONES void count_row(const T* __restrict from, std::size_t pixels, const Raised& with,                    \
                                 std::array<std::uint32_t, 2>& tally) {                                               \
    tally = count(from, pixels, with);                                                                                \
  }
GUIDANCE_ADD(std::uint8_t)
GUIDANCE_ADD(std::int8_t)
GUIDANCE_ADD(std::uint16_t)
GUIDANCE_ADD(std::int16_t)
#undef GUIDANCE_ADD

// Pairs of 16-bit numbers, whichever comes first.
GUIDANCE_CLONES void add_pairs(const std::byte* __restrict from, std::size_t pairs, const Raised& with,
                               std::uint32_t* __restrict sum, std::uint32_t* __restrict bad) {
  constexpr std::uint32_t kHalf = 0xFFFFU;
  const std::uint32_t bits = with.bits | with.bits << 16, flip = with.flip | with.flip << 16;
  for (std::size_t n = 0; n < pairs; ++n) {
    std::uint32_t both;
    std::memcpy(&both, from + 4 * n, 4);
    both = (both & bits) ^ flip;
    const std::uint32_t one = both & kHalf, other = both >> 16;
    sum[n] += one + other;
    bad[n] |= (one - with.low > with.span ? 1U : 0U) | (other - with.low > with.span ? 1U : 0U);
  }
}

// Sums, and whether any is marked, of `step` neighbours; not in place, which would keep it from vectors.
template <std::size_t kStep>
[[gnu::always_inline]] inline void fold_by(const std::uint32_t* __restrict sum, const std::uint32_t* __restrict bad,
                                           std::size_t bins, std::uint32_t* __restrict to_sum,
                                           std::uint32_t* __restrict to_bad) {
  for (std::size_t n = 0; n < bins; ++n) {
    std::uint32_t total = 0, any = 0;
    for (std::size_t m = 0; m < kStep; ++m) {
      total += sum[n * kStep + m];
      any |= bad[n * kStep + m];
    }
    to_sum[n] = total;
    to_bad[n] = any;
  }
}
GUIDANCE_CLONES void fold_whole(const std::uint32_t* __restrict sum, const std::uint32_t* __restrict bad,
                                std::size_t bins, std::size_t step, std::uint32_t* __restrict to_sum,
                                std::uint32_t* __restrict to_bad) {
  if (step == 2) return fold_by<2>(sum, bad, bins, to_sum, to_bad);
  if (step == 3) return fold_by<3>(sum, bad, bins, to_sum, to_bad);
  if (step == 5) return fold_by<5>(sum, bad, bins, to_sum, to_bad);
  for (std::size_t n = 0; n < bins; ++n) {
    std::uint32_t total = 0, any = 0;
    for (std::size_t m = 0; m < step; ++m) {
      total += sum[n * step + m];
      any |= bad[n * step + m];
    }
    to_sum[n] = total;
    to_bad[n] = any;
  }
}

GUIDANCE_CLONES bool any_bad(const std::uint32_t* bad, std::size_t count) {
  std::uint32_t any = 0;
  for (std::size_t n = 0; n < count; ++n) any |= bad[n];
  return any != 0;
}

// lift: what raising has added to a sum.
GUIDANCE_CLONES void finish_whole(const std::uint32_t* __restrict sum, const std::uint32_t* __restrict bad,
                                  std::size_t bins, const Row& row, std::uint32_t lift, float* __restrict attenuation,
                                  std::uint8_t* __restrict valid) {
  if (row.logarithm) {
    for (std::size_t n = 0; n < bins; ++n) {
      const auto whole = static_cast<float>(static_cast<std::int32_t>(sum[n] - lift));
      const float signal = (whole * row.share - row.base) * row.sign;
      const bool there = bad[n] == 0 && signal > kTiny;
      const float value = -logarithm(there ? signal : 1.0F);
      attenuation[n] = there ? value : 0.0F;
      valid[n] = there ? 1 : 0;
    }
    return;
  }
  for (std::size_t n = 0; n < bins; ++n) {
    const auto whole = static_cast<float>(static_cast<std::int32_t>(sum[n] - lift));
    attenuation[n] = bad[n] == 0 ? (whole * row.share - row.base) * row.sign * row.toward : 0.0F;
    valid[n] = bad[n] == 0 ? 1 : 0;
  }
}

template <class T>
BinStats bin_of(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  const std::size_t step = scale.step, columns = scale.columns;
  const Row row = row_of(scale);
  const Raised raised = raised_of<T>(scale);
  const Field field = field_of(scale);
  const std::size_t bins = field.end - field.first, pixels = bins * step;
  const bool pairs = sizeof(T) == 2 && step % 2 == 0;
  const std::size_t sums = pairs ? pixels / 2 : pixels;
  thread_local std::vector<std::uint32_t> lines;
  lines.resize(2 * columns * (step + 1));
  std::uint32_t* const sum = lines.data();
  std::uint32_t* const bad = sum + columns * step;
  // Of bins, where sums are of fewer pixels.
  std::uint32_t* const bin_sum = sums > bins ? bad + columns * step : sum;
  std::uint32_t* const bin_bad = sums > bins ? bin_sum + columns : bad;
  const auto* const first = static_cast<const T*>(picture.pixels);
  double bad_pixels = 0.0, black_pixels = 0.0;
  for (std::size_t r = 0; r < scale.rows; ++r) {
    float* const out = attenuation + r * columns;
    std::uint8_t* const marks = valid + r * columns;
    std::fill_n(out, field.first, 0.0F);
    std::fill_n(marks, field.first, std::uint8_t{0});
    std::fill_n(out + field.end, columns - field.end, 0.0F);
    std::fill_n(marks + field.end, columns - field.end, std::uint8_t{0});
    if (r * step < field.top || (r + 1) * step > field.bottom) {
      std::fill_n(out + field.first, bins, 0.0F);
      std::fill_n(marks + field.first, bins, std::uint8_t{0});
      continue;
    }
    const T* const top = first + r * step * picture.columns;
    const std::size_t together = !pairs && step >= 3 ? 3 : 0;
    if (together > 0) {
      three_rows(top + field.first * step, picture.columns, sums, raised, sum, bad);
    } else {
      std::fill_n(sum, sums, 0U);
      std::fill_n(bad, sums, 0U);
    }
    for (std::size_t n = together; n < step; ++n) {
      const T* const from = top + n * picture.columns + field.first * step;
      if (pairs)
        add_pairs(reinterpret_cast<const std::byte*>(from), sums, raised, sum, bad);
      else
        add_row(from, sums, raised, sum, bad);
    }
    if (pixels < field.right - field.left || any_bad(bad, sums))
      for (std::size_t n = 0; n < step; ++n) {
        std::array<std::uint32_t, 2> tally{};
        count_row(top + n * picture.columns + field.left, field.right - field.left, raised, tally);
        bad_pixels += tally[0];
        black_pixels += tally[1];
      }
    if (sums > bins) fold_whole(sum, bad, bins, sums / bins, bin_sum, bin_bad);
    finish_whole(bin_sum, bin_bad, bins, row, raised.flip * static_cast<std::uint32_t>(step * step), out + field.first,
                 marks + field.first);
  }
  const auto all = static_cast<double>((field.right - field.left) * (field.bottom - field.top));
  return {(bad_pixels - black_pixels) / std::max(all, 1.0), black_pixels / std::max(all, 1.0)};
}

}  // namespace

BinStats bin_whole(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid) {
  switch (picture.type) {
    case PixelType::kU8:
      return bin_of<std::uint8_t>(picture, scale, attenuation, valid);
    case PixelType::kI8:
      return bin_of<std::int8_t>(picture, scale, attenuation, valid);
    case PixelType::kI16:
      return bin_of<std::int16_t>(picture, scale, attenuation, valid);
    default:
      return bin_of<std::uint16_t>(picture, scale, attenuation, valid);
  }
}

}  // namespace guidance::cement
