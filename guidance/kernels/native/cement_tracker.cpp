// One frame from its pixels to what is told of it.
#include "cement_tracker.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace guidance::cement {
namespace {

constexpr double kLeastCompared = 0.2;        // of the reference's field
constexpr double kLeastShare = 0.35;          // of what is compared, that agrees
constexpr double kLeastAlike = 0.6;           // or so much but for edges: a pan leaves 0.67 to 0.9, a hand 0.3 to 0.54
constexpr double kMostlyDenser = 0.8;         // of what does not agree: something lies over it
constexpr double kMostMotion = 0.2;           // of the shorter side
constexpr double kMostTurn = 0.2;             // radians
constexpr std::size_t kNear = 3, kApart = 4;  // pixels around cement
constexpr int kSettling = 4;                  // frames after a pause in which any amount of cement may be new
constexpr double kStartSlopeSigma = 0.02;
constexpr double kHeldSlopeSigma = 0.0005;  // under something: what is left does not tell the exposure's slope
constexpr double kSteady = 0.9;             // agrees, and nothing lies over it: what to go back to
constexpr double kLost = 0.6, kMostOver = 0.15;
constexpr double kOneSided = 0.3;  // a hand 0.47 to 0.5, a pan 0 to 0.1
constexpr double kPanned = 4.0;    // bins
constexpr int kLongestOver = 60;   // frames: a patient who lies otherwise now is not under anything

}  // namespace

Tracker::Tracker(const Setup& setup, const float* reference, const std::uint8_t* valid, const float* variance,
                 const float* share)
    : setup_(setup),
      count_(setup.rows * setup.columns),
      half_rows_(setup.rows / 2),
      half_columns_(setup.columns / 2),
      alignment_(reference, valid, variance, setup.rows, setup.columns),
      background_(reference, valid, share, setup.rows, setup.columns) {
  const std::size_t half = half_rows_ * half_columns_;
  base_.assign(reference, reference + count_);
  variance_.assign(variance, variance + count_);
  share_.assign(share, share + count_);
  valid_.assign(valid, valid + count_);
  for (Plane* plane : {&systematic_, &scatter_, &live_, &now_, &mean_, &spread_, &taken_, &fine_, &level_map_, &z_,
                       &most_, &edges_, &doubt_, &dense_})
    plane->assign(count_, 0.0F);
  scratch_.assign(4 * setup.columns + 16, 0.0F);
  arrival_.assign(count_, std::numeric_limits<float>::quiet_NaN());
  speed_.assign(count_, std::numeric_limits<float>::quiet_NaN());
  arrived_.assign(count_, -1);
  crossed_.assign(setup.columns, -1);
  raised_.reserve(count_);
  nearest_.reserve((setup.columns + 2) * setup.step);
  for (Marks* marks :
       {&live_valid_, &now_valid_, &cement_, &hold_, &thinner_, &candidate_, &foreign_, &told_, &excluded_, &near_,
        &blind_, &mark_scratch_, &unseen_, &steel_, &before_, &recent_, &grown_, &lost_})
    marks->assign(count_, 0);
  for (Plane* plane :
       {&half_change_, &half_variance_, &half_smooth_, &half_z_, &half_weight_, &half_systematic_, &half_fine_})
    plane->assign(half, 0.0F);
  half_scratch_.assign(4 * setup.columns + 16, 0.0F);
  for (Marks* marks : {&half_marks_, &half_seen_, &half_cement_, &half_foreign_, &half_mark_scratch_})
    marks->assign(half, 0);
  offered_ = count_both(valid_.data(), valid_.data(), count_);
  find_box();
  regions_.reserve(count_);
  contours_.reserve(setup.rows, setup.columns);
  sample_.reserve(count_);
  slopes_.assign(count_, 0.0F);
  smooth(reference, setup.rows, setup.columns, scratch_.data(), fine_.data());
  slopes_of(fine_.data());
  displace(static_cast<float>(setup.jitter));
}

// Squares of the reference's slopes.
void Tracker::slopes_of(const float* smoothed) {
  for (std::size_t r = 1; r + 1 < setup_.rows; ++r)
    for (std::size_t c = 1; c + 1 < setup_.columns; ++c) {
      const std::size_t at = r * setup_.columns + c;
      const float u = 0.5F * (smoothed[at + 1] - smoothed[at - 1]);
      const float v = 0.5F * (smoothed[at + setup_.columns] - smoothed[at - setup_.columns]);
      slopes_[at] = u * u + v * v;
    }
}

void Tracker::resume() {
  for (float& taken : taken_) taken = std::min(taken, 1.0F);
  frame_ = std::max(frame_, kFirstFrames);
  unsettled_ = kSettling;
  std::fill(half_foreign_.begin(), half_foreign_.end(), std::uint8_t{0});
  std::fill(foreign_.begin(), foreign_.end(), std::uint8_t{0});
}

void Tracker::already(const std::uint8_t* marks) {
  for (std::size_t n = 0; n < count_; ++n) {
    cement_[n] = marks[n] && valid_[n] ? 1 : 0;
    hold_[n] = cement_[n] ? 255 : 0;
  }
  unsettled_ = std::min(unsettled_, 1);  // known of the newest frame: a hand in those that come is none
  find_box();
  dilate(cement_.data(), setup_.rows, setup_.columns, kNear, mark_scratch_.data(), near_.data());
}

bool Tracker::look_at(const Look& look, const Picture& picture, const Scale& scale, Answer& answer) {
  answer.bins = bin_frame(picture, scale, live_.data(), live_valid_.data());
  const std::size_t there = count_both(valid_.data(), live_valid_.data(), count_);
  if (static_cast<double>(there) < kLeastCompared * static_cast<double>(offered_) || there == 0) {
    answer.told = answer.bins.saturated > answer.bins.black ? Told::kSaturated : Told::kBlack;
    return false;
  }
  dilate(cement_.data(), setup_.rows, setup_.columns, kApart, mark_scratch_.data(), excluded_.data());
  mark_also(excluded_.data(), foreign_.data(), count_);
  mark_also(excluded_.data(), unseen_.data(), count_);
  const bool over = lies_over(0.0);
  const bool was_over = over || covered_ > 0;
  covered_ = over ? kSettling : std::max(covered_ - 1, 0);
  double slope_sigma =
      frame_ == 0 || unsettled_ > 0 || was_over ? std::max(look.slope_sigma, kStartSlopeSigma) : look.slope_sigma;
  Fit start = fit_;
  if (over) {
    slope_sigma = kHeldSlopeSigma;
    start.slope = steady_.slope;
  }
  follow_field(scale);
  Fit fit = alignment_.fit(live_.data(), live_valid_.data(), excluded_.data(), start, slope_sigma);
  // What lay over it has gone, and the fit to what was left of the picture is not that of the whole.
  if (!is_steady_ && (fit.share < kLost || (was_over && fit.share < kSteady))) {
    const Fit other = alignment_.fit(live_.data(), live_valid_.data(), excluded_.data(), steady_, slope_sigma);
    if (other.share > fit.share) fit = other;
  }
  answer.fit = fit;
  if (fit.compared < 0.5 * kLeastCompared) {
    answer.told = Told::kCovered;
    return false;
  }
  const double most = kMostMotion * static_cast<double>(std::min(setup_.rows, setup_.columns));
  if (std::hypot(fit.motion.du, fit.motion.dv) > most || std::abs(fit.motion.turn) > kMostTurn) {
    answer.told = fit.share < 2.0 * kLeastShare ? Told::kPictureChanged : Told::kMotionTooLarge;
    return false;
  }
  if (fit.share < kLeastShare && fit.alike < kLeastAlike) {
    answer.told = fit.denser > kMostlyDenser ? Told::kCovered : Told::kPictureChanged;
    return false;
  }
  // After a pan bones at other depths are off to both sides; the rest of a picture under a hand to one, or it has moved
  // by little.
  const bool rest = std::abs(fit.denser - 0.5) > kOneSided ||
                    std::hypot(fit.motion.du - steady_.motion.du, fit.motion.dv - steady_.motion.dv) < kPanned;
  if (fit.share < kSteady && rest && lies_over(kMostOver) && hidden_ < kLongestOver) {
    answer.told = Told::kCovered;
    ++hidden_;
    return false;
  }
  hidden_ = 0;
  return true;
}

// More than this share of the picture is under something foreign.
bool Tracker::lies_over(double share) const {
  const std::size_t half = half_rows_ * half_columns_;
  return static_cast<double>(count_both(half_foreign_.data(), half_foreign_.data(), half)) >
         share * static_cast<double>(half);
}

Answer Tracker::follow(const Picture& picture, const Scale& scale, const Look& look, const Maps& maps) {
  Answer answer;
  if (!look_at(look, picture, scale, answer)) return answer;
  fit_ = answer.fit;
  dose_ = std::clamp(std::exp(answer.fit.offset), 0.05, 20.0);
  doubt_dense(answer.fit.slope);
  contrast(answer);
  find_changes();
  is_steady_ = frame_ == 0 || (answer.fit.share >= kSteady && !lies_over(0.0));
  if (is_steady_) steady_ = answer.fit;
  filter(look, dose_);
  find_candidates(look);
  judge_candidates(look);
  dilate(cement_.data(), setup_.rows, setup_.columns, kNear, mark_scratch_.data(), near_.data());
  measure(look, answer);
  write(look, answer, maps);
  ++frame_;
  unsettled_ = std::max(unsettled_ - 1, 0);
  return answer;
}

}  // namespace guidance::cement
