// A picture of any type to coarse bins of relative attenuation, and its local contrast.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "logarithm.hpp"
#include "watch.hpp"

namespace guidance {
namespace {

// A share of bins that wholly lie at the lowest or highest number there is: a collimator's leaf, a saturated field.
constexpr float kPlateauShare = 0.005F;
constexpr float kPlateauShareOfOne = 0.05F;
constexpr float kBlackShare = 0.01F;  // of the median: nothing came through
constexpr std::size_t kMedianStride = 5;
// Of white noise: the median of its size, the mask's gain on it (Immerkaer, CVIU 64(2), 1996), what 1 2 1 both ways
// leaves.
constexpr float kMedianShare = 0.6745F;
constexpr float kMaskGain = 6.0F;
constexpr float kSmoothedShare = 0.375F;

constexpr std::size_t kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));

struct Lines {
  std::vector<float> sum, high, low;
  explicit Lines(std::size_t count) : sum(count), high(count), low(count) {}
};

// `rows` rows of 16 columns, all in registers. NaN and infinity: high becomes infinite, which marks the bin.
template <class T>
[[gnu::always_inline]] inline void take_lanes(const T* first, std::size_t stride, std::size_t rows, float* sum,
                                              float* high, float* low) {
  typedef T Numbers __attribute__((vector_size(kLanes * sizeof(T))));  // an alias drops the attribute
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Lanes total{};
  Lanes most = total - kInfinity;
  Lanes least = total + kInfinity;
  for (std::size_t n = 0; n < rows; ++n) {
    Numbers numbers;
    std::memcpy(&numbers, first + n * stride, sizeof numbers);
    Lanes value;
    if constexpr (std::is_floating_point_v<T>)
      value = numbers;
    else
      value = __builtin_convertvector(__builtin_convertvector(numbers, Integers), Lanes);  // bytes in one step are slow
    Lanes top = value;
    if constexpr (std::is_floating_point_v<T>) {
      const auto finite = value - value == Lanes{};
      top = finite ? value : Lanes{} + kInfinity;
      value = finite ? value : Lanes{};
    }
    total += value;
    most = most > top ? most : top;
    least = least < value ? least : value;
  }
  std::memcpy(sum, &total, sizeof total);
  std::memcpy(high, &most, sizeof most);
  std::memcpy(low, &least, sizeof least);
}
template <class T>
[[gnu::always_inline]] inline void take_columns(const T* first, std::size_t stride, std::size_t rows,
                                                std::size_t columns, float* sum, float* high, float* low) {
  std::size_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) take_lanes(first + c, stride, rows, sum + c, high + c, low + c);
  for (; c < columns; ++c) {
    sum[c] = 0.0F;
    high[c] = -std::numeric_limits<float>::infinity();
    low[c] = std::numeric_limits<float>::infinity();
    for (std::size_t n = 0; n < rows; ++n) {
      const auto value = static_cast<float>(first[n * stride + c]);
      const bool finite = value - value == 0.0F;
      sum[c] += finite ? value : 0.0F;
      high[c] = std::max(high[c], finite ? value : std::numeric_limits<float>::infinity());
      low[c] = std::min(low[c], finite ? value : 0.0F);
    }
  }
}
#define GUIDANCE_TAKE(T)                                                                                           \
  GUIDANCE_CLONES void take(const T* first, std::size_t stride, std::size_t rows, std::size_t columns, float* sum, \
                            float* high, float* low) {                                                             \
    take_columns(first, stride, rows, columns, sum, high, low);                                                    \
  }
GUIDANCE_TAKE(std::uint8_t)
GUIDANCE_TAKE(std::int8_t)
GUIDANCE_TAKE(std::uint16_t)
GUIDANCE_TAKE(std::int16_t)
GUIDANCE_TAKE(float)
#undef GUIDANCE_TAKE

template <class T>
void fill_bins(const Picture& picture, std::size_t step, float* mean, float* high, float* low) {
  const std::size_t rows = picture.rows / step;
  const std::size_t columns = picture.columns / step;
  const float share = 1.0F / static_cast<float>(step * step);
  Lines lines(columns * step);
  const auto* const first = static_cast<const T*>(picture.pixels);
  for (std::size_t r = 0; r < rows; ++r) {
    take(first + r * step * picture.columns, picture.columns, step, columns * step, lines.sum.data(), lines.high.data(),
         lines.low.data());
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

GUIDANCE_CLONES void logarithms(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = logarithm(from[n]);
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
GUIDANCE_CLONES void smooth(const float* __restrict from, const float* __restrict valid, std::size_t rows,
                            std::size_t columns, float* __restrict to) {
  const auto height = static_cast<std::ptrdiff_t>(rows);
  const auto width = static_cast<std::ptrdiff_t>(columns);
  constexpr std::array<float, 3> kWeights{1.0F, 2.0F, 1.0F};
  std::vector<float> values(columns + 2), weights(columns + 2);
  float* __restrict value_line = values.data();
  float* __restrict weight_line = weights.data();
  for (std::ptrdiff_t r = 0; r < height; ++r) {
    std::fill(values.begin(), values.end(), 0.0F);
    std::fill(weights.begin(), weights.end(), 0.0F);
    for (std::ptrdiff_t n = std::max<std::ptrdiff_t>(r - 1, 0); n <= std::min(r + 1, height - 1); ++n) {
      const float weight = kWeights[static_cast<std::size_t>(n - r + 1)];
      const float* __restrict row = from + n * width;
      const float* __restrict mask = valid + n * width;
      for (std::ptrdiff_t c = 0; c < width; ++c) {
        value_line[c + 1] += weight * mask[c] * row[c];
        weight_line[c + 1] += weight * mask[c];
      }
    }
    for (std::ptrdiff_t c = 0; c < width; ++c) {
      const float total = value_line[c] + 2.0F * value_line[c + 1] + value_line[c + 2];
      const float weight = weight_line[c] + 2.0F * weight_line[c + 1] + weight_line[c + 2];
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
  // A bin of one pixel is at an end by chance.
  const float plateau = (scale.step > 1 ? kPlateauShare : kPlateauShareOfOne) * static_cast<float>(count);
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

float watch_high_pass(const float* picture, const float* valid, std::size_t rows, std::size_t columns,
                      std::size_t radius, float* out) {
  const std::size_t count = rows * columns;
  std::vector<float> line(columns + 2 * radius), weight(count), sums(count);
  smooth(picture, valid, rows, columns, out);
  // A level near 0 keeps the sums' rounding small.
  double middle = 0.0;
  double used = 0.0;
  for (std::size_t n = 0; n < count; ++n) {
    middle += valid[n] * out[n];
    used += valid[n];
  }
  const auto shift = static_cast<float>(used > 0.0 ? middle / used : 0.0);
  for (std::size_t n = 0; n < count; ++n) out[n] = (out[n] - shift) * valid[n];
  box_sums(out, rows, columns, radius, line.data(), sums.data());
  box_sums(valid, rows, columns, radius, line.data(), weight.data());
  double square = 0.0;
  for (std::size_t n = 0; n < count; ++n) {
    out[n] = valid[n] > 0.0F ? out[n] - sums[n] / weight[n] : 0.0F;
    square += static_cast<double>(out[n]) * out[n];
  }
  return static_cast<float>(used > 0.0 ? std::sqrt(square / used) : 0.0);
}

void watch_local_square(const float* picture, const float* valid, std::size_t rows, std::size_t columns,
                        std::size_t radius, float* out) {
  const std::size_t count = rows * columns;
  std::vector<float> line(columns + 2 * radius), weight(count), squared(count);
  for (std::size_t n = 0; n < count; ++n) squared[n] = picture[n] * picture[n];
  box_sums(squared.data(), rows, columns, radius, line.data(), out);
  box_sums(valid, rows, columns, radius, line.data(), weight.data());
  for (std::size_t n = 0; n < count; ++n) out[n] = weight[n] > 0.0F ? out[n] / weight[n] : 0.0F;
}

WatchShown watch_layer(const WatchLayer& request, const float* attenuation, float* valid, float* normalised,
                       float* core, float* contrast) {
  const std::size_t rows = request.rows;
  const std::size_t columns = request.columns;
  const std::size_t count = rows * columns;
  WatchShown shown{};
  std::vector<float> sample;
  sample.reserve(count / kMedianStride + 1);
  const auto median = [&]() {
    if (sample.empty()) return 0.0F;
    const auto middle = sample.begin() + static_cast<std::ptrdiff_t>(sample.size() / 2);
    std::nth_element(sample.begin(), middle, sample.end());
    return *middle;
  };
  for (int round = 0;; ++round) {
    shown.whole = watch_high_pass(attenuation, valid, rows, columns, request.mean_radius, normalised);
    if (round >= request.metal_rounds) break;
    sample.clear();
    for (std::size_t n = 0; n < count; n += kMedianStride)
      if (valid[n] > 0.0F) sample.push_back(std::abs(normalised[n]));
    const float most = request.metal * median();
    bool any = false;
    if (most > 0.0F)
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) {
          if (!(normalised[r * columns + c] > most)) continue;
          any = true;
          for (std::size_t y = r > 0 ? r - 1 : 0; y <= std::min(r + 1, rows - 1); ++y)
            for (std::size_t x = c > 0 ? c - 1 : 0; x <= std::min(c + 1, columns - 1); ++x)
              valid[y * columns + x] = 0.0F;
        }
    if (!any) break;
  }
  watch_local_square(normalised, valid, rows, columns, request.contrast_radius, contrast);
  const float least = request.floor * request.floor * shown.whole * shown.whole + std::numeric_limits<float>::min();
  for (std::size_t n = 0; n < count; ++n) {
    normalised[n] /= std::sqrt(contrast[n] + least);
    contrast[n] = std::sqrt(contrast[n]);
  }
  // Beside what is not valid the local mean is one-sided.
  std::copy_n(valid, count, core);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      if (valid[at] > 0.0F) continue;
      if (r > 0) core[at - columns] = 0.0F;
      if (r + 1 < rows) core[at + columns] = 0.0F;
      if (c > 0) core[at - 1] = 0.0F;
      if (c + 1 < columns) core[at + 1] = 0.0F;
    }
  sample.clear();
  for (std::size_t n = 0; n < count; n += kMedianStride)
    if (core[n] > 0.0F) sample.push_back(contrast[n]);
  shown.usual = median();
  sample.clear();
  for (std::size_t r = 1; r + 1 < rows; ++r)
    for (std::size_t c = 1 + r % kMedianStride; c + 1 < columns; c += kMedianStride) {
      const std::size_t at = r * columns + c;
      if (!(core[at] > 0.0F)) continue;
      const float* const a = attenuation + at;
      const auto width = static_cast<std::ptrdiff_t>(columns);
      const float corners = a[-width - 1] + a[-width + 1] + a[width - 1] + a[width + 1];
      const float edges = a[-width] + a[width] + a[-1] + a[1];
      sample.push_back(std::abs(4.0F * a[0] - 2.0F * edges + corners));
    }
  shown.noise = kSmoothedShare * median() / (kMedianShare * kMaskGain);
  return shown;
}

}  // namespace guidance
