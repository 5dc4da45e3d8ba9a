// Straight ways through a distance field: how wide a line's tunnel is, and how wide any line of a box can be.
#pragma once

#include <array>
#include <cstddef>

namespace guidance {

// Values on an isotropic grid along LPS, `[k, j, i]`; mm, negative inside.
struct LineGrid {
  std::size_t slices, rows, columns;
  std::array<double, 3> origin;
  double spacing_mm;
};

// Where lines may run; all on one grid, null where a rule is not wanted.
struct LineFields {
  LineGrid grid;
  const float* solid;        // a corridor lies in it
  const float* reach_plus;   // must be met before the solid ends, going along +e0
  const float* reach_minus;  // the same along -e0
  const float* gate;         // the line's own point at t = 0 lies in it
};

struct LineRules {
  double radius_mm;   // asked tunnel radius
  double end_factor;  // so many tunnel radii at a surface end are its end, not its side
  double length_mm;   // shortest corridor
  double aspect;      // length over radius, at least; 0: any
  double center_mm;   // the corridor's middle is within +-center_mm (along e0) of t = 0; 0: anywhere
  double step_mm;     // sampling along the line
  double thin_mm;     // where the solid is thinner than this to the side, a corridor ends
  bool tip_inside;    // runs from t = 0 along +e0 only; the end at t = 0 is a tip in bone, not a surface
};

// A frame: point, e0 (along the lines), e1, e2 (across); orthonormal.
constexpr std::size_t kChartNumbers = 12;
// Chart, w, u, v, a, b: the line point + w e0 + u e1 + v e2 + t (e0 + a e1 + b e2); then half widths of u, v, a, b.
constexpr std::size_t kLineNumbers = 10;
// Tunnel radius (negative: no corridor), its two ends and its narrowest place as t.
constexpr std::size_t kTunnelNumbers = 4;

struct LineBatch {
  const double* charts;
  std::size_t chart_count;
  const double* lines;
  std::size_t count;
  unsigned threads;
};

// out: (count, kTunnelNumbers). The tunnel radius of a line is the largest r with: the solid is at least r deep
// everywhere but within end_factor * max(r, radius_mm) of its surface ends.
void measure_lines(const LineFields& fields, const LineRules& rules, const LineBatch& batch, double* out);

// out: (count). No line of the box has a larger tunnel radius; -1 where that is `cutoff_mm` or less, or there is none.
// Rests on |distance(p) - distance(q)| <= |p - q|.
void bound_lines(const LineFields& fields, const LineRules& rules, const LineBatch& batch, double cutoff_mm,
                 double* out);

}  // namespace guidance
