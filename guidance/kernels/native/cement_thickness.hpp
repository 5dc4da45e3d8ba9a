// How thick cement is along one row of the grid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cement.hpp"

namespace guidance::cement {

// Of one row: contrast, what of it is scatter that has fallen, scatter's share of the reference, the reference's
// signal, noise of the mean and of one frame; marks of cement and of what lies beside it.
struct ThicknessRow {
  const float *fine, *scatter, *share, *signal, *spread, *variance;
  const std::uint8_t *cement, *near;
};
// mm by primary contrast from 0, evenly spaced; two entries at least.
struct ThicknessTable {
  const float* thickness;
  float step;
  std::size_t entries;
};
// thickness: mm, 0 where it is not asked for. Of cement only, elsewhere 0: what it takes off the primary, mm per
// contrast, and the variance of mm.
struct ThicknessTold {
  float *thickness, *loss, *slope, *noise;
};
void thickness_row(const ThicknessRow& from, std::size_t count, const ThicknessTable& table, float reference_share,
                   const ThicknessTold& to);

}  // namespace guidance::cement
