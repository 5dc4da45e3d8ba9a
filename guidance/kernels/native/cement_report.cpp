// What is told of a frame: outline, area, thickness, speed, and the maps in the frame's own pixels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

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

GUIDANCE_CLONES void spread(const std::uint8_t* __restrict line, std::size_t columns, std::size_t step,
                            std::uint8_t* __restrict out) {
  if (step == 2) {
    for (std::size_t n = 0; n < columns; ++n) {
      out[2 * n] = line[n];
      out[2 * n + 1] = line[n];
    }
    return;
  }
  for (std::size_t n = 0; n < columns; ++n)
    for (std::size_t m = 0; m < step; ++m) out[n * step + m] = line[n];
}

GUIDANCE_CLONES void mark_told(std::uint8_t* __restrict to, const std::uint8_t* __restrict told,
                               const std::uint8_t* __restrict thinner, std::size_t count) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= told[n] | thinner[n] ? 1 : 0;
}

// A place in the frame (pixels) to the reference's grid, and back.
struct Place {
  double cosine, sine, du, dv, middle_u, middle_v, step, shift;
  Place(const Motion& motion, const Setup& setup)
      : cosine(std::cos(motion.turn)),
        sine(std::sin(motion.turn)),
        du(motion.du),
        dv(motion.dv),
        middle_u((static_cast<double>(setup.columns) - 1.0) / 2.0),
        middle_v((static_cast<double>(setup.rows) - 1.0) / 2.0),
        step(static_cast<double>(setup.step)),
        shift((step - 1.0) / 2.0) {}
  std::array<double, 2> frame(double u, double v) const {
    const double x = u - middle_u, y = v - middle_v;
    return {(cosine * x - sine * y + middle_u + du) * step + shift,
            (sine * x + cosine * y + middle_v + dv) * step + shift};
  }
  std::array<double, 2> grid(double u, double v) const {
    const double x = (u - shift) / step - du - middle_u, y = (v - shift) / step - dv - middle_v;
    return {cosine * x + sine * y + middle_u, -sine * x + cosine * y + middle_v};
  }
};

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
      const float level = level_map_[at], above = shown_[at] - level;
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
      if (look.thickness == nullptr || !(shown_[at] > 0.0F)) continue;
      // Scatter has fallen with the primary around.
      const float fallen = std::exp(-scatter_[at]), through = std::exp(-shown_[at]) * fallen;
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

void Tracker::write(const Look& look, Answer& answer, const Maps& maps) {
  const auto nothing = std::numeric_limits<float>::quiet_NaN();
  std::int32_t* const old = maps.box;
  for (std::int32_t v = old[1]; v <= old[3] && old[0] <= old[2]; ++v) {
    const std::size_t at = static_cast<std::size_t>(v) * maps.columns + static_cast<std::size_t>(old[0]);
    const auto width = static_cast<std::size_t>(old[2] - old[0] + 1);
    std::fill_n(maps.mask + at, width, std::uint8_t{0});
    std::fill_n(maps.grown + at, width, std::uint8_t{0});
    std::fill_n(maps.arrival + at, width, nothing);
    std::fill_n(maps.speed + at, width, nothing);
    if (maps.thickness != nullptr) std::fill_n(maps.thickness + at, width, 0.0F);
  }
  old[0] = old[1] = 0;
  old[2] = old[3] = -1;
  write_blind(answer, maps);
  if (box_[0] > box_[2]) return;
  const Place place(answer.fit.motion, setup_);
  double left = 1e9, top = 1e9, right = -1e9, bottom = -1e9;
  for (const double u : {box_[0] - 1.0, box_[2] + 1.0})
    for (const double v : {box_[1] - 1.0, box_[3] + 1.0}) {
      const auto corner = place.frame(u, v);
      left = std::min(left, corner[0]);
      right = std::max(right, corner[0]);
      top = std::min(top, corner[1]);
      bottom = std::max(bottom, corner[1]);
    }
  old[0] = static_cast<std::int32_t>(std::max(std::floor(left), 0.0));
  old[1] = static_cast<std::int32_t>(std::max(std::floor(top), 0.0));
  old[2] = static_cast<std::int32_t>(std::min(std::ceil(right), static_cast<double>(maps.columns) - 1.0));
  old[3] = static_cast<std::int32_t>(std::min(std::ceil(bottom), static_cast<double>(maps.rows) - 1.0));
  const std::size_t stride = setup_.columns;
  const float most_u = static_cast<float>(setup_.columns) - 1.001F;
  const float most_v = static_cast<float>(setup_.rows) - 1.001F;
  const auto step_u = static_cast<float>(place.cosine / place.step);
  const auto step_v = static_cast<float>(-place.sine / place.step);
  double sum = 0.0;
  for (std::int32_t v = old[1]; v <= old[3]; ++v) {
    const auto start = place.grid(old[0], v);
    float line = 0.0F;
    for (std::int32_t u = old[0]; u <= old[2]; ++u) {
      const auto along = static_cast<float>(u - old[0]);
      const float x = std::clamp(static_cast<float>(start[0]) + along * step_u, 0.0F, most_u);
      const float y = std::clamp(static_cast<float>(start[1]) + along * step_v, 0.0F, most_v);
      const auto c = static_cast<std::size_t>(x), r = static_cast<std::size_t>(y);
      const std::size_t at = r * stride + c;
      const float fu = x - static_cast<float>(c), fv = y - static_cast<float>(r);
      const auto between = [&](const float* plane) {
        const float a = plane[at] + fu * (plane[at + 1] - plane[at]);
        const float b = plane[at + stride] + fu * (plane[at + stride + 1] - plane[at + stride]);
        return a + fv * (b - a);
      };
      const std::size_t most = (fv < 0.5F ? at : at + stride) + (fu < 0.5F ? 0 : 1);
      if (!(cement_[at] | cement_[at + 1] | cement_[at + stride] | cement_[at + stride + 1])) continue;
      if (!(between(z_.data()) > 0.0F)) continue;
      std::size_t nearest = most;
      if (!cement_[nearest])
        for (const std::size_t other : {at, at + 1, at + stride, at + stride + 1})
          if (cement_[other]) nearest = other;
      const std::size_t to = static_cast<std::size_t>(v) * maps.columns + static_cast<std::size_t>(u);
      maps.mask[to] = 1;
      maps.arrival[to] = arrival_[nearest];
      maps.speed[to] = speed_[nearest];
      maps.grown[to] = arrived_[nearest] >= 0 && frame_ - arrived_[nearest] < look.growth_frames ? 1 : 0;
      if (maps.thickness != nullptr) {
        const float thickness = between(now_.data());
        maps.thickness[to] = thickness;
        line += thickness;
      }
    }
    sum += line;
  }
  answer.thickness_sum = sum;
}

void Tracker::write_blind(const Answer& answer, const Maps& maps) {
  std::fill(blind_.begin(), blind_.end(), std::uint8_t{0});
  mark_missing(blind_.data(), now_valid_.data(), count_);
  mark_told(blind_.data(), told_.data(), thinner_.data(), count_);
  mark_also(blind_.data(), foreign_.data(), count_);
  const Motion& motion = answer.fit.motion;
  const double middle_u = (static_cast<double>(setup_.columns) - 1.0) / 2.0;
  const double middle_v = (static_cast<double>(setup_.rows) - 1.0) / 2.0;
  const double cosine = std::cos(motion.turn), sine = std::sin(motion.turn);
  std::uint8_t* const line = mark_scratch_.data();
  const std::size_t step = setup_.step, rows = setup_.rows, columns = setup_.columns;
  for (std::size_t r = 0; r < rows; ++r) {
    std::fill_n(line, columns, std::uint8_t{1});
    const double y = static_cast<double>(r) - motion.dv - middle_v;
    const double first_u = cosine * (-motion.du - middle_u) + sine * y + middle_u;
    const double first_v = -sine * (-motion.du - middle_u) + cosine * y + middle_v;
    std::size_t c = 0;
    while (c < columns) {  // runs in which the nearest row and the whole offset stay the same
      const double u = first_u + cosine * static_cast<double>(c), v = first_v - sine * static_cast<double>(c);
      const double row = std::nearbyint(v), offset = std::nearbyint(u - static_cast<double>(c));
      double reach = static_cast<double>(columns - c);
      if (sine != 0.0) {
        const double left = sine > 0.0 ? v - (row - 0.5) : row + 0.5 - v;
        reach = std::min(reach, std::floor(left / std::abs(sine)) + 1.0);
        reach = std::min(reach, std::floor((u - static_cast<double>(c) - offset + 0.5) / (1.0 - cosine + 1e-12)) + 1.0);
      }
      auto run = static_cast<std::ptrdiff_t>(std::max(reach, 1.0));
      const auto from = static_cast<std::ptrdiff_t>(c) + static_cast<std::ptrdiff_t>(offset);
      const auto at = static_cast<std::ptrdiff_t>(c);
      if (row >= 0.0 && row < static_cast<double>(rows)) {
        const std::ptrdiff_t skip = std::max<std::ptrdiff_t>(-from, 0);
        const std::ptrdiff_t end = std::min(run, static_cast<std::ptrdiff_t>(columns) - from);
        if (end > skip)
          std::copy_n(blind_.data() + static_cast<std::size_t>(row) * columns + static_cast<std::size_t>(from + skip),
                      end - skip, line + at + skip);
      }
      c += static_cast<std::size_t>(run);
    }
    const std::uint8_t* const live = live_valid_.data() + r * columns;
    mark_missing(line, live, columns);
    std::uint8_t* const out = maps.blind + r * step * maps.columns;
    if (step == 1) {
      std::copy_n(line, columns, out);
    } else {
      spread(line, columns, step, out);
    }
    std::fill_n(out + columns * step, maps.columns - columns * step, std::uint8_t{1});
    for (std::size_t n = 1; n < step; ++n) std::copy_n(out, maps.columns, out + n * maps.columns);
  }
  for (std::size_t v = rows * step; v < maps.rows; ++v)
    std::fill_n(maps.blind + v * maps.columns, maps.columns, std::uint8_t{1});
}

}  // namespace guidance::cement
