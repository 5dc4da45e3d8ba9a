// Straight steel of the start: what the reference would be without it, and how far it has been pulled back.
#include "cement_steel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace guidance::cement {
namespace {

constexpr double kReach = 2.5;         // half widths of the line that is told: where the shaft is looked for
constexpr double kMargin = 4.0;        // bins
constexpr std::size_t kSides = 3;      // bins on either side that tell what lies below
constexpr float kLeastExcess = 0.08F;  // attenuation: less is no steel
constexpr float kEdge = 0.05F;         // of the most: beyond it there is none of its shadow left
constexpr float kThere = 0.4F;         // of the usual excess
constexpr double kBridge = 3.0;        // widths without it that do not end a shaft
constexpr int kRounds = 2;             // of making the line straight
constexpr int kAlong = 2;              // places up and down, averaged beside the shaft
constexpr float kDoubt = 0.01F;        // attenuation: of the reference without it, at least
constexpr int kDoubtPlaces = 12;       // up and down, over which it is told

struct Line {
  double u, v, du, dv;  // a point, and the unit vector to the tip
  std::array<double, 2> at(double s, double x) const { return {u + s * du - x * dv, v + s * dv + x * du}; }
};

struct Reference {
  const float* values;
  const std::uint8_t* valid;
  std::size_t rows, columns;
  // Bilinear; not a number where it is not known.
  float at(const std::array<double, 2>& place) const {
    const double u = place[0], v = place[1];
    if (!(u >= 0.0) || !(v >= 0.0) || u >= static_cast<double>(columns) - 1.0 || v >= static_cast<double>(rows) - 1.0)
      return std::numeric_limits<float>::quiet_NaN();
    const auto c = static_cast<std::size_t>(u), r = static_cast<std::size_t>(v);
    const std::size_t n = r * columns + c;
    if (!(valid[n] && valid[n + 1] && valid[n + columns] && valid[n + columns + 1]))
      return std::numeric_limits<float>::quiet_NaN();
    const auto fu = static_cast<float>(u - static_cast<double>(c)), fv = static_cast<float>(v - static_cast<double>(r));
    const float top = values[n] + fu * (values[n + 1] - values[n]);
    const float bottom = values[n + columns] + fu * (values[n + columns + 1] - values[n + columns]);
    return top + fv * (bottom - top);
  }
  // Mean of what is known of bins across, from `x` on outwards, some places up and down.
  float beside(const Line& line, double s, double x) const {
    float sum = 0.0F, count = 0.0F;
    const double outwards = x < 0.0 ? -1.0 : 1.0;
    for (int up = -kAlong; up <= kAlong; ++up)
      for (std::size_t n = 0; n < kSides; ++n) {
        const float value = at(line.at(s + up, x + outwards * static_cast<double>(n)));
        if (!std::isfinite(value)) continue;
        sum += value;
        count += 1.0F;
      }
    return count > 0.0F ? sum / count : std::numeric_limits<float>::quiet_NaN();
  }
};

// What lies below a strip by what lies beside it.
struct Sides {
  float left, right;
  bool known() const { return std::isfinite(left) || std::isfinite(right); }
  float below(double x, double half) const {
    if (!std::isfinite(left)) return right;
    if (!std::isfinite(right)) return left;
    const auto part = static_cast<float>(std::clamp(0.5 + 0.5 * x / half, 0.0, 1.0));
    return left + part * (right - left);
  }
};

Sides sides_of(const Reference& reference, const Line& line, double s, double middle, double half) {
  return {reference.beside(line, s, middle - half), reference.beside(line, s, middle + half)};
}

float median_of(std::vector<float>& values) {
  if (values.empty()) return 0.0F;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Excess across, by bins from -reach on: medians between two places along.
std::vector<float> profile_of(const Reference& reference, const Line& line, double from, double to, int reach) {
  std::vector<std::vector<float>> columns(static_cast<std::size_t>(2 * reach + 1));
  for (double s = from; s <= to; s += 1.0) {
    const Sides sides = sides_of(reference, line, s, 0.0, reach);
    if (!sides.known()) continue;
    for (int x = -reach; x <= reach; ++x) {
      const float value = reference.at(line.at(s, x));
      if (std::isfinite(value)) columns[static_cast<std::size_t>(x + reach)].push_back(value - sides.below(x, reach));
    }
  }
  std::vector<float> profile;
  profile.reserve(columns.size());
  for (auto& values : columns) profile.push_back(median_of(values));
  return profile;
}

// Middle of what stands out of a profile, bins; not a number where nothing does.
double middle_of(const std::vector<float>& profile) {
  const float most = *std::max_element(profile.begin(), profile.end());
  if (most < kLeastExcess) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0.0, moment = 0.0;
  for (std::size_t n = 0; n < profile.size(); ++n) {
    const double weight = std::max(profile[n] - 0.5F * most, 0.0F);
    sum += weight;
    moment += weight * static_cast<double>(n);
  }
  return moment / sum - 0.5 * static_cast<double>(profile.size() - 1);
}

}  // namespace

bool find_shaft(const float* values, const std::uint8_t* valid, std::size_t rows, std::size_t columns,
                const std::array<double, 5>& capsule, Shaft& shaft) {
  const Reference reference{values, valid, rows, columns};
  double length = std::hypot(capsule[2] - capsule[0], capsule[3] - capsule[1]);
  const double widest = std::ceil(kReach * capsule[4] + kMargin);
  // No line, none that numbers can tell, or one that is wider than the picture is long.
  if (!(length > 0.0) || !std::isfinite(length) || !(capsule[4] >= 0.0)) return false;
  if (!(2.0 * widest <= std::hypot(static_cast<double>(rows), static_cast<double>(columns)))) return false;
  const int reach = static_cast<int>(widest);
  Line line{capsule[0], capsule[1], (capsule[2] - capsule[0]) / length, (capsule[3] - capsule[1]) / length};
  // Only as far as the picture goes.
  double enters = 0.0, leaves = length;
  const auto clip = [&](double start, double step, std::size_t size) {
    const double most = static_cast<double>(size) - 1.0;
    if (std::abs(step) < 1e-9) {
      if (start < 0.0 || start > most) leaves = -1.0;
      return;
    }
    enters = std::max(enters, std::min(-start / step, (most - start) / step));
    leaves = std::min(leaves, std::max(-start / step, (most - start) / step));
  };
  clip(line.u, line.du, columns);
  clip(line.v, line.dv, rows);
  length = leaves - enters;
  if (!(length >= 2.0 * reach)) return false;
  const auto entry = line.at(enters, 0.0);
  line.u = entry[0];
  line.v = entry[1];
  std::vector<float> profile;
  for (int round = 0; round < kRounds; ++round) {
    const double near = middle_of(profile_of(reference, line, 0.0, 0.5 * length, reach));
    const double far = middle_of(profile_of(reference, line, 0.5 * length, length, reach));
    if (!std::isfinite(near) || !std::isfinite(far)) return false;
    // Middles of the two halves: a quarter and three quarters of the way.
    const double slope = (far - near) / (0.5 * length);
    const auto start = line.at(0.0, near - 0.25 * length * slope), end = line.at(length, far + 0.25 * length * slope);
    length = std::hypot(end[0] - start[0], end[1] - start[1]);
    line = {start[0], start[1], (end[0] - start[0]) / length, (end[1] - start[1]) / length};
  }
  profile = profile_of(reference, line, 0.0, length, reach);
  const float most = *std::max_element(profile.begin(), profile.end());
  if (most < kLeastExcess) return false;
  std::size_t first = static_cast<std::size_t>(reach), last = first;
  while (first > 0 && profile[first - 1] > kEdge * most) --first;
  while (last + 1 < profile.size() && profile[last + 1] > kEdge * most) ++last;
  const double half = std::max(0.5 * static_cast<double>(last - first), 1.0) + 1.0;
  if (half + 1.0 > reach) return false;
  const double wide = half + 1.0;  // where what lies beside it begins
  // As far as the reference shows it, both ways.
  const double whole = std::hypot(static_cast<double>(rows), static_cast<double>(columns));
  std::vector<float> along;
  for (double s = 0.0; s <= length; s += 1.0) {
    const Sides sides = sides_of(reference, line, s, 0.0, wide);
    const float value = reference.at(line.at(s, 0.0));
    if (sides.known() && std::isfinite(value)) along.push_back(value - sides.below(0.0, wide));
  }
  const float usual = median_of(along);
  if (usual < kLeastExcess) return false;
  const auto there = [&](double s) {
    const Sides sides = sides_of(reference, line, s, 0.0, wide);
    float sum = 0.0F, count = 0.0F;
    for (double x = -0.3 * half; x <= 0.3 * half; x += 0.3 * half) {
      const float value = reference.at(line.at(s, x));
      if (!std::isfinite(value) || !sides.known()) continue;
      sum += value - sides.below(x, wide);
      count += 1.0F;
    }
    return count > 0.0F && sum > kThere * usual * count;
  };
  const auto end_of = [&](double s, double step) {
    double found = s;
    for (double off = 0.0; off <= whole && std::abs(s - found) <= 2.0 * kBridge * half; off += 1.0, s += step)
      if (there(s)) found = s;
    return found;
  };
  const double middle = 0.5 * length;
  const double outside = end_of(middle, -1.0), tip = end_of(middle, 1.0);
  if (tip - outside < 4.0 * half) return false;
  const auto places = static_cast<std::size_t>(tip - outside + half) + 1;
  const auto begin = line.at(outside, 0.0), end = line.at(tip, 0.0);
  shaft = Shaft{};
  shaft.ends = {begin[0], begin[1], end[0], end[1]};
  shaft.half = half;
  shaft.run = std::max<std::size_t>(4, static_cast<std::size_t>(2.0 * half));
  for (auto* numbers : {&shaft.excess, &shaft.doubt, &shaft.over, &shaft.left, &shaft.right, &shaft.spread,
                        &shaft.weight, &shaft.smoothed})
    numbers->assign(places, 0.0F);
  shaft.free = shaft.wanted = shaft.filled = places;
  std::vector<Sides> beside(places);
  std::vector<float> missed(places, 0.0F), tried(places, 0.0F);
  const double strip = 2.0 * wide + static_cast<double>(kSides);
  for (std::size_t n = 0; n < places; ++n) {
    const double s = outside + static_cast<double>(n);
    beside[n] = sides_of(reference, line, s, 0.0, wide);
    // How well both sides tell what lies between them is seen on strips beside it.
    for (const double off : {-strip, strip}) {
      const Sides other = sides_of(reference, line, s, off, wide);
      const float value = reference.beside(line, s, off - std::copysign(0.5 * static_cast<double>(kSides - 1), off));
      if (!std::isfinite(other.left) || !std::isfinite(other.right) || !std::isfinite(value)) continue;
      const float wrong = value - 0.5F * (other.left + other.right);
      missed[n] += wrong * wrong;
      tried[n] += 1.0F;
    }
  }
  for (std::size_t n = 0; n < places; ++n) {
    float sum = 0.0F, count = 0.0F;
    const auto reach_n = static_cast<std::size_t>(kDoubtPlaces);
    for (std::size_t k = n > reach_n ? n - reach_n : 0; k <= std::min(n + reach_n, places - 1); ++k) {
      sum += missed[k];
      count += tried[k];
    }
    shaft.doubt[n] = kDoubt * kDoubt + (count > 0.0F ? sum / count : 0.0F);
  }
  // Every bin of the strip, by where it lies along and across.
  const double outer = half + std::max(half, 3.0);
  const auto bound = [](double value, std::size_t size) {
    return static_cast<std::size_t>(std::clamp(value, 0.0, static_cast<double>(size)));
  };
  const std::size_t first_r = bound(std::min(begin[1], end[1]) - outer - half, rows);
  const std::size_t end_r = bound(std::max(begin[1], end[1]) + outer + half + 2.0, rows);
  const std::size_t first_c = bound(std::min(begin[0], end[0]) - outer - half, columns);
  const std::size_t end_c = bound(std::max(begin[0], end[0]) + outer + half + 2.0, columns);
  for (std::size_t r = first_r; r < end_r; ++r)
    for (std::size_t c = first_c; c < end_c; ++c) {
      const double u = static_cast<double>(c) - begin[0], v = static_cast<double>(r) - begin[1];
      const double s = u * line.du + v * line.dv, x = v * line.du - u * line.dv;
      if (s < -0.5 || s >= static_cast<double>(places) - 0.5 || std::abs(x) > outer) continue;
      const auto place = static_cast<std::size_t>(s + 0.5);
      const std::size_t at = r * columns + c;
      if (!valid[at] || !beside[place].known()) continue;
      const bool on = std::abs(x) <= half;
      SteelBin bin{
          static_cast<std::uint32_t>(at), static_cast<std::uint16_t>(place),
          on ? (std::abs(x) <= 0.5 * half ? Part::kCore : Part::kShaft) : (x < 0.0 ? Part::kLeft : Part::kRight), 0.0F,
          0.0F};
      if (on) {
        bin.excess = values[at] - beside[place].below(x, wide);
        const float across = std::isfinite(beside[place].left) && std::isfinite(beside[place].right)
                                 ? (beside[place].right - beside[place].left) / static_cast<float>(2.0 * wide)
                                 : 0.0F;
        bin.slope = across * across;
        if (bin.part == Part::kCore) {
          shaft.excess[place] += bin.excess;
          shaft.weight[place] += 1.0F;
        }
      }
      shaft.bins.push_back(bin);
    }
  for (std::size_t n = 0; n < places; ++n) {
    shaft.excess[n] = shaft.weight[n] > 0.0F ? shaft.excess[n] / shaft.weight[n] : 0.0F;
    if (shaft.excess[n] < kThere * usual) shaft.excess[n] = std::min(shaft.excess[n], 0.0F);
  }
  return true;
}

}  // namespace guidance::cement
