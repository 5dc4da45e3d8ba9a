// The maps of a frame, in its own pixels.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cement_place.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

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

// A column of the grid where a row of the frame crosses it: `best` is the nearest pixel of the column that is cement,
// or negative.
struct Crossing {
  float *above, *thickness;
  std::int32_t* best;
};

// A run of columns between two rows of the grid; v: where, from the upper one.
GUIDANCE_CLONES void cross(const float* __restrict above, const float* __restrict thickness,
                           const std::uint8_t* __restrict cement, std::size_t stride, std::int32_t first,
                           std::size_t count, float v, float step_v, const Crossing& to) {
  float* __restrict to_above = to.above;
  float* __restrict to_thickness = to.thickness;
  std::int32_t* __restrict best = to.best;
  for (std::size_t n = 0; n < count; ++n) {
    const float place = v + static_cast<float>(static_cast<std::int32_t>(n)) * step_v;
    const float part = place < 0.0F ? 0.0F : (place > 1.0F ? 1.0F : place);
    to_above[n] = above[n] + part * (above[n + stride] - above[n]);
    to_thickness[n] = thickness[n] + part * (thickness[n + stride] - thickness[n]);
    const std::int32_t upper = cement[n] ? first + static_cast<std::int32_t>(n) : -1;
    const std::int32_t lower =
        cement[n + stride] ? first + static_cast<std::int32_t>(n) + static_cast<std::int32_t>(stride) : -1;
    const std::int32_t near = part < 0.5F ? upper : lower, far = part < 0.5F ? lower : upper;
    best[n] = near < 0 ? far : near;
  }
}

// Pixels of a row between the columns that it crosses: `nearest` is what they are told of, negative where they are no
// cement.
GUIDANCE_CLONES void between(const Crossing& from, std::size_t columns, float u, float step_u, std::size_t count,
                             std::int32_t* __restrict nearest, std::uint8_t* __restrict mask,
                             float* __restrict thickness) {
  const float* __restrict above = from.above;
  const float* __restrict thick = from.thickness;
  const std::int32_t* __restrict best = from.best;
  const auto most = static_cast<float>(columns - 1) - 0.001F;
  for (std::size_t n = 0; n < count; ++n) {
    const float wide = u + static_cast<float>(static_cast<std::int32_t>(n)) * step_u;
    const float place = wide < 0.0F ? 0.0F : (wide > most ? most : wide);
    const auto c = static_cast<std::int32_t>(place);
    const float part = place - static_cast<float>(c);
    const std::int32_t left = best[c], right = best[c + 1];
    const std::int32_t near = part < 0.5F ? left : right, far = part < 0.5F ? right : left;
    const std::int32_t found = near < 0 ? far : near;
    const bool shown = found >= 0 && above[c] + part * (above[c + 1] - above[c]) > 0.0F;
    nearest[n] = shown ? found : -1;
    mask[n] = shown ? 1 : 0;
    thickness[n] = shown ? thick[c] + part * (thick[c + 1] - thick[c]) : 0.0F;
  }
}

GUIDANCE_CLONES void times(const std::int32_t* __restrict nearest, std::size_t count, const float* __restrict arrival,
                           const float* __restrict speed, const std::int32_t* __restrict arrived, std::int32_t since,
                           float* __restrict to_arrival, float* __restrict to_speed,
                           std::uint8_t* __restrict to_grown) {
  const float nothing = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t n = 0; n < count; ++n) {
    const std::int32_t at = nearest[n] < 0 ? 0 : nearest[n];
    const bool there = nearest[n] >= 0;
    const float when = arrival[at], fast = speed[at];
    const std::int32_t frame = arrived[at];
    to_arrival[n] = there ? when : nothing;
    to_speed[n] = there ? fast : nothing;
    to_grown[n] = there && frame >= 0 && frame > since ? 1 : 0;
  }
}

void clear(const Maps& maps, std::int32_t v, std::int32_t left, std::int32_t right) {
  if (left > right) return;
  const auto nothing = std::numeric_limits<float>::quiet_NaN();
  const std::size_t at = static_cast<std::size_t>(v) * maps.columns + static_cast<std::size_t>(left);
  const auto width = static_cast<std::size_t>(right - left + 1);
  std::fill_n(maps.mask + at, width, std::uint8_t{0});
  std::fill_n(maps.grown + at, width, std::uint8_t{0});
  std::fill_n(maps.arrival + at, width, nothing);
  std::fill_n(maps.speed + at, width, nothing);
  std::fill_n(maps.thickness + at, width, 0.0F);
}

}  // namespace

// Where cement may be, in the frame; left > right: nowhere.
std::array<std::int32_t, 4> Tracker::frame_box(const Answer& answer, const Maps& maps) const {
  if (box_[0] > box_[2]) return {0, 0, -1, -1};
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
  const std::array<std::int32_t, 4> box{
      static_cast<std::int32_t>(std::max(std::floor(left), 0.0)),
      static_cast<std::int32_t>(std::max(std::floor(top), 0.0)),
      static_cast<std::int32_t>(std::min(std::ceil(right), static_cast<double>(maps.columns) - 1.0)),
      static_cast<std::int32_t>(std::min(std::ceil(bottom), static_cast<double>(maps.rows) - 1.0))};
  if (box[0] > box[2] || box[1] > box[3]) return {0, 0, -1, -1};
  return box;
}

void Tracker::write(const Look& look, Answer& answer, const Maps& maps) {
  const std::array<std::int32_t, 4> box = frame_box(answer, maps);
  std::int32_t* const old = maps.box;
  for (std::int32_t v = old[1]; v <= old[3] && old[0] <= old[2]; ++v) {
    if (box[0] > box[2] || v < box[1] || v > box[3]) {
      clear(maps, v, old[0], old[2]);
      continue;
    }
    clear(maps, v, old[0], std::min(old[2], box[0] - 1));
    clear(maps, v, std::max(old[0], box[2] + 1), old[2]);
  }
  std::copy(box.begin(), box.end(), old);
  write_blind(answer, maps);
  if (box[0] > box[2]) return;
  const Place place(answer.fit.motion, setup_);
  const auto stride = setup_.columns;
  const auto most_v = static_cast<double>(setup_.rows) - 2.0;
  const double slope = -place.sine / place.cosine;  // of a row of the frame on the grid
  const auto width = static_cast<std::size_t>(box[2] - box[0] + 1);
  const Crossing crossing{scratch_.data(), scratch_.data() + stride, crossed_.data()};
  const auto step_u = static_cast<float>(place.cosine / place.step);
  double sum = 0.0;
  for (std::int32_t v = box[1]; v <= box[3]; ++v) {
    const auto start = place.grid(box[0], v);
    const double end = start[0] + place.cosine / place.step * static_cast<double>(width - 1);
    const double most_u = static_cast<double>(stride) - 2.0;
    const auto first = static_cast<std::size_t>(std::clamp(std::floor(start[0]), 0.0, most_u));
    const auto last = static_cast<std::size_t>(std::clamp(std::floor(end), 0.0, most_u)) + 1;
    for (std::size_t c = first; c <= last;) {  // runs within which the row above is the same
      const double y = start[1] + slope * (static_cast<double>(c) - start[0]);
      const double above = std::clamp(std::floor(y), 0.0, most_v);
      double reach = static_cast<double>(last - c + 1);
      const double left = slope > 0.0 ? above + 1.0 - y : y - above;
      if (slope != 0.0 && left >= 0.0) reach = std::min(reach, std::floor(left / std::abs(slope)) + 1.0);
      const auto count = static_cast<std::size_t>(reach);
      const std::size_t at = static_cast<std::size_t>(above) * stride + c, to = c - first;
      cross(z_.data() + at, now_.data() + at, cement_.data() + at, stride, static_cast<std::int32_t>(at), count,
            static_cast<float>(y - above), static_cast<float>(slope),
            {crossing.above + to, crossing.thickness + to, crossing.best + to});
      c += count;
    }
    const std::size_t at = static_cast<std::size_t>(v) * maps.columns + static_cast<std::size_t>(box[0]);
    nearest_.resize(width);
    between(crossing, last - first + 1, static_cast<float>(start[0] - static_cast<double>(first)), step_u, width,
            nearest_.data(), maps.mask + at, maps.thickness + at);
    times(nearest_.data(), width, arrival_.data(), speed_.data(), arrived_.data(), frame_ - look.growth_frames,
          maps.arrival + at, maps.speed + at, maps.grown + at);
    sum += total(maps.thickness + at, width);
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
