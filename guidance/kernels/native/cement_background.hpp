// What changes everywhere while cement grows: scatter falls where the primary falls, and slow drifts.
#pragma once

#include <array>

#include "cement.hpp"

namespace guidance::cement {

class Background {
 public:
  static constexpr std::size_t kCell = 16;  // grid pixels
  static constexpr std::size_t kWidths = 3;

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
  void clear_loss() { std::fill(loss_.begin(), loss_.end(), 0.0F); }
  void add_loss(std::size_t r, std::size_t c, float primary) {
    loss_[(r / kCell) * cell_columns_ + std::min(c / kCell, cell_columns_ - 1)] += primary;
  }
  float signal(std::size_t at) const { return signal_[at]; }

 private:
  void blur(const std::vector<float>& from, std::size_t width, std::vector<float>& to);
  void expand(const std::vector<float>& cells, std::size_t r, float* to) const;

  std::size_t rows_, columns_, cell_rows_, cell_columns_;
  Plane signal_;  // primary of the reference, over its mean
  std::vector<float> share_, loss_, residual_, weight_, scratch_, lost_, scatter_, all_, value_, smooth_, uneven_;
  std::array<std::vector<float>, kWidths> kernel_, scattered_, change_;
  std::vector<float> drift_kernel_;
  mutable std::vector<float> line_, sums_;
};

}  // namespace guidance::cement
