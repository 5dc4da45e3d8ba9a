// A patient who moved and lies still again: what is not beside cement is compared with how it looks since then.
#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr double kMoved = 1.0;      // bins at the grid's corner: less is breath or noise
constexpr float kAlike = 0.2F;      // of how far they are off
constexpr float kDisplaced = 0.2F;  // bins by which bones are off
constexpr double kOlder = 0.3;      // seconds
constexpr int kStillFrames = 5;
constexpr double kStillSeconds = 0.4, kLongest = 4.0;  // as long as it may take since it lay still before
constexpr double kUnder = 0.03;                        // of the picture, below something foreign
constexpr std::size_t kBeside = 3;                     // bins around cement
constexpr double kGrown = 6.0, kGrows = 5.0;  // bins, and bins a second, by which cement may have grown meanwhile

double apart(const Motion& a, const Motion& b, double reach) {
  return std::hypot(a.du - b.du, a.dv - b.dv) + std::abs(a.turn - b.turn) * reach;
}

}  // namespace

void Tracker::watch_motion(const Look& look) {
  const double reach = 0.5 * std::hypot(static_cast<double>(setup_.rows), static_cast<double>(setup_.columns));
  const Motion& motion = fit_.motion;
  if (frame_ == 0) settled_ = motion;
  // Breath shifts the picture, which is taken out; bones that are off alike from frame to frame tell that it lies
  // still.
  const bool still = std::abs(found_ - last_found_) < kAlike * std::max(found_, kDisplaced);
  if (!still || frame_ == 0) still_from_s_ = look.time_s;
  still_frames_ = still ? still_frames_ + 1 : 0;
  last_found_ = found_;
  const bool away = apart(motion, settled_, reach) > kMoved;
  moving_ = away && displaced_ > kDisplaced && look.time_s - quiet_s_ < kLongest;
  if (!away || (!moving_ && displaced_ <= kDisplaced)) {
    // Some time old: bones are off a little before that can be told.
    if (frame_ == 0 || look.time_s - recent_s_ >= kOlder) {
      std::copy(recent_.begin(), recent_.end(), before_.begin());
      std::copy(cement_.begin(), cement_.end(), recent_.begin());
      quiet_s_ = frame_ == 0 ? look.time_s : recent_s_;
      recent_s_ = look.time_s;
    }
  }
}

// Where cement may be, by where it was when the patient lay still last.
void Tracker::reach_of_growth(const Look& look) {
  const double bins = kGrown + kGrows * std::max(look.time_s - quiet_s_, 0.0);
  dilate(before_.data(), setup_.rows, setup_.columns, static_cast<std::size_t>(bins), mark_scratch_.data(),
         grown_.data());
}

void Tracker::settle(const Look& look) {
  if (!moving_ || still_frames_ < kStillFrames || look.time_s - still_from_s_ < kStillSeconds) return;
  if (lies_over(kUnder)) return;  // it would be what everything is compared with
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  // What came while it moved, and lies farther from cement of before than that can have grown, is bone that lies
  // elsewhere, or cannot be told from it.
  reach_of_growth(look);
  doubtful_ = true;
  for (std::size_t n = 0; n < count_; ++n) {
    if (!cement_[n] || grown_[n]) continue;
    forget(n);
    lost_[n] = 1;
  }
  dilate(cement_.data(), rows, columns, kBeside, mark_scratch_.data(), excluded_.data());
  for (std::size_t n = 0; n < count_; ++n) {
    const bool takes = now_valid_[n] && !excluded_[n] && !foreign_[n];
    if (!takes) {
      if (!cement_[n]) doubt_[n] = std::max(doubt_[n], systematic_[n]);
      continue;
    }
    base_[n] += mean_[n] - now_[n];  // now: what changes everywhere
    fine_[n] = z_[n] = 0.0F;
    mean_[n] = now_[n];
    thinner_[n] = 0;
  }
  smooth(base_.data(), rows, columns, scratch_.data(), edges_.data());
  slopes_of(edges_.data());
  alignment_.change(base_.data(), valid_.data());
  // Steel that stands has moved with the patient.
  for (Shaft& shaft : shafts_) {
    if (shaft.free < shaft.places()) continue;
    const std::array<double, 5> line{shaft.ends[0], shaft.ends[1], shaft.ends[2], shaft.ends[3], shaft.half};
    Shaft found;
    if (!find_shaft(base_.data(), valid_.data(), rows, columns, line, found)) continue;
    found.held_mm = shaft.held_mm;
    shaft = std::move(found);
  }
  std::fill(steel_.begin(), steel_.end(), std::uint8_t{0});
  for (const Shaft& shaft : shafts_) mark_steel(shaft);
  settled_ = fit_.motion;
  moving_ = false;
  displace(static_cast<float>(setup_.jitter));
}

}  // namespace guidance::cement
