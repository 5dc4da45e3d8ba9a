// How far a frame is off by many bins, which no fit from nearby finds.
#include <algorithm>
#include <array>
#include <cmath>

#include "cement.hpp"

namespace guidance::cement {
namespace {

constexpr std::size_t kCoarse = 4;  // pixels per coarse bin and axis
constexpr int kReach = 12;          // coarse bins

GUIDANCE_CLONES void correlate(const float* __restrict a, const std::uint8_t* __restrict valid_a,
                               const float* __restrict b, const std::uint8_t* __restrict valid_b, std::size_t count,
                               float* __restrict sums) {
  float ab = 0.0F, aa = 0.0F, bb = 0.0F, used = 0.0F;
  for (std::size_t n = 0; n < count; ++n) {
    const float there = valid_a[n] & valid_b[n] ? 1.0F : 0.0F;
    ab += there * a[n] * b[n];
    aa += there * a[n] * a[n];
    bb += there * b[n] * b[n];
    used += there;
  }
  sums[0] += ab;
  sums[1] += aa;
  sums[2] += bb;
  sums[3] += used;
}

// Means of kCoarse x kCoarse bins less their smoothed surroundings.
void coarsen(const Plane& from, const Marks& valid, std::size_t rows, std::size_t columns, Plane& to, Marks& to_valid,
             Plane& scratch) {
  const std::size_t coarse_rows = rows / kCoarse, coarse_columns = columns / kCoarse;
  double level = 0.0, used = 0.0;
  for (std::size_t r = 0; r < coarse_rows; ++r)
    for (std::size_t c = 0; c < coarse_columns; ++c) {
      float sum = 0.0F, there = 0.0F;
      for (std::size_t n = 0; n < kCoarse; ++n)
        for (std::size_t m = 0; m < kCoarse; ++m) {
          const std::size_t at = (r * kCoarse + n) * columns + c * kCoarse + m;
          sum += valid[at] ? from[at] : 0.0F;
          there += valid[at] ? 1.0F : 0.0F;
        }
      const std::size_t to_at = r * coarse_columns + c;
      to_valid[to_at] = there * 2.0F >= static_cast<float>(kCoarse * kCoarse);
      to[to_at] = to_valid[to_at] ? sum / there : 0.0F;
      level += to[to_at];
      used += to_valid[to_at];
    }
  const auto mean = static_cast<float>(used > 0.0 ? level / used : 0.0);
  const std::size_t count = coarse_rows * coarse_columns;
  for (std::size_t n = 0; n < count; ++n) to[n] = to_valid[n] ? to[n] - mean : 0.0F;
  float* const smoothed = scratch.data() + coarse_columns + 4;
  smooth(to.data(), coarse_rows, coarse_columns, scratch.data(), smoothed);
  for (std::size_t n = 0; n < count; ++n) to[n] -= smoothed[n];
}

}  // namespace

CoarseSearch::CoarseSearch(std::size_t rows, std::size_t columns)
    : rows_(rows), columns_(columns), coarse_rows_(rows / kCoarse), coarse_columns_(columns / kCoarse) {
  const std::size_t count = coarse_rows_ * coarse_columns_;
  reference_.assign(count, 0.0F);
  frame_.assign(count, 0.0F);
  scratch_.assign(count + coarse_columns_ + 4, 0.0F);
  valid_.assign(count, 0);
  frame_valid_.assign(count, 0);
}

void CoarseSearch::change(const Plane& reference, const Marks& valid) {
  coarsen(reference, valid, rows_, columns_, reference_, valid_, scratch_);
}

// Whole coarse bins by correlation of what is left when the surroundings are taken off, then the peak's middle.
bool CoarseSearch::find(const Plane& frame, const Marks& valid, double& frame_du, double& frame_dv) {
  coarsen(frame, valid, rows_, columns_, frame_, frame_valid_, scratch_);
  const auto height = static_cast<std::ptrdiff_t>(coarse_rows_), width = static_cast<std::ptrdiff_t>(coarse_columns_);
  constexpr std::size_t kSide = 2 * kReach + 1;
  std::array<double, kSide * kSide> found;
  found.fill(-2.0);
  std::size_t best = kSide * kSide;
  for (int dv = -kReach; dv <= kReach; ++dv)
    for (int du = -kReach; du <= kReach; ++du) {
      std::array<float, 4> sums{};
      const std::ptrdiff_t first = std::max(0, -du), used = width - std::abs(du);
      if (used <= 0) continue;
      for (std::ptrdiff_t r = std::max(0, -dv); r < std::min(height, height - dv); ++r) {
        const std::ptrdiff_t at = r * width + first, seen = (r + dv) * width + first + du;
        correlate(reference_.data() + at, valid_.data() + at, frame_.data() + seen, frame_valid_.data() + seen,
                  static_cast<std::size_t>(used), sums.data());
      }
      if (sums[3] < 0.25F * static_cast<float>(frame_.size()) || !(sums[1] > 0.0F) || !(sums[2] > 0.0F)) continue;
      const auto index = static_cast<std::size_t>((dv + kReach) * static_cast<int>(kSide) + du + kReach);
      found[index] = sums[0] / std::sqrt(static_cast<double>(sums[1]) * sums[2]);
      if (best == kSide * kSide || found[index] > found[best]) best = index;
    }
  if (best == kSide * kSide) return false;
  const auto peak = [&](std::size_t step, std::size_t place) {
    if (place == 0 || place + 1 == kSide) return 0.0;
    const double before = found[best - step], here = found[best], after = found[best + step];
    const double bend = before - 2.0 * here + after;
    return before > -2.0 && after > -2.0 && bend < 0.0 ? 0.5 * (before - after) / bend : 0.0;
  };
  const double u = static_cast<double>(best % kSide) - kReach + peak(1, best % kSide);
  const double v = static_cast<double>(best / kSide) - kReach + peak(kSide, best / kSide);
  frame_du = kCoarse * u;
  frame_dv = kCoarse * v;
  return true;
}

}  // namespace guidance::cement
