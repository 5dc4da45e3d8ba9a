// Rods along a strip: sampled, followed as ridges, each looked at closely; `kernels/rod_reference.py` specifies it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ridge.hpp"
#include "rod_parts.hpp"

namespace guidance {
namespace {

constexpr double kTrackPart = 0.6;        // of the least contrast, from where on a ridge is followed
constexpr double kSaturated = 0.005;      // share of a strip at its very least value that is more than chance
constexpr std::size_t kKnownLeast = 100;  // samples, where a range is to be told from them
constexpr std::size_t kRangeSamples = 4096;
constexpr double kLow = 0.02, kHigh = 0.98;
constexpr std::size_t kLanes = 32;
constexpr std::size_t kShortestTrack = 4;  // rows
// Lengths in widths of the rod's shadow unless their name says otherwise.
constexpr double kBeyond = 4.0;
constexpr double kShortest = 3.0;
constexpr double kAstray = 3.0;
constexpr double kShortestPx = 24.0;
constexpr double kCurvedFrom = 6.0;
constexpr double kLikeARod = 0.94;
constexpr double kBlocksAlike = 0.6;
constexpr double kBlockCorrelation = 0.6;
constexpr double kMiddleCorrelation = 0.5;
constexpr double kSteady = 0.55;
constexpr double kLeastRadiusMm = 220.0;
constexpr double kLeastWidth = 0.5, kMostWidth = 1.8;
constexpr double kBeforeWidths = 1.2;
constexpr double kBeforeRows = 8.0;
constexpr double kBeforeKnown = 0.7;

struct Track {
  std::vector<double> x, y;
};

struct Looked {
  RodCurve curve;
  double sigma = 0.0;
  Straightened flat;
};

// The curve through what looks like a rod, and the picture straightened along it; false where too little does.
bool look(const RodRequest& request, float saturated, const Track& track, double width, Looked* looked) {
  const double first = track.x.front(), last = track.x.back();
  std::vector<double> misses, shifts, alike, x, y, weight(track.x.size(), 1.0);
  looked->curve =
      robust_fit(track.x, track.y, weight, last - first > kCurvedFrom * width ? 3 : 1, 0.15 * width, &misses);
  for (const bool coarse : {true, false}) {
    const double reach = coarse ? 0.0 : kBeyond * width;
    const RodCurve& curve = looked->curve;
    looked->flat = straighten(request, saturated, curve, first - reach, last + reach, coarse);
    const std::vector<double>& rows = looked->flat.x;
    // The track's first row lies on a sample's or, as rounding has it, just beside: half a row before both does not.
    const auto row_at = [&](double place) {
      return static_cast<std::size_t>(std::lower_bound(rows.begin(), rows.end(), place - 0.5 * looked->flat.pitch) -
                                      rows.begin());
    };
    const Blocks blocks = blocks_of(looked->flat, row_at(first), row_at(last));
    middles_of(blocks.profiles, looked->flat.blur(), &shifts, &alike);
    x.clear();
    y.clear();
    weight.clear();
    for (std::size_t n = 0; n < blocks.x.size(); ++n) {
      if (!(alike[n] > kMiddleCorrelation)) continue;
      const double slope = curve.slope(blocks.x[n]);
      x.push_back(blocks.x[n]);
      y.push_back(curve.y(blocks.x[n]) +
                  shifts[n] * request.strip.width_at(blocks.x[n]) * std::sqrt(1.0 + slope * slope));
      weight.push_back(alike[n] * alike[n]);
    }
    if (x.size() < 3) return false;
    const Fit fit = line_or_curve(x, y, weight, width);
    looked->curve = fit.curve;
    looked->sigma = fit.sigma;
  }
  return true;
}

double mean_over(const std::vector<double>& values, const Run& run) {
  double sum = 0.0;
  std::size_t count = 0;
  for (std::size_t row = run.begin; row <= run.end; ++row) {
    if (std::isnan(values[row])) continue;
    sum += values[row];
    ++count;
  }
  return sum / static_cast<double>(std::max<std::size_t>(count, 1));
}

bool steady(const std::vector<double>& contrast, const Run& run) {
  std::vector<double> misses;
  for (std::size_t row = run.begin; row <= run.end; ++row)
    if (!std::isnan(contrast[row])) misses.push_back(contrast[row] - run.usual);
  return !misses.empty() && !(spread_of(misses) > kSteady * run.usual);
}

// Whether nothing is known of the picture just before a run.
bool goes_on(const Straightened& flat, const Run& run, double width) {
  const auto rows = static_cast<std::size_t>(std::max(std::nearbyint(kBeforeWidths * width / flat.pitch), kBeforeRows));
  const std::size_t first = run.begin > rows ? run.begin - rows : 0;
  std::size_t known = 0;
  for (std::size_t row = first; row < run.begin; ++row) known += flat.known[row];
  return first == run.begin || static_cast<double>(known) < kBeforeKnown * static_cast<double>(run.begin - first);
}

// How much all blocks together look like a rod, and how wide that is, in expected widths; false where it is none.
bool like_a_rod(const std::vector<Profile>& blocks, double blur, double* score, double* widths) {
  if (blocks.empty()) return false;
  const auto count = static_cast<double>(blocks.size());
  Profile profile{};
  for (const Profile& block : blocks)
    for (std::size_t column = 0; column < kProfileColumns; ++column) profile[column] += block[column] / count;
  *score = likeness_of({profile}, blur)[0];
  if (!(*score >= kLikeARod)) return false;
  const std::vector<double> alike = likeness_of(blocks, blur);
  const auto many = std::count_if(alike.begin(), alike.end(), [](double one) { return one > kBlockCorrelation; });
  if (static_cast<double>(many) < kBlocksAlike * count) return false;
  *widths = width_of(profile);
  return *widths >= kLeastWidth && *widths <= kMostWidth;
}

// Looks closely at a track; false where it is no rod.
bool rod_of(const RodRequest& request, float saturated, double least, const Track& track, bool whole_track, Rod* rod) {
  const double first = track.x.front(), last = track.x.back();
  const double width = request.strip.width_at(0.5 * (first + last));
  const double shortest = std::max(kShortest * width, kShortestPx);
  Looked looked;
  if (last - first < shortest || !look(request, saturated, track, width, &looked)) return false;
  const RodCurve& curve = looked.curve;
  const Straightened& flat = looked.flat;
  if (curve.sharpest() * kLeastRadiusMm * width / request.strip.diameter_mm > 1.0) return false;
  // The last pass' samples lie a small part of a width off the last curve: contrast and profile do not mind.
  const std::vector<double> contrast = contrast_of(flat, false);
  Run run{};
  if (!longest_run(contrast, flat, &run) || run.usual < least || flat.x[run.end] - flat.x[run.begin] < shortest)
    return false;
  if (whole_track && (last - flat.x[run.end] > kAstray * width || flat.x[run.begin] - first > kAstray * width)) {
    // The track goes on along something else, which bends the curve: once more without that.
    Track own;
    for (std::size_t n = 0; n < track.x.size(); ++n) {
      if (track.x[n] < flat.x[run.begin] || track.x[n] > flat.x[run.end]) continue;
      own.x.push_back(track.x[n]);
      own.y.push_back(track.y[n]);
    }
    return own.x.size() >= kShortestTrack && rod_of(request, saturated, least, own, false, rod);
  }
  double score = 0.0, widths = 0.0;
  if (!steady(contrast, run) ||
      !like_a_rod(blocks_of(flat, run.begin, run.end + 1).profiles, flat.blur(), &score, &widths))
    return false;
  const std::vector<double> middle = contrast_of(flat, true);
  // A tube's middle is its faintest part, and what follows it says nothing of a point.
  const bool solid = mean_over(middle, run) > mean_over(contrast, run);
  const Tip tip = tip_of(flat, solid ? middle : contrast, run, request.strip.end_on, solid);
  const double start = flat.x[run.begin];
  const double bow = curve.y(0.5 * (start + tip.x)) - 0.5 * (curve.y(start) + curve.y(tip.x));
  *rod = {curve,
          start,
          tip.x,
          tip.sigma,
          looked.sigma,
          widths * width,
          run.usual,
          score,
          curve.straight() ? 0.0 : std::fabs(bow),
          tip.state,
          goes_on(flat, run, width)};
  return true;
}

std::vector<float> sampled(const RodRequest& request) {
  const RodStrip& strip = request.strip;
  const std::size_t lines = strip.rows * strip.bin_rows, columns = strip.columns * strip.bin_columns;
  const double line_px = strip.row_px / static_cast<double>(strip.bin_rows);
  const double fine_px = strip.column_px / static_cast<double>(strip.bin_columns);
  const double aside = -static_cast<double>(strip.columns / 2) * strip.column_px -
                       0.5 * static_cast<double>(strip.bin_columns - 1) * fine_px;
  std::vector<double> starts(2 * lines), steps(2 * lines);
  for (std::size_t line = 0; line < lines; ++line) {
    const std::array<double, 2> start = strip.at(static_cast<double>(line) * line_px, aside);
    starts[2 * line] = start[0];
    starts[2 * line + 1] = start[1];
    steps[2 * line] = -strip.along[1] * fine_px;
    steps[2 * line + 1] = strip.along[0] * fine_px;
  }
  std::vector<float> values(strip.rows * strip.columns);
  sample_strip(request.picture,
               {starts.data(), steps.data(), lines, columns, strip.bin_rows, strip.bin_columns, request.bounds,
                request.logarithm, request.positive},
               values.data());
  return values;
}

// Infinity where there is none. In lanes, for comparing one by one does not vectorise.
GUIDANCE_CLONES float lowest(const float* values, std::size_t count) {
  std::array<float, kLanes> lanes;
  lanes.fill(std::numeric_limits<float>::infinity());
  std::size_t n = 0;
  for (; n + kLanes <= count; n += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = values[n + lane] < lanes[lane] ? values[n + lane] : lanes[lane];
  for (; n < count; ++n) lanes[0] = values[n] < lanes[0] ? values[n] : lanes[0];
  return *std::min_element(lanes.begin(), lanes.end());
}

GUIDANCE_CLONES std::size_t count_up_to(const float* values, std::size_t count, float limit) {
  std::uint32_t found = 0;
  for (std::size_t n = 0; n < count; ++n) found += values[n] <= limit ? 1 : 0;
  return found;
}

// The value that stands for as much X-ray as the picture can show, where some of the strip is at it; else minus
// infinity.
float saturated_at(const std::vector<float>& values) {
  const float least = lowest(values.data(), values.size());
  const float none = -std::numeric_limits<float>::infinity();
  if (!std::isfinite(least)) return none;
  const double low = static_cast<double>(least);
  const auto limit = static_cast<float>(low + 1e-4 * std::max(std::fabs(low), 1.0));
  const std::size_t floods = count_up_to(values.data(), values.size(), limit);
  return static_cast<double>(floods) > kSaturated * static_cast<double>(values.size()) ? limit : none;
}

// Linear between ranks; the values are put into another order.
double quantile(std::vector<float>& values, double part) {
  const double rank = part * static_cast<double>(values.size() - 1), below = std::floor(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  const auto low = static_cast<double>(*at);
  if (at + 1 == values.end()) return low;
  return low + (rank - below) * (static_cast<double>(*std::min_element(at + 1, values.end())) - low);
}

// How far a strip's values reach, those at both ends left out; 0 where too little is known.
double range_of(const std::vector<float>& values) {
  std::vector<float> known;
  for (const float value : values)
    if (!std::isnan(value)) known.push_back(value);
  if (known.size() < kKnownLeast) return 0.0;
  const std::size_t stride = std::max<std::size_t>(known.size() / kRangeSamples, 1);
  std::vector<float> some;
  for (std::size_t n = 0; n < known.size(); n += stride) some.push_back(known[n]);
  const double high = quantile(some, kHigh);
  return high - quantile(some, kLow);
}

}  // namespace

std::size_t rods_along(const RodRequest& request, Rod* rods) {
  const RodStrip& strip = request.strip;
  const std::vector<float> values = sampled(request);
  double least = request.least;
  if (request.least_of_range > 0.0) least = std::max(least, request.least_of_range * range_of(values));
  if (!(least > 0.0) || !std::isfinite(least)) return 0;
  const float saturated = saturated_at(values);
  const double shift = 0.5 * static_cast<double>(strip.bin_rows - 1) / static_cast<double>(strip.bin_rows);
  const auto x_of = [&](std::size_t row) { return (static_cast<double>(row) + shift) * strip.row_px; };
  const auto y_of = [&](std::size_t column) {
    return (static_cast<double>(column) - static_cast<double>(strip.columns / 2)) * strip.column_px;
  };
  std::vector<double> widths(strip.rows);
  for (std::size_t row = 0; row < strip.rows; ++row) widths[row] = strip.width_at(x_of(row)) / strip.column_px;
  std::vector<std::uint8_t> unknown;
  if (request.metal.cells != nullptr || saturated > -std::numeric_limits<float>::infinity()) {
    unknown.resize(values.size());
    for (std::size_t n = 0; n < values.size(); ++n) unknown[n] = values[n] <= saturated ? 1 : 0;
  }
  if (request.metal.cells != nullptr)
    for (std::size_t row = 0; row < strip.rows; ++row)
      for (std::size_t column = 0; column < strip.columns; ++column)
        if (covers(request.metal, strip.at(x_of(row), y_of(column)))) unknown[row * strip.columns + column] = 1;
  std::vector<std::int32_t> tracks(kMostRods * strip.rows);
  std::array<double, kMostRods> scores{};
  const RidgeAnswer answer = ridge_tracks({values.data(), strip.rows, strip.columns, widths.data(),
                                           unknown.empty() ? nullptr : unknown.data(), kTrackPart * least, kMostRods},
                                          tracks.data(), scores.data());
  std::size_t found = 0;
  for (std::size_t n = 0; n < answer.count; ++n) {
    Track track;
    for (std::size_t row = 0; row < strip.rows; ++row) {
      const std::int32_t column = tracks[n * strip.rows + row];
      if (column < 0) continue;
      track.x.push_back(x_of(row));
      track.y.push_back(y_of(static_cast<std::size_t>(column)));
    }
    if (track.x.size() >= kShortestTrack && rod_of(request, saturated, least, track, true, rods + found)) ++found;
  }
  return found;
}

}  // namespace guidance
