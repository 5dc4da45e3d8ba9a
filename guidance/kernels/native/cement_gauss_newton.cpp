// What is left over between a frame and the reference, and Gauss-Newton on five numbers with Cauchy's weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cement.hpp"

namespace guidance::cement {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::size_t kUnknowns = 5;     // shift, turn, offset, slope
constexpr double kCut = 2.0;             // standard deviations at which a bin's weight is halved
constexpr float kAgrees = 3.0F;          // standard deviations
constexpr double kMedianShare = 0.6745;  // of white noise: the median of its size
constexpr std::size_t kSampleStride = 19;
constexpr float kEdgesOff = 1.0F;    // halved pixels: bones 60 mm apart in depth, the patient 7 mm aside
constexpr double kLeastStep = 0.01;  // halved pixels: the step after a smaller one would be no step
constexpr double kLeastOffset = 3e-4;

GUIDANCE_CLONES void bilinear_run(const float* __restrict a, const float* __restrict b, std::size_t count, float fu,
                                  float fv, float step_u, float step_v, float* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) {
    const auto along = static_cast<float>(static_cast<std::int32_t>(n));
    const float u = fu + along * step_u, v = fv + along * step_v;
    const float top = a[n] + u * (a[n + 1] - a[n]);
    const float bottom = b[n] + u * (b[n + 1] - b[n]);
    to[n] = top + v * (bottom - top);
  }
}
GUIDANCE_CLONES void all_run(const std::uint8_t* __restrict a, const std::uint8_t* __restrict b, std::size_t count,
                             std::uint8_t* __restrict to) {
  for (std::size_t n = 0; n < count; ++n) to[n] = a[n] & a[n + 1] & b[n] & b[n + 1];
}

struct Line {
  const float *reference, *slope_u, *slope_v, *weight, *level;
  float* off;    // in: the frame; out: what is left over
  float* plain;  // weight where there is a frame
  const std::uint8_t* valid;
};

GUIDANCE_CLONES void residuals(const Line& line, std::size_t count, float offset, float slope, float mean) {
  float* __restrict off = line.off;
  float* __restrict plain = line.plain;
  for (std::size_t n = 0; n < count; ++n) {
    const float model = line.reference[n] + offset + slope * (line.reference[n] - mean);
    plain[n] = line.valid[n] ? line.weight[n] : 0.0F;
    off[n] = off[n] - model;
  }
}

// A run of kLanes numbers: all sums of a line are kept in registers at once, as each of them alone waits for itself.
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
[[gnu::always_inline]] inline void take(const float* from, Lanes& lanes) { std::memcpy(&lanes, from, sizeof lanes); }

// Weighted sums of one line; scratch has four lines.
GUIDANCE_CLONES void accumulate(const Line& line, std::size_t count, float inverse_cut, float mean, float first_u,
                                float y, float* __restrict scratch, double* normal, double* right, double* tally) {
  float* __restrict turn = scratch;
  float* __restrict weighted = scratch + count;
  float* __restrict full = scratch + 2 * count;  // what the slope really goes with
  for (std::size_t n = 0; n < count; ++n) {
    const float x = first_u + static_cast<float>(static_cast<std::int32_t>(n));
    turn[n] = x * line.slope_v[n] - y * line.slope_u[n];
    full[n] = mean - line.reference[n];
  }
  float lanes[3][kLanes] = {};
  for (std::size_t n = 0; n < count; ++n) {
    const float square = line.off[n] * line.off[n] * line.plain[n];
    weighted[n] = line.plain[n] / (1.0F + square * inverse_cut * inverse_cut);
  }
  for (std::size_t n = 0; n + kLanes <= count; n += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const float square = line.off[n + l] * line.off[n + l] * line.plain[n + l];
      const float there = line.plain[n + l] > 0.0F ? 1.0F : 0.0F;
      const float agrees = square < kAgrees * kAgrees ? there : 0.0F;
      lanes[0][l] += agrees;
      lanes[1][l] += line.off[n + l] > 0.0F ? there - agrees : 0.0F;
      lanes[2][l] += there;
    }
  for (std::size_t n = 0; n < 3; ++n)
    for (std::size_t l = 0; l < kLanes; ++l) tally[n] += lanes[n][l];
  // The offset's column is -1.
  constexpr std::size_t kPairs = kUnknowns * (kUnknowns + 1) / 2, kSums = kPairs + kUnknowns;
  Lanes sums[kSums] = {};
  std::size_t n = 0;
  for (; n + kLanes <= count; n += kLanes) {
    Lanes columns[kUnknowns], weight, off, along;
    take(line.slope_u + n, columns[0]);
    take(line.slope_v + n, columns[1]);
    take(turn + n, columns[2]);
    columns[3] = Lanes{} - 1.0F;
    take(line.level + n, columns[4]);
    take(weighted + n, weight);
    take(line.off + n, off);
    take(full + n, along);
    std::size_t pair = 0;
#pragma GCC unroll 5
    for (std::size_t i = 0; i < kUnknowns; ++i) {
      const Lanes product = weight * columns[i];
#pragma GCC unroll 5
      for (std::size_t j = i; j < kUnknowns; ++j, ++pair)
        sums[pair] += product * (i == kUnknowns - 1 ? along : columns[j]);
      sums[kPairs + i] += product * off;
    }
  }
  std::array<float, kSums> last{};
  for (; n < count; ++n) {
    const float columns[kUnknowns] = {line.slope_u[n], line.slope_v[n], turn[n], -1.0F, line.level[n]};
    std::size_t pair = 0;
    for (std::size_t i = 0; i < kUnknowns; ++i) {
      const float product = weighted[n] * columns[i];
      for (std::size_t j = i; j < kUnknowns; ++j, ++pair)
        last[pair] += product * (i == kUnknowns - 1 ? full[n] : columns[j]);
      last[kPairs + i] += product * line.off[n];
    }
  }
  for (std::size_t pair = 0; pair < kSums; ++pair)
    for (std::size_t l = 0; l < kLanes; ++l) last[pair] += sums[pair][l];
  for (std::size_t pair = 0; pair < kPairs; ++pair) normal[pair] += last[pair];
  for (std::size_t i = 0; i < kUnknowns; ++i) right[i] -= last[kPairs + i];
}

// Symmetric positive definite, upper triangle by rows; false where it is not. Answers the inverse's diagonal too.
bool solve(const std::array<double, 15>& upper, const std::array<double, 5>& right, std::array<double, 5>& x,
           double& offset_variance) {
  std::array<std::array<double, kUnknowns>, kUnknowns> low{};
  std::size_t pair = 0;
  for (std::size_t i = 0; i < kUnknowns; ++i)
    for (std::size_t j = i; j < kUnknowns; ++j, ++pair) low[j][i] = upper[pair];
  for (std::size_t i = 0; i < kUnknowns; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = low[i][j];
      for (std::size_t k = 0; k < j; ++k) sum -= low[i][k] * low[j][k];
      if (i == j) {
        if (!(sum > 0.0)) return false;
        low[i][i] = std::sqrt(sum);
      } else {
        low[i][j] = sum / low[j][j];
      }
    }
  }
  const auto backed = [&](std::array<double, 5> b) {
    for (std::size_t i = 0; i < kUnknowns; ++i) {
      for (std::size_t k = 0; k < i; ++k) b[i] -= low[i][k] * b[k];
      b[i] /= low[i][i];
    }
    for (std::size_t i = kUnknowns; i-- > 0;) {
      for (std::size_t k = i + 1; k < kUnknowns; ++k) b[i] -= low[k][i] * b[k];
      b[i] /= low[i][i];
    }
    return b;
  };
  x = backed(right);
  offset_variance = backed({0.0, 0.0, 0.0, 1.0, 0.0})[3];
  return true;
}

}  // namespace

// What is left over everywhere, and the sums of the next step where they are asked for.
void Alignment::compare(const Fit& at, double cut, Sums* sums, std::size_t every) {
  const double cosine = std::cos(at.motion.turn), sine = std::sin(at.motion.turn);
  const double du = at.motion.du / 2.0, dv = at.motion.dv / 2.0;
  const auto most_u = static_cast<double>(columns_ - 1), most_v = static_cast<double>(rows_ - 1);
  for (std::size_t r = 0; r < rows_; r += every) {
    float* const off = off_.data() + r * columns_;
    std::uint8_t* const marks = marks_.data() + r * columns_;
    std::fill_n(off, columns_, 0.0F);
    std::fill_n(marks, columns_, std::uint8_t{0});
    const double y = static_cast<double>(r) - middle_v_;
    const double first_u = middle_u_ + du - cosine * middle_u_ - sine * y;
    const double first_v = middle_v_ + dv - sine * middle_u_ + cosine * y;
    std::size_t c = 0;
    while (c < columns_) {
      const double u = first_u + cosine * static_cast<double>(c), v = first_v + sine * static_cast<double>(c);
      if (!(u >= 0.0 && u < most_u && v >= 0.0 && v < most_v)) {
        ++c;
        continue;
      }
      const double offset = std::floor(u - static_cast<double>(c) + 1e-9), row = std::floor(v);
      const double fu = u - static_cast<double>(c) - offset, fv = v - row;
      double reach = std::min(static_cast<double>(columns_ - c), most_u - offset - static_cast<double>(c));
      if (cosine < 1.0) reach = std::min(reach, std::floor(std::max(fu, 0.0) / (1.0 - cosine)) + 1.0);
      if (sine > 0.0) reach = std::min(reach, std::floor((1.0 - fv) / sine) + 1.0);
      if (sine < 0.0) reach = std::min(reach, std::floor(fv / -sine) + 1.0);
      const auto column = static_cast<std::ptrdiff_t>(c) + static_cast<std::ptrdiff_t>(offset);
      const auto count = static_cast<std::size_t>(std::max(reach, 1.0));
      if (column < 0 || column + static_cast<std::ptrdiff_t>(count) >= static_cast<std::ptrdiff_t>(columns_)) {
        ++c;
        continue;
      }
      const std::size_t from = static_cast<std::size_t>(row) * columns_ + static_cast<std::size_t>(column);
      bilinear_run(frame_.data() + from, frame_.data() + from + columns_, count, static_cast<float>(fu),
                   static_cast<float>(fv), static_cast<float>(cosine - 1.0), static_cast<float>(sine), off + c);
      all_run(frame_valid_.data() + from, frame_valid_.data() + from + columns_, count, marks + c);
      c += count;
    }
    const Line line{reference_.data() + r * columns_, slope_u_.data() + r * columns_,
                    slope_v_.data() + r * columns_,   used_.data() + r * columns_,
                    level_.data() + r * columns_,     off,
                    plain_.data() + r * columns_,     marks};
    residuals(line, columns_, static_cast<float>(at.offset), static_cast<float>(at.slope), static_cast<float>(mean_));
    if (sums == nullptr) continue;
    std::array<double, 3> tally{};
    accumulate(line, columns_, static_cast<float>(1.0 / cut), static_cast<float>(mean_), static_cast<float>(-middle_u_),
               static_cast<float>(y), line_.data(), sums->normal.data(), sums->right.data(), tally.data());
    sums->agreeing += tally[0];
    sums->denser += tally[1];
    sums->bins += tally[2];
  }
}

Fit Alignment::refine(Fit fit, int rounds, double slope_prior_sigma) {
  const double told_slope = fit.slope;
  for (int round = 0;; ++round) {
    Sums sums;
    compare(fit, kCut * std::max(fit.scale, 1.0), &sums, used_rows_);
    fit.share = sums.bins > 0.0 ? sums.agreeing / sums.bins : 0.0;
    fit.denser = sums.bins > sums.agreeing ? sums.denser / (sums.bins - sums.agreeing) : 0.0;
    fit.compared = offered_ > 0.0 ? static_cast<double>(used_rows_) * sums.bins / offered_ : 0.0;
    sample_.clear();
    for (std::size_t r = 0; r < rows_; r += used_rows_)
      for (std::size_t n = r * columns_ + r % kSampleStride; n < (r + 1) * columns_; n += kSampleStride)
        if (plain_[n] > 0.0F) sample_.push_back(off_[n] * off_[n] * plain_[n]);
    if (sample_.empty()) return fit;
    fit.scale = std::sqrt(static_cast<double>(middle_of(sample_))) / kMedianShare;
    if (round >= rounds) return fit;
    const double prior = 1.0 / (slope_prior_sigma * slope_prior_sigma);
    sums.normal[14] += prior;
    sums.right[4] += prior * (told_slope - fit.slope);
    for (const std::size_t diagonal : {0, 5, 9, 12}) sums.normal[diagonal] += 1e-6;
    std::array<double, 5> step{};
    double variance = 0.0;
    if (!solve(sums.normal, sums.right, step, variance)) return fit;
    fit.motion.du += 2.0 * std::clamp(step[0], -4.0, 4.0);
    fit.motion.dv += 2.0 * std::clamp(step[1], -4.0, 4.0);
    fit.motion.turn += std::clamp(step[2], -0.05, 0.05);
    fit.offset += step[3];
    fit.slope += step[4];
    fit.offset_sigma = std::sqrt(variance) * std::max(fit.scale, 1.0);
    const double reach = static_cast<double>(columns_) / 2.0;
    if (round > 0 && std::abs(step[0]) < kLeastStep && std::abs(step[1]) < kLeastStep &&
        std::abs(step[2]) * reach < 2.0 * kLeastStep && std::abs(step[3]) < kLeastOffset)
      rounds = round + 1;
  }
}

double Alignment::alike(const Fit& fit) {
  compare(fit, 1.0, nullptr, used_rows_);
  double agreeing = 0.0, bins = 0.0;
  for (std::size_t r = 0; r < rows_; r += used_rows_)
    for (std::size_t n = r * columns_; n < (r + 1) * columns_; ++n) {
      if (!(plain_[n] > 0.0F)) continue;
      const float steep = kEdgesOff * kEdgesOff * (slope_u_[n] * slope_u_[n] + slope_v_[n] * slope_v_[n]);
      bins += 1.0;
      agreeing += off_[n] * off_[n] < kAgrees * kAgrees * (1.0F / plain_[n] + steep) ? 1.0 : 0.0;
    }
  return bins > 0.0 ? agreeing / bins : 0.0;
}

}  // namespace guidance::cement
