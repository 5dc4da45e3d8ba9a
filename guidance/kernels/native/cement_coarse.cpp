// Cement too thin for a bin of its own: what a window of three bins tells, that the fine scale does not explain.
#include <algorithm>
#include <cmath>

#include "cement_detect.hpp"
#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kCoarseGain = 0.0398F;  // sum of the squares of 1 4 6 4 1 both ways, twice
constexpr float kStrong = 4.0F;         // of the fine scale: less is looked at by this one too
constexpr float kCoarseLeast = 3.5F, kCoarseSeed = 6.0F;
constexpr float kCoarseFlat = 0.004F;   // contrast by which a slope is displaced there: noise is more
constexpr float kCoarseCover = 0.4F;    // share of a coarse window that must be free
constexpr std::size_t kFreePixels = 3;  // around what the fine scale found

GUIDANCE_CLONES void free_halves(const float* __restrict a, const float* __restrict b, const float* __restrict off_a,
                                 const float* __restrict off_b, const std::uint8_t* __restrict taken_a,
                                 const std::uint8_t* __restrict taken_b, std::size_t count, float* __restrict value,
                                 float* __restrict weight) {
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t m = 2 * n;
    const float w0 = taken_a[m] ? 0.0F : 0.25F, w1 = taken_a[m + 1] ? 0.0F : 0.25F;
    const float w2 = taken_b[m] ? 0.0F : 0.25F, w3 = taken_b[m + 1] ? 0.0F : 0.25F;
    value[n] = w0 * (a[m] - off_a[m]) + w1 * (a[m + 1] - off_a[m + 1]) + w2 * (b[m] - off_b[m]) +
               w3 * (b[m + 1] - off_b[m + 1]);
    weight[n] = w0 + w1 + w2 + w3;
  }
}

GUIDANCE_CLONES void mark_strong(const float* __restrict z, const std::uint8_t* __restrict candidate, std::size_t count,
                                 std::uint8_t* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= static_cast<std::uint8_t>(z[n] > kStrong ? candidate[n] : 0);
}

struct Coarse {
  const float *spread_a, *spread_b, *variance_a, *share, *systematic;
  const std::uint8_t* blind;
  float reference_share, scale, least;
};

// value, weight: of the window; they become contrast, and deviations; marks where it may be cement.
GUIDANCE_CLONES void coarse_levels(const Coarse& with, std::size_t count, float* __restrict value,
                                   const float* __restrict weight, float* __restrict z,
                                   std::uint8_t* __restrict marks) {
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t m = 2 * n;
    const bool covered = weight[n] >= kCoarseCover;
    const float share = 1.0F / (covered ? weight[n] : 1.0F);
    const float contrast = covered ? value[n] * share : 0.0F;
    const float spread = 0.25F * (with.spread_a[m] + with.spread_a[m + 1] + with.spread_b[m] + with.spread_b[m + 1]);
    const float variance = with.scale * (spread + with.reference_share * with.variance_a[m]) * share;
    value[n] = contrast;
    z[n] = contrast / std::sqrt(variance + with.systematic[n] + kModel * kModel);
  }
  for (std::size_t n = 0; n < count; ++n) {
    const float thin = with.least * (1.0F - with.share[2 * n]);
    marks[n] = !with.blind[2 * n] && z[n] > kCoarseLeast && value[n] > thin ? 1 : 0;
  }
}

}  // namespace

void Tracker::find_coarse(const Look& look) {
  const std::size_t rows = setup_.rows, columns = setup_.columns, half = half_rows_ * half_columns_;
  std::copy(cement_.begin(), cement_.end(), excluded_.begin());
  mark_strong(z_.data(), candidate_.data(), count_, excluded_.data());
  dilate(excluded_.data(), rows, columns, kFreePixels, mark_scratch_.data(), blind_.data());
  mark_missing(blind_.data(), now_valid_.data(), count_);
  mark_also(blind_.data(), told_.data(), count_);
  mark_also(blind_.data(), foreign_.data(), count_);
  for (std::size_t r = 0; r < half_rows_; ++r) {
    const std::size_t a = 2 * r * columns, to = r * half_columns_;
    free_halves(mean_.data() + a, mean_.data() + a + columns, now_.data() + a, now_.data() + a + columns,
                blind_.data() + a, blind_.data() + a + columns, half_columns_, half_change_.data() + to,
                half_weight_.data() + to);
  }
  smooth(half_change_.data(), half_rows_, half_columns_, half_scratch_.data(), half_smooth_.data());
  smooth(half_smooth_.data(), half_rows_, half_columns_, half_scratch_.data(), half_fine_.data());
  smooth(half_weight_.data(), half_rows_, half_columns_, half_scratch_.data(), half_smooth_.data());
  smooth(half_smooth_.data(), half_rows_, half_columns_, half_scratch_.data(), half_weight_.data());
  const auto reference_share = static_cast<float>(1.0 / setup_.reference_frames);
  for (std::size_t r = 0; r < half_rows_; ++r) {
    const std::size_t at = 2 * r * columns, to = r * half_columns_;
    const Coarse with{spread_.data() + at,
                      spread_.data() + at + columns,
                      variance_.data() + at,
                      share_.data() + at,
                      half_systematic_.data() + to,
                      blind_.data() + at,
                      reference_share,
                      static_cast<float>(0.25 * kCoarseGain * coarse_scale_ * coarse_scale_),
                      static_cast<float>(look.least_contrast)};
    coarse_levels(with, half_columns_, half_fine_.data() + to, half_weight_.data() + to, half_z_.data() + to,
                  half_marks_.data() + to);
  }
  sample(
      half, kStride / 4,
      [&](std::size_t n) { return (half_z_[n] < 0.0F) & (half_systematic_[n] < kCoarseFlat * kCoarseFlat); },
      [&](std::size_t n) { return -half_z_[n]; });
  if (sample_.size() > 64) {
    const double size = std::clamp(static_cast<double>(middle_of(sample_)) / kMedianShare, 0.5, 2.0);
    coarse_scale_ = std::clamp(coarse_scale_ * (frame_ < 3 ? size : std::pow(size, 0.2)), 0.3, 6.0);
  }
  std::fill(half_cement_.begin(), half_cement_.end(), std::uint8_t{0});
  regions_.find(half_marks_.data(), half_rows_, half_columns_, half_z_.data(), half_seen_.data(), half_cement_.data());
  raised_.clear();
  for (const Region& region : regions_.regions()) {
    if (region.most < kCoarseSeed || region.count < kLeastPixels) continue;
    for (std::size_t n = 0; n < region.count; ++n) {
      const std::uint32_t at = regions_.pixels(region)[n];
      const std::size_t first = 2 * (at / half_columns_) * columns + 2 * (at % half_columns_);
      for (const std::size_t to : {first, first + 1, first + columns, first + columns + 1}) {
        if (blind_[to]) continue;
        candidate_[to] = 1;
        raised_.emplace_back(static_cast<std::uint32_t>(to), half_fine_[at]);
        z_[to] = std::max(z_[to], half_z_[at]);
        level_map_[to] = std::min(level_map_[to], 0.5F * half_fine_[at]);
      }
    }
  }
}

}  // namespace guidance::cement
