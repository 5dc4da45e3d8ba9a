// Tubes of true diameter as strokes: what geometry/tube.py and overlay/path_lines.py specify, for all paths at once.
#include "tubes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.hpp"
#include "tube_geometry.hpp"

namespace guidance {
namespace {

constexpr double kChordPx = 0.05;
constexpr double kCenterlinePart = 0.7;
constexpr double kTickBeyondPx = 3.0, kLongTickBeyondPx = 8.0, kLongTickEveryMm = 50.0, kLeastTickDistancePx = 5.0;
constexpr double kEntryRadiusPx = 7.0, kEntryBeyondTubePx = 4.0, kEntryCrossPx = 6.0;
constexpr double kTargetRadiusPx = 9.0, kTargetCrossPx = 4.0;
constexpr std::size_t kMostCorners = 96;

constexpr std::array<Uv, 4> kFourWays{{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}};

template <class T>
T at(const void* numbers, std::size_t index) {
  T number;
  std::memcpy(&number, static_cast<const std::uint8_t*>(numbers) + sizeof number * index, sizeof number);
  return number;
}

// Strokes one after the other, all of one colour.
class Pen {
 public:
  Pen(void* strokes, const std::uint8_t* color, double width_px)
      : next_(static_cast<std::uint8_t*>(strokes)), half_width_(static_cast<float>(width_px / 2.0)) {
    for (std::size_t i = 0; i < 3; ++i) color_[i] = color[i];
  }
  void width(double width_px) { half_width_ = static_cast<float>(width_px / 2.0); }
  void segment(const Uv& a, const Uv& b) {
    const float stroke[kStrokeNumbers] = {static_cast<float>(a.u),
                                          static_cast<float>(a.v),
                                          static_cast<float>(b.u),
                                          static_cast<float>(b.v),
                                          half_width_,
                                          color_[0],
                                          color_[1],
                                          color_[2]};
    std::memcpy(next_, stroke, sizeof stroke);
    next_ += sizeof stroke;
    ++count_;
  }
  void closed(const Uv* corners, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) segment(corners[i], corners[i + 1 < count ? i + 1 : 0]);
  }
  std::size_t count() const { return count_; }

 private:
  std::uint8_t* next_;
  float half_width_;
  float color_[3];
  std::size_t count_ = 0;
};

// Half the width of the tube at its middle tick, or below 0 where no tick is in front of the source.
double draw_ticks(const Tube& tube, const TubePlan& plan, std::size_t index, double focal_px, bool said,
                  const TubeStyle& style, Pen& pen) {
  const auto begin = static_cast<std::size_t>(at<std::int64_t>(plan.tick_ends, index));
  const auto end = static_cast<std::size_t>(at<std::int64_t>(plan.tick_ends, index + 1));
  const bool all = std::min(tube.entry_w, tube.target_w) >= 2.0 * kNearestMm;
  const auto seen = [&](std::size_t tick) {
    return all || tube.on_axis(at<double>(plan.tick_depth_mm, tick)).z > kNearestMm;
  };
  std::size_t count = 0;
  for (std::size_t tick = begin; tick < end; ++tick) count += seen(tick);
  double middle_half_width = -1.0, drawn_at = 0.0;
  Uv first{};
  std::size_t number = 0;
  for (std::size_t tick = begin; tick < end; ++tick) {
    if (!seen(tick)) continue;
    const double depth_mm = at<double>(plan.tick_depth_mm, tick);
    const Vec uvw = tube.on_axis(depth_mm);
    const double half_width = tube.radius_mm * focal_px / std::max(uvw.z, kSafeMm);
    if (number == count / 2) middle_half_width = half_width;
    const Uv middle = pixel_of(uvw);
    if (number == 0) first = middle;
    const Uv along = middle - first;
    const double distance = std::sqrt(along.u * along.u + along.v * along.v);
    if (said && (number == 0 || distance - drawn_at >= kLeastTickDistancePx * style.scale)) {
      drawn_at = distance;
      // The axis's direction in the picture times w squared; (0, -1) where it is seen end on.
      Uv way{tube.axis.x * uvw.z - uvw.x * tube.axis.z, tube.axis.y * uvw.z - uvw.y * tube.axis.z};
      const double size = std::hypot(way.u, way.v);
      way = size < 1e-6 ? Uv{0.0, -1.0} : (1.0 / size) * way;
      const double over = std::fmod(depth_mm + kLongTickEveryMm / 2.0, kLongTickEveryMm) - kLongTickEveryMm / 2.0;
      const double beyond = std::abs(over) < 1e-6 ? kLongTickBeyondPx : kTickBeyondPx;
      const Uv reach = (half_width + style.scale * beyond) * Uv{-way.v, way.u};
      pen.segment(middle - reach, middle + reach);
    }
    ++number;
  }
  return middle_half_width;
}

const std::array<Uv, kMostCorners>& unit_circle() {
  static const std::array<Uv, kMostCorners> circle = [] {
    std::array<Uv, kMostCorners> corners{};
    for (std::size_t i = 0; i < kMostCorners; ++i) {
      const double angle = static_cast<double>(i) * (2.0 * kPi / kMostCorners);
      corners[i] = {std::cos(angle), std::sin(angle)};
    }
    return corners;
  }();
  return circle;
}

void draw_entry(const Uv& center, double radius, double reach, Pen& pen) {
  const std::size_t stride = radius < 12.0 ? 4 : radius < 60.0 ? 2 : 1;
  std::array<Uv, kMostCorners> corners;
  std::size_t count = 0;
  for (std::size_t i = 0; i < kMostCorners; i += stride) corners[count++] = center + radius * unit_circle()[i];
  pen.closed(corners.data(), count);
  for (const Uv& way : kFourWays) pen.segment(center + radius * way, center + reach * way);
}

void draw_target(const Uv& center, double scale, Pen& pen) {
  std::array<Uv, 4> diamond, cross;
  for (std::size_t i = 0; i < 4; ++i) {
    diamond[i] = center + (kTargetRadiusPx * scale) * kFourWays[i];
    cross[i] = center + (kTargetCrossPx * scale) * kFourWays[i];
  }
  pen.closed(diamond.data(), diamond.size());
  pen.segment(cross[0], cross[2]);
  pen.segment(cross[1], cross[3]);
}

TubeSummary draw_tube(const Tube& tube, const TubePlan& plan, std::size_t index, std::size_t chords, double focal_px,
                      const TubeStyle& style, Pen& pen) {
  std::array<Uv, 2 * (kMostChords + 1)> outline;
  for (std::size_t i = 0; i <= chords; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(chords);
    outline[i] = tube.rim(tube.offset_a, tube.from_a + tube.sweep_a * part);
    outline[chords + 1 + i] = tube.rim(tube.offset_b, tube.from_b + tube.sweep_b * part);
  }
  const std::size_t corners = 2 * (chords + 1);
  const Uv start = pixel_of(tube.on_axis(tube.start)), end = pixel_of(tube.on_axis(tube.stop));
  const bool barrel = std::hypot(end.u - start.u, end.v - start.v) < 2.0 * tube.radius_px;
  const bool entry_seen = tube.start == 0.0, target_seen = tube.stop == tube.length_mm;
  pen.closed(outline.data(), corners);
  pen.width(kCenterlinePart * style.line_width_px);
  pen.segment(start, end);
  pen.width(style.line_width_px);
  double half_width = draw_ticks(tube, plan, index, focal_px, !barrel, style, pen);
  double radius = 0.0, reach = 0.0;
  if (entry_seen) {
    double least = HUGE_VAL;
    for (std::size_t i = 0; i < corners; ++i) {
      const Uv away = outline[i] - start;
      least = std::min(least, away.u * away.u + away.v * away.v);
    }
    radius = std::max(kEntryRadiusPx * style.scale, std::sqrt(least) + kEntryBeyondTubePx * style.scale);
    reach = radius + kEntryCrossPx * style.scale;
    draw_entry(start, radius, reach, pen);
  }
  if (target_seen) draw_target(end, style.scale, pen);
  if (half_width < 0.0) half_width = reach / 2.0;
  return {1.0,
          start.u,
          start.v,
          end.u,
          end.v,
          double(entry_seen),
          double(target_seen),
          radius,
          reach,
          half_width,
          double(barrel),
          static_cast<double>(pen.count())};
}

}  // namespace

// Strokes of all drawn tubes, in order, into room for kTubeStrokes a tube and one a tick; a TubeSummary for each tube.
// Returns the number of strokes. The matrix is finite and its left block regular.
std::size_t tube_strokes(const TubePlan& plan, const std::array<double, 12>& pixel_from_patient, const TubeStyle& style,
                         void* strokes, void* summary) {
  const Camera camera(pixel_from_patient);
  double widest = 0.0, radius_px = 0.0;
  for (std::size_t index = 0; index < plan.count; ++index) {
    const Tube tube(plan.tubes, index, camera);
    widest = std::max({widest, std::abs(tube.sweep_a), std::abs(tube.sweep_b)});
    radius_px = std::max(radius_px, tube.radius_px);
  }
  const double step = 2.0 * std::acos(std::max(1.0 - kChordPx / std::max(radius_px, kChordPx), 0.0));
  const double wanted = std::ceil(widest / step);
  const std::size_t chords = !(wanted > 4.0)        ? 4
                             : wanted < kMostChords ? static_cast<std::size_t>(wanted)
                                                    : kMostChords;
  auto* stroke = static_cast<std::uint8_t*>(strokes);
  std::size_t total = 0;
  for (std::size_t index = 0; index < plan.count; ++index) {
    const Tube tube(plan.tubes, index, camera);
    TubeSummary of_this{};
    if (tube.drawn()) {
      Pen pen(stroke + total * kStrokeNumbers * sizeof(float), plan.colors + 3 * index, style.line_width_px);
      of_this = draw_tube(tube, plan, index, chords, camera.focal_px, style, pen);
      total += pen.count();
    }
    std::memcpy(static_cast<std::uint8_t*>(summary) + index * sizeof of_this, &of_this, sizeof of_this);
  }
  return total;
}

}  // namespace guidance
