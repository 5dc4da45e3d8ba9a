// Where labels stand: what overlay/labels.py specifies, for all labels of a picture at once.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "tubes.hpp"

namespace guidance {
namespace {

constexpr std::array<double, 3> kRings{1.0, 1.7, 2.4};
constexpr std::array<double, 8> kTurnsDeg{0, 45, -45, 90, -90, 135, -135, 180};
constexpr int kSamples = 24, kAnchors = 33;
constexpr double kPointCostPx = 100.0, kMoveCostPx = 20.0;

struct Place {
  double left, top, width, height;
};

template <class T>
T row_of(const void* rows, std::size_t index) {
  T row;
  std::memcpy(&row, static_cast<const std::uint8_t*>(rows) + sizeof row * index, sizeof row);
  return row;
}

using Numbers4 = std::array<std::int32_t, 4>;
using Numbers3 = std::array<std::int32_t, 3>;
using Numbers2 = std::array<std::int32_t, 2>;

// px^2 that a box and a label have in common.
double common(const Place& place, double left, double top, double right, double bottom) {
  const double u = std::min(right, place.left + place.width) - std::max(left, place.left);
  const double v = std::min(bottom, place.top + place.height) - std::max(top, place.top);
  return u > 0.0 && v > 0.0 ? u * v : 0.0;
}

bool touches(const Place& place, double u, double v, double radius) {
  const double beside_u = std::abs(u - (place.left + place.width / 2.0)) - place.width / 2.0;
  const double beside_v = std::abs(v - (place.top + place.height / 2.0)) - place.height / 2.0;
  return std::max(beside_u, beside_v) < radius;
}

// What a label there would hide, in px^2: words, marks, the labels placed so far, tubes and their entry marks.
double covered(const LabelRequest& request, const Place& place, const void* spots, std::size_t placed) {
  double cost = 0.0;
  for (std::size_t i = 0; i < request.box_count; ++i) {
    const auto box = row_of<Numbers4>(request.boxes, i);
    cost += common(place, box[0], box[1], box[2], box[3]);
  }
  for (std::size_t i = 0; i < placed; ++i) {
    const auto spot = row_of<Numbers3>(spots, i);
    const auto size = row_of<Numbers2>(request.sizes, i);
    if (spot[2]) cost += common(place, spot[0], spot[1], double(spot[0]) + size[1], double(spot[1]) + size[0]);
  }
  int points = 0;
  for (std::size_t i = 0; i < request.count; ++i) {
    const auto tube = row_of<TubeSummary>(request.summary, i);
    if (tube.drawn == 0.0) continue;
    points += touches(place, tube.start_u, tube.start_v, tube.entry_reach_px);
    for (int sample = 0; sample < kSamples; ++sample) {
      const double part = sample / (kSamples - 1.0);
      points += touches(place, tube.start_u + part * (tube.end_u - tube.start_u),
                        tube.start_v + part * (tube.end_v - tube.start_v), tube.half_width_px);
    }
  }
  return cost + kPointCostPx * points;
}

// The centreline's entry end; where that is off the picture, the middle of what is on it.
bool find_anchor(const LabelRequest& request, const TubeSummary& tube, double& u, double& v) {
  const auto inside = [&](double part) {
    u = tube.start_u + part * (tube.end_u - tube.start_u);
    v = tube.start_v + part * (tube.end_v - tube.start_v);
    return -0.5 <= u && u <= request.columns - 0.5 && -0.5 <= v && v <= request.rows - 0.5;
  };
  if (inside(0.0)) return true;
  std::array<double, kAnchors> parts;
  std::size_t count = 0;
  for (int i = 0; i < kAnchors; ++i)
    if (inside(i / (kAnchors - 1.0))) parts[count++] = i / (kAnchors - 1.0);
  return count > 0 && inside(parts[count / 2]);
}

Numbers3 spot_of(const LabelRequest& request, std::size_t index, const void* spots) {
  const auto tube = row_of<TubeSummary>(request.summary, index);
  const auto size = row_of<Numbers2>(request.sizes, index);
  double anchor_u = 0.0, anchor_v = 0.0;
  if (tube.drawn == 0.0 || !find_anchor(request, tube, anchor_u, anchor_v)) return {0, 0, 0};
  Place place{0.0, 0.0, double(size[1]), double(size[0])};
  const double reach = tube.entry_reach_px + request.gap_px;
  const double most_left = std::max(request.columns - place.width, 0.0);
  const double most_top = std::max(request.rows - place.height, 0.0);
  const double heading = tube.down_the_barrel != 0.0 ? -std::numbers::pi / 4.0
                                                     : std::atan2(tube.start_v - tube.end_v, tube.start_u - tube.end_u);
  Numbers3 best{0, 0, 1};
  double least = std::numeric_limits<double>::infinity();
  for (const double ring : kRings)
    for (const double turn_deg : kTurnsDeg) {
      const double turned = heading + turn_deg * (std::numbers::pi / 180.0);
      const double u = anchor_u + (ring * reach + place.width / 2.0) * std::cos(turned) - place.width / 2.0;
      const double v = anchor_v + (ring * reach + place.height / 2.0) * std::sin(turned) - place.height / 2.0;
      place.left = std::clamp(std::nearbyint(u), 0.0, most_left);
      place.top = std::clamp(std::nearbyint(v), 0.0, most_top);
      double cost = kMoveCostPx * std::max(std::abs(place.left - u) + std::abs(place.top - v) - 1.0, 0.0);
      if (cost < least) cost += covered(request, place, spots, index);
      if (cost < least) {
        best = {static_cast<std::int32_t>(place.left), static_cast<std::int32_t>(place.top), 1};
        least = cost;
      }
      if (cost == 0.0) return best;  // nearest to the entry, straight away from the target: none can be better
    }
  return best;
}

}  // namespace

// For each tube's label left, top and 1, or 0 0 0 where nothing of its centreline is on the picture; (count, 3) int32.
void label_spots(const LabelRequest& request, void* spots) {
  for (std::size_t index = 0; index < request.count; ++index) {
    const Numbers3 spot = spot_of(request, index, spots);
    std::memcpy(static_cast<std::uint8_t*>(spots) + sizeof spot * index, &spot, sizeof spot);
  }
}

}  // namespace guidance
