// Tunnel radii of lines and Lipschitz bounds of boxes of lines; many lines at once, in threads.
#include "corridor.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

namespace guidance {

namespace {

constexpr double kNone = -1.0;
constexpr double kFar = 1e6;
constexpr std::size_t kMostSamples = 4096;  // per side: 2 m at the usual step
constexpr double kSurfaceSearch_mm = 4.0;   // past a thin place, for where the axis itself leaves the solid
constexpr std::size_t kChunk = 64;

using Vec = std::array<double, 3>;

struct Line {
  Vec at, along;  // along: per mm of t
  double length;  // of `along`
};

Line line_of(const LineBatch& batch, const double* row) {
  const double* chart = batch.charts + static_cast<std::size_t>(row[0]) * kChartNumbers;
  Line line{};
  for (std::size_t n = 0; n < 3; ++n) {
    line.at[n] = chart[n] + row[1] * chart[3 + n] + row[2] * chart[6 + n] + row[3] * chart[9 + n];
    line.along[n] = chart[3 + n] + row[4] * chart[6 + n] + row[5] * chart[9 + n];
  }
  line.length = std::sqrt(1.0 + row[4] * row[4] + row[5] * row[5]);
  return line;
}

// Of a corridor of that length: its ends take no more than all of it, and it is no wider than the rules have it.
double widest(const LineRules& rules, double length) {
  const double by_ends = length / ((rules.tip_inside ? 1.0 : 2.0) * std::max(rules.end_factor, 0.01));
  return rules.aspect > 0.0 ? std::min(by_ends, length / rules.aspect) : by_ends;
}

class Field {
 public:
  explicit Field(const LineGrid& grid) : grid_(grid), per_mm_(1.0 / grid.spacing_mm) {}

  // Trilinear; far outside the solid where the grid ends.
  double at(const float* values, const Line& line, double t) const {
    const double x = (line.at[0] + t * line.along[0] - grid_.origin[0]) * per_mm_;
    const double y = (line.at[1] + t * line.along[1] - grid_.origin[1]) * per_mm_;
    const double z = (line.at[2] + t * line.along[2] - grid_.origin[2]) * per_mm_;
    if (!(x >= 0.0 && y >= 0.0 && z >= 0.0 && x < static_cast<double>(grid_.columns - 1) &&
          y < static_cast<double>(grid_.rows - 1) && z < static_cast<double>(grid_.slices - 1)))
      return kFar;
    const auto i = static_cast<std::size_t>(x), j = static_cast<std::size_t>(y), k = static_cast<std::size_t>(z);
    const auto fx = static_cast<float>(x - static_cast<double>(i)), fy = static_cast<float>(y - static_cast<double>(j)),
               fz = static_cast<float>(z - static_cast<double>(k));
    const std::size_t row = grid_.columns, slice = grid_.columns * grid_.rows;
    const float* corner = values + k * slice + j * row + i;
    const auto mix = [&](const float* p) { return p[0] + fx * (p[1] - p[0]); };
    const float low = mix(corner) + fy * (mix(corner + row) - mix(corner));
    const float* above = corner + slice;
    const float high = mix(above) + fy * (mix(above + row) - mix(above));
    return static_cast<double>(low + fz * (high - low));
  }

 private:
  LineGrid grid_;
  double per_mm_;
};

struct Sample {
  double t, depth;
};

struct Samples {
  std::array<std::vector<Sample>, 2> side;  // 0: t >= 0, 1: t < 0
  Samples() {
    for (auto& samples : side) samples.reserve(kMostSamples);
  }
};

// What one line is.
class Measure {
 public:
  Measure(const LineFields& fields, const LineRules& rules) : fields_(fields), rules_(rules), field_(fields.grid) {}

  void operator()(const LineBatch& batch, std::size_t n, double* out, Samples& samples) const {
    const Line line = line_of(batch, batch.lines + n * kLineNumbers);
    std::fill_n(out, kTunnelNumbers, 0.0);
    out[0] = kNone;
    if (fields_.gate != nullptr && !(field_.at(fields_.gate, line, 0.0) <= 0.0)) return;
    std::array<double, 2> end{};
    const std::size_t sides = rules_.tip_inside ? 1 : 2;
    for (std::size_t side = 0; side < sides; ++side)
      if (!walk(line, side, samples.side[side], end[side])) return;
    const double length = (end[0] + end[1]) * line.length;
    if (length < rules_.length_mm) return;
    double radius = widest(rules_, length), narrowest = 0.5 * (end[0] - end[1]);
    for (std::size_t side = 0; side < sides; ++side)
      for (const Sample& sample : samples.side[side]) {
        const double t = side == 0 ? sample.t : -sample.t;
        const double to_end = rules_.tip_inside ? end[0] - t : std::min(end[0] - t, end[1] + t);
        if (sample.depth >= radius ||
            to_end * line.length < rules_.end_factor * std::max(sample.depth, rules_.radius_mm))
          continue;
        radius = sample.depth;
        narrowest = t;
      }
    out[0] = radius;
    out[1] = -end[1];
    out[2] = end[0];
    out[3] = narrowest;
  }

 private:
  // Out to where the solid ends; false where it ends before what must be reached.
  bool walk(const Line& line, std::size_t side, std::vector<Sample>& samples, double& end) const {
    const float* reach = side == 0 ? fields_.reach_plus : fields_.reach_minus;
    const double sign = side == 0 ? 1.0 : -1.0, step = rules_.step_mm / line.length;
    bool met = reach == nullptr;
    samples.clear();
    double t = 0.0, depth = 0.0;
    for (; samples.size() < kMostSamples; t += step) {
      depth = -field_.at(fields_.solid, line, sign * t);
      if (!(depth >= rules_.thin_mm)) break;
      samples.push_back({t, depth});
      met = met || field_.at(reach, line, sign * t) <= 0.0;
    }
    if (samples.empty() || !met) return false;
    end = surface(line, sign, samples.back(), t, depth);
    return true;
  }

  // Where the axis crosses the surface, or comes nearest to it, from the last sample in the solid on.
  double surface(const Line& line, double sign, const Sample& inside, double t, double depth) const {
    const double step = 0.25 * rules_.step_mm / line.length, last = t + kSurfaceSearch_mm / line.length;
    double before_t = inside.t, before = inside.depth;
    for (double s = inside.t + step; s <= last; s += step) {
      depth = -field_.at(fields_.solid, line, sign * s);
      if (!(depth > 0.0)) return before_t + (s - before_t) * before / (before - std::max(depth, -kFar));
      if (s > t && depth > before) return before_t;
      before_t = s;
      before = depth;
    }
    return before_t;
  }

  const LineFields& fields_;
  const LineRules& rules_;
  Field field_;
};

// How wide a tunnel can be along any line of a box around a centre line.
class Bound {
 public:
  Bound(const LineFields& fields, const LineRules& rules, double cutoff)
      : fields_(fields), rules_(rules), field_(fields.grid), cutoff_(cutoff) {}

  void operator()(const LineBatch& batch, std::size_t n, double* out, Samples& samples) const {
    const double* row = batch.lines + n * kLineNumbers;
    const Line line = line_of(batch, row);
    const Spread spread{row[6], row[7], row[8], row[9]};
    *out = bound(line, longest(row), shortest(row), spread, samples);
  }

 private:
  struct Spread {
    double u, v, a, b;
    double at(double t) const { return std::hypot(u + t * a, v + t * b); }
    double rise() const { return std::hypot(a, b); }
  };
  // Along one side: no line of the box leaves the solid before `sure`, none stays in it beyond `possible`.
  struct Reach {
    double sure = 0.0, possible = 0.0;
    bool met = false;
  };

  static double longest(const double* row) {
    return std::sqrt(1.0 + std::pow(std::abs(row[4]) + row[8], 2) + std::pow(std::abs(row[5]) + row[9], 2));
  }
  static double shortest(const double* row) {
    return std::sqrt(1.0 + std::pow(std::max(std::abs(row[4]) - row[8], 0.0), 2) +
                     std::pow(std::max(std::abs(row[5]) - row[9], 0.0), 2));
  }

  double bound(const Line& line, double longest, double shortest, const Spread& spread, Samples& samples) const {
    if (fields_.gate != nullptr && !(field_.at(fields_.gate, line, 0.0) <= spread.at(0.0))) return kNone;
    std::array<Reach, 2> reach;
    const std::size_t sides = rules_.tip_inside ? 1 : 2;
    for (std::size_t side = 0; side < sides; ++side) {
      reach[side] = walk(line, side, spread, samples.side[side]);
      if (!reach[side].met) return kNone;
    }
    const double most = (reach[0].possible + reach[1].possible) * longest;
    if (most < rules_.length_mm) return kNone;
    if (rules_.center_mm > 0.0) {
      if (reach[0].sure - reach[1].possible > 2.0 * rules_.center_mm ||
          reach[1].sure - reach[0].possible > 2.0 * rules_.center_mm)
        return kNone;  // its middle is nearer to another plane: found there
      const double least = 0.5 * rules_.length_mm / longest - rules_.center_mm;
      for (Reach& side : reach) side.sure = std::max(side.sure, least);
    }
    double widest = guidance::widest(rules_, most);
    for (std::size_t side = 0; side < sides; ++side)
      for (const Sample& sample : samples.side[side]) {
        if (sample.depth >= widest) continue;
        const double t = side == 0 ? sample.t : -sample.t;
        const double to_end = rules_.tip_inside ? reach[0].sure - t : std::min(reach[0].sure - t, reach[1].sure + t);
        if (to_end * shortest >= rules_.end_factor * std::max(sample.depth, rules_.radius_mm)) widest = sample.depth;
      }
    return widest > cutoff_ ? widest : kNone;
  }

  Reach walk(const Line& line, std::size_t side, const Spread& spread, std::vector<Sample>& samples) const {
    const float* target = side == 0 ? fields_.reach_plus : fields_.reach_minus;
    const double sign = side == 0 ? 1.0 : -1.0, step = rules_.step_mm / line.length;
    const double change = line.length + spread.rise();  // of the depth that all lines have, per t
    const double cutoff = std::max(cutoff_, rules_.thin_mm);
    Reach reach;
    reach.met = target == nullptr;
    bool sure = true;
    samples.clear();
    for (double t = 0.0; samples.size() < kMostSamples;) {
      const double depth = -field_.at(fields_.solid, line, sign * t), off = spread.at(t);
      reach.possible = t;
      if (!(depth + off >= rules_.thin_mm)) break;
      samples.push_back({t, depth + off});
      // Steps are such that what lies between two samples cannot be narrower than `cutoff`, where that is known.
      double ahead = (depth + off - cutoff) / line.length;
      if (!reach.met) {
        const double gap = field_.at(target, line, sign * t) - off;
        if (gap <= 0.0) {
          reach.met = true;
          reach.sure = t;
        }
        ahead = std::min(ahead, gap / change);
      }
      // Two balls that overlap: what lies between the samples is in the solid too.
      sure = sure && depth - off >= 0.5 * step * change;
      if (sure) {
        reach.sure = std::max(reach.sure, t);
        ahead = std::min(ahead, (depth - off) / change);
      }
      t += std::max(step, ahead);
    }
    reach.possible += kSurfaceSearch_mm / line.length;  // ends are measured out to the surface itself
    return reach;
  }

  const LineFields& fields_;
  const LineRules& rules_;
  Field field_;
  double cutoff_;
};

template <class Work>
void for_all(const Work& work, const LineBatch& batch, std::size_t numbers, double* out) {
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    Samples samples;
    for (std::size_t first; (first = next.fetch_add(kChunk, std::memory_order_relaxed)) < batch.count;)
      for (std::size_t n = first; n < std::min(first + kChunk, batch.count); ++n)
        work(batch, n, out + n * numbers, samples);
  };
  std::vector<std::jthread> helpers;
  const std::size_t chunks = (batch.count + kChunk - 1) / kChunk;
  for (unsigned n = 1; n < std::min<std::size_t>(batch.threads, chunks); ++n) helpers.emplace_back(run);
  run();
}

}  // namespace

void measure_lines(const LineFields& fields, const LineRules& rules, const LineBatch& batch, double* out) {
  for_all(Measure(fields, rules), batch, kTunnelNumbers, out);
}

void bound_lines(const LineFields& fields, const LineRules& rules, const LineBatch& batch, double cutoff_mm,
                 double* out) {
  for_all(Bound(fields, rules, cutoff_mm), batch, 1, out);
}

}  // namespace guidance
