// Cement in 3D fitted to its thickness along the rays of several views (multiplicative algebraic reconstruction).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace guidance {

// One view's bins; all arrays (rows, columns) in C order.
struct BodyView {
  std::array<double, 12> bin_from_patient;  // w in mm along the central ray
  const float* thickness;                   // mm, mean over each bin
  const std::uint8_t* valid;                // 1 where that is known
  const float* reach;                       // what a voxel's prior is multiplied by
  std::size_t rows, columns;
  float beyond;  // the same off the bins
  bool lower;    // the thickness is a lower bound
};

struct BodyRequest {
  const float* prior;           // [k, j, i]
  const std::uint8_t* counted;  // [k, j, i]
  std::array<std::size_t, 3> shape_kji;
  std::array<double, 3> first_mm;
  double spacing_mm;
  int rounds, sharpenings;
};

// Keeps its memory from call to call; one call at a time.
class CementBody {
 public:
  // share, possible [k, j, i]; volumes_mm3 by view.
  void fit(const BodyRequest& request, const std::vector<BodyView>& views, float* share, std::uint8_t* possible,
           double* volumes_mm3);

 private:
  // Where a voxel falls in one view: the first of four bins (in a field with a rim of one bin), how far on it is
  // between them, and mm of cement in one bin if it took all of a full voxel.
  struct Tap {
    std::int32_t bin;
    float right, down, length_mm;
  };
  void place(const BodyRequest& request, const std::vector<BodyView>& views);
  void round(const BodyView& view, std::size_t number, bool lower);
  void ratios(const BodyView& view, std::size_t number, bool lower);
  void sharpen(const BodyRequest& request, float* box);

  std::vector<std::uint32_t> voxels_;
  std::vector<float> shares_;
  std::vector<std::vector<Tap>> taps_;  // by view, in the voxels' order
  std::vector<float> sums_, row_;
};

}  // namespace guidance
