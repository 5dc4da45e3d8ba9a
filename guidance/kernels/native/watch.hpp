// A live picture held against a volume's projection: coarse bins, local contrast, small rigid motions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace guidance {

// A volume of non-negative values, laid out once per main axis: planes averaged in pairs along it, and the four
// corners of every lateral cell packed as bytes into one word, so that a bilinear sample is a single load.
class WatchVolume {
 public:
  // voxels (slices, rows, columns), C order; negative ones count as nothing.
  WatchVolume(const std::int16_t* voxels, std::array<std::size_t, 3> shape_kji,
              const std::array<double, 12>& lps_from_ijk);

  struct View {
    std::array<double, 12> pixel_from_lps;  // w in mm along the central ray, > 0 in front of the source
    std::size_t rows, columns;
    double origin_u, origin_v, step_px;
    double depth_mm;  // w of the pivot
  };
  // sums (rows, columns): integral of the value in mm; moments: of the value times (w - depth_mm), mm^2. Zero
  // everywhere where no ray through the picture's middle can be followed (source within the planes).
  void project(const View& view, float* sums, float* moments) const;

 private:
  struct Stack {
    std::int64_t planes;                // averaged pairs
    std::int64_t lateral_a, lateral_b;  // words per plane along the strided and the contiguous axis
    std::vector<std::uint32_t> words;
    std::int64_t blocks_a, blocks_b;
    std::vector<std::uint8_t> occupied;  // per block of kPlanes x kEdge x kEdge words
  };
  void fill(Stack& stack, const std::int16_t* voxels, int axis) const;

  std::array<std::int64_t, 3> size_ijk_;
  std::array<double, 12> lps_from_ijk_;
  float value_per_count_ = 0.0F;
  std::array<Stack, 3> stacks_;  // by main axis i, j, k
};

// How a picture's numbers become attenuation.
struct WatchScale {
  bool logarithm;    // numbers are proportional to what the detector got
  bool bright;       // more X-ray gives higher values
  std::size_t step;  // pixels per bin and axis
};

// attenuation, valid (rows / step, columns / step): relative attenuation, and 1 or 0 where a bin is saturated, black,
// or has a pixel that is not a number. Answers the share of bins that hold a plateau at either end of the range.
float watch_bins(const Picture& picture, const WatchScale& scale, float* attenuation, float* valid);

// Smoothed (1 2 1 both ways) less its local mean, over what is valid; answers the contrast of the whole.
float watch_high_pass(const float* picture, const float* valid, std::size_t rows, std::size_t columns,
                      std::size_t radius, float* out);
// Local mean of the squares, over what is valid.
void watch_local_square(const float* picture, const float* valid, std::size_t rows, std::size_t columns,
                        std::size_t radius, float* out);

struct WatchLayer {
  std::size_t rows, columns, mean_radius, contrast_radius;
  float floor;
  float metal;       // times the median size of what is high-passed: denser is no bone
  int metal_rounds;  // what is left out first hid what lies beside it
};
struct WatchShown {
  float whole;  // contrast of all that is valid
  float usual;  // median local contrast
  float noise;  // standard deviation of what differs from bin to bin, after smoothing
};
// High-passed over the local contrast: out = H / sqrt(S^2 + e^2), e = floor times the contrast of the whole. Bins with
// metal in or beside them become not valid; core: valid with valid neighbours.
WatchShown watch_layer(const WatchLayer& request, const float* attenuation, float* valid, float* normalised,
                       float* core, float* contrast);

constexpr std::size_t kWatchMotions = 6;
constexpr std::size_t kWatchPlanes = kWatchMotions + 2;  // weight, projection, its derivatives

struct WatchTemplate {
  std::array<double, 12> pixel_from_lps;
  std::array<double, 3> pivot_lps_mm;
  std::size_t rows, columns;
  double origin_u, origin_v, step_px, depth_mm;
  std::size_t mean_radius, contrast_radius;
  float floor;
};
// planes (kWatchPlanes, rows, columns): weight 0 to 1, contrast-normalised projection, its change per mm and per deg of
// a small motion about the pivot. Answers the overall contrast.
float watch_template(const WatchTemplate& request, const float* sums, const float* moments, float* planes);

struct WatchFit {
  std::array<double, 1 + kWatchMotions> parameters;  // gain, then gain times motion
  std::array<double, (1 + kWatchMotions) * (1 + kWatchMotions)> normal;
  double variance;    // of the weighted differences
  double weight;      // sum of the robust weights
  double plain;       // sum of the weights before
  double similarity;  // normalised correlation of picture and fit, weights before
  double told;        // the same of picture and projection as it is
  double robust;      // of picture and fit, robust weights
};
WatchFit watch_fit(const float* picture, const float* valid, const float* planes, std::size_t rows, std::size_t columns,
                   const std::array<double, kWatchMotions>& prior, int rounds, float cut);

struct WatchShift {
  int du, dv;
  double similarity;
};
// Best whole-bin shift: picture(x + shift) against planes' projection(x); equal sizes, |shift| <= reach.
WatchShift watch_shift(const float* picture, const float* valid, const float* weight, const float* projection,
                       std::size_t rows, std::size_t columns, int reach);

}  // namespace guidance
