// New cement in one view, frame by frame: everything between a frame's pixels and the outline of what is new.
//
// All fields lie on the working grid (the picture in bins of step x step pixels) and in the reference's place: each
// frame is taken there by its motion, and what is told of the frame is taken back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "huge_pages.hpp"
#include "kernels.hpp"

namespace guidance::cement {

using Plane = std::vector<float, HugePages<float>>;
using Marks = std::vector<std::uint8_t, HugePages<std::uint8_t>>;

// How numbers become attenuation, natural logarithm where they are proportional to what the detector got.
struct Scale {
  std::size_t step;           // pixels per bin and axis
  std::size_t rows, columns;  // bins, even; what is left over of the picture is not used
  bool logarithm;             // numbers are proportional to the signal
  double toward;              // attenuation per number where they are not: its sign and size
  double base;                // signal = (number - base) * sign
  double sign;                // 1: more X-ray gives higher numbers; -1: lower ones
  std::uint32_t bits;         // of 16-bit numbers, those that are picture; 0: all
  double low, high;           // numbers at or beyond are no measurement
  std::array<int, 4> field;   // left, top, right, bottom, inclusive
};
struct BinStats {
  double saturated, black;  // shares of the field's pixels
};
// attenuation, valid (rows, columns). Bins with a pixel that is no measurement are not valid and get 0.
BinStats bin_frame(const Picture& picture, const Scale& scale, float* attenuation, std::uint8_t* valid);

// Where a point of the reference stands in the frame: turned about the grid's middle, then shifted.
struct Motion {
  double du = 0.0, dv = 0.0;  // working pixels
  double turn = 0.0;          // radians, from +u to +v
};
// Catmull-Rom where all sixteen neighbours are valid; elsewhere 0 and not valid.
void warp(const float* frame, const std::uint8_t* valid, std::size_t rows, std::size_t columns, const Motion& motion,
          float* out, std::uint8_t* out_valid);

// 1 4 6 4 1 both ways, over 256; beyond the border as at it.
void smooth(const float* from, std::size_t rows, std::size_t columns, float* scratch, float* to);
double total(const float* line, std::size_t count);
// The number that `rank` others are not above; what was in `numbers` is lost. rank < numbers.size().
float ranked(std::vector<float>& numbers, std::size_t rank);
inline float middle_of(std::vector<float>& numbers) { return ranked(numbers, numbers.size() / 2); }
// Bytes: marks are 0 or 1.
void mark_also(std::uint8_t* to, const std::uint8_t* from, std::size_t count);
void mark_only(std::uint8_t* to, const std::uint8_t* without, std::size_t count);
void mark_missing(std::uint8_t* to, const std::uint8_t* seen, std::size_t count);
std::size_t count_both(const std::uint8_t* a, const std::uint8_t* b, std::size_t count);
bool any_mark(const std::uint8_t* marks, std::size_t count);
// out[r][c] = all bits of a (2 reach + 1)^2 window together.
void dilate(const std::uint8_t* from, std::size_t rows, std::size_t columns, std::size_t reach, std::uint8_t* scratch,
            std::uint8_t* to);
void erode(const std::uint8_t* from, std::size_t rows, std::size_t columns, std::size_t reach, std::uint8_t* scratch,
           std::uint8_t* to);
// Means of 2 x 2 valid values; valid where all four are.
void halve(const float* from, const std::uint8_t* valid, std::size_t rows, std::size_t columns, float* to,
           std::uint8_t* to_valid);

// Exposure and motion of a frame against the reference, on the halved grid.
struct Fit {
  Motion motion;
  double offset = 0.0, slope = 0.0;  // frame = reference + offset + slope * (reference - its mean)
  double offset_sigma = 0.0;
  double scale = 1.0;     // robust size of what is left over, in standard deviations of the noise
  double share = 0.0;     // of what is compared that agrees within three standard deviations
  double alike = 0.0;     // the same, where edges may lie a little off: bones at other depths, seen from elsewhere
  double denser = 0.0;    // of what does not agree, what is denser than the reference
  double compared = 0.0;  // of what the reference offers, what could be compared
};
// How far a frame is off by many bins, which no fit from nearby finds.
class CoarseSearch {
 public:
  // rows, columns: of the pictures that are compared.
  CoarseSearch(std::size_t rows, std::size_t columns);
  // reference, valid: (rows, columns) what is searched for.
  void change(const Plane& reference, const Marks& valid);
  // Where `frame` shows it, in its pixels and without turn; false: they have too little in common.
  bool find(const Plane& frame, const Marks& valid, double& du, double& dv);

 private:
  std::size_t rows_, columns_, coarse_rows_, coarse_columns_;
  Plane reference_, frame_, scratch_;
  Marks valid_, frame_valid_;
};
class Alignment {
 public:
  // reference, valid: (rows, columns) working grid; variance: of one frame's noise at the reference's exposure.
  Alignment(const float* reference, const std::uint8_t* valid, const float* variance, std::size_t rows,
            std::size_t columns);
  // excluded: (rows, columns) what is not to be compared; may be null.
  Fit fit(const float* frame, const std::uint8_t* valid, const std::uint8_t* excluded, const Fit& start,
          double slope_prior_sigma);
  double mean() const { return mean_; }
  // Another reference of the same place and level.
  void change(const float* reference, const std::uint8_t* valid);

 private:
  struct Sums {
    std::array<double, 15> normal{};
    std::array<double, 5> right{};
    double agreeing = 0.0, denser = 0.0, bins = 0.0;
  };
  void compare(const Fit& at, double cut, Sums* sums, std::size_t every = 1);
  Fit refine(Fit fit, int rounds, double slope_prior_sigma);
  double alike(const Fit& fit);

  std::size_t rows_, columns_;        // of the halved grid
  double middle_u_, middle_v_;        // of the whole grid, in halved pixels
  std::size_t used_rows_, few_rows_;  // from one to the next that motion, and exposure at first, are told from
  double mean_ = 0.0, offered_ = 0.0;
  Plane reference_, slope_u_, slope_v_, weight_, used_, frame_, off_, plain_, line_, level_;
  Marks valid_, frame_valid_, marks_, scratch_;
  std::vector<float> sample_;
  CoarseSearch search_;
};

// A region of marked pixels and what is known of it.
struct Region {
  std::size_t first, count;  // in the list of its pixels
  float most;                // largest value
  std::size_t border;        // pixels that touch what cannot be seen, or the picture's border
  std::size_t attached;      // pixels that `to` marks
  std::array<int, 4> box;    // left, top, right, bottom, inclusive
  // Whether it comes in over the border rather than reaching it with a narrow end, as a cannula does.
  bool enters() const { return border >= 3 && 9 * border * border >= count; }
};
class Regions {
 public:
  void reserve(std::size_t count) {
    pixels_.reserve(count);
    regions_.reserve(count / 16 + 1);
  }
  // 8-connected regions of non-zero `marks`, which are consumed (set to 0).
  void find(std::uint8_t* marks, std::size_t rows, std::size_t columns, const float* value, const std::uint8_t* seen,
            const std::uint8_t* to);
  const std::vector<Region>& regions() const { return regions_; }
  const std::uint32_t* pixels(const Region& region) const { return pixels_.data() + region.first; }

 private:
  std::vector<Region> regions_;
  std::vector<std::uint32_t> pixels_;
};

// Closed lines where a field goes through 0; above it to the left in (u, v) with v down: outer ones anticlockwise.
class Contours {
 public:
  void reserve(std::size_t rows, std::size_t columns);
  // Outside of the box (left, top, right, bottom, inclusive) the field counts as negative.
  void find(const float* field, std::size_t rows, std::size_t columns, const std::array<int, 4>& box);
  std::size_t count() const { return ends_.size(); }
  std::size_t begin(std::size_t index) const { return index == 0 ? 0 : ends_[index - 1]; }
  std::size_t end(std::size_t index) const { return ends_[index]; }
  const std::vector<std::array<float, 2>>& points() const { return points_; }
  std::vector<std::array<float, 2>>& points() { return points_; }
  double area() const { return area_; }  // of all, holes taken off

 private:
  std::vector<std::array<float, 2>> points_;
  std::vector<std::size_t> ends_;
  std::vector<std::int32_t> next_;  // by edge of the grid
  std::vector<std::uint32_t> touched_;
  double area_ = 0.0;
};

}  // namespace guidance::cement
