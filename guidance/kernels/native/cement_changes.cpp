// A frame against what is known: contrast, what changes, what is foreign, and the recursive mean.
#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kFineGain = 0.0748F;               // sum of the squares of 1 4 6 4 1 both ways
constexpr float kMedianShare = 0.6745F;            // of white noise: the median of its size
constexpr float kModel = 0.003F;                   // contrast: what smooth drifts nobody explains amount to
constexpr float kChanges = 3.5F, kChanged = 6.5F;  // deviations at which the mean begins to follow, follows fully
constexpr float kFollow = 0.7F;                    // of a change that is one: taken over per frame
constexpr float kWide = 1.0F;                      // of what changes alike over some 3 mm: noise is averaged away there
constexpr float kForeignDeviations = 6.0F, kForeignContrast = 0.03F;
constexpr double kForeignShare = 0.012;  // of the field: cement's rim is less between two frames
constexpr double kHugeShare = 0.03;
constexpr std::size_t kForeignLeast = 6, kForeignMargin = 3;  // halved pixels
constexpr std::size_t kStride = 31;
constexpr std::size_t kSteepStride = 13, kSteepMost = 5000, kSteepLeast = 64;
constexpr float kSteep = 0.25F;          // bins by which a slope is displaced to count as much as noise, squared
constexpr float kMedianSquare = 0.455F;  // of white noise: the median of its square
constexpr float kFarther = 1.6F;         // bones farthest from where most of what is seen lies, against the middle
constexpr float kMostDisplaced = 3.0F;   // bins
constexpr float kSettles = 0.9F;         // of a displacement, from frame to frame, where it is told smaller
constexpr float kSpreads = 0.3F;         // bins: less stays within the edge
constexpr float kWidened = 2.0F;         // times the mean of the slopes' squares around
constexpr float kRescales = 1.1F;        // a smaller difference is none

GUIDANCE_CLONES void subtract(float* __restrict now, std::uint8_t* __restrict seen, const float* __restrict base,
                              const std::uint8_t* __restrict valid, std::size_t count, float offset, float slope,
                              float mean) {
  for (std::size_t n = 0; n < count; ++n) {
    const std::uint8_t good = seen[n] & valid[n];
    const float contrast = now[n] - base[n] - offset - slope * (base[n] - mean);
    seen[n] = good;
    now[n] = good ? contrast : 0.0F;
  }
}

GUIDANCE_CLONES void innovations(const float* __restrict now_a, const float* __restrict now_b,
                                 const float* __restrict mean_a, const float* __restrict mean_b,
                                 const float* __restrict variance_a, const float* __restrict spread_a,
                                 const std::uint8_t* __restrict seen_a, const std::uint8_t* __restrict seen_b,
                                 std::size_t count, float dose, float* __restrict change, float* __restrict variance,
                                 std::uint8_t* __restrict seen) {
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t m = 2 * n;
    const auto good = static_cast<std::uint8_t>(seen_a[m] & seen_a[m + 1] & seen_b[m] & seen_b[m + 1]);
    const float sum =
        now_a[m] - mean_a[m] + now_a[m + 1] - mean_a[m + 1] + now_b[m] - mean_b[m] + now_b[m + 1] - mean_b[m + 1];
    change[n] = good ? 0.25F * sum : 0.0F;
    variance[n] = 0.125F * (dose * (variance_a[m] + variance_a[m + 1]) + spread_a[m] + spread_a[m + 1]);
    seen[n] = good;
  }
}

GUIDANCE_CLONES void deviations(const float* __restrict change, const float* __restrict variance,
                                const float* __restrict systematic, std::size_t count, float gain,
                                float* __restrict z) {
  for (std::size_t n = 0; n < count; ++n)
    z[n] = change[n] / std::sqrt(gain * variance[n] + systematic[n] + kModel * kModel);
}

// follow: how much of a change is taken over at once; wide: what changes alike around, which within cement is taken
// over at once for the most: what slowly gets thicker would be told half a second late.
GUIDANCE_CLONES void update(const float* __restrict now, const std::uint8_t* __restrict seen,
                            const std::uint8_t* __restrict foreign, const std::uint8_t* __restrict cement,
                            const float* __restrict variance, const float* __restrict follow,
                            const float* __restrict wide, std::size_t count, float dose, float longest,
                            float* __restrict mean, float* __restrict spread, float* __restrict taken) {
  for (std::size_t n = 0; n < count; ++n) {
    const float shown = seen[n] && !foreign[n] ? 1.0F : 0.0F;
    const float frames = taken[n] + 1.0F;
    const float usual = 1.0F / (frames < longest ? frames : longest);
    const float gain = shown * (usual > follow[n] ? usual : follow[n]);
    const float kept = 1.0F - gain;
    const float more = cement[n] ? shown * (gain < kWide ? kWide - gain : 0.0F) : 0.0F;
    mean[n] += gain * (now[n] - mean[n]) + more * wide[n];
    spread[n] = kept * kept * spread[n] + gain * gain * dose * variance[n];
    taken[n] = gain > 0.0F ? 1.0F / gain : taken[n];
  }
}

GUIDANCE_CLONES void follow_line(const float* __restrict z, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) {
    const float part = (std::abs(z[n]) - kChanges) * (1.0F / (kChanged - kChanges));
    const float low = part > 0.0F ? part : 0.0F;
    const float follow = kFollow * (low < 1.0F ? low : 1.0F);
    to[2 * n] = follow;
    to[2 * n + 1] = follow;
  }
}

GUIDANCE_CLONES void twice(const float* __restrict from, std::size_t count, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[2 * n] = to[2 * n + 1] = from[n];
}

GUIDANCE_CLONES void widened(const float* __restrict slopes, float square, std::size_t count, float* __restrict wide) {
  for (std::size_t n = 0; n < count; ++n) {
    const float spread = kWidened * wide[n];
    wide[n] = square * (slopes[n] > spread ? slopes[n] : spread);
  }
}

GUIDANCE_CLONES void mark_denser(const float* __restrict z, const float* __restrict contrast, std::size_t count,
                                 std::uint8_t* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = z[n] > kForeignDeviations && contrast[n] > kForeignContrast ? 1 : 0;
}

}  // namespace

void Tracker::contrast(const Answer& answer) {
  warp(live_.data(), live_valid_.data(), setup_.rows, setup_.columns, answer.fit.motion, now_.data(),
       now_valid_.data());
  subtract(now_.data(), now_valid_.data(), base_.data(), valid_.data(), count_, static_cast<float>(answer.fit.offset),
           static_cast<float>(answer.fit.slope), static_cast<float>(alignment_.mean()));
}

void Tracker::find_changes() {
  const std::size_t rows = half_rows_, columns = half_columns_, width = setup_.columns;
  const auto dose = static_cast<float>(dose_);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t a = 2 * r * width, b = a + width, to = r * columns;
    innovations(now_.data() + a, now_.data() + b, mean_.data() + a, mean_.data() + b, variance_.data() + a,
                spread_.data() + a, now_valid_.data() + a, now_valid_.data() + b, columns, dose,
                half_change_.data() + to, half_variance_.data() + to, half_seen_.data() + to);
  }
  smooth(half_change_.data(), rows, columns, half_scratch_.data(), half_smooth_.data());
  const std::size_t half = rows * columns;
  const auto gain = static_cast<float>(kFineGain * change_scale_ * change_scale_);
  deviations(half_smooth_.data(), half_variance_.data(), half_systematic_.data(), half, gain, half_z_.data());
  sample(
      half, kStride,
      [&](std::size_t n) {
        const bool noise = half_systematic_[n] < gain * half_variance_[n];
        return (half_seen_[n] != 0) & (half_foreign_[n] == 0) & noise;
      },
      [&](std::size_t n) { return std::abs(half_z_[n]); });
  if (sample_.size() > 32) {
    const double size = std::clamp(static_cast<double>(middle_of(sample_)) / kMedianShare, 0.5, 2.0);
    change_scale_ = std::clamp(change_scale_ * (frame_ < 3 ? size : std::pow(size, 0.2)), 0.3, 5.0);
  }
  // What is foreign: comes in from where nothing can be seen and does not hang together with cement, or is too much to
  // be cement at once.
  mark_denser(half_z_.data(), half_smooth_.data(), half, half_marks_.data());
  const bool denser = any_mark(half_marks_.data(), half);
  for (std::size_t r = 0; denser && r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) half_cement_[r * columns + c] = near_[2 * r * width + 2 * c];
  regions_.find(half_marks_.data(), rows, columns, half_z_.data(), half_seen_.data(), half_cement_.data());
  const auto field = static_cast<double>(half);
  std::fill(half_marks_.begin(), half_marks_.end(), std::uint8_t{0});
  const bool before = any_mark(half_foreign_.data(), half);
  bool any = false;
  for (const Region& region : regions_.regions()) {
    const auto size = static_cast<double>(region.count);
    std::size_t held = 0;
    const std::uint32_t* const pixels = regions_.pixels(region);
    for (std::size_t n = 0; n < region.count; ++n) held += half_foreign_[pixels[n]] != 0;
    const bool alone = region.attached == 0, was = 2 * held > region.count;
    const bool is_foreign = (region.enters() && region.count >= kForeignLeast &&
                             (alone || was || (size > kForeignShare * field && unsettled_ == 0))) ||
                            (alone && (was || size > kHugeShare * field) && unsettled_ == 0);
    if (!is_foreign) continue;
    any = true;
    for (std::size_t n = 0; n < region.count; ++n) half_marks_[pixels[n]] = 1;
  }
  if (any) {
    dilate(half_marks_.data(), rows, columns, kForeignMargin, half_mark_scratch_.data(), half_foreign_.data());
  } else {
    std::fill(half_foreign_.begin(), half_foreign_.end(), std::uint8_t{0});
  }
  for (std::size_t r = 0; (any || before) && r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::uint8_t mark = half_foreign_[r * columns + c];
      std::uint8_t* const to = foreign_.data() + 2 * r * width + 2 * c;
      to[0] = to[1] = to[width] = to[width + 1] = mark;
    }
}

// A patient who turned, or lies nearer to the tube, is not the reference shifted: bones at other depths leave their
// edges, in both signs. Where it is thinner no cement can be; what is left over there beside steep places of the
// reference, over their slope, is how far they are off.
void Tracker::learn_displacement(float reference_share) {
  const auto gain = static_cast<float>(kFineGain * noise_scale_ * noise_scale_);
  const auto noise = [&](std::size_t n) {
    return gain * (spread_[n] + reference_share * variance_[n]) + kModel * kModel;
  };
  sample(
      count_, std::max(kSteepStride, count_ / kSteepMost | 1U),
      [&](std::size_t n) {
        const bool free = (now_valid_[n] != 0) & ((excluded_[n] | told_[n] | steel_[n]) == 0);
        return free & (fine_[n] < 0.0F) & (kSteep * slopes_[n] > noise(n));
      },
      [&](std::size_t n) { return (fine_[n] * fine_[n] - kMedianSquare * noise(n)) / slopes_[n]; });
  float found = 0.0F;
  if (sample_.size() >= kSteepLeast) {
    found = kFarther * std::sqrt(std::max(middle_of(sample_), 0.0F) / kMedianSquare);
  }
  found_ = found;
  const auto least = static_cast<float>(setup_.jitter);
  const float wanted = std::clamp(std::max(found, kSettles * displaced_), least, kMostDisplaced);
  if (wanted > displaced_ * kRescales || wanted * kRescales < displaced_) displace(wanted);
}

void Tracker::displace(float bins) {
  displaced_ = bins;
  const float square = bins * bins;
  if (bins > kSpreads) {  // an edge leaves its trace where it was and where it is
    smooth(slopes_.data(), setup_.rows, setup_.columns, scratch_.data(), systematic_.data());
    for (std::size_t r = 0; r < setup_.rows; ++r)
      widened(slopes_.data() + r * setup_.columns, square, setup_.columns, systematic_.data() + r * setup_.columns);
  } else {
    for (std::size_t n = 0; n < count_; ++n) systematic_[n] = square * slopes_[n];
  }
  const auto stretched = static_cast<float>(stretched_ * stretched_);
  for (std::size_t n = 0; n < count_; ++n) systematic_[n] += doubt_[n] + stretched * dense_[n];
  halve(systematic_.data(), valid_.data(), setup_.rows, setup_.columns, half_systematic_.data(), half_marks_.data());
}

void Tracker::filter(const Look& look, double dose) {
  const std::size_t width = setup_.columns;
  smooth(half_smooth_.data(), half_rows_, half_columns_, half_scratch_.data(), half_fine_.data());
  for (std::size_t r = 0; r < half_rows_; ++r) {
    float *const line = scratch_.data(), *const wide = half_scratch_.data();
    follow_line(half_z_.data() + r * half_columns_, half_columns_, line);
    twice(half_fine_.data() + r * half_columns_, half_columns_, wide);
    wide[width - 1] = wide[2 * half_columns_ - 1];
    for (std::size_t n = 2 * r; n < 2 * r + 2; ++n) {
      const std::size_t at = n * width;
      update(now_.data() + at, now_valid_.data() + at, foreign_.data() + at, cement_.data() + at, variance_.data() + at,
             line, wide, width, static_cast<float>(dose), static_cast<float>(look.memory_frames), mean_.data() + at,
             spread_.data() + at, taken_.data() + at);
    }
  }
}

}  // namespace guidance::cement
