// Another field: blades close or open, and scatter falls or rises with what of the patient is lit.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr double kFieldStep = 0.02;  // of a side: a smaller change of the field changes little
constexpr float kLeastLeft = 0.02F;  // of the primary: less is noise
constexpr float kMostOpened = 2.0F;  // scatter that comes with a wider field, over what there was
constexpr std::size_t kFieldStride = 5;
constexpr int kFieldRounds = 3, kSolves = 200;
constexpr double kFieldLeast = 256.0;  // bins that tell of it
constexpr double kFieldSigma = 0.1;    // of a bin of one frame

}  // namespace

bool Background::fit_field(const float* contrast, const float* share, const std::uint8_t* seen,
                           const std::uint8_t* taken) {
  for (std::size_t w = 0; w < kWidths; ++w) {
    blur(value_, w, lost_);
    for (std::size_t n = 0; n < lost_.size(); ++n)
      change_[w][n] = scattered_[w][n] > 0.0F ? std::clamp(lost_[n] / scattered_[w][n], -kMostOpened, 0.9F) : 0.0F;
  }
  // exp(-contrast) = b - share * sum of b a_w change_w: b is the exposure.
  constexpr std::size_t kUnknowns = kWidths + 1;
  std::array<double, kUnknowns> found{}, right{};
  for (std::size_t w = 0; w < kWidths; ++w) found[w] = kUsual[w];
  found[kWidths] = 1.0;
  for (int round = 0; round < kFieldRounds; ++round) {
    std::array<double, kUnknowns * kUnknowns> normal{};
    right.fill(0.0);
    double used = 0.0;
    for (std::size_t r = kFieldStride / 2; r < rows_; r += kFieldStride)
      for (std::size_t c = kFieldStride / 2; c < columns_; c += kFieldStride) {
        const std::size_t at = r * columns_ + c;
        if (!seen[at] || taken[at]) continue;
        const std::size_t cell = (r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1);
        const double value = std::exp(-std::clamp(static_cast<double>(contrast[at]), -2.0, 2.0));
        std::array<double, kUnknowns> column{};
        double off = value;
        for (std::size_t w = 0; w < kWidths; ++w)
          column[w] = -static_cast<double>(share[at]) * static_cast<double>(change_[w][cell]);
        column[kWidths] = 1.0;
        for (std::size_t i = 0; i < kUnknowns; ++i) off -= column[i] * found[i];
        const double weight = 1.0 / (kFieldSigma * kFieldSigma + off * off);
        used += 1.0;
        for (std::size_t i = 0; i < kUnknowns; ++i) {
          right[i] += weight * column[i] * value;
          for (std::size_t j = 0; j < kUnknowns; ++j) normal[i * kUnknowns + j] += weight * column[i] * column[j];
        }
      }
    if (used < kFieldLeast) return false;
    for (std::size_t w = 0; w < kWidths; ++w) {
      const double prior = 1.0 / (kUsualSigma * kUsualSigma);
      normal[w * (kUnknowns + 1)] += prior;
      right[w] += prior * kUsual[w];
    }
    for (int pass = 0; pass < kSolves; ++pass)
      for (std::size_t i = 0; i < kUnknowns; ++i) {
        double sum = right[i];
        for (std::size_t j = 0; j < kUnknowns; ++j)
          if (j != i) sum -= normal[i * kUnknowns + j] * found[j];
        found[i] = std::max(sum / normal[i * (kUnknowns + 1)], 0.0);
      }
  }
  if (!(found[kWidths] > 0.1)) return false;
  for (std::size_t n = 0; n < smooth_.size(); ++n) {
    double change = 0.0;
    for (std::size_t w = 0; w < kWidths; ++w) change += found[w] / found[kWidths] * static_cast<double>(change_[w][n]);
    smooth_[n] = static_cast<float>(std::min(change, 0.9));
  }
  return true;
}

void Background::settle_field(const float* share, const std::uint8_t* valid) {
  shares(share, valid);
  for (std::size_t w = 0; w < kWidths; ++w) {
    blur(value_, w, lost_);
    for (std::size_t n = 0; n < lost_.size(); ++n)
      scattered_[w][n] = std::max(scattered_[w][n] - lost_[n], 0.1F * scattered_[w][n]);
  }
}

// Blades close: less scatter comes, from near them most. What was told of the primary stays, the reference is what it
// would be with the field as it is now.
void Tracker::follow_field(const Scale& scale) {
  const std::array<int, 4> before = field_;
  field_ = scale.field;
  const auto changed = [&](std::size_t side, std::size_t size) {
    return std::abs(before[side] - field_[side]) > kFieldStep * static_cast<double>(size * setup_.step);
  };
  if (before[2] < before[0]) return;
  if (!changed(0, setup_.columns) && !changed(1, setup_.rows) && !changed(2, setup_.columns) &&
      !changed(3, setup_.rows)) {
    field_ = before;  // until it has gone far enough to be told from noise
    return;
  }
  const std::size_t rows = setup_.rows, columns = setup_.columns;
  const auto step = static_cast<double>(setup_.step);
  background_.begin_field();
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      const double u = (static_cast<double>(c) + fit_.motion.du + 0.5) * step;
      const double v = (static_cast<double>(r) + fit_.motion.dv + 0.5) * step;
      const auto inside = [&](const std::array<int, 4>& box) {
        return u > box[0] && u < box[2] + 1 && v > box[1] && v < box[3] + 1;
      };
      const int lost = static_cast<int>(inside(before)) - static_cast<int>(inside(field_));
      if (lost != 0 && valid_[at]) background_.add_field(r, c, static_cast<float>(lost) * background_.signal(at));
    }
  warp(live_.data(), live_valid_.data(), rows, columns, fit_.motion, now_.data(), now_valid_.data());
  sample_.clear();
  const auto slope = static_cast<float>(fit_.slope), mean = static_cast<float>(alignment_.mean());
  for (std::size_t n = 0; n < count_; ++n) {
    now_valid_[n] &= valid_[n];
    now_[n] -= base_[n] + slope * (base_[n] - mean) + mean_[n];
    if (n % kFieldStride == 0 && now_valid_[n] && !excluded_[n]) sample_.push_back(now_[n]);
  }
  if (sample_.empty()) return;
  const float exposure = middle_of(sample_);
  for (std::size_t n = 0; n < count_; ++n) now_[n] -= exposure;
  if (!background_.fit_field(now_.data(), share_.data(), now_valid_.data(), excluded_.data())) return;
  for (std::size_t r = 0; r < rows; ++r) {
    background_.field_row(r, scratch_.data());
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      const float share = share_[at], left = 1.0F - share * scratch_[c];
      const float now = share * (1.0F - scratch_[c]) / left;
      // The same primary comes through what is there with less scatter.
      const float primary = std::max((std::exp(-mean_[at]) - share) / (1.0F - share), kLeastLeft);
      mean_[at] = -std::log(now + (1.0F - now) * primary);
      base_[at] -= std::log(left);
      share_[at] = now;
    }
  }
  background_.settle_field(share_.data(), valid_.data());
  alignment_.change(base_.data(), valid_.data());
}

}  // namespace guidance::cement
