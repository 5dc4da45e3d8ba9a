// Rods in a live picture: strips sampled across it, and ridges followed along them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace guidance {

struct StripRequest {
  const double* starts;  // (lines, 2) u, v of each line's first sample
  const double* steps;   // (lines, 2) from sample to sample
  std::size_t lines;
  std::size_t columns;  // samples per line
  std::size_t bin_lines;
  std::size_t bin_columns;
  std::array<double, 4> bounds;  // left, top, right, bottom
  bool logarithm;
  bool positive;  // more X-ray gives higher values
};

// out: (lines / bin_lines, columns / bin_columns).
void sample_strip(const Picture& picture, const StripRequest& request, float* out);

struct RidgeRequest {
  const float* strip;  // (rows, columns), NaN where not known
  std::size_t rows;
  std::size_t columns;
  const double* width_columns;  // (rows,)
  const std::uint8_t* unknown;  // (rows, columns), 0 where known; null: nowhere
  double least;
  std::size_t most;
};

struct RidgeAnswer {
  std::size_t count;
  double threshold;
};

// tracks: (most, rows) int32, -1 where a track does not run; scores: (most,).
RidgeAnswer ridge_tracks(const RidgeRequest& request, std::int32_t* tracks, double* scores);

}  // namespace guidance
