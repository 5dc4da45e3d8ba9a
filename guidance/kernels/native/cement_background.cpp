// Scatter is a wide blur of the primary; what cement takes off the primary it takes off the scatter around.
#include "cement_background.hpp"

#include <algorithm>
#include <cmath>

namespace guidance::cement {
namespace {

// Standard deviations of the blur, shares of the picture's longer side: 25, 45 and 80 mm of 300 mm.
constexpr std::array<double, Background::kWidths> kSpread{0.083, 0.15, 0.267};
constexpr double kCellSigma = 0.004;   // contrast: how far a cell lies off both models
constexpr double kDriftCells = 2.5;    // standard deviation of what drifts are smoothed with
constexpr float kDriftPrior = 3.0F;    // cells that say: no drift
constexpr float kLeastFree = 48.0F;    // grid pixels
constexpr float kMostUneven = 4.0F;    // deviations: more is not noise but something that left
constexpr float kEven = 32.0F;         // grid pixels that say: as even as told
constexpr float kMostResidual = 0.1F;  // contrast: more is no drift

std::vector<float> kernel_of(double sigma, std::size_t longest) {
  const auto reach = std::min(static_cast<std::size_t>(std::ceil(3.0 * sigma)), longest);
  std::vector<float> kernel(reach + 1);
  for (std::size_t n = 0; n <= reach; ++n) {
    const double x = static_cast<double>(n) / sigma;
    kernel[n] = static_cast<float>(std::exp(-0.5 * x * x));
  }
  return kernel;
}

// Adds a row to the sums of its columns; cells are folded when all their rows are in.
GUIDANCE_CLONES void add_row(const float* __restrict contrast, const std::uint8_t* __restrict seen,
                             const std::uint8_t* __restrict taken, std::size_t count, float level, float most,
                             float* __restrict sum, float* __restrict used) {
  for (std::size_t n = 0; n < count; ++n) {
    const float off = contrast[n] - level;
    const float free = seen[n] && !taken[n] && off < most && off > -most ? 1.0F : 0.0F;
    sum[n] += free * off;
    used[n] += free;
  }
}

GUIDANCE_CLONES void add_squares(const float* __restrict z, const std::uint8_t* __restrict seen,
                                 const std::uint8_t* __restrict taken, std::size_t count, float* __restrict sum,
                                 float* __restrict used) {
  for (std::size_t n = 0; n < count; ++n) {
    const float below = seen[n] && !taken[n] && z[n] < 0.0F ? 1.0F : 0.0F;
    const float off = z[n] > -kMostUneven ? z[n] : -kMostUneven;
    sum[n] += below * off * off;
    used[n] += below;
  }
}

[[gnu::always_inline]] inline void ramp(float from, float to, float* __restrict out) {
  const float step = (to - from) / static_cast<float>(Background::kCell);
  for (std::size_t n = 0; n < Background::kCell; ++n)
    out[n] = from + step * (static_cast<float>(static_cast<std::int32_t>(n)) + 0.5F);
}

GUIDANCE_CLONES void ramps(const float* __restrict cells, std::size_t count, float* __restrict out) {
  for (std::size_t c = 0; c + 1 < count; ++c) ramp(cells[c], cells[c + 1], out + c * Background::kCell);
}

}  // namespace

Background::Background(const float* reference, const std::uint8_t* valid, const float* share, std::size_t rows,
                       std::size_t columns)
    : rows_(rows),
      columns_(columns),
      cell_rows_((rows + kCell - 1) / kCell),
      cell_columns_(std::max<std::size_t>(columns / kCell, 1)) {
  const std::size_t cells = cell_rows_ * cell_columns_;
  for (auto* numbers :
       {&share_, &loss_, &residual_, &weight_, &scratch_, &lost_, &scatter_, &all_, &value_, &smooth_, &uneven_})
    numbers->assign(cells, 0.0F);
  line_.assign(cell_columns_, 0.0F);
  sums_.assign(2 * cell_columns_ * kCell, 0.0F);
  signal_.assign(rows * columns, 0.0F);
  double level = 0.0, used = 0.0;
  for (std::size_t n = 0; n < rows * columns; ++n)
    if (valid[n]) {
      level += reference[n];
      used += 1.0;
    }
  const auto mean = static_cast<float>(used > 0.0 ? level / used : 0.0);
  std::vector<float> primary(cells, 0.0F);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      const std::size_t cell = (r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1);
      if (!valid[at]) continue;
      signal_[at] = std::exp(std::clamp(mean - reference[at], -8.0F, 8.0F)) * (1.0F - share[at]);
      primary[cell] += signal_[at];
    }
  shares(share, valid);
  const double longer = static_cast<double>(std::max(rows, columns)) / static_cast<double>(kCell);
  const std::size_t longest = std::max(cell_rows_, cell_columns_) - 1;
  for (std::size_t w = 0; w < kWidths; ++w) {
    kernel_[w] = kernel_of(kSpread[w] * longer, longest);
    scattered_[w].assign(cells, 0.0F);
    change_[w].assign(cells, 0.0F);
    blur(primary, w, scattered_[w]);
  }
  drift_kernel_ = kernel_of(kDriftCells, longest);
}

void Background::shares(const float* share, const std::uint8_t* valid) {
  std::fill(share_.begin(), share_.end(), 0.0F);
  std::fill(weight_.begin(), weight_.end(), 0.0F);
  for (std::size_t r = 0; r < rows_; ++r)
    for (std::size_t c = 0; c < columns_; ++c) {
      if (!valid[r * columns_ + c]) continue;
      const std::size_t cell = (r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1);
      share_[cell] += share[r * columns_ + c];
      weight_[cell] += 1.0F;
    }
  for (std::size_t n = 0; n < share_.size(); ++n) share_[n] = weight_[n] > 0.0F ? share_[n] / weight_[n] : 0.0F;
}

void Background::blur(const std::vector<float>& from, std::size_t width, std::vector<float>& to) {
  const std::vector<float>& kernel = width < kWidths ? kernel_[width] : drift_kernel_;
  const auto reach = static_cast<std::ptrdiff_t>(kernel.size()) - 1;
  const auto height = static_cast<std::ptrdiff_t>(cell_rows_), across = static_cast<std::ptrdiff_t>(cell_columns_);
  const auto at = [&](std::ptrdiff_t r, std::ptrdiff_t c) { return static_cast<std::size_t>(r * across + c); };
  for (std::ptrdiff_t r = 0; r < height; ++r)
    for (std::ptrdiff_t c = 0; c < across; ++c) {
      float sum = 0.0F;
      for (std::ptrdiff_t n = std::max<std::ptrdiff_t>(c - reach, 0); n <= std::min(c + reach, across - 1); ++n)
        sum += kernel[static_cast<std::size_t>(std::abs(n - c))] * from[at(r, n)];
      scratch_[at(r, c)] = sum;
    }
  std::fill(to.begin(), to.end(), 0.0F);
  for (std::ptrdiff_t r = 0; r < height; ++r)
    for (std::ptrdiff_t n = std::max<std::ptrdiff_t>(r - reach, 0); n <= std::min(r + reach, height - 1); ++n) {
      const float part = kernel[static_cast<std::size_t>(std::abs(n - r))];
      const float* const line = scratch_.data() + n * across;
      float* const out = to.data() + r * across;
      for (std::ptrdiff_t c = 0; c < across; ++c) out[c] += part * line[c];
    }
}

void Background::predict() {
  for (std::size_t w = 0; w < kWidths; ++w) {
    blur(loss_, w, lost_);
    for (std::size_t n = 0; n < lost_.size(); ++n)
      change_[w][n] = scattered_[w][n] > 0.0F ? std::clamp(lost_[n] / scattered_[w][n], 0.0F, 0.9F) : 0.0F;
  }
}

void Background::fit(const float* contrast, const std::uint8_t* seen, const std::uint8_t* taken, float level,
                     float most) {
  const std::size_t cells = residual_.size();
  std::fill(residual_.begin(), residual_.end(), 0.0F);
  std::fill(weight_.begin(), weight_.end(), 0.0F);
  const std::size_t width = cell_columns_ * kCell;
  for (std::size_t cell_row = 0; cell_row < cell_rows_ && width <= columns_; ++cell_row) {
    std::fill(sums_.begin(), sums_.end(), 0.0F);
    for (std::size_t r = cell_row * kCell; r < std::min((cell_row + 1) * kCell, rows_); ++r)
      add_row(contrast + r * columns_, seen + r * columns_, taken + r * columns_, width, level, most, sums_.data(),
              sums_.data() + width);
    for (std::size_t c = 0; c < cell_columns_; ++c)
      for (std::size_t n = c * kCell; n < (c + 1) * kCell; ++n) {
        residual_[cell_row * cell_columns_ + c] += sums_[n];
        weight_[cell_row * cell_columns_ + c] += sums_[width + n];
      }
  }
  // Contrast = -ln(1 - share * sum of a_w change_w) + constant, linear enough; a_w about what is usual.
  constexpr std::size_t kUnknowns = kWidths + 1;
  std::array<double, kUnknowns * kUnknowns> normal{};
  std::array<double, kUnknowns> right{}, found{};
  double strongest = 0.0;
  for (std::size_t n = 0; n < cells; ++n) {
    if (weight_[n] < kLeastFree) {
      weight_[n] = 0.0F;
      continue;
    }
    residual_[n] = std::clamp(residual_[n] / weight_[n], -kMostResidual, kMostResidual);
    weight_[n] /= static_cast<float>(kCell * kCell);
    std::array<double, kUnknowns> column{};
    for (std::size_t w = 0; w < kWidths; ++w) {
      column[w] = static_cast<double>(share_[n]) * change_[w][n];
      strongest = std::max(strongest, column[w]);
    }
    column[kWidths] = 1.0;
    const double weight = weight_[n] / (kCellSigma * kCellSigma);
    for (std::size_t i = 0; i < kUnknowns; ++i) {
      right[i] += weight * column[i] * residual_[n];
      for (std::size_t j = 0; j < kUnknowns; ++j) normal[i * kUnknowns + j] += weight * column[i] * column[j];
    }
  }
  for (std::size_t w = 0; w < kWidths; ++w) {
    const double prior = 1.0 / (kUsualSigma * kUsualSigma);
    normal[w * (kUnknowns + 1)] += prior;
    right[w] += prior * kUsual[w];
  }
  normal[kWidths * (kUnknowns + 1)] += 1.0;
  // Gauss-Seidel with a_w kept from 0 on: few unknowns, well conditioned by the prior.
  for (std::size_t w = 0; w < kWidths; ++w) found[w] = kUsual[w];
  for (int round = 0; round < 60; ++round)
    for (std::size_t i = 0; i < kUnknowns; ++i) {
      double sum = right[i];
      for (std::size_t j = 0; j < kUnknowns; ++j)
        if (j != i) sum -= normal[i * kUnknowns + j] * found[j];
      found[i] = sum / normal[i * (kUnknowns + 1)];
      if (i < kWidths) found[i] = std::max(found[i], 0.0);
    }
  const auto constant = static_cast<float>(found[kWidths]);
  for (std::size_t n = 0; n < cells; ++n) {
    double change = 0.0;
    for (std::size_t w = 0; w < kWidths; ++w) change += found[w] * change_[w][n];
    scatter_[n] = static_cast<float>(-std::log(1.0 - static_cast<double>(share_[n]) * std::min(change, 0.9)));
    value_[n] = weight_[n] * (residual_[n] - scatter_[n] - constant);
  }
  blur(value_, kWidths, smooth_);
  blur(weight_, kWidths, lost_);
  for (std::size_t n = 0; n < cells; ++n) all_[n] = scatter_[n] + constant + smooth_[n] / (lost_[n] + kDriftPrior);
}

void Background::uneven(const float* z, const std::uint8_t* seen, const std::uint8_t* taken) {
  const std::size_t width = cell_columns_ * kCell, cells = uneven_.size();
  std::fill(value_.begin(), value_.end(), 0.0F);
  std::fill(smooth_.begin(), smooth_.end(), 0.0F);
  for (std::size_t cell_row = 0; cell_row < cell_rows_ && width <= columns_; ++cell_row) {
    std::fill(sums_.begin(), sums_.end(), 0.0F);
    for (std::size_t r = cell_row * kCell; r < std::min((cell_row + 1) * kCell, rows_); ++r)
      add_squares(z + r * columns_, seen + r * columns_, taken + r * columns_, width, sums_.data(),
                  sums_.data() + width);
    for (std::size_t c = 0; c < cell_columns_; ++c)
      for (std::size_t n = c * kCell; n < (c + 1) * kCell; ++n) {
        value_[cell_row * cell_columns_ + c] += sums_[n];
        smooth_[cell_row * cell_columns_ + c] += sums_[width + n];
      }
  }
  for (std::size_t n = 0; n < cells; ++n) {
    // Neighbouring pixels share their noise: a cell tells as much as a tenth of its pixels.
    const float square = (value_[n] + kEven) / (smooth_[n] + kEven);
    uneven_[n] = std::sqrt(std::max(square, 1.0F));
  }
}

void Background::expand(const std::vector<float>& cells, std::size_t r, float* to) const {
  const double place = std::clamp((static_cast<double>(r) + 0.5) / static_cast<double>(kCell) - 0.5, 0.0,
                                  static_cast<double>(cell_rows_) - 1.0);
  const auto above = std::min(static_cast<std::size_t>(place), cell_rows_ - 1);
  const std::size_t below = std::min(above + 1, cell_rows_ - 1);
  const auto part = static_cast<float>(place - static_cast<double>(above));
  for (std::size_t c = 0; c < cell_columns_; ++c) {
    const float a = cells[above * cell_columns_ + c];
    line_[c] = a + part * (cells[below * cell_columns_ + c] - a);
  }
  constexpr std::size_t kHalf = kCell / 2;
  std::fill_n(to, std::min(kHalf, columns_), line_[0]);
  ramps(line_.data(), cell_columns_, to + kHalf);
  const std::size_t at = kHalf + (cell_columns_ - 1) * kCell;
  if (at < columns_) std::fill(to + at, to + columns_, line_[cell_columns_ - 1]);
}

void Background::row(std::size_t r, float* all, float* scatter) const {
  expand(all_, r, all);
  expand(scatter_, r, scatter);
}

}  // namespace guidance::cement
