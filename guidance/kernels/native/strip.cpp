// Strips sampled across a picture; `kernels/ridge.py` specifies it.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "ridge.hpp"

namespace guidance {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
inline T load(const void* pixels, std::size_t index) {
  T value;
  std::memcpy(&value, static_cast<const std::uint8_t*>(pixels) + sizeof(T) * index, sizeof value);
  return value;
}

// The samples of a line that lie within the bounds: [first, last). Rounding is settled by looking at the ends
// themselves.
void clip_axis(double start, double step, double low, double high, std::size_t columns, std::size_t* first,
               std::size_t* last) {
  if (step == 0.0) {
    if (!(start >= low && start <= high)) *first = *last = 0;
    return;
  }
  double from = (low - start) / step, to = (high - start) / step;
  if (from > to) std::swap(from, to);
  const double most = static_cast<double>(columns);
  if (!(to >= 0.0) || !(from < most)) {
    *first = *last = 0;
    return;
  }
  std::size_t begin = static_cast<std::size_t>(std::max(from - 1.0, 0.0));
  std::size_t end = static_cast<std::size_t>(std::min(to + 2.0, most));
  const auto inside = [&](std::size_t at) {
    const double place = start + step * static_cast<double>(at);
    return place >= low && place <= high;
  };
  while (begin < end && !inside(begin)) ++begin;
  while (end > begin && !inside(end - 1)) --end;
  *first = std::max(*first, begin);
  *last = std::min(*last, end);
}

// Nearest pixels of the samples along a line, a loop of its own because it vectorises.
GUIDANCE_CLONES void place_nearest(float u, float v, float du, float dv, std::size_t first, std::size_t last,
                                   std::int32_t right, std::int32_t bottom, std::int32_t pitch,
                                   std::int32_t* __restrict index) {
  for (std::size_t at = first; at < last; ++at) {
    const auto step = static_cast<float>(static_cast<std::int32_t>(at));
    std::int32_t column = static_cast<std::int32_t>(u + du * step + 0.5F);
    std::int32_t row = static_cast<std::int32_t>(v + dv * step + 0.5F);
    column = column < right ? column : right;
    column = column > 0 ? column : 0;
    row = row < bottom ? row : bottom;
    row = row > 0 ? row : 0;
    index[at] = row * pitch + column;
  }
}

template <class T>
void add_nearest(const Picture& picture, const std::int32_t* index, std::size_t first, std::size_t last,
                 std::size_t bin, float* sums) {
  if (bin == 1) {
    for (std::size_t cell = first; cell < last; ++cell)
      sums[cell] += static_cast<float>(load<T>(picture.pixels, static_cast<std::size_t>(index[cell])));
    return;
  }
  for (std::size_t cell = first; cell < last; ++cell) {
    float sum = 0.0F;
    for (std::size_t part = cell * bin; part < (cell + 1) * bin; ++part)
      sum += static_cast<float>(load<T>(picture.pixels, static_cast<std::size_t>(index[part])));
    sums[cell] += sum;
  }
}

// Places and weights of bilinear samples along a line, a loop of its own because it vectorises; to 1e-4 px.
struct Corners {
  std::vector<std::int32_t> index;
  std::vector<float> part_u, part_v;
};

GUIDANCE_CLONES void place_corners(float u, float v, float du, float dv, std::size_t first, std::size_t last,
                                   std::int32_t right, std::int32_t bottom, std::int32_t pitch,
                                   std::int32_t* __restrict index, float* __restrict part_u, float* __restrict part_v) {
  for (std::size_t cell = first; cell < last; ++cell) {
    const auto at = static_cast<float>(static_cast<std::int32_t>(cell));
    const float place_u = u + du * at, place_v = v + dv * at;
    std::int32_t column = static_cast<std::int32_t>(place_u), row = static_cast<std::int32_t>(place_v);
    column = column < right ? column : right;
    column = column > 0 ? column : 0;
    row = row < bottom ? row : bottom;
    row = row > 0 ? row : 0;
    part_u[cell] = place_u - static_cast<float>(column);
    part_v[cell] = place_v - static_cast<float>(row);
    index[cell] = row * pitch + column;
  }
}

template <class T>
void add_bilinear(const Picture& picture, const Corners& corners, std::size_t first, std::size_t last, float* sums) {
  for (std::size_t cell = first; cell < last; ++cell) {
    const auto index = static_cast<std::size_t>(corners.index[cell]);
    const auto a = static_cast<float>(load<T>(picture.pixels, index));
    const auto b = static_cast<float>(load<T>(picture.pixels, index + 1));
    const auto c = static_cast<float>(load<T>(picture.pixels, index + picture.columns));
    const auto d = static_cast<float>(load<T>(picture.pixels, index + picture.columns + 1));
    const float upper = a + corners.part_u[cell] * (b - a), lower = c + corners.part_u[cell] * (d - c);
    sums[cell] = upper + corners.part_v[cell] * (lower - upper);
  }
}

// Natural logarithm of numbers from 1 on, to 2e-7: exponent and a series of atanh in the mantissa; it vectorises.
inline float fast_log(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  // The mantissa comes to lie in [sqrt(1/2), sqrt(2)).
  const std::uint32_t shifted = bits - 0x3F3504F3U;
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted) >> 23);
  bits = (shifted & 0x007FFFFFU) + 0x3F3504F3U;
  const float mantissa = std::bit_cast<float>(bits);
  const float t = (mantissa - 1.0F) / (mantissa + 1.0F);
  const float square = t * t;
  const float series =
      2.0F + square * (0.6666666667F + square * (0.4F + square * (0.2857142857F + square * 0.2222222222F)));
  return exponent * 0.6931471806F + t * series;
}

GUIDANCE_CLONES void finish_row(const float* __restrict sums, std::size_t count, float share, bool logarithm,
                                float sign, float* __restrict out) {
  if (!logarithm) {
    for (std::size_t i = 0; i < count; ++i) out[i] = -sign * (sums[i] * share);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const float mean = sums[i] * share;
    const float level = mean > 1.0F ? mean : 1.0F;  // NaN counts as 1 here and is put back below
    out[i] = -sign * fast_log(level);
  }
  for (std::size_t i = 0; i < count; ++i) out[i] = std::isfinite(sums[i]) ? out[i] : kNan;
}

template <class T>
void sample(const Picture& picture, const StripRequest& request, float* out) {
  const std::size_t rows = request.lines / request.bin_lines, cells = request.columns / request.bin_columns;
  const std::size_t bin = request.bin_columns;
  const bool exact = request.bin_lines == 1 && bin == 1;
  const double left = std::max(request.bounds[0], 0.0), top = std::max(request.bounds[1], 0.0);
  const double right = std::min(request.bounds[2], static_cast<double>(picture.columns) - 1.0);
  const double bottom = std::min(request.bounds[3], static_cast<double>(picture.rows) - 1.0);
  std::vector<float> sums(cells);
  Corners corners;
  corners.index.resize(cells * bin);
  if (exact) {
    corners.part_u.resize(cells);
    corners.part_v.resize(cells);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0F);
    std::size_t known_first = 0, known_last = cells;
    for (std::size_t line = row * request.bin_lines; line < (row + 1) * request.bin_lines; ++line) {
      const double u = request.starts[2 * line], v = request.starts[2 * line + 1];
      const double du = request.steps[2 * line], dv = request.steps[2 * line + 1];
      std::size_t first = 0, last = cells * bin;
      clip_axis(u, du, left, right, cells * bin, &first, &last);
      clip_axis(v, dv, top, bottom, cells * bin, &first, &last);
      first = (first + bin - 1) / bin;
      last /= bin;
      known_first = std::max(known_first, first);
      known_last = std::min(known_last, last);
      if (known_first >= known_last) break;
      if (exact) {
        place_corners(static_cast<float>(u), static_cast<float>(v), static_cast<float>(du), static_cast<float>(dv),
                      known_first, known_last, static_cast<std::int32_t>(picture.columns) - 2,
                      static_cast<std::int32_t>(picture.rows) - 2, static_cast<std::int32_t>(picture.columns),
                      corners.index.data(), corners.part_u.data(), corners.part_v.data());
        add_bilinear<T>(picture, corners, known_first, known_last, sums.data());
      } else {
        place_nearest(static_cast<float>(u), static_cast<float>(v), static_cast<float>(du), static_cast<float>(dv),
                      known_first * bin, known_last * bin, static_cast<std::int32_t>(picture.columns) - 1,
                      static_cast<std::int32_t>(picture.rows) - 1, static_cast<std::int32_t>(picture.columns),
                      corners.index.data());
        add_nearest<T>(picture, corners.index.data(), known_first, known_last, bin, sums.data());
      }
    }
    if (known_first > known_last) known_first = known_last;
    float* const cell = out + row * cells;
    const float share = 1.0F / static_cast<float>(request.bin_lines * bin);
    std::fill(cell, cell + known_first, kNan);
    finish_row(sums.data() + known_first, known_last - known_first, share, request.logarithm,
               request.positive ? 1.0F : -1.0F, cell + known_first);
    std::fill(cell + known_last, cell + cells, kNan);
    if constexpr (std::is_same_v<T, float>)
      for (std::size_t i = known_first; i < known_last; ++i)
        if (!std::isfinite(cell[i])) cell[i] = kNan;
  }
}

}  // namespace

void sample_strip(const Picture& picture, const StripRequest& request, float* out) {
  switch (picture.type) {
    case PixelType::kU8:
      return sample<std::uint8_t>(picture, request, out);
    case PixelType::kI8:
      return sample<std::int8_t>(picture, request, out);
    case PixelType::kU16:
      return sample<std::uint16_t>(picture, request, out);
    case PixelType::kI16:
      return sample<std::int16_t>(picture, request, out);
    case PixelType::kF32:
      return sample<float>(picture, request, out);
  }
}

}  // namespace guidance
