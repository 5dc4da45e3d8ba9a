// Where along its centreline a rod is, and where it ends; `kernels/rod_tip_reference.py` specifies both.
#include <algorithm>
#include <cmath>
#include <limits>

#include "rod_parts.hpp"

namespace guidance {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kPresent = 0.45;
constexpr double kGapWidths = 1.0;
constexpr double kLeastGapPx = 8.0;
constexpr std::array<double, 10> kRamps{0.06, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5};
constexpr double kFlatWidths = 0.1, kPointWidths = 0.25;
constexpr double kPointSigma = 0.25;
constexpr double kReachWidths = 1.2;
constexpr double kAheadWidths = 2.2;
constexpr double kFloorPx = 0.35;
constexpr double kMostAfter = 0.3;
constexpr double kClean = 0.9;
constexpr double kLeastStep = 0.4;

std::size_t rounded(double value) { return static_cast<std::size_t>(std::nearbyint(value)); }

// Mean over so many rows, what is not known left out; NaN where nothing is.
std::vector<double> smoothed(const std::vector<double>& contrast, std::size_t rows) {
  const std::size_t count = contrast.size(), reach = rows / 2;
  std::vector<double> sums(count + 1), level(count);
  std::vector<std::size_t> counts(count + 1);
  for (std::size_t n = 0; n < count; ++n) {
    const bool known = !std::isnan(contrast[n]);
    sums[n + 1] = sums[n] + (known ? contrast[n] : 0.0);
    counts[n + 1] = counts[n] + (known ? 1 : 0);
  }
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t low = n > reach ? n - reach : 0, high = std::min(n + reach + 1, count);
    const std::size_t known = counts[high] - counts[low];
    level[n] =
        known > 0 ? (sums[high] - sums[low]) / static_cast<double>(known) : std::numeric_limits<double>::quiet_NaN();
  }
  return level;
}

double share_of(const std::vector<std::uint8_t>& flags, std::size_t first, std::size_t last) {
  const auto begin = flags.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = flags.begin() + static_cast<std::ptrdiff_t>(last);
  return static_cast<double>(std::count(begin, end, std::uint8_t{1})) / static_cast<double>(last - first);
}

// Why the end of a run need not be the rod's.
TipState hidden(const Straightened& flat, const Run& run, std::size_t reach) {
  const std::size_t total = flat.known.size(), first = std::min(run.end + 1, total);
  const std::size_t last = std::min(first + reach, total);
  const bool cut = last - first < reach;
  if (cut || share_of(flat.known, first, last) < 0.7) {
    for (std::size_t row = first; row < last; ++row)
      if (flat.inside[row] == 0) return TipState::kOutside;
    return cut ? TipState::kUnclear : TipState::kHidden;
  }
  const std::size_t near = std::max(run.end > reach ? run.end - reach : 0, run.begin);
  return share_of(flat.clean, near, last) < kClean ? TipState::kBesideMetal : TipState::kKnown;
}

double fall_at(double row, double place, double half_rows) {
  return std::clamp(0.5 - (row - place) / (2.0 * half_rows), 0.0, 1.0);
}

// Sums over all rows for every place, half a row from place to place: of the fall, of its square, of its product with
// the values. The loop over the places is the inner one because it vectorises.
GUIDANCE_CLONES void add_falls(const double* weight, const double* value, std::size_t count, double half_rows,
                               double* __restrict mass, double* __restrict squares, double* __restrict products) {
  const double share = 0.5 / half_rows;
  for (std::size_t row = 0; row < count; ++row) {
    const double one_weight = weight[row], one_value = value[row], from = 0.5 - static_cast<double>(row) * share;
    for (std::size_t n = 0; n < 2 * count; ++n) {
      double fall = from + 0.5 * static_cast<double>(static_cast<std::int32_t>(n)) * share;
      fall = fall > 0.0 ? fall : 0.0;
      fall = fall < 1.0 ? fall : 1.0;
      mass[n] += fall * one_weight;
      squares[n] += fall * fall * one_weight;
      products[n] += fall * one_value;
    }
  }
}

// Where between its neighbours the least is, -1 to 1.
double between(const std::vector<double>& left, std::size_t at) {
  if (at == 0 || at + 1 >= left.size() || !std::isfinite(left[at - 1]) || !std::isfinite(left[at]) ||
      !std::isfinite(left[at + 1]))
    return 0.0;
  const double bow = left[at - 1] - 2.0 * left[at] + left[at + 1];
  return bow > 0.0 ? std::clamp(0.5 * (left[at - 1] - left[at + 1]) / bow, -1.0, 1.0) : 0.0;
}

// The ramp that leaves least: value = after + rise * fall, least squares in closed form for every place.
struct Step {
  double error = kInfinity, place = 0.0, rise = 0.0, steepness = 1.0, after = 0.0, ramp = 0.0;
};

Step best_step(const std::vector<double>& value, const std::vector<double>& weight, double total, double width) {
  const std::size_t count = value.size(), places = 2 * count;
  double sum = 0.0, power_all = 0.0;
  for (const double one : value) sum += one;
  const double mean = sum / total;
  for (std::size_t n = 0; n < count; ++n) power_all += weight[n] * (value[n] - mean) * (value[n] - mean);
  std::vector<double> mass(places), squares(places), products(places), left(places), rises(places);
  Step best;
  for (const double ramp : kRamps) {
    const double half_rows = std::nearbyint(10.0 * std::max(ramp * width, 0.5)) / 10.0;
    for (auto* sums : {&mass, &squares, &products}) std::fill(sums->begin(), sums->end(), 0.0);
    add_falls(weight.data(), value.data(), count, half_rows, mass.data(), squares.data(), products.data());
    for (std::size_t n = 0; n < places; ++n) {
      const double power = std::max(squares[n] - mass[n] * mass[n] / total, 1e-9);
      rises[n] = (products[n] - mass[n] * mean) / power;
      left[n] = rises[n] > 0.0 ? power_all - rises[n] * rises[n] * power : kInfinity;
    }
    const auto at = static_cast<std::size_t>(std::min_element(left.begin(), left.end()) - left.begin());
    if (!(left[at] < best.error)) continue;
    double steepness = 0.0;
    for (std::size_t row = 1; row < count; ++row) {
      const double middle = 0.5 * static_cast<double>(at), here = static_cast<double>(row);
      const double fallen = fall_at(here, middle, half_rows) - fall_at(here - 1.0, middle, half_rows);
      steepness += fallen * fallen;
    }
    best = {left[at],
            0.5 * (static_cast<double>(at) + between(left, at)),
            rises[at],
            steepness,
            mean - rises[at] * mass[at] / total,
            ramp};
  }
  return best;
}

}  // namespace

bool longest_run(const std::vector<double>& contrast, const Straightened& flat, Run* run) {
  const std::vector<double> level =
      smoothed(contrast, std::max<std::size_t>(3, rounded(0.35 * flat.width / flat.pitch)));
  std::vector<double> values;
  for (const double value : level)
    if (!std::isnan(value)) values.push_back(value);
  if (values.size() < 4) return false;
  std::vector<double> chosen = values;
  const auto rank = static_cast<std::ptrdiff_t>(0.65 * static_cast<double>(values.size()));
  std::nth_element(chosen.begin(), chosen.begin() + rank, chosen.end());
  double usual = chosen[static_cast<std::size_t>(rank)];
  for (int round = 0; round < 3; ++round) {
    chosen.clear();
    for (const double value : values)
      if (value > kPresent * usual) chosen.push_back(value);
    if (usual <= 0.0 || chosen.empty()) return false;
    usual = middle_of(chosen);
  }
  const double gap = std::max(kGapWidths * flat.width, kLeastGapPx) / flat.pitch;
  std::size_t first = 0, missing = 0;
  bool open = false, found = false;
  for (std::size_t row = 0; row < level.size(); ++row) {
    if (std::isnan(level[row])) continue;
    if (!(level[row] > kPresent * usual)) {
      ++missing;
      continue;
    }
    if (!open || static_cast<double>(missing) > gap) first = row;
    open = true;
    missing = 0;
    if (!found || row - first > run->end - run->begin) *run = {first, row, usual};
    found = true;
  }
  return found;
}

Tip tip_of(const Straightened& flat, const std::vector<double>& contrast, const Run& run, double end_on, bool solid) {
  const double width = flat.width / flat.pitch;
  const std::size_t reach = std::max<std::size_t>(rounded(kReachWidths * width), 8);
  const std::size_t far = std::max<std::size_t>(rounded(kAheadWidths * width), 10);
  const auto unknown = [&](TipState why) { return Tip{flat.x[run.end], kInfinity, why}; };
  if (const TipState why = hidden(flat, run, reach); why != TipState::kKnown) return unknown(why);
  const std::size_t first = std::max(run.end > 2 * reach ? run.end - 2 * reach : 0, run.begin);
  const std::size_t last = std::min(run.end + 1 + far, contrast.size());
  std::vector<double> value, weight;
  double total = 0.0;
  for (std::size_t row = first; row < last; ++row) {
    const bool told = !std::isnan(contrast[row]);
    value.push_back(told ? contrast[row] : 0.0);
    weight.push_back(told ? 1.0 : 0.0);
    total += weight.back();
  }
  if (total < 8.0) return unknown(TipState::kUnclear);
  const Step step = best_step(value, weight, total, width);
  if (!std::isfinite(step.error) || step.rise < kLeastStep * run.usual || !(step.place >= 2.0) ||
      step.place > static_cast<double>(value.size()) - 3.0)
    return unknown(TipState::kUnclear);
  if (step.after > kMostAfter * run.usual) return unknown(TipState::kOverMetal);
  const double pointed = std::clamp((step.ramp - 0.5 * end_on - kFlatWidths) / (kPointWidths - kFlatWidths), 0.0, 1.0);
  const double point = solid ? pointed * step.ramp * flat.width : 0.0;
  const double noise = std::sqrt(std::max(step.error, 0.0) / std::max(total - 3.0, 1.0));
  const double sigma = noise * flat.pitch / std::max(step.rise * std::sqrt(step.steepness), 1e-9);
  return {flat.x[first] + step.place * flat.pitch + point, std::hypot(sigma, kFloorPx, kPointSigma * point),
          TipState::kKnown};
}

}  // namespace guidance
