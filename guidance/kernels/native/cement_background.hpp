// What changes everywhere while cement grows: scatter falls where the primary falls, and slow drifts.
#pragma once

#include <array>

#include "cement.hpp"

namespace guidance::cement {

class Background {
 public:
  static constexpr std::size_t kCell = 16;  // grid pixels
  static constexpr std::size_t kWidths = 3;
  // How much of scatter each width is, without better knowledge.
  static constexpr std::array<double, kWidths> kUsual{0.3, 0.4, 0.3};
  static constexpr double kUsualSigma = 0.4;

  // reference, valid, share: (rows, columns) of the grid. Linear pictures only have a primary to lose.
  Background(const float* reference, const std::uint8_t* valid, const float* share, std::size_t rows,
             std::size_t columns);
  // loss: by cell, sum of what the cement takes off the primary, in the reference's signal.
  void predict();
  // Fits both to what is left of the contrast where nothing is; taken: marks that do not count.
  void fit(const float* contrast, const std::uint8_t* seen, const std::uint8_t* taken, float level, float most);
  // How much wider than told deviations below 0 scatter, by cell; 1 at least.
  void uneven(const float* z, const std::uint8_t* seen, const std::uint8_t* taken);
  void uneven_row(std::size_t r, float* to) const { expand(uneven_, r, to); }
  // Row r of the whole, and of the part that is scatter.
  void row(std::size_t r, float* all, float* scatter) const;
  // The field is another: `lost` is what of the primary no longer comes (negative: comes again), by cell as in loss.
  // fit_field finds how much of each width's scatter goes with it: contrast is what changed since, taken what does not
  // count. Then field_row is the share of the scatter that is gone, and settle takes it as it is now.
  void begin_field() { std::fill(value_.begin(), value_.end(), 0.0F); }
  void add_field(std::size_t r, std::size_t c, float primary) {
    value_[(r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1)] += primary;
  }
  bool fit_field(const float* contrast, const float* share, const std::uint8_t* seen, const std::uint8_t* taken);
  void field_row(std::size_t r, float* to) const { expand(smooth_, r, to); }
  void settle_field(const float* share, const std::uint8_t* valid);
  void clear_loss() { std::fill(loss_.begin(), loss_.end(), 0.0F); }
  void add_loss(std::size_t r, std::size_t c, float primary) {
    loss_[(r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1)] += primary;
  }
  float signal(std::size_t at) const { return signal_[at]; }
  const float* signals() const { return signal_.data(); }

 private:
  void blur(const std::vector<float>& from, std::size_t width, std::vector<float>& to);
  void shares(const float* share, const std::uint8_t* valid);
  void expand(const std::vector<float>& cells, std::size_t r, float* to) const;

  std::size_t rows_, columns_, cell_rows_, cell_columns_;
  Plane signal_;  // primary of the reference, over its mean
  std::vector<float> share_, loss_, residual_, weight_, scratch_, lost_, scatter_, all_, value_, smooth_, uneven_;
  std::array<std::vector<float>, kWidths> kernel_, scattered_, change_;
  std::vector<float> drift_kernel_;
  mutable std::vector<float> line_, sums_;
};

}  // namespace guidance::cement
