// A picture straightened along a curve, and how much its profiles look like a rod's shadow;
// `kernels/rod_profile_reference.py` specifies both.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ridge.hpp"
#include "rod_parts.hpp"

namespace guidance {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kColumnStep = 1.0 / kPerWidth;  // widths
constexpr double kHalf = 1.5;
constexpr double kShiftStep = 0.05;
constexpr std::size_t kLanes = 24;  // shifts, and what fills vectors up
constexpr std::size_t kBlock = 6;   // rows averaged before a profile is looked at
// In columns from the middle: what surely is the rod, its very middle, and what is beside it.
constexpr std::size_t kCore = 5, kNarrow = 2, kNear = 10, kFar = 14;
constexpr double kWindow = 1.0;  // half of what is compared with a rod
constexpr double kBlurPx = 0.7;
constexpr double kLeastBlur = 0.02, kMostBlur = 0.16;  // widths
constexpr std::size_t kBlurs = 15;                     // one for each 0.01 between
constexpr double kBore = 0.6;
constexpr double kRowsPerWidth = 12.0;
constexpr double kLeastPitchPx = 1.25;
constexpr double kMostSaturated = 0.2;  // of a row

double offset_of(std::size_t column) { return static_cast<double>(column) * kColumnStep - kHalf; }
double shift_of(std::size_t lane) { return (static_cast<double>(lane) - 10.0) / 20.0; }

// By column and shift, so that the shifts fill vectors: a solid rod's chord and a tube's, zero in the mean over their
// window of 1, and which columns that window has.
struct Templates {
  std::array<std::array<double, kLanes>, kProfileColumns> solid{}, hollow{};
  std::array<std::size_t, kProfileShifts> first{}, last{};

  explicit Templates(double blur) {
    for (std::size_t shift = 0; shift < kProfileShifts; ++shift) {
      Profile outer{}, bore{};
      first[shift] = kProfileColumns;
      for (std::size_t column = 0; column < kProfileColumns; ++column) {
        const double off = offset_of(column) - shift_of(shift);
        if (std::fabs(off) > kWindow) continue;
        first[shift] = std::min(first[shift], column);
        last[shift] = column + 1;
        for (int part = 0; part < 9; ++part) {
          const double fine = off + (0.375 * part - 1.5) * blur;
          outer[column] += std::sqrt(std::max(0.25 - fine * fine, 0.0)) / 9.0;
          bore[column] += std::sqrt(std::max(0.25 * kBore - fine * fine, 0.0)) / 9.0;
        }
      }
      Profile tube{};
      for (std::size_t column = 0; column < kProfileColumns; ++column) tube[column] = outer[column] - bore[column];
      place(outer, shift, solid);
      place(tube, shift, hollow);
    }
  }

 private:
  void place(const Profile& shape, std::size_t shift, std::array<std::array<double, kLanes>, kProfileColumns>& into) {
    double mean = 0.0, power = 0.0;
    for (std::size_t column = first[shift]; column < last[shift]; ++column) mean += shape[column];
    mean /= static_cast<double>(last[shift] - first[shift]);
    for (std::size_t column = first[shift]; column < last[shift]; ++column)
      power += (shape[column] - mean) * (shape[column] - mean);
    const double share = 1.0 / std::sqrt(power);
    for (std::size_t column = first[shift]; column < last[shift]; ++column)
      into[column][shift] = (shape[column] - mean) * share;
  }
};

const Templates& templates_of(double blur) {
  static const std::vector<Templates> all = [] {
    std::vector<Templates> made;
    made.reserve(kBlurs);
    for (std::size_t n = 0; n < kBlurs; ++n) made.emplace_back(kLeastBlur + 0.01 * static_cast<double>(n));
    return made;
  }();
  const double place = std::nearbyint(100.0 * (blur - kLeastBlur));
  return all[static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(kBlurs - 1)))];
}

// Mean of a block's rows, column by column.
GUIDANCE_CLONES void average(const float* __restrict values, double* __restrict out) {
  std::array<float, kProfileColumns> sums{};
  for (std::size_t row = 0; row < kBlock; ++row)
    for (std::size_t column = 0; column < kProfileColumns; ++column)
      sums[column] += values[row * kProfileColumns + column];
  for (std::size_t column = 0; column < kProfileColumns; ++column)
    out[column] = static_cast<double>(sums[column]) * (1.0 / kBlock);
}

GUIDANCE_CLONES void correlate(const double* profile, const double* templates, double* __restrict out) {
  std::array<double, kLanes> sums{};
  for (std::size_t column = 0; column < kProfileColumns; ++column)
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += profile[column] * templates[column * kLanes + lane];
  for (std::size_t lane = 0; lane < kLanes; ++lane) out[lane] = sums[lane];
}

using Correlation = std::array<double, kLanes>;

// Normalised, by shift, with a rod's profile, solid or a tube's, whichever fits all of them better.
std::vector<Correlation> correlations(const std::vector<Profile>& profiles, double blur) {
  const Templates& templates = templates_of(blur);
  std::vector<Correlation> solid(profiles.size()), hollow(profiles.size());
  double solid_sum = 0.0, hollow_sum = 0.0;
  for (std::size_t n = 0; n < profiles.size(); ++n) {
    const Profile& profile = profiles[n];
    correlate(profile.data(), templates.solid[0].data(), solid[n].data());
    correlate(profile.data(), templates.hollow[0].data(), hollow[n].data());
    std::array<double, kProfileColumns + 1> sums{}, powers{};
    for (std::size_t column = 0; column < kProfileColumns; ++column) {
      sums[column + 1] = sums[column] + profile[column];
      powers[column + 1] = powers[column] + profile[column] * profile[column];
    }
    double solid_most = -1e300, hollow_most = -1e300;
    for (std::size_t shift = 0; shift < kProfileShifts; ++shift) {
      const std::size_t first = templates.first[shift], last = templates.last[shift];
      const double sum = sums[last] - sums[first];
      const double spread = powers[last] - powers[first] - sum * sum / static_cast<double>(last - first);
      const double share = 1.0 / std::sqrt(std::max(spread, 1e-12));
      solid[n][shift] *= share;
      hollow[n][shift] *= share;
      solid_most = std::max(solid_most, solid[n][shift]);
      hollow_most = std::max(hollow_most, hollow[n][shift]);
    }
    solid_sum += solid_most;
    hollow_sum += hollow_most;
  }
  return hollow_sum > solid_sum ? hollow : solid;
}

}  // namespace

double Straightened::blur() const { return std::clamp(kBlurPx / width, kLeastBlur, kMostBlur); }

bool covers(const MetalCells& metal, const std::array<double, 2>& uv) {
  const auto cell = [](double place, std::size_t count) {
    return static_cast<std::size_t>(std::clamp(place * (1.0 / kMetalStep), 0.0, static_cast<double>(count - 1)) + 0.5);
  };
  return metal.cells[cell(uv[1], metal.rows) * metal.columns + cell(uv[0], metal.columns)] != 0;
}

Straightened straighten(const RodRequest& request, float saturated, const RodCurve& curve, double first, double last,
                        bool coarse) {
  const RodStrip& strip = request.strip;
  Straightened flat;
  flat.width = strip.width_at(0.5 * (first + last));
  flat.pitch = std::max(kLeastPitchPx, flat.width / kRowsPerWidth) * (coarse ? 2.0 : 1.0);
  const auto rows = static_cast<std::size_t>(std::max(std::ceil((last - first) / flat.pitch), 0.0));
  flat.x.resize(rows);
  std::vector<double> starts(2 * rows), steps(2 * rows);
  const bool metal = request.metal.cells != nullptr;
  flat.known.assign(rows, 1);
  flat.clean.assign(rows, 1);
  for (std::size_t row = 0; row < rows; ++row) {
    const double x = first + flat.pitch * static_cast<double>(row), slope = curve.slope(x);
    flat.x[row] = x;
    // Across the curve: the strip's own across, leaning back by its slope.
    const double share = strip.width_at(std::clamp(x, 0.0, strip.length)) / std::sqrt(1.0 + slope * slope);
    const std::array<double, 2> middle = strip.at(x, curve.y(x));
    const std::array<double, 2> width{(-strip.along[1] - slope * strip.along[0]) * share,
                                      (strip.along[0] - slope * strip.along[1]) * share};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      starts[2 * row + axis] = middle[axis] - kHalf * width[axis];
      steps[2 * row + axis] = kColumnStep * width[axis];
    }
    if (!metal) continue;
    flat.known[row] = covers(request.metal, middle) ? 0 : 1;
    if (covers(request.metal, {middle[0] - width[0], middle[1] - width[1]}) ||
        covers(request.metal, {middle[0] + width[0], middle[1] + width[1]}))
      flat.clean[row] = 0;
  }
  flat.values.resize(rows * kProfileColumns);
  sample_strip(
      request.picture,
      {starts.data(), steps.data(), rows, kProfileColumns, 1, 1, request.bounds, request.logarithm, request.positive},
      flat.values.data());
  flat.inside.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const values = flat.values.data() + row * kProfileColumns;
    std::size_t finite = 0, floods = 0;
    for (std::size_t column = 0; column < kProfileColumns; ++column) {
      finite += std::isfinite(values[column]) ? 1 : 0;
      floods += values[column] <= saturated ? 1 : 0;
    }
    flat.inside[row] = finite == kProfileColumns ? 1 : 0;
    if (flat.inside[row] == 0 || !(static_cast<double>(floods) < kMostSaturated * kProfileColumns)) flat.known[row] = 0;
    if (flat.known[row] == 0) flat.clean[row] = 0;
  }
  return flat;
}

std::vector<double> contrast_of(const Straightened& flat, bool narrow) {
  const std::size_t half = narrow ? kNarrow : kCore;
  std::vector<double> contrast(flat.x.size(), kNan);
  for (std::size_t row = 0; row < contrast.size(); ++row) {
    if (flat.known[row] == 0) continue;
    const float* const middle = flat.values.data() + row * kProfileColumns + kMiddle;
    double core = static_cast<double>(middle[0]), beside = 0.0;
    for (std::size_t n = 1; n <= half; ++n) core += static_cast<double>(middle[n]) + static_cast<double>(*(middle - n));
    for (std::size_t n = kNear; n <= kFar; ++n)
      beside += static_cast<double>(middle[n]) + static_cast<double>(*(middle - n));
    contrast[row] = core / static_cast<double>(2 * half + 1) - beside / static_cast<double>(2 * (kFar - kNear + 1));
  }
  return contrast;
}

Blocks blocks_of(const Straightened& flat, std::size_t begin, std::size_t end) {
  Blocks blocks;
  blocks.x.reserve((end - std::min(begin, end)) / kBlock);
  blocks.profiles.reserve(blocks.x.capacity());
  for (; begin + kBlock <= end; begin += kBlock) {
    bool whole = true;
    double x = 0.0;
    for (std::size_t row = begin; row < begin + kBlock; ++row) {
      whole = whole && flat.known[row] != 0;
      x += flat.x[row] / kBlock;
    }
    if (!whole) continue;
    blocks.x.push_back(x);
    average(flat.values.data() + begin * kProfileColumns, blocks.profiles.emplace_back().data());
  }
  return blocks;
}

void middles_of(const std::vector<Profile>& profiles, double blur, std::vector<double>* shifts,
                std::vector<double>* likenesses) {
  shifts->clear();
  likenesses->clear();
  for (const Correlation& correlation : correlations(profiles, blur)) {
    const auto most = std::max_element(correlation.begin(), correlation.begin() + kProfileShifts);
    const auto best =
        std::clamp<std::size_t>(static_cast<std::size_t>(most - correlation.begin()), 1, kProfileShifts - 2);
    const double before = correlation[best - 1], peak = correlation[best], after = correlation[best + 1];
    const double bow = std::min(before - 2.0 * peak + after, -1e-6);
    shifts->push_back(shift_of(best) + std::clamp(0.5 * (before - after) / bow, -1.0, 1.0) * kShiftStep);
    likenesses->push_back(peak);
  }
}

std::vector<double> likeness_of(const std::vector<Profile>& profiles, double blur) {
  std::vector<Profile> levels = profiles;
  for (Profile& level : levels) {
    // A background that rises to one side is no fault of the rod's.
    double mean = 0.0, tilt = 0.0, power = 0.0;
    for (const double value : level) mean += value / kProfileColumns;
    for (std::size_t column = 0; column < kProfileColumns; ++column) {
      tilt += (level[column] - mean) * offset_of(column);
      power += offset_of(column) * offset_of(column);
    }
    for (std::size_t column = 0; column < kProfileColumns; ++column)
      level[column] -= mean + tilt / power * offset_of(column);
  }
  std::vector<double> found;
  for (const Correlation& correlation : correlations(levels, blur)) {
    const auto middle = correlation.begin() + kProfileShifts / 2;
    found.push_back(*std::max_element(middle - 3, middle + 4));
  }
  return found;
}

double width_of(const Profile& profile) {
  double beside = 0.0;
  for (std::size_t n = kNear; n <= kFar; ++n) beside += profile[kMiddle + n] + profile[kMiddle - n];
  beside /= static_cast<double>(2 * (kFar - kNear + 1));
  double half = 0.0;
  for (std::size_t column = kMiddle - kCore; column <= kMiddle + kCore; ++column)
    half = column == kMiddle - kCore ? profile[column] : std::max(half, profile[column]);
  half = 0.5 * (half - beside);
  double width = 0.0;
  for (const bool after : {true, false}) {
    const auto level = [&](std::size_t n) { return profile[after ? kMiddle + n : kMiddle - n] - beside; };
    std::size_t outer = 0;
    while (outer <= kMiddle && !(level(outer) < half)) ++outer;
    if (outer == 0 || outer > kMiddle) return kNan;
    const double part = (level(outer - 1) - half) / std::max(level(outer - 1) - level(outer), 1e-12);
    width += (static_cast<double>(outer - 1) + part) * kColumnStep;
  }
  // A solid rod's chord is at half its height at 0.866 of its radius.
  return width / 0.866;
}

}  // namespace guidance
