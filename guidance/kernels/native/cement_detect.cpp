// Which of the mean contrast is new cement: two scales of matched filters, noise as it is, regions and their company.
#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kFineGain = 0.0748F;    // sum of the squares of 1 4 6 4 1 both ways
constexpr float kCoarseGain = 0.0398F;  // of that filter twice
constexpr float kMedianShare = 0.6745F;
constexpr float kModel = 0.0025F;      // contrast: drifts over some millimetres
constexpr float kFineLeast = 2.6F;     // deviations for a pixel beside others
constexpr float kFineSeed = 6.0F;      // for a region on its own
constexpr float kExpectedSeed = 4.0F;  // where cement is expected
constexpr float kAttachedSeed = 3.5F;  // for a region beside known cement
constexpr float kStrong = 4.0F;        // of the fine scale: less is looked at by the coarse one too
constexpr float kCoarseLeast = 3.5F, kCoarseSeed = 6.0F;
constexpr float kCoarseFlat = 0.004F;  // contrast by which a slope is displaced there: noise is more
constexpr float kCoarseCover = 0.4F;   // share of a coarse window that must be free
constexpr float kKeeps = 0.65F;        // of the level, less of which is no cement any more ...
constexpr std::uint8_t kHold = 6;      // ... for so many frames
constexpr std::size_t kLeastPixels = 10, kFreePixels = 3;  // of a region on its own
constexpr float kThinner = 6.0F, kThinnerContrast = 0.08F;
constexpr std::uint8_t kLift = 8;    // frames after which what has gone is gone
constexpr int kCompany = 6;          // pixels around a region within which its opposite tells of a movement
constexpr int kLearns = 4;           // first frames, whose noise counts at once
constexpr double kMostDrift = 0.06;  // contrast: more is no drift, but something that came or went
constexpr std::size_t kStride = 61;

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

GUIDANCE_CLONES void rescale(float size, std::size_t count, float* __restrict z, float* __restrict level) {
  for (std::size_t n = 0; n < count; ++n) {
    z[n] /= size;
    level[n] *= size;
  }
}

GUIDANCE_CLONES void mark_strong(const float* __restrict z, const std::uint8_t* __restrict candidate, std::size_t count,
                                 std::uint8_t* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] |= static_cast<std::uint8_t>(z[n] > kStrong ? candidate[n] : 0);
}

GUIDANCE_CLONES void take_off(const float* __restrict all, float left, std::size_t count, float* __restrict fine,
                              float* __restrict off) {
  for (std::size_t n = 0; n < count; ++n) {
    off[n] = all[n] + left;
    fine[n] -= off[n];
  }
}

GUIDANCE_CLONES bool any_thinner(const float* __restrict z, const float* __restrict fine,
                                 const std::uint8_t* __restrict thinner, std::size_t count) {
  std::uint32_t any = 0;
  for (std::size_t n = 0; n < count; ++n) any |= z[n] < -kThinner && fine[n] < -kThinnerContrast ? 1U : 0U;
  for (std::size_t n = 0; n < count; ++n) any |= thinner[n];
  return any != 0;
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

void Tracker::find_candidates(const Look& look, const Answer& answer) {
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  smooth(mean_.data(), rows, columns, scratch_.data(), fine_.data());
  // What the exposure's fit left behind is the middle of what is not cement.
  sample_.clear();
  for (std::size_t n = 0; n < count_; n += kStride)
    if (now_valid_[n] && !excluded_[n] && !foreign_[n]) sample_.push_back(fine_[n]);
  float left = 0.0F;
  if (sample_.size() > 64) {
    const auto middle = sample_.begin() + static_cast<std::ptrdiff_t>(sample_.size() / 2);
    std::nth_element(sample_.begin(), middle, sample_.end());
    left = *middle;
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
  sample_.clear();
  for (std::size_t n = 0; n < count_; n += kStride)
    if (z_[n] < 0.0F && !excluded_[n] && 2.0F * systematic_[n] < level_map_[n] * level_map_[n])  // noise for the most
      sample_.push_back(-z_[n]);
  if (sample_.size() > 64) {
    const auto middle = sample_.begin() + static_cast<std::ptrdiff_t>(sample_.size() / 2);
    std::nth_element(sample_.begin(), middle, sample_.end());
    const double size = std::clamp(static_cast<double>(*middle) / kMedianShare, 0.3, 5.0);
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
  (void)answer;
}

void Tracker::judge_candidates(const Look& look) {
  const std::size_t rows = setup_.rows, columns = setup_.columns, half = half_rows_ * half_columns_;
  // Coarse: what is not explained by the fine scale.
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
  sample_.clear();
  for (std::size_t n = 0; n < half; n += kStride / 4)
    if (half_z_[n] < 0.0F && half_systematic_[n] < kCoarseFlat * kCoarseFlat) sample_.push_back(-half_z_[n]);
  if (sample_.size() > 64) {
    const auto middle = sample_.begin() + static_cast<std::ptrdiff_t>(sample_.size() / 2);
    std::nth_element(sample_.begin(), middle, sample_.end());
    const double size = std::clamp(static_cast<double>(*middle) / kMedianShare, 0.5, 2.0);
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
  find_edges();
  for (const auto& [at, contrast] : raised_) fine_[at] = contrast;
  keep_or_drop();
  if (frame_ < kFirstFrames) {
    lift_reference();
    return;
  }
  if (moving_) reach_of_growth(look);
  mark_only(candidate_.data(), cement_.data(), count_);
  regions_.find(candidate_.data(), rows, columns, z_.data(), now_valid_.data(), near_.data());
  for (const Region& region : regions_.regions()) {
    float least = region.attached > 0 ? kAttachedSeed : kFineSeed;
    const std::uint32_t* const pixels = regions_.pixels(region);
    if (region.attached == 0) {
      if (region.count < kLeastPixels) continue;
      if (look.expected != nullptr) {
        std::size_t expected = 0;
        const std::size_t step = setup_.step;
        for (std::size_t n = 0; n < region.count; ++n) {
          const std::size_t r = pixels[n] / columns, c = pixels[n] % columns;
          expected += look.expected[(r * step + step / 2) * (columns * step) + c * step + step / 2] != 0;
        }
        if (2 * expected > region.count) least = kExpectedSeed;
      }
      if (region.enters()) continue;
      // Something that moved leaves its opposite beside it.
      std::size_t opposite = 0;
      for (int v = std::max(region.box[1] - kCompany, 0);
           v <= std::min(region.box[3] + kCompany, static_cast<int>(rows) - 1); ++v)
        for (int u = std::max(region.box[0] - kCompany, 0);
             u <= std::min(region.box[2] + kCompany, static_cast<int>(columns) - 1); ++u)
          opposite += z_[static_cast<std::size_t>(v) * columns + static_cast<std::size_t>(u)] < -kFineSeed;
      if (3 * opposite > region.count) continue;
    }
    if (region.most < least) continue;
    for (std::size_t n = 0; n < region.count; ++n) {
      const std::uint32_t at = pixels[n];
      if (moving_ && !grown_[at]) {  // bone that lies elsewhere for now, or cement
        told_[at] |= kUncertain;
        continue;
      }
      cement_[at] = 1;
      hold_[at] = kHold;
      arrival_[at] = static_cast<float>(look.time_s);
      arrived_[at] = frame_;
    }
  }
  lift_reference();
  settle(look);
  doubt(look);
}

// Cement stays where it is; what was noise goes when it has been too little for some frames.
void Tracker::keep_or_drop() {
  const std::size_t columns = setup_.columns;
  for (std::size_t n = static_cast<std::size_t>(std::max(box_[1], 0)) * columns;
       n < static_cast<std::size_t>(box_[3] + 1) * columns; ++n) {
    if (!cement_[n] || !now_valid_[n] || foreign_[n] || told_[n]) continue;
    if (fine_[n] > kKeeps * level_map_[n]) {
      hold_[n] = kHold;
    } else if (hold_[n] > 0) {
      --hold_[n];
    } else {
      forget(n);
    }
  }
}

void Tracker::forget(std::size_t at) {
  cement_[at] = 0;
  arrival_[at] = std::nanf("");
  arrived_[at] = -1;
  speed_[at] = std::nanf("");
}

// Where the picture has become brighter for good, something dense has left: that is the reference from now on.
void Tracker::lift_reference() {
  for (std::size_t n = 0; n < count_; ++n) {
    if (n % setup_.columns == 0 && !any_thinner(z_.data() + n, fine_.data() + n, thinner_.data() + n, setup_.columns)) {
      n += setup_.columns - 1;
      continue;
    }
    if (!(z_[n] < -kThinner && fine_[n] < -kThinnerContrast)) {
      thinner_[n] = 0;
      continue;
    }
    if (++thinner_[n] < kLift) continue;
    if (steel_[n]) {  // how it has gone is told of the whole shaft
      thinner_[n] = kLift;
      continue;
    }
    base_[n] += mean_[n];
    mean_[n] = 0.0F;
    taken_[n] = 1.0F;
    thinner_[n] = 0;
    unseen_[n] = 1;  // no longer what the motion is told from
  }
}

std::array<double, 5> Tracker::on_grid(const double* capsule) const {
  const auto step = static_cast<double>(setup_.step);
  const double shift = (step - 1.0) / 2.0;
  const double middle_u = (static_cast<double>(setup_.columns) - 1.0) / 2.0;
  const double middle_v = (static_cast<double>(setup_.rows) - 1.0) / 2.0;
  const double cosine = std::cos(fit_.motion.turn), sine = std::sin(fit_.motion.turn);
  std::array<double, 5> placed{};
  for (std::size_t end = 0; end < 2; ++end) {  // from the frame to where the reference is
    const double u = (capsule[2 * end] - shift) / step - fit_.motion.du - middle_u;
    const double v = (capsule[2 * end + 1] - shift) / step - fit_.motion.dv - middle_v;
    placed[2 * end] = cosine * u + sine * v + middle_u;
    placed[2 * end + 1] = -sine * u + cosine * v + middle_v;
  }
  placed[4] = capsule[4] / step;
  return placed;
}

void Tracker::mark_capsules(const Capsules& capsules, double margin, std::uint8_t bit) {
  for (std::size_t n = 0; n < capsules.count; ++n) {
    const std::array<double, 5> ends = on_grid(capsules.numbers + 5 * n);
    const auto bits = static_cast<std::uint8_t>(on_shaft(ends) ? bit : bit | kOther);
    const double radius = ends[4] + margin;
    const double along_u = ends[2] - ends[0], along_v = ends[3] - ends[1];
    const double square = along_u * along_u + along_v * along_v;
    const auto bound = [](double value, std::size_t size) {
      return static_cast<std::size_t>(std::clamp(value, 0.0, static_cast<double>(size)));
    };
    const std::size_t first_r = bound(std::floor(std::min(ends[1], ends[3]) - radius), setup_.rows);
    const std::size_t end_r = bound(std::ceil(std::max(ends[1], ends[3]) + radius) + 1.0, setup_.rows);
    const std::size_t first_c = bound(std::floor(std::min(ends[0], ends[2]) - radius), setup_.columns);
    const std::size_t end_c = bound(std::ceil(std::max(ends[0], ends[2]) + radius) + 1.0, setup_.columns);
    for (std::size_t r = first_r; r < end_r; ++r)
      for (std::size_t c = first_c; c < end_c; ++c) {
        const double u = static_cast<double>(c) - ends[0], v = static_cast<double>(r) - ends[1];
        const double part = square > 0.0 ? std::clamp((u * along_u + v * along_v) / square, 0.0, 1.0) : 0.0;
        const double off_u = u - part * along_u, off_v = v - part * along_v;
        if (off_u * off_u + off_v * off_v <= radius * radius) told_[r * setup_.columns + c] |= bits;
      }
  }
}

}  // namespace guidance::cement
