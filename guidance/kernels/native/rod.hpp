// Instruments along a strip of a picture: centreline, width, ends; `kernels/rods.py` says what.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels.hpp"

namespace guidance {

constexpr std::size_t kMostRods = 3;

struct RodStrip {
  std::array<double, 2> origin, along;  // u, v px; across is along turned from u to v
  double length;                        // px
  std::array<double, 2> widths;         // of the plan's shadow at both ends, px
  double diameter_mm;
  double end_on;
  std::size_t rows, columns;  // coarse samples
  double row_px, column_px;
  std::size_t bin_rows, bin_columns;

  double width_at(double x) const { return widths[0] + (widths[1] - widths[0]) * x / length; }
  std::array<double, 2> at(double x, double y) const {
    return {origin[0] + x * along[0] - y * along[1], origin[1] + x * along[1] + y * along[0]};
  }
};

// Non-zero where known metal is, `kMetalStep` px to a cell; no cells where there is none.
constexpr double kMetalStep = 4.0;
struct MetalCells {
  const std::uint8_t* cells;
  std::size_t rows, columns;
};

struct RodRequest {
  Picture picture;
  std::array<double, 4> bounds;  // left, top, right, bottom
  bool logarithm;
  bool positive;  // more X-ray gives higher values
  RodStrip strip;
  MetalCells metal;
  double least;           // contrast
  double least_of_range;  // of the strip's values; 0: not looked at
};

// Polynomial in z = (x - middle) / half; where it is no line, on beyond z = +-1 along its tangent.
struct RodCurve {
  std::array<double, 4> coefficients{};
  std::size_t terms = 2;
  double middle = 0.0, half = 1.0;

  bool straight() const { return terms <= 2; }
  double y(double x) const;
  double slope(double x) const;
  double sharpest() const;
};

enum class TipState { kKnown, kUnclear, kOutside, kHidden, kBesideMetal, kOverMetal };

struct Rod {
  RodCurve curve;
  double start, end, tip_sigma, sigma, width, contrast, score, bend;
  TipState tip;
  bool goes_on;
};

// rods: `kMostRods`; answers how many.
std::size_t rods_along(const RodRequest& request, Rod* rods);

}  // namespace guidance
