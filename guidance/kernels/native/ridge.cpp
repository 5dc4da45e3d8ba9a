// Strips across a picture and the ridges in them; `kernels/ridge.py` specifies both.
#include "ridge.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace guidance {
namespace {

constexpr double kCorePart = 0.4;
constexpr double kNearPart = 0.6;
constexpr double kFarPart = 0.95;
constexpr float kLeastGain = -1.5F;
constexpr float kSidestepCost = 0.06F;
constexpr float kUnseenCost = 0.02F;
constexpr float kLeastScore = 4.0F;
constexpr double kNoiseSigmas = 3.0;
constexpr double kSigmaOfMedian = 1.4826 / 1.4142135623730951;
constexpr std::size_t kNoiseSamples = 4096;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int8_t kBegins = 2;

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

struct Bands {
  std::size_t core, near, far;
};

Bands bands_of(double width) {
  const auto core = static_cast<std::size_t>(kCorePart * width);
  const std::size_t near = std::max(static_cast<std::size_t>(kNearPart * width + 0.5), core + 1);
  return {core, near, std::max(static_cast<std::size_t>(kFarPart * width + 0.5), near)};
}

GUIDANCE_CLONES void respond(const double* __restrict sums, std::size_t count, Bands bands, float* __restrict out) {
  const double core_share = 1.0 / static_cast<double>(2 * bands.core + 1);
  const double flank_share = 1.0 / static_cast<double>(bands.far - bands.near + 1);
  for (std::size_t i = 0; i < count; ++i) {
    // sums[k] holds what is before column k; the middle is column i + far.
    const std::size_t middle = i + bands.far;
    const double core = (sums[middle + bands.core + 1] - sums[middle - bands.core]) * core_share;
    const double before = (sums[middle - bands.near + 1] - sums[middle - bands.far]) * flank_share;
    const double after = (sums[middle + bands.far + 1] - sums[middle + bands.near]) * flank_share;
    out[i] = static_cast<float>(core - (before > after ? before : after));
  }
}

// What the middle has more than the nearer side; NaN where one of the three is not known.
void respond_row(const float* strip, const std::uint8_t* unknown, std::size_t columns, double width, double* sums,
                 std::size_t* holes, float* out) {
  std::fill(out, out + columns, kNan);
  const Bands bands = bands_of(width);
  if (columns <= 2 * bands.far) return;
  sums[0] = 0.0;
  holes[0] = 0;
  for (std::size_t i = 0; i < columns; ++i) {
    const bool hole = std::isnan(strip[i]);
    sums[i + 1] = sums[i] + (hole ? 0.0 : static_cast<double>(strip[i]));
    holes[i + 1] = holes[i] + (hole ? 1 : 0);
  }
  const std::size_t count = columns - 2 * bands.far;
  respond(sums, count, bands, out + bands.far);
  if (holes[columns] != 0) {
    for (std::size_t middle = bands.far; middle < bands.far + count; ++middle) {
      const auto broken = [&](std::size_t first, std::size_t last) { return holes[last] != holes[first]; };
      if (broken(middle - bands.core, middle + bands.core + 1) || broken(middle - bands.far, middle - bands.near + 1) ||
          broken(middle + bands.near, middle + bands.far + 1))
        out[middle] = kNan;
    }
  }
  if (unknown != nullptr)
    for (std::size_t i = 0; i < columns; ++i)
      if (unknown[i] != 0) out[i] = kNan;
}

double noise_of(const std::vector<float>& response, std::size_t rows, std::size_t columns) {
  if (rows < 2) return 0.0;
  const std::size_t total = (rows - 1) * columns, stride = std::max<std::size_t>(total / kNoiseSamples, 1);
  std::vector<float> steps;
  steps.reserve(total / stride + 1);
  for (std::size_t i = 0; i < total; i += stride) {
    const float step = std::fabs(response[i + columns] - response[i]);
    if (!std::isnan(step)) steps.push_back(step);
  }
  if (steps.empty()) return 0.0;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end());
  return kSigmaOfMedian * static_cast<double>(*middle);
}

GUIDANCE_CLONES void gains_of(float* __restrict cells, std::size_t count, float threshold) {
  for (std::size_t i = 0; i < count; ++i) {
    float part = (cells[i] - threshold) / threshold;
    part = part < 1.0F ? part : 1.0F;
    part = part > kLeastGain ? part : kLeastGain;
    cells[i] = cells[i] == cells[i] ? part : -kUnseenCost;
  }
}

GUIDANCE_CLONES float highest(const float* values, std::size_t count) {
  float top = values[0];
  for (std::size_t i = 1; i < count; ++i) top = values[i] > top ? values[i] : top;
  return top;
}

// `before` has a number below all others at both ends.
GUIDANCE_CLONES void advance_row(const float* __restrict before, const float* __restrict gain, std::size_t columns,
                                 float* __restrict value, std::int8_t* __restrict came) {
  for (std::size_t i = 0; i < columns; ++i) {
    const float left = before[i] - kSidestepCost, straight = before[i + 1], right = before[i + 2] - kSidestepCost;
    float best = straight;
    std::int8_t way = 0;
    way = left > best ? std::int8_t{-1} : way;
    best = left > best ? left : best;
    way = right > best ? std::int8_t{1} : way;
    best = right > best ? right : best;
    came[i] = best > 0.0F ? way : kBegins;
    value[i] = (best > 0.0F ? best : 0.0F) + gain[i];
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

RidgeAnswer ridge_tracks(const RidgeRequest& request, std::int32_t* tracks, double* scores) {
  const std::size_t rows = request.rows, columns = request.columns, cells = rows * columns;
  std::vector<float> gain(cells);
  std::vector<double> sums(columns + 1);
  std::vector<std::size_t> holes(columns + 1);
  for (std::size_t row = 0; row < rows; ++row)
    respond_row(request.strip + row * columns, request.unknown == nullptr ? nullptr : request.unknown + row * columns,
                columns, request.width_columns[row], sums.data(), holes.data(), gain.data() + row * columns);
  const double threshold = std::max(request.least, kNoiseSigmas * noise_of(gain, rows, columns));
  gains_of(gain.data(), cells, static_cast<float>(threshold));
  std::vector<std::int8_t> came(cells);
  std::vector<float> before(columns + 2), value(columns);
  std::size_t found = 0;
  for (; found < request.most && cells != 0; ++found) {
    std::fill(before.begin(), before.end(), 0.0F);
    before.front() = before.back() = -std::numeric_limits<float>::infinity();
    float best = 0.0F;
    std::size_t row = 0, column = 0;
    for (std::size_t each = 0; each < rows; ++each) {
      advance_row(before.data(), gain.data() + each * columns, columns, value.data(), came.data() + each * columns);
      std::copy(value.begin(), value.end(), before.begin() + 1);
      const float top = highest(value.data(), columns);
      if (top > best) {
        best = top;
        row = each;
        column = static_cast<std::size_t>(std::find(value.begin(), value.end(), top) - value.begin());
      }
    }
    if (!(best >= kLeastScore)) break;
    std::int32_t* const track = tracks + found * rows;
    std::fill(track, track + rows, -1);
    scores[found] = static_cast<double>(best);
    for (;; --row) {
      track[row] = static_cast<std::int32_t>(column);
      // What is near a found track is that same ridge; another may cross it.
      const auto reach = static_cast<std::size_t>(request.width_columns[row]);
      const std::size_t low = column > reach ? column - reach : 0, high = std::min(column + reach + 1, columns);
      for (std::size_t near = low; near < high; ++near)
        gain[row * columns + near] = std::min(gain[row * columns + near], -kUnseenCost);
      const std::int8_t way = came[row * columns + column];
      if (way == kBegins || row == 0) break;
      column = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(column) + way);
    }
  }
  return {found, threshold};
}

std::array<double, 4> robust_polynomial(const FitRequest& request, double* misses) {
  constexpr int kRounds = 4;
  constexpr double kOutlier = 2.0;
  const std::size_t count = request.count, terms = request.degree + 1;
  std::array<double, 4> found{};
  std::vector<double> share(request.weight, request.weight + count), sizes(count);
  for (int round = 0; round < kRounds; ++round) {
    // Moments of z make the normal equations: element (i, j) is the sum of share * z^(i + j).
    std::array<double, 7> moments{};
    std::array<double, 4> right{};
    for (std::size_t n = 0; n < count; ++n) {
      double power = share[n];
      for (std::size_t k = 0; k < 2 * terms - 1; ++k) {
        moments[k] += power;
        if (k < terms) right[k] += power * request.y[n];
        power *= request.z[n];
      }
    }
    double trace = 0.0;
    for (std::size_t i = 0; i < terms; ++i) trace += moments[2 * i];
    std::array<std::array<double, 4>, 4> lower{};  // Cholesky
    for (std::size_t i = 0; i < terms; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = moments[i + j] + (i == j ? 1e-9 * trace + 1e-12 : 0.0);
        for (std::size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
        lower[i][j] = i == j ? std::sqrt(std::max(sum, 1e-300)) : sum / lower[j][j];
      }
    for (std::size_t i = 0; i < terms; ++i) {
      for (std::size_t k = 0; k < i; ++k) right[i] -= lower[i][k] * right[k];
      right[i] /= lower[i][i];
    }
    for (std::size_t i = terms; i-- > 0;) {
      for (std::size_t k = i + 1; k < terms; ++k) right[i] -= lower[k][i] * found[k];
      found[i] = right[i] / lower[i][i];
    }
    for (std::size_t n = 0; n < count; ++n) {
      const double z = request.z[n];
      misses[n] = request.y[n] - (found[0] + z * (found[1] + z * (found[2] + z * found[3])));
    }
    if (round + 1 == kRounds) break;
    for (std::size_t n = 0; n < count; ++n) sizes[n] = std::fabs(misses[n]);
    const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>(count / 2);
    std::nth_element(sizes.begin(), middle, sizes.end());
    const double limit = std::max(kOutlier * *middle, request.least);
    for (std::size_t n = 0; n < count; ++n) {
      const double part = std::min(1.0, limit / std::max(std::fabs(misses[n]), 1e-12));
      share[n] = request.weight[n] * part * part;
    }
  }
  return found;
}

}  // namespace guidance
