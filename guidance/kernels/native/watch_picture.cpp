// A picture of any type to coarse bins of relative attenuation, and its local contrast.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "watch.hpp"

namespace guidance {
namespace {

// A share of bins that wholly lie at the lowest or highest number there is: a collimator's leaf, a saturated field.
constexpr float kPlateauShare = 0.005F;
constexpr float kBlackShare = 0.01F;  // of the median: nothing came through
constexpr std::size_t kMedianStride = 7;

struct Columns {
  std::vector<float> sum, high, low;
  explicit Columns(std::size_t count) : sum(count), high(count), low(count) {}
};

// One row of pixels into its columns. NaN and infinity: high becomes infinite, which marks the bin.
template <class T>
inline void take_row(const T* __restrict row, std::size_t count, float* __restrict sum, float* __restrict high,
                     float* __restrict low) {
  for (std::size_t c = 0; c < count; ++c) {
    auto value = static_cast<float>(row[c]);
    float top = value;
    if constexpr (std::is_floating_point_v<T>) {
      const bool finite = value - value == 0.0F;
      top = finite ? value : std::numeric_limits<float>::infinity();
      value = finite ? value : 0.0F;
    }
    sum[c] += value;
    high[c] = high[c] > top ? high[c] : top;
    low[c] = low[c] < value ? low[c] : value;
  }
}
GUIDANCE_CLONES void take(const std::uint8_t* row, std::size_t n, float* s, float* h, float* l) {
  take_row(row, n, s, h, l);
}
GUIDANCE_CLONES void take(const std::int8_t* row, std::size_t n, float* s, float* h, float* l) {
  take_row(row, n, s, h, l);
}
GUIDANCE_CLONES void take(const std::uint16_t* row, std::size_t n, float* s, float* h, float* l) {
  take_row(row, n, s, h, l);
}
GUIDANCE_CLONES void take(const std::int16_t* row, std::size_t n, float* s, float* h, float* l) {
  take_row(row, n, s, h, l);
}
GUIDANCE_CLONES void take(const float* row, std::size_t n, float* s, float* h, float* l) { take_row(row, n, s, h, l); }

template <class T>
void fill_bins(const Picture& picture, std::size_t step, float* mean, float* high, float* low) {
  const std::size_t rows = picture.rows / step;
  const std::size_t columns = picture.columns / step;
  const std::size_t used = columns * step;
  const float share = 1.0F / static_cast<float>(step * step);
  Columns lines(used);
  const auto* const first = static_cast<const T*>(picture.pixels);
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill(lines.sum.begin(), lines.sum.end(), 0.0F);
    std::fill(lines.high.begin(), lines.high.end(), -std::numeric_limits<float>::infinity());
    std::fill(lines.low.begin(), lines.low.end(), std::numeric_limits<float>::infinity());
    for (std::size_t n = 0; n < step; ++n)
      take(first + (r * step + n) * picture.columns, used, lines.sum.data(), lines.high.data(), lines.low.data());
    for (std::size_t c = 0; c < columns; ++c) {
      float total = 0.0F;
      float top = lines.high[c * step];
      float bottom = lines.low[c * step];
      for (std::size_t n = c * step; n < (c + 1) * step; ++n) {
        total += lines.sum[n];
        top = std::max(top, lines.high[n]);
        bottom = std::min(bottom, lines.low[n]);
      }
      mean[r * columns + c] = total * share;
      high[r * columns + c] = top;
      low[r * columns + c] = bottom;
    }
  }
}

// Natural logarithm of positive normal numbers to 1e-5.
GUIDANCE_CLONES void logarithms(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) {
    const auto bits = std::bit_cast<std::uint32_t>(from[n]);
    const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127);
    const float x = std::bit_cast<float>((bits & 0x007FFFFFU) | 0x3F800000U) - 1.0F;
    // Abramowitz and Stegun 4.1.44, ln(1 + x), |error| < 3e-8 on [0, 1].
    const float series =
        x * (0.9999964239F +
             x * (-0.4998741238F +
                  x * (0.3317990258F +
                       x * (-0.2407338084F +
                            x * (0.1676540711F + x * (-0.0953293897F + x * (0.0360884937F + x * -0.0064535442F)))))));
    to[n] = exponent * 0.69314718F + series;
  }
}

float type_highest(PixelType type) {
  switch (type) {
    case PixelType::kU8:
      return 255.0F;
    case PixelType::kI8:
      return 127.0F;
    case PixelType::kU16:
      return 65535.0F;
    case PixelType::kI16:
      return 32767.0F;
    case PixelType::kF32:
      break;
  }
  return std::numeric_limits<float>::infinity();
}

// Sliding means of (2 radius + 1)^2 windows, cut at the border: sums, the caller divides.
GUIDANCE_CLONES void box_sums(const float* __restrict from, std::size_t rows, std::size_t columns, std::size_t radius,
                              float* __restrict scratch, float* __restrict to) {
  const auto height = static_cast<std::ptrdiff_t>(rows);
  const auto width = static_cast<std::ptrdiff_t>(columns);
  const auto reach = static_cast<std::ptrdiff_t>(radius);
  const std::ptrdiff_t padded = width + 2 * reach;
  for (std::ptrdiff_t r = 0; r < height; ++r) {
    float* __restrict line = scratch;
    std::fill_n(line, padded, 0.0F);
    const std::ptrdiff_t first = std::max<std::ptrdiff_t>(r - reach, 0);
    const std::ptrdiff_t last = std::min(r + reach, height - 1);
    for (std::ptrdiff_t n = first; n <= last; ++n) {
      const float* __restrict row = from + n * width;
      for (std::ptrdiff_t c = 0; c < width; ++c) line[c + reach] += row[c];
    }
    float* __restrict out = to + r * width;
    std::fill_n(out, width, 0.0F);
    for (std::ptrdiff_t n = 0; n <= 2 * reach; ++n)
      for (std::ptrdiff_t c = 0; c < width; ++c) out[c] += line[c + n];
  }
}

// 1 2 1 both ways over what is valid; what is not keeps 0.
void smooth(const float* from, const float* valid, std::size_t rows, std::size_t columns, float* to) {
  const auto height = static_cast<std::ptrdiff_t>(rows);
  const auto width = static_cast<std::ptrdiff_t>(columns);
  constexpr std::array<float, 3> kWeights{1.0F, 2.0F, 1.0F};
  std::vector<float> value_line(columns + 2), weight_line(columns + 2);
  for (std::ptrdiff_t r = 0; r < height; ++r) {
    std::fill(value_line.begin(), value_line.end(), 0.0F);
    std::fill(weight_line.begin(), weight_line.end(), 0.0F);
    for (std::ptrdiff_t n = std::max<std::ptrdiff_t>(r - 1, 0); n <= std::min(r + 1, height - 1); ++n) {
      const float weight = kWeights[static_cast<std::size_t>(n - r + 1)];
      const float* const row = from + n * width;
      const float* const mask = valid + n * width;
      for (std::ptrdiff_t c = 0; c < width; ++c) {
        value_line[static_cast<std::size_t>(c + 1)] += weight * mask[c] * row[c];
        weight_line[static_cast<std::size_t>(c + 1)] += weight * mask[c];
      }
    }
    for (std::ptrdiff_t c = 0; c < width; ++c) {
      const auto at = static_cast<std::size_t>(c);
      const float total = value_line[at] + 2.0F * value_line[at + 1] + value_line[at + 2];
      const float weight = weight_line[at] + 2.0F * weight_line[at + 1] + weight_line[at + 2];
      to[r * width + c] = valid[r * width + c] > 0.0F ? total / weight : 0.0F;
    }
  }
}

}  // namespace

float watch_bins(const Picture& picture, const WatchScale& scale, float* attenuation, float* valid) {
  const std::size_t count = (picture.rows / scale.step) * (picture.columns / scale.step);
  std::vector<float> mean(count), high(count), low(count);
  switch (picture.type) {
    case PixelType::kU8:
      fill_bins<std::uint8_t>(picture, scale.step, mean.data(), high.data(), low.data());
      break;
    case PixelType::kI8:
      fill_bins<std::int8_t>(picture, scale.step, mean.data(), high.data(), low.data());
      break;
    case PixelType::kU16:
      fill_bins<std::uint16_t>(picture, scale.step, mean.data(), high.data(), low.data());
      break;
    case PixelType::kI16:
      fill_bins<std::int16_t>(picture, scale.step, mean.data(), high.data(), low.data());
      break;
    case PixelType::kF32:
      fill_bins<float>(picture, scale.step, mean.data(), high.data(), low.data());
      break;
  }
  float highest = -std::numeric_limits<float>::infinity();
  float lowest = std::numeric_limits<float>::infinity();
  for (std::size_t n = 0; n < count; ++n) {
    if (!std::isfinite(high[n])) continue;
    highest = std::max(highest, high[n]);
    lowest = std::min(lowest, low[n]);
  }
  std::fill_n(attenuation, count, 0.0F);
  std::fill_n(valid, count, 0.0F);
  if (!(highest > lowest)) return 1.0F;
  std::size_t at_top = 0;
  std::size_t at_bottom = 0;
  for (std::size_t n = 0; n < count; ++n) {
    at_top += low[n] >= highest;
    at_bottom += high[n] <= lowest;
  }
  const float plateau = kPlateauShare * static_cast<float>(count);
  const float top = static_cast<float>(at_top) > plateau ? highest : type_highest(picture.type);
  const float bottom = static_cast<float>(at_bottom) > plateau ? lowest : -std::numeric_limits<float>::infinity();
  // Signed numbers that go below 0 begin at the type's (8 bits) or the picture's lowest.
  const float base = lowest >= 0.0F ? 0.0F : (picture.type == PixelType::kI8 ? -128.0F : lowest);
  const float least = 1e-4F * (highest - lowest) + std::numeric_limits<float>::min();
  for (std::size_t n = 0; n < count; ++n) {
    const bool whole = std::isfinite(high[n]) && high[n] < top && low[n] > bottom;
    valid[n] = whole ? 1.0F : 0.0F;
    if (scale.logarithm) mean[n] = std::max(scale.bright ? mean[n] - base : highest - mean[n], least);
  }
  if (scale.logarithm) {
    std::vector<float> sample;
    sample.reserve(count / kMedianStride + 1);
    for (std::size_t n = 0; n < count; n += kMedianStride)
      if (valid[n] > 0.0F) sample.push_back(mean[n]);
    if (!sample.empty()) {
      std::nth_element(sample.begin(), sample.begin() + static_cast<std::ptrdiff_t>(sample.size() / 2), sample.end());
      const float black = kBlackShare * sample[sample.size() / 2];
      for (std::size_t n = 0; n < count; ++n) valid[n] = mean[n] > black ? valid[n] : 0.0F;
    }
    logarithms(mean.data(), count, attenuation);
    for (std::size_t n = 0; n < count; ++n) attenuation[n] = -attenuation[n];
  } else {
    const float toward = scale.bright ? -1.0F : 1.0F;
    const float size = 1.0F / (highest - lowest);
    for (std::size_t n = 0; n < count; ++n) attenuation[n] = toward * (mean[n] - lowest) * size;
  }
  return static_cast<float>(at_top + at_bottom) / static_cast<float>(count);
}

float watch_contrast(const float* picture, const float* valid, std::size_t rows, std::size_t columns,
                     std::size_t mean_radius, std::size_t contrast_radius, float floor, float* out, float* contrast) {
  const std::size_t count = rows * columns;
  std::vector<float> line(columns + 2 * std::max(mean_radius, contrast_radius));
  std::vector<float> level(count), weight(count), sums(count);
  smooth(picture, valid, rows, columns, level.data());
  // A level near 0 keeps the sums' rounding small.
  double middle = 0.0;
  double used = 0.0;
  for (std::size_t n = 0; n < count; ++n) {
    middle += valid[n] * level[n];
    used += valid[n];
  }
  const auto shift = static_cast<float>(used > 0.0 ? middle / used : 0.0);
  for (std::size_t n = 0; n < count; ++n) level[n] = (level[n] - shift) * valid[n];
  box_sums(level.data(), rows, columns, mean_radius, line.data(), sums.data());
  box_sums(valid, rows, columns, mean_radius, line.data(), weight.data());
  double square = 0.0;
  for (std::size_t n = 0; n < count; ++n) {
    level[n] = valid[n] > 0.0F ? level[n] - sums[n] / weight[n] : 0.0F;
    square += static_cast<double>(level[n]) * level[n];
  }
  const auto overall = static_cast<float>(used > 0.0 ? std::sqrt(square / used) : 0.0);
  std::vector<float> squared(count);
  for (std::size_t n = 0; n < count; ++n) squared[n] = level[n] * level[n];
  box_sums(squared.data(), rows, columns, contrast_radius, line.data(), sums.data());
  box_sums(valid, rows, columns, contrast_radius, line.data(), weight.data());
  const float least = floor * floor * overall * overall + std::numeric_limits<float>::min();
  for (std::size_t n = 0; n < count; ++n) {
    const float local = weight[n] > 0.0F ? sums[n] / weight[n] : 0.0F;
    out[n] = level[n] / std::sqrt(local + least);
    if (contrast != nullptr) contrast[n] = std::sqrt(local);
  }
  return overall;
}

}  // namespace guidance
