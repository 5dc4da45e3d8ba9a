// What is told of a frame: outline, area, thickness and speed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cement_place.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kInside = 0.05F;         // of the level: what is cement lies above it, what is not below
constexpr float kLeastPrimary = 0.02F;   // of the primary beam: less is not told from scatter
constexpr double kDrift = 0.0015;        // contrast: what the exposure's fit may miss under the cement
constexpr int kFit = 3, kFitLeast = 14;  // half the window that a speed is told from, its least pixels
constexpr double kSpeedQuantile = 0.9;
constexpr std::size_t kSpeedLeast = 8;
constexpr std::size_t kStride = 97;

}  // namespace

void Tracker::find_box() {
  const auto rows = static_cast<int>(setup_.rows), columns = static_cast<int>(setup_.columns);
  int left = columns, top = rows, right = -1, bottom = -1;
  for (int r = 0; r < rows; ++r) {
    const std::uint8_t* const line = cement_.data() + static_cast<std::size_t>(r) * setup_.columns;
    const auto* const first = static_cast<const std::uint8_t*>(std::memchr(line, 1, setup_.columns));
    if (first == nullptr) continue;
    top = std::min(top, r);
    bottom = r;
    left = std::min(left, static_cast<int>(first - line));
    for (int c = columns - 1; c > right; --c)
      if (line[c]) right = c;
  }
  box_ = {left, top, right, bottom};
}

void Tracker::measure(const Look& look, Answer& answer) {
  const auto rows = static_cast<int>(setup_.rows), columns = static_cast<int>(setup_.columns);
  find_box();
  const auto [left, top, right, bottom] = box_;
  sample_.clear();
  const auto reference_share = static_cast<float>(1.0 / setup_.reference_frames);
  for (std::size_t n = 0; n < count_; n += kStride)
    if (now_valid_[n]) sample_.push_back(spread_[n] + reference_share * variance_[n]);
  if (!sample_.empty()) {
    const auto middle = sample_.begin() + static_cast<std::ptrdiff_t>(sample_.size() / 2);
    std::nth_element(sample_.begin(), middle, sample_.end());
    answer.noise = noise_ = noise_scale_ * std::sqrt(static_cast<double>(*middle));
  }
  double variance = 0.0, slopes = 0.0;
  background_.clear_loss();
  for (int r = std::max(top - 2, 0); r <= std::min(bottom + 2, rows - 1); ++r)
    for (int c = std::max(left - 2, 0); c <= std::min(right + 2, columns - 1); ++c) {
      const std::size_t at = static_cast<std::size_t>(r) * setup_.columns + static_cast<std::size_t>(c);
      const float level = level_map_[at], above = fine_[at] - level;
      z_[at] = cement_[at] ? std::max(above, kInside * level) : std::min(above, -kInside * level);
      now_[at] = 0.0F;
      if (cement_[at]) {
        ++answer.pixels;
        const auto seen = [&](int v, int u) {
          return v >= 0 && u >= 0 && v < rows && u < columns &&
                 now_valid_[static_cast<std::size_t>(v) * setup_.columns + static_cast<std::size_t>(u)];
        };
        if (!seen(r - 1, c) || !seen(r + 1, c) || !seen(r, c - 1) || !seen(r, c + 1)) answer.out_of_picture = true;
      }
      if (look.thickness == nullptr || !(fine_[at] > 0.0F)) continue;
      // Scatter has fallen with the primary around.
      const float fallen = std::exp(-scatter_[at]), through = std::exp(-fine_[at]) * fallen;
      const float share = std::max(share_[at] - (1.0F - fallen), 0.0F), kept = 1.0F - share_[at];
      const float primary = std::clamp((through - share) / kept, kLeastPrimary, 1.0F);
      const float place = -std::log(primary) / static_cast<float>(look.contrast_step);
      const auto last = static_cast<float>(look.thicknesses - 2);
      const auto entry = static_cast<std::size_t>(std::clamp(place, 0.0F, last));
      const float slope = look.thickness[entry + 1] - look.thickness[entry];
      now_[at] = look.thickness[entry] + slope * std::min(place - static_cast<float>(entry), 1.0F);
      if (!cement_[at]) continue;
      background_.add_loss(static_cast<std::size_t>(r), static_cast<std::size_t>(c),
                           background_.signal(at) * (1.0F - primary));
      const double per_contrast = slope / look.contrast_step * through / (primary * kept);
      variance += per_contrast * per_contrast * (spread_[at] + reference_share * variance_[at]);
      slopes += per_contrast;
    }
  const double whole = static_cast<double>(setup_.step * setup_.step);
  answer.noise_sigma =
      whole * std::sqrt(noise_scale_ * noise_scale_ * variance +
                        slopes * slopes * (kDrift * kDrift + answer.fit.offset_sigma * answer.fit.offset_sigma));
  contours_.find(z_.data(), setup_.rows, setup_.columns, box_);
  answer.area_px = contours_.area() * whole;
  const Place place(answer.fit.motion, setup_);
  for (auto& point : contours_.points()) {
    const auto moved = place.frame(point[0], point[1]);
    point = {static_cast<float>(moved[0]), static_cast<float>(moved[1])};
  }
  speeds(look, answer);
}

// The front's normal speed where it came through lately: one over the slope of the time of arrival.
void Tracker::speeds(const Look& look, Answer& answer) {
  const auto rows = static_cast<int>(setup_.rows), columns = static_cast<int>(setup_.columns);
  sample_.clear();
  for (int r = box_[1]; r <= box_[3]; ++r)
    for (int c = box_[0]; c <= box_[2]; ++c) {
      const std::size_t at = static_cast<std::size_t>(r) * setup_.columns + static_cast<std::size_t>(c);
      if (!cement_[at] || arrived_[at] < 0 || frame_ - arrived_[at] >= look.growth_frames) continue;
      // What is known of a place changes little from one frame to the next.
      if (((frame_ - arrived_[at]) & 1) != 0 && std::isfinite(speed_[at])) {
        sample_.push_back(speed_[at]);
        continue;
      }
      double count = 0.0, t = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0, yy = 0.0, xt = 0.0, yt = 0.0;
      int first = frame_, last = 0;
      for (int v = std::max(r - kFit, 0); v <= std::min(r + kFit, rows - 1); ++v)
        for (int u = std::max(c - kFit, 0); u <= std::min(c + kFit, columns - 1); ++u) {
          const std::size_t beside = static_cast<std::size_t>(v) * setup_.columns + static_cast<std::size_t>(u);
          if (arrived_[beside] < 0) continue;
          const double du = u - c, dv = v - r, when = arrival_[beside];
          count += 1.0;
          t += when;
          x += du;
          y += dv;
          xx += du * du;
          xy += du * dv;
          yy += dv * dv;
          xt += du * when;
          yt += dv * when;
          first = std::min(first, static_cast<int>(arrived_[beside]));
          last = std::max(last, static_cast<int>(arrived_[beside]));
        }
      speed_[at] = std::numeric_limits<float>::quiet_NaN();
      if (count < kFitLeast || last - first < 2) continue;
      const double cxx = xx - x * x / count, cxy = xy - x * y / count, cyy = yy - y * y / count;
      const double cxt = xt - x * t / count, cyt = yt - y * t / count;
      const double determinant = cxx * cyy - cxy * cxy;
      if (!(determinant > 1e-6 * cxx * cyy)) continue;
      const double slope_u = (cyy * cxt - cxy * cyt) / determinant, slope_v = (cxx * cyt - cxy * cxt) / determinant;
      const double slope = std::hypot(slope_u, slope_v);
      if (!(slope > 0.0)) continue;
      speed_[at] = static_cast<float>(static_cast<double>(setup_.step) / slope);
      sample_.push_back(speed_[at]);
    }
  if (sample_.size() < kSpeedLeast) return;
  const auto place =
      sample_.begin() + static_cast<std::ptrdiff_t>(kSpeedQuantile * static_cast<double>(sample_.size() - 1));
  std::nth_element(sample_.begin(), place, sample_.end());
  answer.speed = *place;
}

}  // namespace guidance::cement
