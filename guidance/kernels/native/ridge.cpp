// Ridges followed along a strip by dynamic programming; `kernels/ridge.py` specifies it.
#include "ridge.hpp"

#include <algorithm>
#include <array>
#include <cmath>
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
constexpr std::size_t kLanes = 16;

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
  // In lanes, for comparing one by one does not vectorise.
  std::array<float, kLanes> lanes;
  lanes.fill(values[0]);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
  for (; i < count; ++i) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  return *std::max_element(lanes.begin(), lanes.end());
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

}  // namespace guidance
