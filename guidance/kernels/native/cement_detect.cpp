// Which of what stands out is new cement: regions and their company; what stays, and what has left for good.
#include "cement_detect.hpp"

#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kFineSeed = 6.0F;      // deviations for a region on its own
constexpr float kExpectedSeed = 4.0F;  // where cement is expected
constexpr float kAttachedSeed = 3.5F;  // for a region beside known cement
constexpr float kKeeps = 0.65F;        // of the level, less of which is no cement any more ...
constexpr std::uint8_t kHold = 6;      // ... for so many frames
constexpr float kThinner = 6.0F, kThinnerContrast = 0.08F;
constexpr std::uint8_t kLift = 8;  // frames after which what has gone is gone
constexpr int kCompany = 6;        // pixels around a region within which its opposite tells of a movement

GUIDANCE_CLONES bool any_thinner(const float* __restrict z, const float* __restrict fine,
                                 const std::uint8_t* __restrict thinner, std::size_t count) {
  std::uint32_t any = 0;
  for (std::size_t n = 0; n < count; ++n) any |= z[n] < -kThinner && fine[n] < -kThinnerContrast ? 1U : 0U;
  for (std::size_t n = 0; n < count; ++n) any |= thinner[n];
  return any != 0;
}

}  // namespace

void Tracker::judge_candidates(const Look& look) {
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  find_coarse(look);
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
          expected += look.expected[(r * step + step / 2) * look.expected_columns + c * step + step / 2] != 0;
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

}  // namespace guidance::cement
