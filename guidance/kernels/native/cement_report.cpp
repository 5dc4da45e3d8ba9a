// What is told of a frame: outline, area, thickness and speed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cement_place.hpp"
#include "cement_thickness.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kInside = 0.05F;         // of the level: what is cement lies above it, what is not below
constexpr double kDrift = 0.0015;        // contrast: what the exposure's fit may miss under the cement
constexpr int kFit = 3, kFitLeast = 14;  // half the window that a speed is told from, its least pixels
constexpr double kSpeedQuantile = 0.9;
constexpr std::size_t kSpeedLeast = 8;
constexpr std::size_t kStride = 97;

// What is drawn a line around: cement lies above 0, what is not below.
GUIDANCE_CLONES void around_level(const float* __restrict fine, const float* __restrict level,
                                  const std::uint8_t* __restrict cement, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) {
    const float above = fine[n] - level[n], least = kInside * level[n];
    const float in = above > least ? above : least, out = above < -least ? above : -least;
    to[n] = cement[n] ? in : out;
  }
}

// Whether cement of a row, but for its ends, lies beside what is not seen.
GUIDANCE_CLONES bool beside_unseen(const std::uint8_t* __restrict cement, const std::uint8_t* __restrict seen,
                                   std::size_t columns) {
  const std::uint8_t *const above = seen - columns, *const below = seen + columns;
  std::uint8_t any = 0;
  for (std::size_t n = 1; n + 1 < columns; ++n)
    any |= static_cast<std::uint8_t>(cement[n] & ((above[n] & below[n] & seen[n - 1] & seen[n + 1]) ^ 1U));
  return any != 0;
}

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
  const auto reference_share = static_cast<float>(1.0 / setup_.reference_frames);
  sample(
      count_, kStride, [&](std::size_t n) { return now_valid_[n] != 0; },
      [&](std::size_t n) { return spread_[n] + reference_share * variance_[n]; });
  if (!sample_.empty()) {
    answer.noise = noise_ = noise_scale_ * std::sqrt(static_cast<double>(middle_of(sample_)));
  }
  double variance = 0.0, slopes = 0.0;
  background_.clear_loss();
  const bool any = left <= right;
  const std::size_t first = any ? static_cast<std::size_t>(std::max(left - 2, 0)) : 0;
  const std::size_t count = any ? static_cast<std::size_t>(std::min(right + 3, columns)) - first : 0;
  float *const loss = scratch_.data(), *const slope = loss + count, *const noise = slope + count;
  for (int r = std::max(top - 2, 0); r <= std::min(bottom + 2, rows - 1); ++r) {
    const std::size_t line = static_cast<std::size_t>(r) * setup_.columns, at = line + first;
    around_level(fine_.data() + at, level_map_.data() + at, cement_.data() + at, count, z_.data() + at);
    std::fill_n(now_.data() + at, count, 0.0F);
    const std::size_t pixels = count_both(cement_.data() + at, cement_.data() + at, count);
    answer.pixels += pixels;
    if (pixels > 0 && (r == 0 || r + 1 == rows || cement_[line] || cement_[line + setup_.columns - 1] ||
                       beside_unseen(cement_.data() + line, now_valid_.data() + line, setup_.columns)))
      answer.out_of_picture = true;
    if (look.thickness == nullptr) continue;
    const ThicknessRow from{fine_.data() + at,   scatter_.data() + at,  share_.data() + at,  background_.signals() + at,
                            spread_.data() + at, variance_.data() + at, cement_.data() + at, near_.data() + at};
    thickness_row(from, count, {look.thickness, static_cast<float>(look.contrast_step), look.thicknesses},
                  reference_share, {now_.data() + at, loss, slope, noise});
    if (pixels == 0) continue;
    for (std::size_t n = 0; n < count; ++n) background_.add_loss(static_cast<std::size_t>(r), first + n, loss[n]);
    slopes += total(slope, count);
    variance += total(noise, count);
  }
  if (look.thickness != nullptr) behind_steel();
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
  answer.speed = ranked(sample_, static_cast<std::size_t>(kSpeedQuantile * static_cast<double>(sample_.size() - 1)));
}

}  // namespace guidance::cement
