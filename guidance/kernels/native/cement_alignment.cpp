// Motion and exposure of a frame against the reference: from where the last frame stood, or from a search.
#include <algorithm>

#include "cement.hpp"

namespace guidance::cement {
namespace {

constexpr float kSmoothGain = 0.0398F;  // sum of the squares of 1 4 6 4 1 both ways, twice
constexpr float kModelSigma = 0.01F;    // what a rigid picture does not explain of a patient, natural logarithm
// Smoothed rows beside each other tell much the same, and so many of them are enough; fewer for the exposure to begin
// with.
constexpr std::size_t kRows = 64, kFewRows = 16;
constexpr double kLostShare = 0.6;  // less agreement asks for a search
constexpr int kWideRounds = 48;     // of 1 4 6 4 1: a standard deviation of 7 halved pixels

GUIDANCE_CLONES void weights_of(const float* __restrict weight, const std::uint8_t* __restrict excluded,
                                std::size_t count, float* __restrict used) {
  for (std::size_t n = 0; n < count; ++n) used[n] = excluded[2 * n] ? 0.0F : weight[n];
}

}  // namespace

Alignment::Alignment(const float* reference, const std::uint8_t* valid, const float* variance, std::size_t rows,
                     std::size_t columns)
    : rows_(rows / 2),
      columns_(columns / 2),
      middle_u_((static_cast<double>(columns) - 2.0) / 4.0),
      middle_v_((static_cast<double>(rows) - 2.0) / 4.0),
      used_rows_(std::max<std::size_t>(rows_ / kRows, 2)),
      few_rows_(std::max<std::size_t>(rows_ / kFewRows, 8)),
      search_(rows_, columns_) {
  const std::size_t count = rows_ * columns_;
  for (Plane* plane : {&reference_, &slope_u_, &slope_v_, &weight_, &used_, &frame_, &off_, &plain_, &level_})
    plane->assign(count, 0.0F);
  line_.assign(5 * columns_ + 8, 0.0F);
  for (Marks* marks : {&valid_, &frame_valid_, &marks_, &scratch_}) marks->assign(count, 0);
  sample_.reserve(count / few_rows_ + columns_ + 1);  // no sample takes more

  halve(variance, valid, rows, columns, weight_.data(), marks_.data());
  halve(reference, valid, rows, columns, off_.data(), marks_.data());
  smooth(off_.data(), rows_, columns_, line_.data(), reference_.data());
  erode(marks_.data(), rows_, columns_, 3, scratch_.data(), valid_.data());
  double level = 0.0;
  for (std::size_t n = 0; n < count; ++n) {
    if (!valid_[n]) {
      weight_[n] = 0.0F;
      continue;
    }
    weight_[n] = 1.0F / (0.25F * kSmoothGain * weight_[n] + kModelSigma * kModelSigma);
    level += reference_[n];
    offered_ += 1.0;
  }
  mean_ = offered_ > 0.0 ? level / offered_ : 0.0;
  change(reference, valid);
  // The exposure's slope is told from what is wide: fine structure loses contrast between pixels.
  for (std::size_t n = 0; n < count; ++n) level_[n] = valid_[n] ? static_cast<float>(mean_) - reference_[n] : 0.0F;
  for (int round = 0; round < kWideRounds; ++round) {
    smooth(level_.data(), rows_, columns_, line_.data(), used_.data());
    level_.swap(used_);
  }
}

void Alignment::change(const float* reference, const std::uint8_t* valid) {
  halve(reference, valid, 2 * rows_, 2 * columns_, off_.data(), marks_.data());
  smooth(off_.data(), rows_, columns_, line_.data(), reference_.data());
  for (std::size_t r = 1; r + 1 < rows_; ++r)
    for (std::size_t c = 1; c + 1 < columns_; ++c) {
      const std::size_t at = r * columns_ + c;
      if (!valid_[at]) continue;
      slope_u_[at] = 0.5F * (reference_[at + 1] - reference_[at - 1]);
      slope_v_[at] = 0.5F * (reference_[at + columns_] - reference_[at - columns_]);
    }
  search_.change(reference_, valid_);
}

Fit Alignment::fit(const float* frame, const std::uint8_t* valid, const std::uint8_t* excluded, const Fit& start,
                   double slope_prior_sigma) {
  halve(frame, valid, 2 * rows_, 2 * columns_, off_.data(), marks_.data());
  smooth(off_.data(), rows_, columns_, line_.data(), frame_.data());
  erode(marks_.data(), rows_, columns_, 2, scratch_.data(), frame_valid_.data());
  for (std::size_t r = 0; r < rows_; ++r) {
    const std::size_t at = r * columns_;
    if (excluded == nullptr)
      std::copy_n(weight_.data() + at, columns_, used_.data() + at);
    else
      weights_of(weight_.data() + at, excluded + 4 * at, columns_, used_.data() + at);
  }
  // Exposure first: between two frames it may change by any factor.
  Fit fit = start;
  compare(fit, 1.0, nullptr, few_rows_);
  sample_.clear();
  for (std::size_t r = 0; r < rows_; r += few_rows_)
    for (std::size_t n = r * columns_; n < (r + 1) * columns_; n += 3)
      if (plain_[n] > 0.0F) sample_.push_back(off_[n]);
  if (sample_.empty()) {
    fit.share = fit.alike = fit.compared = 0.0;
    return fit;
  }
  fit.offset += middle_of(sample_);
  fit = refine(fit, 4, slope_prior_sigma);
  if (fit.share < kLostShare) {
    Fit other = fit;
    double du = 0.0, dv = 0.0;
    if (search_.find(frame_, frame_valid_, du, dv)) {
      other.motion = {2.0 * du, 2.0 * dv, 0.0};
      other = refine(other, 8, slope_prior_sigma);
      if (other.share > fit.share) fit = other;
    }
  }
  fit.alike = fit.share < kLostShare ? alike(fit) : fit.share;
  return fit;
}

}  // namespace guidance::cement
