// Bins that may be new cement on their own: the mean contrast less what changes everywhere, noise as it is.
#include <algorithm>
#include <cmath>

#include "cement_detect.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kFineGain = 0.0748F;  // sum of the squares of 1 4 6 4 1 both ways
constexpr float kFineLeast = 2.6F;    // deviations for a pixel beside others
constexpr int kLearns = 4;            // first frames, whose noise counts at once
constexpr double kMostDrift = 0.06;   // contrast: more is no drift, but something that came or went

GUIDANCE_CLONES void fine_levels(const float* __restrict fine, const float* __restrict spread,
                                 const float* __restrict variance, const float* __restrict systematic,
                                 const std::uint8_t* __restrict seen, std::size_t count, float reference_share,
                                 float gain, float* __restrict z, float* __restrict level) {
  for (std::size_t n = 0; n < count; ++n) {
    const float sigma = std::sqrt(gain * (spread[n] + reference_share * variance[n]) + systematic[n] + kModel * kModel);
    z[n] = seen[n] ? fine[n] / sigma : 0.0F;
    level[n] = sigma;
  }
}

// level: deviation in, least contrast out.
GUIDANCE_CLONES void uneven_levels(const float* __restrict uneven, const float* __restrict share, std::size_t count,
                                   float least, float* __restrict z, float* __restrict level) {
  for (std::size_t n = 0; n < count; ++n) {
    const float thin = least * (1.0F - share[n]);
    const float noise = kFineLeast * level[n] * uneven[n];
    z[n] /= uneven[n];
    level[n] = thin > noise ? thin : noise;
  }
}

GUIDANCE_CLONES void marks_above(const float* __restrict fine, const float* __restrict level,
                                 const std::uint8_t* __restrict seen, const std::uint8_t* __restrict told,
                                 const std::uint8_t* __restrict foreign, std::size_t count,
                                 std::uint8_t* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = fine[n] > level[n] && seen[n] && !told[n] && !foreign[n] ? 1 : 0;
}

GUIDANCE_CLONES void rescale(float size, std::size_t count, float* __restrict z, float* __restrict level) {
  for (std::size_t n = 0; n < count; ++n) {
    z[n] /= size;
    level[n] *= size;
  }
}

GUIDANCE_CLONES void take_off(const float* __restrict all, float left, std::size_t count, float* __restrict fine,
                              float* __restrict off) {
  for (std::size_t n = 0; n < count; ++n) {
    off[n] = all[n] + left;
    fine[n] -= off[n];
  }
}

}  // namespace

void Tracker::find_candidates(const Look& look) {
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  smooth(mean_.data(), rows, columns, scratch_.data(), fine_.data());
  // What the exposure's fit left behind is the middle of what is not cement.
  sample(
      count_, kStride, [&](std::size_t n) { return (now_valid_[n] != 0) & (excluded_[n] == 0) & (foreign_[n] == 0); },
      [&](std::size_t n) { return fine_[n]; });
  float left = 0.0F;
  if (sample_.size() > 64) {
    left = middle_of(sample_);
  }
  level_ = left;
  // What changes everywhere: scatter, and drifts.
  mark_also(excluded_.data(), foreign_.data(), count_);
  background_.predict();
  background_.fit(mean_.data(), now_valid_.data(), excluded_.data(), left,
                  static_cast<float>(kMostDrift + 4.0 * noise_));
  const auto reference_share = static_cast<float>(1.0 / setup_.reference_frames);
  const auto gain = static_cast<float>(kFineGain * noise_scale_ * noise_scale_);
  for (std::size_t r = 0; r < rows; ++r) {
    float* const all = scratch_.data();
    const std::size_t at = r * columns;
    background_.row(r, all, scatter_.data() + at);
    take_off(all, left, columns, fine_.data() + at, now_.data() + at);
  }
  follow_steel();
  learn_displacement(reference_share);
  watch_motion(look);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = r * columns;
    fine_levels(fine_.data() + at, spread_.data() + at, variance_.data() + at, systematic_.data() + at,
                now_valid_.data() + at, columns, reference_share, gain, z_.data() + at, level_map_.data() + at);
  }
  // Noise as it is: the side where no cement can be.
  sample(
      count_, kStride,
      [&](std::size_t n) {
        const bool noise = 2.0F * systematic_[n] < level_map_[n] * level_map_[n];  // for the most
        return (z_[n] < 0.0F) & (excluded_[n] == 0) & noise;
      },
      [&](std::size_t n) { return -z_[n]; });
  if (sample_.size() > 64) {
    const double size = std::clamp(static_cast<double>(middle_of(sample_)) / kMedianShare, 0.3, 5.0);
    const bool early = frame_ < kLearns;
    noise_scale_ = std::clamp(noise_scale_ * (early ? size : std::pow(std::clamp(size, 0.5, 2.0), 0.2)), 0.3, 5.0);
    if (early) rescale(static_cast<float>(size), count_, z_.data(), level_map_.data());
  }
  background_.uneven(z_.data(), now_valid_.data(), excluded_.data());
  std::fill(told_.begin(), told_.end(), std::uint8_t{0});
  mark_capsules(look.instruments, 1.0, kInstrument);
  mark_capsules(look.cannulas, 0.0, kCannula);
  free_steel();
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = r * columns;
    background_.uneven_row(r, scratch_.data());
    uneven_levels(scratch_.data(), share_.data() + at, columns, static_cast<float>(look.least_contrast), z_.data() + at,
                  level_map_.data() + at);
    marks_above(fine_.data() + at, level_map_.data() + at, now_valid_.data() + at, told_.data() + at,
                foreign_.data() + at, columns, candidate_.data() + at);
  }
}

}  // namespace guidance::cement
